"""`metergate catalog publish` and `activate`: what would change, what is to happen to whom, then do it."""

import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, get_args

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from policies.model import Catalog
from service.api import wire
from service.cli import catalog_words, given, session, settings, show
from service.cli.catalog_folder import Folder, report
from service.cli.catalog_policy import read
from service.context import Context
from service.usecases import activation, difference, moves, publish
from service.usecases import preview as previews
from service.usecases.activation import Publication, Wish
from service.usecases.moves import When
from service.usecases.preview import Preview
from service.usecases.publish import Examined

_FOUND: Final = 1
_WHENS: Final = get_args(When)
_Do = Callable[[Wish, moves.Progress], Awaitable[Publication]]


class _Said(wire.Body, frozen=True):
    message: wire.Reason


class _Outcome(wire.Answer, frozen=True):
    """What a publish came to, or would come to."""

    hash: str
    published: bool
    preview: Preview
    publication: Publication | None


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was said on the command line."""

    command: list[str]
    """Its first words, for the sentence that says how to do it."""
    message: str
    moves: Mapping[str, When]
    move_all: When | None
    acknowledge: Sequence[str]
    yes: bool
    as_json: bool

    @property
    def question(self) -> str:
        """The last one."""
        return "Publish it now?" if self.command[1] == "publish" else "Make it the active one now?"

    @property
    def dry(self) -> bool:
        """At a terminal nothing is done that was not agreed to; a program that calls it means it."""
        return sys.stdout.isatty() and not self.yes

    @property
    def may_ask(self) -> bool:
        """Is there a person who can answer?"""
        return self.dry and sys.stdin.isatty() and not self.as_json


def _moves(_context: click.Context, parameter: click.Parameter, said: tuple[str, ...]) -> dict[str, When]:
    try:
        return msgspec.convert(given.pairs(_context, parameter, said), dict[str, When])
    except msgspec.ValidationError as error:
        raise click.BadParameter(f"Each is ID= and one of {', '.join(_WHENS)}.", param=parameter) from error


_message = click.option("--message", required=True, help="Why: kept in the history and in the audit.")
_move = click.option(
    "--move",
    "moved",
    multiple=True,
    callback=_moves,
    metavar="ID=now|renewal|keep",
    help="What happens to those who have this plan or add-on already: they keep their version (as usual), "
    "move to the new one at once, or when their billing period is over. May be repeated.",
)
_move_all = click.option(
    "--move-all", type=click.Choice(_WHENS), help="The same for every plan and add-on that changes."
)
_yes = click.option(
    "--yes", is_flag=True, help="Do it, also at a terminal, where else only what would change is said."
)


@click.command("publish")
@click.argument("folder", metavar="DIR", type=Folder)
@_message
@_move
@_move_all
@click.option(
    "--acknowledge",
    multiple=True,
    metavar="NAME",
    help="Publish although this rule of invariants.yaml is broken. May be repeated; it is written down.",
)
@_yes
@settings.data_option
@show.json_option
@click.pass_context
def publish_catalog(
    command: click.Context,
    *,
    folder: Path,
    message: str,
    moved: dict[str, When],
    move_all: When | None,
    acknowledge: tuple[str, ...],
    data: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Make the plan files in DIR the ones that new subscriptions use.

    At a terminal it says what would change and for whom, asks what is to happen to those already subscribed,
    and publishes only if you agree, or with --yes. A program that calls it means it. With errors in the files
    nothing happens, and they are all listed. If somebody else publishes in between, nothing happens either.
    """
    given.bounded(_Said, message=message)
    files = read(folder)
    asked = _Asked(
        command=["catalog", "publish", str(folder)],
        message=message,
        moves=moved,
        move_all=move_all,
        acknowledge=acknowledge,
        yes=yes,
        as_json=as_json,
    )

    async def act(context: Context) -> Examined | _Outcome:
        examined = await publish.examine(files, await publish.known(context))
        if examined.catalog is None or publish.refusals(examined, acknowledge):
            return examined
        seen = await publish.preview(context, examined, _chosen(asked, ()), acknowledge)

        async def do(wish: Wish, progress: moves.Progress) -> Publication:
            return await publish.publish(
                context, session.caller(), files, wish, examined=examined, on_progress=progress
            )

        return await _carry_through(context, asked, seen, examined.catalog, do)

    came = session.use(data, act)
    if isinstance(came, Examined):
        report(came, files, as_json=as_json, then=_refused(came, acknowledge))
        command.exit(_FOUND)
    elif as_json:
        show.json(came)


