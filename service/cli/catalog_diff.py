"""`metergate catalog diff`: what plan files would change, in plain words, and for whom."""

from pathlib import Path

import click

from policies.model import Catalog
from service.cli import catalog_words, session, settings, show
from service.cli.catalog_folder import Folder
from service.cli.catalog_policy import examine, read
from service.clock import SystemClock
from service.context import Context
from service.usecases import activation, difference, publish
from service.usecases.difference import Comparison
from service.usecases.publish import Examined

_WORSE = 1
_ACTIVE = "active"


@click.command("diff")
@click.argument("folder", metavar="DIR", type=Folder)
@click.option(
    "--against",
    default=_ACTIVE,
    show_default=True,
    metavar="HASH|active|DIR",
    help="What to compare with: a published catalog by its hash (the beginning of it will do), or plan files "
    "in another folder, for which no servers are needed.",
)
@settings.data_option
@show.json_option
@click.pass_context
def diff(command: click.Context, *, folder: Path, against: str, data: Path | None, as_json: bool) -> None:
    """Say in plain words what the plan files in DIR would change, and for how many tenants.

    What may be worse for somebody is marked worse. Ends with 1 if something is worse for a tenant that there
    is (against another folder: for any), with 0 if not.
    """
    files = read(folder)
    if Path(against).is_dir():
        told = difference.alone(_sound(Path(against)), _sound(folder), SystemClock().now())
        called = f"the plan files in {against}"
    else:
        told, called = session.use(data, lambda context: _compare(context, folder, files, against))
    if as_json:
        show.json(told)
    else:
        catalog_words.findings(told.findings)
        catalog_words.comparison(told, called)
    command.exit(_WORSE if told.worse else 0)


async def _compare(
    context: Context, folder: Path, files: dict[str, str], against: str
) -> tuple[Comparison, str]:
    after = _whole(await publish.examine(files, await publish.known(context)), folder)
    if against == _ACTIVE:
        before = await difference.base(context, None)
        called = (
            f"the active catalog {activation.short(before.hash)}" if before else "no catalog: none is active"
        )
    else:
        before = await difference.base(context, await activation.find(context, against))
        assert before is not None, "it was found"
        called = f"the catalog {activation.short(before.hash)}"
    return await difference.compare(context, before, after), called


def _sound(folder: Path) -> Catalog:
    return _whole(examine(read(folder)), folder)


def _whole(examined: Examined, folder: Path) -> Catalog:
    if examined.catalog is None:
        raise click.ClickException(
            f"The plan files in {folder} have errors; `metergate catalog check {folder}` lists them."
        )
    return examined.catalog
