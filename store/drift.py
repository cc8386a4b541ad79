"""Drift as it is kept: found once it is suspected, found again open, gone when a look finds it no more."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from policies.drift import KINDS, Class, Detail, Drift, State
from store import postgres, queries

sql = queries.Queries("drift")

ID: Final = "drf_"


class Known(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One difference with its history. Amounts are scaled."""

    drift_id: str
    kind: Class = msgspec.field(name="class")
    tenant_id: str
    feature_id: str
    subject: str
    expected: Detail
    actual: Detail
    money: dict[str, int] | None
    """Minor units at risk by currency; None: none, or nobody has rated it."""
    evidence: dict[str, Detail]
    action: str
    """What would end it."""
    why_safe: str
    """Why that harms nobody; empty where somebody has to look first."""
    state: State
    looks: int
    """How many looks have found it, one after the other."""
    first_seen_at: datetime
    last_seen_at: datetime
    gone_at: datetime | None

    @property
    def drift(self) -> Drift:
        """As a look has it."""
        return Drift(
            kind=self.kind,
            tenant_id=self.tenant_id,
            feature_id=self.feature_id,
            subject=self.subject,
            expected=self.expected,
            actual=self.actual,
            evidence=self.evidence,
        )


class Open(msgspec.Struct, frozen=True):
    """How many of a class are open, and since when the oldest."""

    kind: Class
    number: int
    since: datetime


class Kept(msgspec.Struct, frozen=True):
    """What came of keeping what a look has found."""

    suspected: tuple[Known, ...] = ()
    opened: tuple[Known, ...] = ()
    """Open from this look on."""
    open: tuple[Known, ...] = ()
    """All that are, those just opened included."""
    passed: int = 0
    """Suspected ones that this look has not found: they were none."""
    gone: int = 0


def id_of(drift: Drift) -> str:
    """The same for whatever look finds it."""
    name = f"{drift.kind}\0{drift.tenant_id}\0{drift.subject}"
    return ID + hashlib.sha256(name.encode()).hexdigest()[:16]


async def of_tenants(connection: postgres.Connection, tenant_ids: Collection[str]) -> list[Known]:
    """What is suspected or open of these tenants, locked for this transaction."""
    return await postgres.rows(connection, sql.of_tenants, {"tenants": sorted(tenant_ids)}, Known)


async def keep(
    connection: postgres.Connection,
    tenant_ids: Collection[str],
    found: Iterable[Drift],
    *,
    now: datetime,
    apart: timedelta,
) -> Kept:
    """Keeps what a look at these tenants has found, and ends what it has not found any more.

    Open is what two looks have found alike, at least `apart` from each other.
    """
    known = {one.drift_id: one for one in await of_tenants(connection, tenant_ids)}
    stands = [_next(known.get(id_of(drift)), drift, now, apart) for drift in found]
    for one in stands:
        await postgres.execute(connection, sql.put, _row(one))
    missed = [known[drift_id] for drift_id in known.keys() - {one.drift_id for one in stands}]
    passed = [one for one in missed if one.state == "suspected"]
    for one in missed:
        query = sql.drop if one.state == "suspected" else sql.end
        whose = {"tenant_id": one.tenant_id, "drift_id": one.drift_id, "now": now}
        await postgres.execute(connection, query, whose)
    open_ = tuple(one for one in stands if one.state == "open")
    return Kept(
        suspected=tuple(one for one in stands if one.state == "suspected"),
        opened=tuple(one for one in open_ if _was(known, one) != "open"),
        open=open_,
        passed=len(passed),
        gone=len(missed) - len(passed),
    )


def _was(known: dict[str, Known], one: Known) -> State | None:
    before = known.get(one.drift_id)
    return before.state if before else None


def _next(before: Known | None, drift: Drift, now: datetime, apart: timedelta) -> Known:
    """How it stands after a look that has found it."""
    kind = KINDS[drift.kind]
    fresh = Known(
        drift_id=id_of(drift),
        kind=drift.kind,
        tenant_id=drift.tenant_id,
        feature_id=drift.feature_id,
        subject=drift.subject,
        expected=drift.expected,
        actual=drift.actual,
        money=None,
        evidence=drift.evidence,
        action=kind.action,
        why_safe=kind.why_safe,
        state="suspected",
        looks=1,
        first_seen_at=now,
        last_seen_at=now,
        gone_at=None,
    )
    if before is None or (before.state == "suspected" and before.drift.amount != drift.amount):
        return fresh
    again = before.state == "open" or now - before.first_seen_at >= apart
    return msgspec.structs.replace(
        fresh,
        state="open" if again else "suspected",
        looks=before.looks + again,
        first_seen_at=before.first_seen_at,
    )


def _row(one: Known) -> dict[str, object]:
    row = msgspec.structs.asdict(one)
    for name in ("expected", "actual", "evidence", "money"):
        value = row[name]
        row[name] = None if name == "money" and value is None else msgspec.json.encode(value).decode()
    return row


async def due(connection: postgres.Connection, *, before: datetime, limit: int) -> list[str]:
    """Tenants of whom something was found by an instant that has to be looked at again."""
    return await postgres.scalars(connection, sql.due, {"before": before, "limit": limit})


async def listed(
    connection: postgres.Connection,
    states: Sequence[State],
    *,
    tenant_id: str | None = None,
    kind: Class | None = None,
    limit: int,
) -> list[Known]:
    """The oldest first."""
    params = {"states": list(states), "tenant_id": tenant_id, "kind": kind, "limit": limit}
    return await postgres.rows(connection, sql.list, params, Known)


async def find(connection: postgres.Connection, drift_id: str) -> Known | None:
    """The one of this id, also once it is gone."""
    return await postgres.row(connection, sql.find, {"drift_id": drift_id}, Known)


async def open_by_class(connection: postgres.Connection) -> list[Open]:
    """How many are open."""
    return await postgres.rows(connection, sql.open, {}, Open)
