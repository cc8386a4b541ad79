"""What was given on the command line, held against the same bounds as the API's bodies."""

import re
from datetime import datetime
from typing import TypeVar

import click
import msgspec

from policies import limits
from service.api import findings, wire

T = TypeVar("T", bound=msgspec.Struct)

limit_option = click.option(
    "--limit",
    type=click.IntRange(1, limits.LIST_LIMIT),
    default=limits.LIST_LIMIT_DEFAULT,
    show_default=True,
    help="How many to list at most.",
)
reason_option = click.option("--reason", required=True, metavar="TEXT", help="Why; it is written down.")
after_option = click.option("--after", default="", metavar="ID", help="List what comes behind this id.")


def bounded(kind: type[T], **given: object) -> T:
    """The arguments as this Struct of `wire` types; what is None was not given.

    Errors: click.UsageError naming every one that is out of bounds.
    """
    names = {field.encode_name: field.name for field in msgspec.structs.fields(kind)}
    values = {
        encoded: given[name] for encoded, name in names.items() if given.get(name) not in (None, (), {})
    }
    if found := findings.find(values, kind):
        raise click.UsageError("\n".join(f"{_label(each.pointer)}: {each.message}" for each in found))
    return msgspec.convert(values, kind)


def pairs(_context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`key=value` options as a dict; for the callback of an option that may be repeated.

    Errors: click.BadParameter.
    """
    found: dict[str, str] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f'"{text}" is not KEY=VALUE.', param=parameter)
        if key in found:
            raise click.BadParameter(f'"{key}" is given twice.', param=parameter)
        found[key] = value
    return found


def utc(at: datetime | None, name: str) -> datetime | None:
    """The instant in UTC.

    Errors: InvalidError for one outside the calendar.
    """
    return None if at is None else wire.utc(at, name)


def _label(pointer: str) -> str:
    """The field's name in words: `/startAt` is `start at`."""
    head, *rest = pointer.strip("/").split("/")
    words = re.sub("([A-Z])", lambda found: f" {found[0].lower()}", head)
    return f"{words} {'/'.join(rest)}".strip()
