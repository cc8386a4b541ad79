"""How commands are grouped: a group alone shows its help, and a module is loaded only when it is needed."""

from importlib import import_module
from typing import Any, Final

import click

NOT_RUN: Final = 2
"""The exit code of a command that could not run; 0 is done, 1 is done and found something."""
_SENTENCE: Final = 500


class CannotRunError(click.ClickException):
    """Ends the command with exit code 2 and a sentence for the person at the terminal."""

    exit_code = NOT_RUN


class Group(click.Group):
    """Commands under one name."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": False} | options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Shows the help when nothing was asked for: that is no error."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of their making, which is that of use."""
        del ctx
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each with its whole first sentence: half of one helps nobody."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, self.commands[name].get_short_help_str(_SENTENCE))
                    for name in self.list_commands(ctx)
                ]
            )


class Later(click.Command):
    """Stands for the command of the same name in a module of `service.cli`, which its first use loads.

    So `metergate --help` does not wait for the web framework, nor a worker for what prints tables.
    """

    def __init__(self, name: str, *, module: str, summary: str) -> None:
        super().__init__(name, short_help=summary)
        self._module = module

    def load(self) -> click.Command:
        """The command itself."""
        command = getattr(import_module(f"service.cli.{self._module}"), str(self.name))
        assert isinstance(command, click.Command), f"service.cli.{self._module} has no command {self.name}"
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Of the command itself, which is then the one that runs."""
        return self.load().make_context(info_name, args, parent, **extra)
