"""The billing statuses of subscriptions: what payments said, from when on, and what will follow."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from policies import limits
from policies.model import BillingStatus
from policies.subscription import BillingFact
from store import postgres
from store.queries import Queries

_SQL = Queries("billing")


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    tenant_id: str
    status: BillingStatus
    since: datetime
    reason: str
    happened_at: datetime | None


async def facts(
    connection: postgres.Connection, tenant_id: str, subscription_id: str
) -> tuple[BillingFact, ...]:
    """The last limits.BILLING_FACTS of them, in order of time."""
    params = {"tenant_id": tenant_id, "subscription_id": subscription_id, "limit": limits.BILLING_FACTS}
    newest_first = await postgres.rows(connection, _SQL.facts, params, BillingFact)
    return tuple(reversed(newest_first))


async def facts_of(
    connection: postgres.Connection, tenant_ids: Sequence[str], subscription_ids: Sequence[str]
) -> dict[str, tuple[BillingFact, ...]]:
    """The same of one subscription of each of these tenants, by tenant."""
    params = {
        "tenants": list(tenant_ids),
        "subscriptions": list(subscription_ids),
        "limit": limits.BILLING_FACTS,
    }
    newest_first = dict[str, list[BillingFact]]()
    for row in await postgres.rows(connection, _SQL.facts_of, params, _Row):
        fact = BillingFact(status=row.status, since=row.since, reason=row.reason, happened_at=row.happened_at)
        newest_first.setdefault(row.tenant_id, []).append(fact)
    return {tenant_id: tuple(reversed(found)) for tenant_id, found in newest_first.items()}


async def write(
    connection: postgres.Connection,
    tenant_id: str,
    subscription_id: str,
    *,
    before: tuple[BillingFact, ...],
    after: tuple[BillingFact, ...],
) -> None:
    """Writes what differs between two states."""
    whose = {"tenant_id": tenant_id, "subscription_id": subscription_id}
    for fact in before:
        if fact not in after:
            await postgres.execute(connection, _SQL.drop, whose | {"since": fact.since})
    for fact in after:
        if fact not in before:
            await postgres.execute(connection, _SQL.add, whose | msgspec.structs.asdict(fact))