@click.command("activate")
@click.argument("named", metavar="HASH")
@_message
@_move
@_move_all
@_yes
@settings.data_option
@show.json_option
def activate_catalog(
    *,
    named: str,
    message: str,
    moved: dict[str, When],
    move_all: When | None,
    data: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Make a catalog active again that was published before: the way back.

    HASH is what `metergate catalog history` lists; the beginning of it will do. Tenants who subscribed
    meanwhile keep the version they have, unless you move them as with publish.
    """
    given.bounded(_Said, message=message)
    asked = _Asked(
        command=["catalog", "activate", named],
        message=message,
        moves=moved,
        move_all=move_all,
        acknowledge=(),
        yes=yes,
        as_json=as_json,
    )

    async def act(context: Context) -> _Outcome:
        catalog = await difference.read(context, await activation.find(context, named))
        seen = await previews.preview(context, catalog, _chosen(asked, ()))

        async def do(wish: Wish, progress: moves.Progress) -> Publication:
            return await activation.activate(
                context, session.caller(), catalog.hash, wish, on_progress=progress
            )

        return await _carry_through(context, asked, seen, catalog, do)

    outcome = session.use(data, act)
    if as_json:
        show.json(outcome)


async def _carry_through(
    context: Context, asked: _Asked, seen: Preview, catalog: Catalog, do: _Do
) -> _Outcome:
    """Says what would come of it, asks what has to be asked, and does it if that is agreed."""
    if not asked.as_json:
        _show_preview(seen)
    chosen = _chosen(asked, [one.id for one in seen.subscribed])
    if asked.may_ask:
        chosen |= _ask(seen, chosen)
        seen = await previews.preview(context, catalog, chosen, seen.findings) if chosen else seen
    if not asked.as_json:
        catalog_words.preview(seen.subscribed)
    agreed = not asked.dry or (asked.may_ask and click.confirm(f"\n{asked.question}", default=False))
    if not agreed:
        if not asked.as_json:
            _show_dry(asked, seen, chosen)
        return _Outcome(hash=seen.hash, published=False, preview=seen, publication=None)
    wish = Wish(
        message=asked.message, based_on=seen.based_on, moves=chosen, acknowledge=list(asked.acknowledge)
    )
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("Moving tenants", total=None, visible=False)

        def progress(seen_so_far: int, total: int) -> None:
            bar.update(task, completed=seen_so_far, total=total, visible=True)

        done = await do(wish, progress)
    if not asked.as_json:
        _show_done(done)
    return _Outcome(hash=seen.hash, published=done.activated, preview=seen, publication=done)


def _refused(examined: Examined, acknowledge: Sequence[str]) -> str:
    """What is left to do: if promises alone are in the way, somebody may answer for them."""
    left = publish.refusals(examined, acknowledge)
    names = [name for name in publish.broken(examined) if name not in acknowledge]
    if len({finding.name for finding in left}) > len(names) or not names:
        return "Nothing was published."
    said = " ".join(f"--acknowledge {shlex.quote(name)}" for name in names)
    return f"Nothing was published. Mend it, or say that you know: {said}"


def _chosen(asked: _Asked, subscribed: Sequence[str]) -> dict[str, When]:
    everybody = dict.fromkeys(subscribed, asked.move_all) if asked.move_all else {}
    return {**everybody, **asked.moves}


def _ask(seen: Preview, chosen: Mapping[str, When]) -> dict[str, When]:
    """What happens to those subscribed, for each plan of which that was not said."""
    open_ = [one for one in seen.subscribed if one.id not in chosen]
    if not open_:
        return {}
    click.echo("\nWhat is to happen to those already subscribed?")
    return {
        one.id: click.prompt(
            f"  {one.id}, {catalog_words.count(one.tenants, 'tenant')}",
            type=click.Choice(_WHENS),
            default="keep",
        )
        for one in open_
    }


def _show_preview(seen: Preview) -> None:
    catalog_words.findings(seen.findings)
    based = activation.short(seen.based_on)
    catalog_words.comparison(
        seen.comparison, f"the active catalog {based}" if based else "no catalog: none is active yet"
    )


def _show_dry(asked: _Asked, seen: Preview, chosen: Mapping[str, When]) -> None:
    words = ["metergate", *asked.command, "--message", asked.message]
    for named, when in chosen.items():
        words += ["--move", f"{named}={when}"]
    for name in asked.acknowledge:
        words += ["--acknowledge", name]
    click.echo(f"\nThis would be catalog {seen.hash}. Nothing was published; to do it:")
    click.echo(f"  {shlex.join([*words, '--yes'])}")


def _show_done(done: Publication) -> None:
    click.echo()
    if done.activated:
        click.echo(f"Catalog {done.hash} is published and active.")
    else:
        click.echo(f"Catalog {done.hash} is active already{'.' if done.moves else '; nothing changed.'}")
    if done.moves is not None:
        catalog_words.moved(done.moves)
