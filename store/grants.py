"""The grants of tenants: written once, and voided at most once."""

from collections.abc import Collection
from datetime import datetime

import msgspec

from policies.grant import Grant
from store import postgres
from store.queries import Queries

_SQL = Queries("grants")


async def lock(connection: postgres.Connection, tenant_id: str, grant_id: str) -> Grant | None:
    """The grant, held until the transaction ends; None if the tenant has no such grant."""
    return await postgres.row(connection, _SQL.get, {"tenant_id": tenant_id, "grant_id": grant_id}, Grant)


async def named(connection: postgres.Connection, tenant_id: str, grant_ids: Collection[str]) -> list[Grant]:
    """These grants of the tenant, ended ones too."""
    params = {"tenant_id": tenant_id, "grants": list(grant_ids)}
    return await postgres.rows(connection, _SQL.named, params, Grant) if grant_ids else []


async def page(
    connection: postgres.Connection, tenant_id: str, *, feature_id: str | None, after: str, limit: int
) -> list[Grant]:
    """Up to `limit` of the tenant's grants, ended ones too, oldest first, behind the id `after`."""
    params = {"tenant_id": tenant_id, "feature_id": feature_id, "after": after, "limit": limit}
    return await postgres.rows(connection, _SQL.page, params, Grant)


async def count_open(
    connection: postgres.Connection, tenant_id: str, *, feature_id: str | None, now: datetime
) -> int:
    """How many hold or will hold; of one feature, or of all."""
    params = {"tenant_id": tenant_id, "feature_id": feature_id, "now": now}
    count: int
    (count,) = await postgres.scalars(connection, _SQL.count_open, params)
    return count


async def add(connection: postgres.Connection, tenant_id: str, grant: Grant) -> None:
    """Writes a new grant."""
    await postgres.execute(connection, _SQL.add, {"tenant_id": tenant_id} | msgspec.structs.asdict(grant))


async def void(connection: postgres.Connection, tenant_id: str, grant: Grant) -> None:
    """Writes when the grant was voided."""
    params = {"tenant_id": tenant_id, "id": grant.id, "voided_at": grant.voided_at}
    await postgres.execute(connection, _SQL.void, params)
