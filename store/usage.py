"""Usage in Postgres: ids that were seen, series for reports, events one by one, and what was rejected."""

import uuid
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Literal

import msgspec

from store import keyspace, partitions, postgres, queries
from store.staging import Decision

sql = queries.Queries("usage")

Step = Literal["hour", "day", "month"]
GroupBy = Literal["service", "entity", "feature", "tenant", "plan"]
LARGEST_ID = 2**63 - 1


class Seen(msgspec.Struct, frozen=True):
    """An id that Postgres knows."""

    tenant_id: str
    digest: str
    fingerprint: int


class Point(msgspec.Struct, frozen=True):
    """Usage of one group in one step; quantity is measured and scaled, an integer of any size as text."""

    key: str
    at: datetime
    quantity: str
    events: int


class StoredEvent(msgspec.Struct, frozen=True, rename="camel"):
    """One event as it stands; quantity is scaled."""

    tenant_id: str
    service_id: str
    event_id: str
    feature_id: str
    entity_id: str
    quantity: int
    event_at: datetime
    accepted_at: datetime
    plan_id: str
    properties: str | None
    digest: str
    revision: int
    voided: bool


class DecidedUse(msgspec.Struct, frozen=True):
    """A use that was consumed, and what it was decided on. `quantity` is scaled."""

    feature_id: str
    entity_id: str
    quantity: int
    event_at: datetime
    accepted_at: datetime
    decided: Decision | None
    """None: no decision counted it."""


class Rejected(msgspec.Struct, frozen=True, rename="camel"):
    """An event that did not count, as it came, and why. `event` is JSON text."""

    rejected_id: int
    tenant_id: str
    rejected_at: datetime
    slug: str
    detail: str
    event: str


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is about: half-open, on whole hours."""

    start: datetime
    end: datetime
    step: Step
    group_by: GroupBy
    tenant_id: str | None
    feature_id: str | None

    @property
    def days(self) -> tuple[datetime, datetime]:
        """The whole days of UTC within it, as an instant and the one after them; a step of hours has none."""
        first = _midnight(self.start + timedelta(days=1) - timedelta.resolution)
        end = _midnight(self.end)
        return (first, end) if self.step != "hour" and first < end else (self.start, self.start)


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


async def seen(
    connection: postgres.Connection, ids: Sequence[tuple[str, bytes]], *, today: date
) -> dict[tuple[str, bytes], int]:
    """The fingerprints of those ids (tenant, digest) that are known within the dedupe horizon."""
    params = {
        "tenants": [tenant_id for tenant_id, _ in ids],
        "digests": [uuid.UUID(bytes=digest) for _, digest in ids],
        "horizon": partitions.horizon(today),
    }
    found = await postgres.rows(connection, sql.seen, params, Seen)
    return {(row.tenant_id, uuid.UUID(row.digest).bytes): row.fingerprint for row in found}


async def decided_use(connection: postgres.Connection, tenant_id: str, digest: bytes) -> DecidedUse | None:
    """The use of this digest; None if there is none."""
    params = {"tenant_id": tenant_id, "digest": uuid.UUID(bytes=digest)}
    found: list[str] = await postgres.scalars(connection, sql.decided_use, params)
    return msgspec.json.decode(found[0], type=DecidedUse) if found else None


async def keep_rejected(connection: postgres.Connection, rejected: Sequence[Rejected]) -> None:
    """Keeps what did not count, to be seen for limits.REJECTED_DAYS."""
    params = {
        "tenants": [one.tenant_id for one in rejected],
        "at": [one.rejected_at for one in rejected],
        "slugs": [one.slug for one in rejected],
        "details": [one.detail for one in rejected],
        "events": [one.event for one in rejected],
    }
    await postgres.execute(connection, sql.insert_rejected, params)


async def series(connection: postgres.Connection, span: Span, *, limit: int) -> list[Point]:
    """Usage by group and step, in that order; steps without usage are left out."""
    start, end = span.days
    days = {"days_start": start, "days_end": end, "first_day": start.date(), "day_after": end.date()}
    params = msgspec.structs.asdict(span) | days | {"limit": limit}
    return await postgres.rows(connection, sql.series, params, Point)


async def flushed_through(connection: postgres.Connection, tenant_id: str | None) -> datetime | None:
    """Everything acknowledged before it is in the series; None before the first flush."""
    shard = None if tenant_id is None else keyspace.shard_of(tenant_id)
    found: list[datetime] = await postgres.scalars(connection, sql.flushed_through, {"shard": shard})
    return found[0] if found else None


async def events(
    connection: postgres.Connection,
    tenant_id: str,
    *,
    feature_id: str | None,
    before: tuple[datetime, str],
    limit: int,
) -> list[StoredEvent]:
    """Events of a tenant, newest first, older than `before` (instant and digest)."""
    params = {
        "tenant_id": tenant_id,
        "feature_id": feature_id,
        "before_at": before[0],
        "before_digest": before[1],
        "limit": limit,
    }
    return await postgres.rows(connection, sql.events, params, StoredEvent)


async def rejected(
    connection: postgres.Connection, *, tenant_id: str | None, before: int, limit: int
) -> list[Rejected]:
    """What did not count, newest first."""
    params = {"tenant_id": tenant_id, "before": before, "limit": limit}
    return await postgres.rows(connection, sql.rejected, params, Rejected)
