"""The decision log: batches of decisions as they were encoded, found again by tenant, time and id."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec

from policies import limits
from store import partitions, postgres, queries

sql = queries.Queries("decisions")

TABLE = "decisions"


class Row(msgspec.Struct, frozen=True):
    """One decision as it is written; `body` is the JSON of policies.logged.Logged."""

    tenant_id: str
    as_of: datetime
    decision_id: str
    feature_id: str
    outcome: str
    reason: str
    weight: int
    body: bytes


class Kept(msgspec.Struct, frozen=True):
    """One decision as it is read, and its place in lists."""

    as_of: datetime
    decision_id: str
    body: str


class Silent(msgspec.Struct, frozen=True):
    """Tenants that nothing is kept of: how many, and the first of them by id."""

    tenants: int
    first: list[str]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which decisions: half-open in time; None is any."""

    start: datetime
    end: datetime
    tenant_id: str | None = None
    feature_id: str | None = None
    outcome: str | None = None
    reason: str | None = None


async def write(connection: postgres.Connection, rows: Sequence[Row]) -> None:
    """Writes a batch; repeating it changes nothing."""
    days: set[date] = {row.as_of.astimezone(UTC).date() for row in rows}
    await partitions.ensure_days(connection, TABLE, days)
    params = {
        "tenants": [row.tenant_id for row in rows],
        "instants": [row.as_of for row in rows],
        "ids": [row.decision_id for row in rows],
        "features": [row.feature_id for row in rows],
        "outcomes": [row.outcome for row in rows],
        "reasons": [row.reason for row in rows],
        "weights": [row.weight for row in rows],
        "bodies": [row.body.decode() for row in rows],
    }
    await postgres.execute(connection, sql.insert, params)


async def page(
    connection: postgres.Connection, wanted: Wanted, *, before: tuple[datetime, str], limit: int
) -> list[Kept]:
    """The newest decisions before a place in the list, newest first."""
    params = msgspec.structs.asdict(wanted) | {
        "before_at": before[0],
        "before_id": before[1],
        "limit": limit,
    }
    return await postgres.rows(connection, sql.page, params, Kept)


async def get(connection: postgres.Connection, decision_id: str, *, tenant_id: str | None) -> str | None:
    """The body of one decision, if it is kept; of another tenant than the one named it is not."""
    params = {"decision_id": decision_id, "tenant_id": tenant_id}
    found: list[str] = await postgres.scalars(connection, sql.get, params)
    return found[0] if found else None


async def count(connection: postgres.Connection, wanted: Wanted) -> int:
    """How many decisions are kept of a span of time, of all features and outcomes."""
    found: list[int] = await postgres.scalars(connection, sql.count, msgspec.structs.asdict(wanted))
    return found[0]


async def silent(connection: postgres.Connection, wanted: Wanted, *, shown: int) -> Silent:
    """The open tenants that nothing is kept of in a span of time."""
    params = msgspec.structs.asdict(wanted) | {"shown": shown}
    found = await postgres.row(connection, sql.silent, params, Silent)
    assert found is not None, "a sum has a row"
    return found


async def drop_old(connection: postgres.Connection, *, now: datetime) -> int:
    """Drops the days that are past limits.DECISION_LOG_DAYS; how many."""
    oldest = (now - timedelta(days=limits.DECISION_LOG_DAYS)).astimezone(UTC).date()
    return await partitions.drop_days(connection, TABLE, before=oldest)
