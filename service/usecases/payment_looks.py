"""What a look at the payment provider has shown, and what follows: for our invoices, for billing statuses."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from policies.charging import facts, seen
from policies.charging.seen import Seen
from policies.payment.fact import PaymentFact
from service.context import Context
from service.usecases import collected, payment_facts
from store import audit, charges, notices, postgres, tenants
from store import payment_facts as fact_store
from store.crash_points import crash_point
from store.notices import Look

ACTOR: Final = "job:look"


async def take(context: Context, look: Look, found: Seen | None, *, now: datetime) -> bool:
    """Keeps what a look has shown, and what follows from it; False if a later look was kept already.

    Errors: UnavailableError; the thing is looked at again then.
    """
    version = None
    async with postgres.transaction(context.pool) as connection:
        tenant_id = await _tenant(connection, look, found)
        seen_at = await notices.store(connection, look, found, tenant_id=tenant_id, now=now)
        if seen_at is not None and tenant_id is not None:
            if isinstance(found, seen.Invoice):
                await _invoice(connection, found, seen_at)
            said = await _said(connection, look, tenant_id, found, seen_at)
            version = await _learned(connection, tenant_id, said, now)
        await notices.end(connection, look, now=now)
    crash_point("look-kept")
    if tenant_id is not None and version is not None:
        await context.snapshots.announce(tenant_id, version)
    return seen_at is not None


async def _tenant(connection: postgres.Connection, look: Look, found: Seen | None) -> str | None:
    """Whose it is, by the customer that we made; what others made in the account is nobody's.

    A subscription that the provider bills is a tenant's only if it carries its id.
    """
    match found:
        case None:
            return await charges.tenant_of(connection, look.ref) if look.kind == "customer" else None
        case seen.Customer():
            return await charges.tenant_of(connection, found.ref)
        case seen.Subscription():
            return found.tenant_id
        case seen.Price() | seen.Endpoint():
            return None
    return await charges.tenant_of(connection, found.customer_ref) if found.customer_ref else None


async def _said(
    connection: postgres.Connection, look: Look, tenant_id: str, found: Seen | None, seen_at: datetime
) -> Sequence[PaymentFact]:
    match found:
        case seen.Payment():
            return facts.of_payment(found, seen_at=seen_at)
        case seen.Dispute():
            return (facts.of_dispute(found, seen_at=seen_at),)
        case seen.Subscription():
            return (facts.of_subscription(found, seen_at=seen_at),)
        case None if look.kind == "customer":
            known = await fact_store.of_tenant(connection, tenant_id)
            gone = any(one.subject == look.ref and one.state == facts.DELETED for one in known)
            return () if gone else (facts.of_no_customer(look.ref, seen_at=seen_at),)
    return ()


async def _invoice(connection: postgres.Connection, found: seen.Invoice, now: datetime) -> None:
    """What one of ours has become there it becomes here; of others nothing is known."""
    charge = await charges.find_by_ref(connection, found.ref)
    if charge is not None and found.status != "draft":
        await collected.heard(connection, charge.tenant_id, charge.invoice_id, found, now=now)


async def _learned(
    connection: postgres.Connection, tenant_id: str, said: Sequence[PaymentFact], now: datetime
) -> int | None:
    """The tenant's new snapshot version, if it is decided otherwise from now on."""
    learned = await payment_facts.learn(connection, tenant_id, said, now=now)
    lines = [
        audit.Line(at=now, actor=ACTOR, **msgspec.structs.asdict(changed)) for changed in learned.changed
    ]
    await audit.append_all(connection, lines)
    return await tenants.raise_version(connection, tenant_id) if learned.decides else None
