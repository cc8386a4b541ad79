"""`metergate catalog`: the plan files, checked, published and read."""

from pathlib import Path

import click

from policies import limits
from service.cli import (
    catalog_diff,
    catalog_init,
    catalog_policy,
    catalog_publish,
    catalog_replay,
    catalog_test_command,
    session,
    settings,
    show,
)
from service.cli.catalog_folder import Folder, report, write
from service.cli.catalog_policy import examine, read
from service.cli.group import Group
from service.context import Context
from service.usecases import activation, publish

_FOUND = 1


@click.group(cls=Group)
def catalog() -> None:
    """Check, publish and read the plan files.

    A catalog is a folder with features.yaml (what can be sold) and plans/*.yaml (what each plan gives). A
    published catalog never changes; tenants stay on the version of the plan they have until they are moved.
    """


@click.command("check")
@click.argument("folder", metavar="DIR", type=Folder)
@show.json_option
@click.pass_context
def check_catalog(command: click.Context, *, folder: Path, as_json: bool) -> None:
    """Say everything that is wrong with the plan files in DIR, and where. Needs no servers."""
    files = read(folder)
    examined = examine(files)
    report(examined, files, as_json=as_json)
    command.exit(_FOUND if publish.refusals(examined) else 0)


@click.command("history")
@click.option(
    "--limit",
    type=click.IntRange(1, limits.LIST_LIMIT),
    default=20,
    show_default=True,
    help="How many to list at most.",
)
@settings.data_option
@show.json_option
def history(*, limit: int, data: Path | None, as_json: bool) -> None:
    """List the catalogs that became active, newest first: when, by whom and why."""
    found = session.use(data, lambda context: publish.history(context, limit=limit))
    if as_json:
        show.json({"items": found, "active": found[0].hash if found else None})
        return
    show.table(
        ["CATALOG", "ACTIVE SINCE", "BY", "MESSAGE", "SUBSCRIBERS MOVED", "RULES BROKEN"],
        [
            (
                each.hash + (" (active)" if place == 0 else ""),
                show.instant(each.activated_at),
                each.author,
                each.message,
                show.pairs(each.moves),
                ", ".join(each.acknowledged),
            )
            for place, each in enumerate(found)
        ],
    )


@click.command("show")
@click.argument("named", metavar="HASH")
@click.option(
    "--files",
    "folder",
    type=Folder,
    metavar="DIR",
    help="Write the files into this folder; it must be new or empty.",
)
@settings.data_option
@show.json_option
def show_catalog(*, named: str, folder: Path | None, data: Path | None, as_json: bool) -> None:
    """Show the files of a published catalog, or get them back.

    HASH is what `metergate catalog history` lists; the beginning of it will do.
    """

    async def found(context: Context) -> tuple[str, dict[str, str]]:
        catalog_hash = await activation.find(context, named)
        return catalog_hash, await publish.files_of(context, catalog_hash)

    catalog_hash, files = session.use(data, found)
    if folder is not None:
        write(folder, files)
    if as_json:
        show.json({"hash": catalog_hash, "files": files})
    elif folder is not None:
        click.echo(f"The {len(files):,} files of {catalog_hash} are in {folder}.")
    else:
        show.table(["FILE", "LINES"], [(path, f"{text.count(chr(10)):,}") for path, text in files.items()])


for _command in (
    catalog_init.init,
    check_catalog,
    catalog_test_command.test_catalog,
    catalog_diff.diff,
    catalog_replay.replay,
    catalog_publish.publish_catalog,
    catalog_publish.activate_catalog,
    history,
    show_catalog,
    catalog_policy.show_policy,
    catalog_policy.schema,
):
    catalog.add_command(_command)
