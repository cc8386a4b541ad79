"""Keeping acts: the database tells new ones from known ones by their ids, then takes events and sums.

The ids go through a temporary table. While the server looks them up, the sums are made as if all were new,
which they mostly are; where one is not, they are made again without it.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import psycopg

from policies import limits
from store import copying, journal, partitions, postgres, queries, rows, sums
from store.staging import Staged

sql = queries.Queries("flush")

_DAY: Final = 24 * sums.HOUR
_MAYBE_BILLED: Final = timedelta(seconds=limits.CLOSE_GRACE_LEAST_S) / 2
"""No billing period that ended later than so long ago is closed; half of its grace is left to clocks."""


async def store(connection: postgres.Connection, staged: Sequence[Staged], *, now: datetime) -> list[Staged]:
    """Keeps what is new and gives back what was there already."""
    month = partitions.month_of(now.date())
    await _ensure_partitions(connection, staged, month)
    await connection.execute(sql.make_staging)
    await rows.copy(connection, sql.copy_keys, rows.keys(staged))
    params = {
        "month": month,
        "following": partitions.following(month),
        "horizon": partitions.horizon(now.date()),
    }
    await connection.execute(b"savepoint staged")
    looking = asyncio.create_task(postgres.execute(connection, sql.insert_new_keys, params))
    await asyncio.sleep(0)  # so that it has been asked
    hours, moves = sums.hours(staged), sums.counters(staged)
    stale: set[int] = set()
    fresh = staged
    if not await _all(looking, len(staged)):
        await connection.execute(b"rollback to savepoint staged")
        stale = set(await postgres.scalars(connection, sql.insert_keys, params))
        fresh = [item for place, item in enumerate(staged) if place not in stale]
        hours, moves = sums.hours(fresh), sums.counters(fresh)
    await rows.copy(connection, sql.copy_events, rows.events(item for item in fresh if item.is_event))
    await copying.copy(connection, sql.copy_hours, hours)
    await copying.copy(connection, sql.copy_moves, moves)
    await postgres.execute(connection, sql.add_to_rollups, {})
    await postgres.execute(connection, sql.add_to_counters, {})
    if min([item.event.event_at for item in staged]) < journal.microseconds(now - _MAYBE_BILLED):
        await postgres.execute(connection, sql.note_late, {})
    return [staged[place] for place in sorted(stale)]


async def _all(looking: Awaitable[int], count: int) -> bool:
    """Whether all ids were new."""
    try:
        return await looking == count
    except psycopg.errors.UniqueViolation:
        return False


async def _ensure_partitions(connection: postgres.Connection, staged: Sequence[Staged], month: date) -> None:
    days = {item.event.event_at // _DAY for item in staged}
    months = {partitions.month_of(journal.instant(day * _DAY).date()) for day in days}
    wanted = {("usage_events", event_month) for event_month in months}
    await partitions.ensure(connection, wanted | {("usage_keys", month)})
