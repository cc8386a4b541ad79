"""What becomes of a level when an event of it is amended or voided: it is found from all others (R21)."""

from datetime import UTC, datetime
from typing import Final

import msgspec

from policies.revision import Change
from store import keyspace, postgres, revisions
from store.catalogs import Meaning
from store.journal import Rise
from store.revising import Level
from store.revisions import Others, RevisedEvent

_BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)


class Found(msgspec.Struct, frozen=True):
    """What the script is told of a level whose counters are kept; of another, what reports are told."""

    level: Level | None
    rise: Rise | None
    measured: int
    """By how much reports change where no counter says it."""


async def found(
    connection: postgres.Connection, event: RevisedEvent, meaning: Meaning, change: Change, *, counted: bool
) -> Found:
    """`counted`: the counters of its period are kept. All that was accepted must be in Postgres."""
    value = (event.properties or {}).get(meaning.property) if meaning.property is not None else None
    others = await revisions.others(connection, event, meaning.property, value, since=_since(event.window))
    if not counted:
        return Found(None, None, _growth(event, change, value, others))
    if value is None:
        level = Level(to=max(others.highest, change.quantity), acts=others.acts)
        return Found(level, Rise(), 0)
    field = keyspace.value_field(value)
    return Found(Level(value=field), Rise(field), 0)


def _growth(event: RevisedEvent, change: Change, value: str | None, others: Others) -> int:
    if value is None:
        return max(others.highest, change.quantity) - max(others.highest, event.quantity)
    return 0 if others.alike else -1


def _since(window: str) -> datetime:
    """No event of the window is older."""
    interval, start = keyspace.parse_window(window)
    return _BEGINNING if interval == "never" else datetime.fromtimestamp(start, UTC)
