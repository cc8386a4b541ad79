"""The third witness of a counter: what the events have drawn, one by one, and what open reservations hold."""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

import msgspec

from policies import drift
from policies.drift import Count, Drift
from store import journal, keyspace, postgres, queries
from store.journal import Line
from store.link import RedisAwayError
from store.nodes import Servers
from store.staging import Staged

sql = queries.Queries("books")

_FIELD: Final = re.compile(r"(?P<feature>[^:]+):(?:(?P<period>[iox])|v(?P<number>\d+)|g:(?P<grant>[^:].*?))")
_HELD: Final = re.compile(r".+:r")
_LOST_DAYS: Final = 35
"""How far back a damaged entry is looked for, as long as the counters that it had moved may live."""


class _Drawn(msgspec.Struct, frozen=True):
    included: int
    overage: int
    excess: int


class _Differing(msgspec.Struct, frozen=True):
    """A day or an hour whose sum is another than that of its parts."""

    tenant_id: str
    feature_id: str
    place: str
    service_id: str
    entity_id: str
    plan_id: str
    expected: str
    expected_events: int
    actual: str
    actual_events: int


async def drawn(connection: postgres.Connection, count: Count, open_lines: Sequence[Line]) -> int | None:
    """What a bucket's counter must be by its events, up to where the sums in Postgres go.

    None where a counter is no sum of draws: of a cap, or of a level.
    """
    held = sum(
        move.amount
        for line in open_lines
        if line.event.tenant_id == count.tenant_id
        for move in Staged(0, "", 0, line.event, line.draw).moves()
        if (move.window, move.field) == (count.window, count.field)
    )
    if _HELD.fullmatch(count.field):
        return held
    found = _FIELD.fullmatch(count.field)
    if found is None or count.window.count(".") > 1:
        return None
    params = {
        "tenant_id": count.tenant_id,
        "feature_id": found["feature"],
        "time_window": count.window,
        "name": found["number"] or found["grant"],
        "start": journal.EPOCH + timedelta(seconds=int(count.window.split(".")[1])),
    }
    if found["period"]:
        sums = await postgres.row(connection, sql.drawn_in_window, params, _Drawn)
        assert sums is not None, "a sum has a row"
        return held + {"i": sums.included, "o": sums.overage, "x": sums.excess}[found["period"]]
    query = sql.drawn_of_grant if found["grant"] else sql.drawn_of_rollover
    amounts: list[int] = await postgres.scalars(connection, query, params)
    return held + sum(amounts)


async def lost_entries(
    connection: postgres.Connection, link: Servers, shard: int, *, now: datetime
) -> tuple[str, ...]:
    """Entries of a shard's journal that were deleted one by one, or that could not be read.

    Errors: RedisAwayError.
    """
    params = {"shard": shard, "since": now - timedelta(days=_LOST_DAYS)}
    lost = await postgres.scalars(connection, sql.lost_entries, params)
    (reply,) = (await link.send([("XINFO", "STREAM", keyspace.journal(shard))])).values
    if isinstance(reply, Exception):
        if "no such key" in str(reply):
            return tuple(lost)
        raise RedisAwayError(str(reply))
    last = dict(zip(reply[::2], reply[1::2], strict=True))[b"max-deleted-entry-id"].decode()
    return (*lost, *([f"{last} (deleted)"] if last != "0-0" else []))


async def altered_rollups(
    connection: postgres.Connection, tenant_ids: Sequence[str], *, first_day: date
) -> list[Drift]:
    """Days that are not the sum of their hours, and hours that are not that of their events, since a day."""
    params = {"tenants": list(tenant_ids), "first_day": first_day, "limit": len(tenant_ids) * 100}
    days = await postgres.rows(connection, sql.days_that_differ, params, _Differing)
    hours = await postgres.rows(connection, sql.hours_that_differ, params, _Differing)
    return [
        *(_altered("day_altered", one) for one in days),
        *(_altered("hour_altered", one) for one in hours),
    ]


def _altered(kind: drift.Class, one: _Differing) -> Drift:
    return Drift(
        kind=kind,
        tenant_id=one.tenant_id,
        feature_id=one.feature_id,
        subject=" ".join(
            (one.place, one.feature_id, one.service_id, one.entity_id or "-", one.plan_id or "-")
        ),
        expected=int(one.expected),
        actual=int(one.actual),
        evidence={"expectedEvents": one.expected_events, "actualEvents": one.actual_events},
    )
