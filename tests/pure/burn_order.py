"""Reads the cases of tests/data/burn-order.yaml; what may stand in them is told in the README beside it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML

FILE = Path(__file__).parents[1] / "data" / "burn-order.yaml"
YEAR = 2047
"""The year of all stories: far ahead, since Redis drops by its own clock what is long over."""


class Carry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of what is left goes on, and for how many months."""

    max: int
    intervals: int = 1


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a month includes, and the overage past it; `unlimited` is without end."""

    included: int | str
    overage: int | str = 0
    rollover: Carry | None = None


class Gift(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """A grant, by a name of the story."""

    id: str
    quantity: int
    priority: int = 100
    since: str | None = None
    until: str | None = None


class Shown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers of one bucket; what is not said is not looked at."""

    granted: int | None = None
    used: int | None = None
    expired: int | None = None
    left: int | None = None


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing on one day: a use (`of` an earlier day), a grant, a void, another plan, a look."""

    on: str
    use: int | None = None
    of: str | None = None
    draws: dict[str, int] = {}
    give: Gift | None = None
    void: str | None = None
    plan: Plan | None = None
    shows: dict[str, Shown] = {}


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tenant's story from the first of the month on."""

    name: str
    plan: Plan
    story: list[Step]


def cases() -> list[Case]:
    """All of them, in the order of the file."""
    found: Any = YAML(typ="safe").load(FILE)
    return msgspec.convert(found, list[Case])


def day(said: str) -> datetime:
    """The beginning of a day of the story: `Nov 10`."""
    return datetime.strptime(f"{said} {YEAR} +0000", "%b %d %Y %z").astimezone(UTC)


BEGINNING = day("Nov 1")


def moment(step: Step, place: int) -> datetime:
    """When a step happens: on its day, each a minute after the one before it."""
    return day(step.on).replace(hour=place // 60, minute=place % 60)
