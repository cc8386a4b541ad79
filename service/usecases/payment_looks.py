"""What a look at the payment provider has shown, and what follows for our own invoices."""

from datetime import datetime

from policies.charging import seen
from policies.charging.seen import Seen
from service.context import Context
from service.usecases import collected
from store import charges, notices, postgres
from store.notices import Look


async def take(context: Context, look: Look, found: Seen | None, *, now: datetime) -> bool:
    """Keeps what a look has shown, and what follows from it; False if a later look was kept already.

    Errors: UnavailableError; the thing is looked at again then.
    """
    async with postgres.transaction(context.pool) as connection:
        tenant_id = await _tenant(connection, found)
        kept = await notices.store(connection, look, found, tenant_id=tenant_id, now=now)
        if kept and isinstance(found, seen.Invoice):
            await _invoice(connection, found, now)
        await notices.end(connection, look, now=now)
    return kept


async def _tenant(connection: postgres.Connection, found: Seen | None) -> str | None:
    """Whose it is, by the customer that we made; what others made in the account is nobody's."""
    match found:
        case None:
            return None
        case seen.Customer():
            return await charges.tenant_of(connection, found.ref)
    return await charges.tenant_of(connection, found.customer_ref) if found.customer_ref else None


async def _invoice(connection: postgres.Connection, found: seen.Invoice, now: datetime) -> None:
    charge = await charges.find_by_ref(connection, found.ref)
    if charge is not None and found.status != "draft":
        await collected.heard(connection, charge.tenant_id, charge.invoice_id, found, now=now)
