"""A folder of plan files: what a check of it came to, and how files are written into a new one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from policies.compiler.findings import Finding
from service.api import wire
from service.cli import catalog_words, show
from service.cli.group import CannotRunError
from service.usecases.publish import Examined

Folder: Final = click.Path(file_okay=False, path_type=Path)
_PROGRAM: Final = 0o755


class _Report(wire.Answer, frozen=True):
    """What a check came to."""

    hash: str | None
    files: int
    errors: int
    warnings: int
    findings: Sequence[Finding]


def report(examined: Examined, files: Mapping[str, str], *, as_json: bool, then: str = "") -> None:
    """Prints every finding, and a sentence that sums them up."""
    wrong = sum(finding.severity == "error" for finding in examined.findings)
    told = _Report(
        hash=None if examined.catalog is None else examined.catalog.hash,
        files=len(files),
        errors=wrong,
        warnings=len(examined.findings) - wrong,
        findings=examined.findings,
    )
    if as_json:
        show.json(told)
        return
    catalog_words.findings(examined.findings)
    click.echo(" ".join([_summary(examined, told), *([then] if then else [])]))


def write(folder: Path, files: Mapping[str, str], *, programs: Sequence[str] = ()) -> None:
    """Writes path → text into a folder that is new or empty.

    Errors: CannotRunError; nothing that was there is touched.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise CannotRunError(f"{folder} is not empty; name a new folder. Nothing was written.")
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(text)
            if name in programs:
                path.chmod(_PROGRAM)
    except OSError as error:
        raise CannotRunError(f"{error.filename or folder} cannot be written: {error.strerror}.") from error


def _summary(examined: Examined, told: _Report) -> str:
    count = catalog_words.count
    found = f"{count(told.errors, 'error')} and {count(told.warnings, 'warning')}"
    if examined.catalog is None:
        return f"{found} in {count(told.files, 'file')}."
    made = f"{count(len(examined.catalog.features), 'feature')}, {count(len(examined.catalog.plans), 'plan')}"
    return f"{found} in {count(told.files, 'file')}: {made}, catalog {examined.catalog.hash}."
