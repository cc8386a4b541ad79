"""Plans a charge for every open invoice: what is to be ordered is worked out once, and kept."""

from datetime import datetime

from integrations.payments import Payments
from jobs.context import JobContext
from policies import invoice, limits
from policies.charging import charge as pure
from policies.charging import dunning
from policies.charging.charge import Charge
from store import charges, invoices, postgres
from store.charges import Uncharged


async def plan(context: JobContext, payments: Payments, now: datetime) -> int:
    """Plans what is not planned yet, up to limits.PUSH_BATCH; how many.

    Errors: UnavailableError.
    """
    async with postgres.transaction(context.pool) as connection:
        found = await charges.uncharged(connection, payments.account, now=now, limit=limits.PUSH_BATCH)
        for one in found:
            await _plan(context, connection, payments, one, now)
        await charges.notice_settled(connection, now=now)
    return len(found)


async def _plan(
    context: JobContext, connection: postgres.Connection, payments: Payments, one: Uncharged, now: datetime
) -> None:
    issued = await invoices.find(connection, one.invoice_id)
    assert issued is not None, "it was found a moment ago"
    plan_version = (await context.uses.catalogs.need([issued.plan_version])).plans[issued.plan_version]
    charge = Charge(
        tenant_id=one.tenant_id,
        invoice_id=one.invoice_id,
        number=invoice.number("invoice", issued.number),
        currency=issued.currency,
        lines=tuple(await charges.lines(connection, one)),
        name=issued.billed_to.name,
        email=issued.billed_to.email,
    )
    assert charge.total == issued.total, "an invoice is what its lines add up to"
    await charges.add(
        connection,
        one,
        pure.plan(charge, lines_max=payments.lines_max, step=payments.payable(issued.currency).step),
        customer=pure.customer(charge),
        currency=issued.currency,
        total=issued.total,
        days=dunning.schedule(plan_version),
        now=now,
    )
