"""`metergate catalog show-policy` and `schema`: what the plan files become, and how they are written."""

import difflib
from collections.abc import Iterable
from pathlib import Path

import click

from policies.compiler import cedar, guard_cedar, jsonschema
from policies.compiler.jsonschema import FileKind
from policies.model import Catalog
from service import catalog_files
from service.cli import session, settings, show
from service.cli.group import CannotRunError
from service.context import Context
from service.embedded import instance
from service.usecases import publish
from service.usecases.publish import Examined

catalog_option = click.option(
    "--catalog",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Use the plan files in this folder. Without it: the active catalog, or where there are no servers "
    "the example plans that come with Metergate.",
)


def read(folder: Path) -> dict[str, str]:
    """The plan files of a folder.

    Errors: CannotRunError.
    """
    try:
        return catalog_files.read(folder)
    except catalog_files.CatalogFilesError as error:
        raise CannotRunError(str(error)) from error


def examine(files: dict[str, str]) -> Examined:
    """The catalog that they make, and what was found in them."""
    return session.run(lambda: publish.examine(files))


@click.command("show-policy")
@click.argument("plan_id", metavar="PLAN")
@click.argument("feature_id", metavar="FEATURE")
@catalog_option
@settings.data_option
def show_policy(*, plan_id: str, feature_id: str, folder: Path | None, data: Path | None) -> None:
    """Print the Cedar policies that decide about FEATURE for tenants on PLAN.

    Each comes from the line of the plan file that its @source names.
    """
    catalog, where = _catalog(folder, data)
    plan = catalog.plans.get(plan_id)
    if plan is None:
        raise CannotRunError(f'There is no plan "{plan_id}".{_meant(plan_id, catalog.plans)}')
    if feature_id not in catalog.features:
        raise CannotRunError(f'There is no feature "{feature_id}".{_meant(feature_id, catalog.features)}')
    text = cedar.show_policy(plan, feature_id)
    click.echo(f"// {plan.version}, from {where}")
    click.echo(text, nl=False)


@click.command("schema")
@click.argument("kind", type=click.Choice(jsonschema.KINDS), required=False)
@click.option(
    "--cedar", "as_cedar", is_flag=True, help="Print the schema that guards are checked with instead."
)
@catalog_option
@settings.data_option
def schema(*, kind: FileKind | None, folder: Path | None, data: Path | None, as_cedar: bool) -> None:
    """Print the JSON Schema of one kind of catalog file, such as features (features.yaml) or plan (plans/).

    Point your editor to it and it completes and explains the files while you write them. With --cedar: the
    words that a guard of this catalog may use, as a Cedar schema.
    """
    if as_cedar == (kind is not None):
        raise click.UsageError(f"Say one of: {', '.join(jsonschema.KINDS)}, --cedar.")
    if kind is not None:
        show.json(jsonschema.schema_for(kind))
        return
    catalog, where = _catalog(folder, data)
    click.echo(f"// from {where}")
    click.echo(guard_cedar.guard_schema(catalog.features.values()), nl=False)


def _catalog(folder: Path | None, data: Path | None) -> tuple[Catalog, str]:
    """The catalog that was asked for, and what it is called.

    Errors: CannotRunError if it has errors, or if none is active.
    """
    if folder is None and settings.reachable(data):
        active = session.use(data, _active)
        if active is None:
            raise CannotRunError("No catalog is active yet; name a folder of plan files with --catalog.")
        return active, f"the active catalog {active.hash}"
    bundled = folder is None
    examined = examine(read(folder or instance.CATALOG))
    if examined.catalog is None:
        raise CannotRunError(f"The plan files have errors; `metergate catalog check {folder}` lists them.")
    return examined.catalog, "the example plans of Metergate" if bundled else f"the plan files in {folder}"


async def _active(context: Context) -> Catalog | None:
    return await publish.active(context) if context.catalogs.active else None


def _meant(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f' Did you mean "{near[0]}"?' if near else f" There are: {', '.join(names)}."
