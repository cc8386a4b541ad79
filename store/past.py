"""What held and what had been used at an instant: read from facts and single events."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from policies import balance, limits, rollover
from policies.balance import Levels
from policies.entitlement import Right
from policies.model import MeteredTerms
from policies.period import Period
from policies.rollover import Counted
from policies.snapshot import Snapshot
from store import keyspace, postgres, queries

sql = queries.Queries("past")

_BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)


class _Drawn(msgspec.Struct, frozen=True):
    included: int
    overage: int
    excess: int


class _FromGrant(msgspec.Struct, frozen=True):
    grant_id: str
    amount: int


class _FromGeneration(msgspec.Struct, frozen=True):
    generation: int
    amount: int


async def active_hash(connection: postgres.Connection, at: datetime) -> str | None:
    """The hash of the catalog that was active at an instant; None before the first activation."""
    found: list[str] = await postgres.scalars(connection, sql.active_hash, {"at": at})
    return found[0] if found else None


async def snapshot(
    connection: postgres.Connection, tenant_id: str, *, feature_id: str, at: datetime
) -> Snapshot:
    """What held of a tenant at an instant, as far as it bears on a feature; what came later is left out."""
    params = {
        "tenant_id": tenant_id,
        "feature_id": feature_id,
        "at": at,
        "phases": limits.PHASES,
        "billing": limits.BILLING_FACTS,
        "carried_since": at - timedelta(days=limits.ROLLOVER_DAYS),
    }
    found = await postgres.scalars(connection, sql.snapshot, params)
    if not found:
        return Snapshot(tenant_id=tenant_id, version=0, known=False)
    return msgspec.json.decode(found[0], type=Snapshot)


async def levels(
    connection: postgres.Connection,
    right: Right,
    *,
    entity_id: str | None,
    capped: Sequence[Sequence[Period]],
    at: datetime,
) -> Levels:
    """What events up to an instant drew, by the draws that were booked with them (R17).

    `capped` has for each cap of the right the spans in which the tenant's plan had it: usage before a plan
    with a cap does not count against it.
    """
    assert isinstance(right.terms, MeteredTerms), "only metered features have counters"
    assert right.period is not None, "a metered right has a period"
    whose = {"tenant_id": right.tenant_id, "feature_id": right.feature_id, "at": at}
    period = {
        "time_window": keyspace.window(right.terms.interval, right.period),
        "start": right.period.start if right.period.end is not None else _BEGINNING,
    }
    drawn = await postgres.row(connection, sql.drawn, whose | period, _Drawn)
    assert drawn is not None, "a sum has a row"
    if right.feature is not None and right.feature.is_level():
        return await _risen(connection, right, drawn, whose | period)
    used = []
    for cap, spans in zip(right.terms.caps, capped, strict=True):
        entity = entity_id if cap.per == "entity" else None
        known = cap.per == "tenant" or entity_id is not None
        used.append(await _measured(connection, whose | {"entity_id": entity}, spans) if known else 0)
    generations, carried = await _carried(connection, right, whose, period)
    return Levels(
        included=drawn.included,
        overage=drawn.overage,
        excess=drawn.excess,
        caps=tuple(used),
        grants=await _from_grants(connection, right, whose),
        rollover=generations,
        carried=carried,
    )


async def _risen(
    connection: postgres.Connection, right: Right, drawn: _Drawn, params: dict[str, object]
) -> Levels:
    """A level, which is that of the events by their own instants, in whatever order they came.

    As booked, where they came in the order of their instants; else as the right of the instant spreads it.
    """
    assert right.feature is not None, "a level is of a feature"
    found: list[int] = await postgres.scalars(
        connection, sql.level, params | {"property": right.feature.property}
    )
    as_booked = drawn.excess >= 0 and drawn.included + drawn.overage + drawn.excess == found[0]
    room = balance.capacity(right.terms, overage=right.has_overage)
    spread = drawn if as_booked else balance.draw(room, Levels(), found[0])
    return Levels(included=spread.included, overage=spread.overage, excess=spread.excess)


async def _measured(
    connection: postgres.Connection, params: dict[str, object], spans: Sequence[Period]
) -> int:
    if not spans:
        return 0
    spread = {
        "start": min(span.start for span in spans),
        "starts": [span.start for span in spans],
        "ends": [span.end for span in spans],
        "most": limits.COUNTER_MAX,
    }
    found: list[int] = await postgres.scalars(connection, sql.measured, params | spread)
    return found[0]


async def _from_grants(
    connection: postgres.Connection, right: Right, params: dict[str, object]
) -> tuple[int, ...]:
    if not right.grants:
        return ()
    lives = {
        "grants": [grant.id for grant in right.grants],
        "start": min(grant.effective_at for grant in right.grants),
    }
    rows = await postgres.rows(connection, sql.drawn_from_grants, params | lives, _FromGrant)
    amounts = {row.grant_id: row.amount for row in rows}
    return tuple(amounts.get(grant.id, 0) for grant in right.grants)


async def _carried(
    connection: postgres.Connection, right: Right, whose: dict[str, object], period: dict[str, object]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What was drawn from each generation of what earlier periods carried, and what each got."""
    counted, count = [], len(right.rollover)
    for place, link in enumerate(right.rollover, start=1):
        assert link.window.end is not None, "what carried has ended"
        span = {
            "time_window": keyspace.window(link.interval, link.window),
            "start": link.window.start,
            "ended": link.window.end,
            "sealed": link.window.end + timedelta(seconds=limits.ROLLOVER_GRACE_S),
        }
        drawn: list[int] = await postgres.scalars(connection, sql.drawn_in_time, whose | span)
        generations = await _generations(connection, whose | span, count - place)
        counted.append(Counted(drawn=drawn[0], generations=generations))
    own = await _generations(connection, whose | period | {"sealed": None}, count)
    return own, rollover.sizes(right.rollover, counted)


async def _generations(
    connection: postgres.Connection, params: dict[str, object], count: int
) -> tuple[int, ...]:
    if not count:
        return ()
    rows = await postgres.rows(connection, sql.drawn_from_generations, params, _FromGeneration)
    amounts = {row.generation: row.amount for row in rows}
    return tuple(amounts.get(number, 0) for number in range(1, count + 1))
