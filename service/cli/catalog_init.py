"""`metergate catalog init`: a repository of one's own for the plans, ready to edit, check and publish."""

import json
import shlex
from importlib import resources
from pathlib import Path
from typing import Final

import click

from policies.compiler import jsonschema
from policies.compiler.jsonschema import FileKind
from service.cli.catalog_folder import Folder, write
from service.cli.catalog_policy import read
from service.embedded import instance

_FILES: Final = {
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "check": "ci/check",
    "plans.yml": ".github/workflows/plans.yml",
}
_PROGRAMS: Final = ("ci/check",)
_GLOBS: Final[dict[FileKind, str]] = {
    "features": "features.yaml",
    "plan": "plans/*.yaml",
    "addon": "addons/*.yaml",
    "invariants": "invariants.yaml",
    "tests": "tests/*.yaml",
}


@click.command("init")
@click.argument("folder", metavar="DIR", type=Folder)
def init(*, folder: Path) -> None:
    """Make DIR a repository of your own for the plans, with the example plans to begin with.

    It gets a README, the example's plans and tests, what an editor needs to complete them, and a check for
    every change. DIR must be new or empty. Needs no servers.
    """
    files = contents()
    write(folder, files, programs=_PROGRAMS)
    place = shlex.quote(str(folder))
    click.echo(f"{len(files)} files are in {folder}. Begin with {folder / 'README.md'}; then, for instance:")
    click.echo(f"  metergate catalog check {place}")
    click.echo(f"  metergate catalog diff {place}")


def contents() -> dict[str, str]:
    """Path → text of all that a new repository has."""
    ours = resources.files("service").joinpath("repository")
    files = {path: ours.joinpath(name).read_text(encoding="utf-8") for name, path in _FILES.items()}
    files |= read(instance.CATALOG)
    schemas = {f"schemas/{kind}.json": _json(jsonschema.schema_for(kind)) for kind in _GLOBS}
    bound = {f"./schemas/{kind}.json": glob for kind, glob in _GLOBS.items()}
    settings = {"yaml.schemas": bound, "[yaml]": {"editor.insertSpaces": True, "editor.tabSize": 2}}
    extensions = {"recommendations": ["redhat.vscode-yaml"]}
    return (
        files
        | schemas
        | {".vscode/settings.json": _json(settings), ".vscode/extensions.json": _json(extensions)}
    )


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
