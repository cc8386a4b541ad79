"""Partitions by month: made before the first row of a month needs them."""

from collections.abc import Set as AbstractSet
from datetime import date, timedelta

from store import postgres, queries

sql = queries.Queries("partitions")

LOCK = 0x6D67_0003
"""Under which one process makes partitions while others wait: `if not exists` does not wait."""


def month_of(day: date) -> date:
    """The first day of its month."""
    return date(day.year, day.month, 1)


def months_before(month: date, count: int) -> date:
    """The first day of the month so many months earlier."""
    index = month.year * 12 + month.month - 1 - count
    return date(index // 12, index % 12 + 1, 1)


def following(month: date) -> date:
    """The first day of the next month."""
    return month_of(month + timedelta(days=31))


def name(table: str, month: date) -> str:
    """`usage_events_2026_11`."""
    return f"{table}_{month.year:04d}_{month.month:02d}"


async def ensure(connection: postgres.Connection, wanted: AbstractSet[tuple[str, date]]) -> None:
    """Makes the partitions that are missing; waits for one that another process makes at the same moment."""
    if not await _missing(connection, wanted):
        return
    await postgres.execute(connection, sql.take_lock, {"lock": LOCK})
    for table, month in await _missing(connection, wanted):
        statement = (
            f"create table {name(table, month)} partition of {table} "
            f"for values from ('{month}') to ('{following(month)}')"
        )
        await postgres.execute(connection, statement.encode(), {})


async def _missing(
    connection: postgres.Connection, wanted: AbstractSet[tuple[str, date]]
) -> list[tuple[str, date]]:
    existing = set(await postgres.scalars(connection, sql.existing, {}))
    return [(table, month) for table, month in sorted(wanted) if name(table, month) not in existing]
