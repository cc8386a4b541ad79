"""Partitions by month or by day: made before the first row needs them; those by day are dropped by age."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import date, timedelta

import msgspec

from policies import limits
from store import postgres, queries

sql = queries.Queries("partitions")

LOCK = 0x6D67_0003
"""Under which one process makes partitions while others wait: `if not exists` does not wait."""


def month_of(day: date) -> date:
    """The first day of its month."""
    return date(day.year, day.month, 1)


def horizon(today: date) -> date:
    """The oldest month of arrival whose ids are looked for: that of limits.DEDUPE_DAYS ago, and a day more.

    By days: this month and the two before it are 59 days on the first of March. Clocks may differ by a day.
    """
    return month_of(today - timedelta(days=limits.DEDUPE_DAYS + 1))


def following(month: date) -> date:
    """The first day of the next month."""
    return month_of(month + timedelta(days=31))


def name(table: str, month: date) -> str:
    """`usage_events_2026_11`."""
    return f"{table}_{month.year:04d}_{month.month:02d}"


def name_of_day(table: str, day: date) -> str:
    """`decisions_2026_11_22`."""
    return f"{name(table, day)}_{day.day:02d}"


class Partition(msgspec.Struct, frozen=True, order=True):
    """A part of a table: the half-open span of days that it holds."""

    table: str
    name: str
    start: date
    end: date


async def ensure(connection: postgres.Connection, wanted: AbstractSet[tuple[str, date]]) -> None:
    """Makes the partitions by month that are missing."""
    await _make(connection, [Partition(t, name(t, month), month, following(month)) for t, month in wanted])


async def ensure_days(connection: postgres.Connection, table: str, days: AbstractSet[date]) -> None:
    """Makes the partitions by day that are missing."""
    await _make(
        connection,
        [Partition(table, name_of_day(table, day), day, day + timedelta(days=1)) for day in days],
    )


async def drop_days(connection: postgres.Connection, table: str, *, before: date) -> int:
    """Drops the partitions by day of a table that end by a day; how many."""
    names = await postgres.scalars(connection, sql.existing, {"tables": [table]})
    old = sorted(each for each in names if each < name_of_day(table, before))
    for each in old:
        await postgres.execute(connection, f"drop table if exists {each}".encode(), {})
    return len(old)


async def drop_months(connection: postgres.Connection, table: str, *, before: date) -> int:
    """Drops the partitions by month of a table that end by a month; how many.

    Nobody waits long behind it: it gives up instead, and is right to be begun again.
    Errors: UnavailableError.
    """
    names = await postgres.scalars(connection, sql.existing, {"tables": [table]})
    old = sorted(each for each in names if each < name(table, before))
    if old:
        await connection.execute("set local lock_timeout = '1s'")
    for each in old:
        await postgres.execute(connection, f"drop table if exists {each}".encode(), {})
    return len(old)


async def _make(connection: postgres.Connection, wanted: Sequence[Partition]) -> None:
    """Makes what is missing; waits for what another process makes at the same moment."""
    if not await _missing(connection, wanted):
        return
    await postgres.execute(connection, sql.take_lock, {"lock": LOCK})
    for each in await _missing(connection, wanted):
        span = f"from ('{each.start}') to ('{each.end}')"
        statement = f"create table {each.name} partition of {each.table} for values {span}"
        await postgres.execute(connection, statement.encode(), {})


async def _missing(connection: postgres.Connection, wanted: Sequence[Partition]) -> list[Partition]:
    tables = sorted({each.table for each in wanted})
    existing = set(await postgres.scalars(connection, sql.existing, {"tables": tables}))
    return [each for each in sorted(wanted) if each.name not in existing]
