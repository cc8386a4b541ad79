"""The tenants, and the version of what is decided about each."""

from datetime import datetime

import msgspec

from store import keyspace, postgres
from store.queries import Queries

_SQL = Queries("tenants")


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """One row."""

    tenant_id: str
    name: str
    email: str
    metadata: dict[str, str]
    snapshot_version: int
    revision: int
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None


async def get(connection: postgres.Connection, tenant_id: str) -> Tenant | None:
    """The tenant, or None."""
    return await postgres.row(connection, _SQL.get, {"tenant_id": tenant_id}, Tenant)


async def lock(connection: postgres.Connection, tenant_id: str) -> Tenant | None:
    """The tenant, held until the transaction ends so that its changes come one after another."""
    return await postgres.row(connection, _SQL.lock, {"tenant_id": tenant_id}, Tenant)


async def add(
    connection: postgres.Connection,
    tenant_id: str,
    *,
    name: str,
    email: str,
    metadata: dict[str, str],
    at: datetime,
) -> Tenant | None:
    """A new tenant with snapshot version 0, to be raised; None if the id is taken."""
    params = {
        "tenant_id": tenant_id,
        "shard": keyspace.shard_of(tenant_id),
        "name": name,
        "email": email,
        "metadata": msgspec.json.encode(metadata).decode(),
        "at": at,
    }
    return await postgres.row(connection, _SQL.add, params, Tenant)


async def update(connection: postgres.Connection, tenant: Tenant, *, at: datetime) -> Tenant:
    """Writes name, email, metadata and closing of a locked tenant; its revision rises."""
    params = {
        "tenant_id": tenant.tenant_id,
        "name": tenant.name,
        "email": tenant.email,
        "metadata": msgspec.json.encode(tenant.metadata).decode(),
        "closed_at": tenant.closed_at,
        "at": at,
    }
    written = await postgres.row(connection, _SQL.update, params, Tenant)
    assert written is not None  # the caller holds the row
    return written


async def raise_version(connection: postgres.Connection, tenant_id: str) -> int:
    """The tenant's next snapshot version, noted as one that Redis has yet to learn (R7)."""
    version: int
    (version,) = await postgres.scalars(connection, _SQL.raise_version, {"tenant_id": tenant_id})
    return version


async def search(
    connection: postgres.Connection, *, query: str, after: str, limit: int, only: str | None = None
) -> list[Tenant]:
    """Up to `limit` tenants by id, behind the id `after`, whose id, name or email contains `query`.

    With `only`, that tenant at most.
    """
    params = {"query": query, "after": after, "limit": limit, "only": only}
    return await postgres.rows(connection, _SQL.search, params, Tenant)
