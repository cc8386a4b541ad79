"""How answers look on a terminal: JSON for programs, aligned lines and tables for people."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from policies.compiler.findings import visible

_UNBOUNDED: Final = 100_000
"""The width of a table that no person reads at a terminal: every row is one line."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def json(value: object) -> None:
    """The value as JSON, indented; bytes are JSON already."""
    text = value if isinstance(value, bytes) else msgspec.json.encode(value)
    click.echo(msgspec.json.format(text, indent=2).decode())


def fields(rows: Iterable[tuple[str, str]], *, indent: int = 2) -> None:
    """Names and values, one line each; what has no value is left out."""
    told = [(name, visible(value)) for name, value in rows if value]
    width = max((len(name) for name, _ in told), default=0)
    for name, value in told:
        click.echo(f"{' ' * indent}{name.ljust(width)}  {value}")


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table: on a terminal as wide as that, elsewhere one line a row."""
    console = Console(width=None if sys.stdout.isatty() else _UNBOUNDED, highlight=False, emoji=False)
    shown = Table(*headers, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        shown.add_row(*(Text(visible(cell), overflow="fold") for cell in row))
    with console.capture() as captured:
        console.print(shown)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def note(sentence: str) -> None:
    """For the person at the terminal, beside the answer: a program that reads the answer does not get it."""
    click.echo(sentence, err=True)


def instant(at: datetime | None) -> str:
    """`2026-12-01`, or with its time where that is not midnight."""
    if at is None:
        return ""
    midnight = (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0)
    return at.strftime("%Y-%m-%d" if midnight else "%Y-%m-%d %H:%M:%S UTC")


def number(value: int | str | None) -> str:
    """A quantity of the wire with its thousands set apart."""
    return "" if value is None else f"{Decimal(value):,}"


def pairs(values: Mapping[str, str]) -> str:
    """`key=value, key=value`."""
    return ", ".join(f"{key}={value}" for key, value in values.items())
