"""Who is subscribed to what at an instant, and who has used more than a number."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from policies.diff.change import Bound
from store import keyspace, postgres
from store.queries import Queries

_SQL = Queries("subscribers")


class On(msgspec.Struct, frozen=True, kw_only=True):
    """So many tenants are on one version of a plan, or hold one of an add-on."""

    id: str
    version: str
    tenants: int


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A number, held against what the tenants on one plan have used."""

    plan_id: str
    bound: Bound


class Above(msgspec.Struct, frozen=True, kw_only=True):
    """Tenants above the number at `place`: so many, or the one that is named.

    With `began`: somebody has to see whether a window that began then is still the tenant's present one.
    """

    place: int
    tenants: int
    tenant_id: str | None
    anchored_at: datetime | None
    began: datetime | None


class Subscriber(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant, and the version that it has."""

    tenant_id: str
    name: str
    version: str


async def on_plans(connection: postgres.Connection, at: datetime) -> list[On]:
    """Tenants by plan version; one that is closed is none."""
    return await postgres.rows(connection, _SQL.on_plans, {"at": at}, On)


async def with_addons(connection: postgres.Connection, at: datetime) -> list[On]:
    """Tenants by the add-on versions that they hold, be it many times."""
    return await postgres.rows(connection, _SQL.with_addons, {"at": at}, On)


async def above(
    connection: postgres.Connection,
    asked: Sequence[Asked],
    *,
    at: datetime,
    only: Sequence[str] | None = None,
) -> list[Above]:
    """Who has used more than each number; with `only`, of these tenants, each one by name."""
    rows = [
        (place, one.plan_id, field, keyspace.letter(one.bound.interval), one.bound.number)
        for place, one in enumerate(asked)
        for field in _fields(one.bound)
    ]
    params = {
        "places": [row[0] for row in rows],
        "plans": [row[1] for row in rows],
        "fields": [row[2] for row in rows],
        "letters": [row[3] for row in rows],
        "numbers": [row[4] for row in rows],
        "at": at,
        "only": None if only is None else list(only),
        "each": only is not None,
    }
    return await postgres.rows(connection, _SQL.above, params, Above)


async def first_of(
    connection: postgres.Connection, versions: Sequence[str], *, at: datetime, limit: int
) -> list[Subscriber]:
    """The first by name who have a plan, or an add-on, in one of these versions."""
    params = {"versions": list(versions), "at": at, "limit": limit}
    return await postgres.rows(connection, _SQL.first_of, params, Subscriber)


def _fields(bound: Bound) -> tuple[str, ...]:
    """Names of counters, as the query compares them: those of entities without the entity."""
    if bound.measure == "period":
        return tuple(keyspace.bucket_field(bound.feature_id, bucket) for bucket in ("i", "o", "x"))
    if bound.measure == "cap":
        return (keyspace.cap_field(bound.feature_id, "tenant", None),)
    return (f"{bound.feature_id}:e",)
