"""The table of commands, and what each owes its user: a sentence and an exit code, never a traceback."""

import io
import os
import sys
from importlib import metadata
from typing import Any, Final

import click

from policies import errors
from service.cli.group import NOT_RUN, CannotRunError, Group, Later
from service.config import ConfigError
from service.embedded.errors import EmbeddedError

UNHEARD: Final = 141
"""As a shell reports a program whose reader went away, as in `metergate … | head`."""

COMMANDS: Final = (
    Later("run", module="serve", summary="Run everything on this machine, with example plans to try."),
    Later("api", module="serve", summary="Serve the HTTP API."),
    Later(
        "worker", module="serve", summary="Do what happens without a request, such as keeping usage for good."
    ),
    Later("migrate", module="serve", summary="Bring the database to the form that this version needs."),
    Later(
        "doctor",
        module="doctor",
        summary="Say what is wrong with the configuration and the servers it names.",
    ),
    Later("catalog", module="catalog", summary="Check, publish and read the plan files."),
    Later("check", module="check", summary="Ask whether a tenant may use a feature now, and why."),
    Later(
        "decisions",
        module="decisions",
        summary="See what was decided, on what it stood, and decide it again.",
    ),
    Later("tenant", module="tenant", summary="See and change tenants and what they are subscribed to."),
    Later("invoices", module="invoices", summary="See invoices, and say what became of one."),
    Later("key", module="key", summary="Make, list, replace and end the keys of programs that call the API."),
    Later(
        "charges",
        module="charges",
        summary="See how far invoices are collected; have stopped ones go on.",
    ),
    Later("books", module="books", summary="See where the records of usage differ, and look for it now."),
    Later(
        "incidents",
        module="incidents",
        summary="See what happened to usage that never should, and say what you made of it.",
    ),
    Later(
        "quarantine",
        module="quarantine",
        summary="See entries of the journal that were put aside, and apply or dismiss them.",
    ),
    Later(
        "reconcile",
        module="reconcile",
        summary="See where our records and the payment provider's differ, and put right what is safe.",
    ),
    Later("job", module="job", summary="List the regular jobs, and run one now."),
)


class _Program(Group):
    """The outermost group: what a command raises as ours becomes a sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """As click has it."""
        try:
            return super().invoke(ctx)
        except errors.UnavailableError as error:
            raise CannotRunError(f"{error.detail} `metergate doctor` looks closer.") from error
        except errors.ProblemError as error:
            raise CannotRunError(_told(error)) from error
        except ConfigError as error:
            raise CannotRunError("\n  ".join(["The configuration is not valid:", *error.findings])) from error
        except EmbeddedError as error:
            raise CannotRunError(str(error)) from error
        except BrokenPipeError:
            _leave_reader()
            ctx.exit(UNHEARD)


@click.group(cls=_Program, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metadata.version("metergate"), message="%(prog)s %(version)s")
def metergate() -> None:
    """Metergate decides what each tenant may use, and counts what they use.

    Commands that need servers use those that METERGATE_DATABASE_URL and METERGATE_REDIS_URL name; when these
    are not set, the servers of the `metergate run` that is running on this machine.

    Exit codes: 0 done; 1 found something: denied, errors in plan files, something wrong; 2 could not run.
    """


def main() -> None:
    """Runs the command line and ends the process.

    Errors: KeyboardInterrupt.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a sign still gets the rest
    try:
        status = metergate.main(prog_name="metergate", standalone_mode=False)
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except OSError as error:  # the files and sockets of a command have sentences of their own
        click.echo(f"Error: {error}", err=True)
        status = NOT_RUN
    sys.exit(status if isinstance(status, int) else 0)


def _leave_reader() -> None:
    """The interpreter would flush the output once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _told(error: errors.ProblemError) -> str:
    """The detail; under it the single fields, where the detail is not about one of them alone."""
    lines = [f"{field.pointer}: {field.message}" for field in error.errors if len(error.errors) > 1]
    return "\n  ".join([error.detail, *lines])
