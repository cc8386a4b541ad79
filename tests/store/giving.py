"""Gives grants to tenants and voids them, as the use cases do: a row, a new version, the word to Redis."""

from datetime import datetime

import msgspec

from policies.grant import Grant
from service.context import Context
from store import grants, postgres
from tests.store.ledger import TOKENS


def grant(number: int, quantity: int, *, starts: datetime, ends: datetime | None = None, **rest) -> Grant:
    return Grant(
        id=f"grt_{number}",
        feature_id=TOKENS,
        quantity=quantity,
        effective_at=starts,
        expires_at=ends,
        created_at=starts,
        reason="sorry",
        **rest,
    )


async def give(context: Context, *given: Grant, tenant_id: str = "acme") -> None:
    async with postgres.transaction(context.pool) as connection:
        for one in given:
            await grants.add(connection, tenant_id, one)
    await _announce(context, tenant_id)


async def void(context: Context, held: Grant, at: datetime, *, tenant_id: str = "acme") -> None:
    async with postgres.transaction(context.pool) as connection:
        await grants.void(connection, tenant_id, msgspec.structs.replace(held, voided_at=at))
    await _announce(context, tenant_id)


async def _announce(context: Context, tenant_id: str) -> None:
    async with postgres.transaction(context.pool) as connection:
        (version,) = await postgres.scalars(
            connection,
            b"update tenants set snapshot_version = snapshot_version + 1 "
            b"where tenant_id = %(tenant_id)s returning snapshot_version",
            {"tenant_id": tenant_id},
        )
    await context.snapshots.announce(tenant_id, version)
