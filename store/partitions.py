"""Partitions by month: made before the first row of a month needs them."""

from collections.abc import Iterable
from datetime import date, timedelta

from store import postgres, queries

sql = queries.Queries("partitions")


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


async def ensure(connection: postgres.Connection, wanted: Iterable[tuple[str, date]]) -> None:
    """Makes the partitions that are missing; waits for one that another process makes at the same moment."""
    existing = set(await postgres.scalars(connection, sql.existing, {}))
    for table, month in sorted(set(wanted)):
        if name(table, month) in existing:
            continue
        statement = (
            f"create table if not exists {name(table, month)} partition of {table} "
            f"for values from ('{month}') to ('{following(month)}')"
        )
        await postgres.execute(connection, statement.encode(), {})
