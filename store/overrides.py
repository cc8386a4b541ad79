"""The overrides of tenants: written once, lifted at most once, so that what held when can be read."""

from datetime import datetime

import msgspec

from policies import limits
from policies.override import Override, Unlimited
from store import postgres
from store.queries import Queries

_SQL = Queries("overrides")


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    feature_id: str
    terms: dict[str, object]
    """As the driver reads JSON."""
    reason: str
    starts_at: datetime
    ends_at: datetime | None


class _Terms(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The column of that name: only what is overridden."""

    included: int | Unlimited | None = None
    up_to: int | Unlimited | None = None
    value: bool | int | str | None = None


async def holding(
    connection: postgres.Connection, tenant_id: str, *, at: datetime, feature_id: str | None = None
) -> list[Override]:
    """The tenant's overrides that held at an instant, by feature; of one feature, if one is named."""
    params = {"tenant_id": tenant_id, "feature_id": feature_id, "at": at, "limit": limits.OVERRIDES}
    found = await postgres.rows(connection, _SQL.holding, params, _Row)
    return [_override(row) for row in found]


async def count_holding(connection: postgres.Connection, tenant_id: str, *, at: datetime) -> int:
    """How many features are overridden at an instant that has not passed."""
    count: int
    (count,) = await postgres.scalars(connection, _SQL.count_holding, {"tenant_id": tenant_id, "at": at})
    return count


async def lift(connection: postgres.Connection, tenant_id: str, feature_id: str, *, at: datetime) -> None:
    """Ends what is in force for the feature; what has ended by itself keeps its end."""
    params = {"tenant_id": tenant_id, "feature_id": feature_id, "at": at}
    await postgres.execute(connection, _SQL.lift, params)


async def add(connection: postgres.Connection, tenant_id: str, override: Override) -> None:
    """Writes a new override; the one before it must have been lifted."""
    terms = _Terms(included=override.included, up_to=override.up_to, value=override.value)
    params = {
        "tenant_id": tenant_id,
        "id": override.id,
        "feature_id": override.feature_id,
        "terms": msgspec.json.encode(terms).decode(),
        "reason": override.reason,
        "starts_at": override.starts_at,
        "ends_at": override.ends_at,
    }
    await postgres.execute(connection, _SQL.add, params)


def _override(row: _Row) -> Override:
    terms = msgspec.convert(row.terms, _Terms)
    return Override(
        id=row.id,
        feature_id=row.feature_id,
        included=terms.included,
        up_to=terms.up_to,
        value=terms.value,
        reason=row.reason,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
    )
