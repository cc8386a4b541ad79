"""The billing statuses of subscriptions: what payments said, from when on, and what will follow."""

import msgspec

from policies import limits
from policies.subscription import BillingFact
from store import postgres
from store.queries import Queries

_SQL = Queries("billing")


async def facts(
    connection: postgres.Connection, tenant_id: str, subscription_id: str
) -> tuple[BillingFact, ...]:
    """The last limits.BILLING_FACTS of them, in order of time."""
    params = {"tenant_id": tenant_id, "subscription_id": subscription_id, "limit": limits.BILLING_FACTS}
    newest_first = await postgres.rows(connection, _SQL.facts, params, BillingFact)
    return tuple(reversed(newest_first))


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
