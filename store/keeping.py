"""Keeping acts: the database tells new ones from known ones by their ids, then takes events and sums.

The ids go through a temporary table. While the server looks them up, the sums are made as if all were new,
which they mostly are; where one is not, they are made again without it.
"""

import asyncio
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

import msgspec

from policies import limits
from store import copying, journal, partitions, postgres, queries, sums
from store.staging import Decision, Staged

sql = queries.Queries("flush")

_DAY: Final = 24 * sums.HOUR
_MAYBE_BILLED: Final = timedelta(seconds=limits.CLOSE_GRACE_LEAST_S) / 2
"""No billing period that ended later than so long ago is closed; half of its grace is left to clocks."""


async def store(connection: postgres.Connection, staged: Sequence[Staged], *, now: datetime) -> list[Staged]:
    """Keeps what is new and gives back what was there already."""
    month = partitions.month_of(now.date())
    await _ensure_partitions(connection, staged, month)
    await connection.execute(sql.make_staging)
    await copying.copy(connection, sql.copy_keys, map(_key, range(len(staged)), staged))
    horizon = partitions.horizon(now.date())
    looking = asyncio.create_task(
        postgres.scalars(connection, sql.insert_keys, {"month": month, "horizon": horizon})
    )
    await asyncio.sleep(0)  # so that it has been asked
    hours, moves = sums.hours(staged), sums.counters(staged)
    stale, fresh = set(await looking), staged
    if stale:
        fresh = [item for place, item in enumerate(staged) if place not in stale]
        hours, moves = sums.hours(fresh), sums.counters(fresh)
    await copying.copy(connection, sql.copy_events, (_event(item) for item in fresh if item.is_event))
    await copying.copy(connection, sql.copy_hours, hours)
    await copying.copy(connection, sql.copy_moves, moves)
    await postgres.execute(connection, sql.add_to_rollups, {})
    await postgres.execute(connection, sql.add_to_counters, {})
    if any(journal.instant(item.event.event_at) < now - _MAYBE_BILLED for item in staged):
        await postgres.execute(connection, sql.note_late, {})
    return [staged[place] for place in sorted(stale)]


async def _ensure_partitions(connection: postgres.Connection, staged: Sequence[Staged], month: date) -> None:
    days = {item.event.event_at // _DAY for item in staged}
    months = {partitions.month_of(journal.instant(day * _DAY).date()) for day in days}
    wanted = {("usage_events", event_month) for event_month in months}
    await partitions.ensure(connection, wanted | {("usage_keys", month)})


def _key(place: int, item: Staged) -> str:
    event = item.event
    at, fingerprint = copying.instant(event.event_at), str(event.fingerprint)
    return copying.line([str(place), event.tenant_id, event.feature_id, event.digest.hex(), fingerprint, at])


def _event(item: Staged) -> str:
    """The row of an event: what every one has, and then what may be null."""
    event, draw = item.event, item.draw
    always = copying.line(
        [
            event.tenant_id,
            copying.instant(event.event_at),
            (event.reservation or event.digest).hex(),
            event.service_id,
            event.event_id,
            event.feature_id,
            event.entity_id,
            event.plan_id,
            str(event.quantity),
            str(item.measured),
            event.window,
            str(draw.included),
            str(draw.overage),
            str(draw.excess),
            copying.instant(event.accepted_at),
        ]
    )
    grants = _json({grant.grant_id: amount for grant, amount in draw.grants})
    generations = _json({str(number): amount for number, amount in draw.rollover})
    return f"{always}\t{grants}\t{generations}\t{_json(event.properties)}\t{_decided(item)}"


def _json(value: object) -> str:
    """As a column of JSON has it; nothing where there is nothing to say."""
    return copying.escaped(msgspec.json.encode(value).decode()) if value else copying.NOTHING


def _decided(item: Staged) -> str:
    """What a decision stood on, and the levels that it was made on, as the column has it."""
    decided = item.event.decided
    if decided is None:
        return copying.NOTHING
    return _json(Decision(decided.decision_id, decided.catalog, decided.context, item.levels))
