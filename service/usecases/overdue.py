"""What an invoice that is not paid in time does to the billing status, where nobody collects it (R39).

A plan that says by when its invoices are to be paid (`due`) lets an invoice be overdue. Then its days of
grace begin, as after a failed payment; once nothing is overdue any more the subscription stands well again.
It is known a day before, so that the status turns at its instant, whenever a job runs. Of a plan that does
not say it nothing is ever overdue.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from policies import invoice, limits
from policies.model import PlanVersion
from policies.payment import fact
from service.context import Context
from service.usecases import payment_facts
from service.usecases.changes import Changed
from service.usecases.payment_facts import Learned
from store import audit, invoices, postgres
from store import tenants as tenant_store
from store.invoices import Invoice

ACTOR: Final = "job:overdue"
_AHEAD: Final = timedelta(days=1)


async def mark(context: Context, now: datetime) -> int:
    """Lets be known what is due, or will be within a day; says how many invoices became overdue.

    Errors: UnavailableError; it is right to run it again.
    """
    if is_collected(context):
        return 0
    overdue = 0
    async with postgres.transaction(context.pool) as connection:
        found = await invoices.nearly_due(connection, now=now, ahead=now + _AHEAD, limit=limits.OVERDUE_BATCH)
    for tenant_id, invoice_id in found:
        plan = await know(context, invoice_id)
        version = None
        async with postgres.transaction(context.pool) as connection:
            await tenant_store.lock(connection, tenant_id)
            locked = await invoices.lock(connection, invoice_id)
            if locked is not None and plan is not None and locked.state == "open":
                overdue += await _note(connection, locked, now)
                look = payment_facts.of_invoice(locked, seen_at=now, rule=fact.rule(plan))
                learned = await payment_facts.learn(connection, tenant_id, [look], now=now)
                version = await _written(connection, tenant_id, learned, now)
        if version is not None:
            await context.snapshots.announce(tenant_id, version)
    return overdue


def is_collected(context: Context) -> bool:
    """Does a provider take the money by itself? Then attempts fail, and nothing is overdue."""
    return context.payments is not None and context.payments.collects


async def know(context: Context, invoice_id: str) -> PlanVersion | None:
    """The plan that an invoice charges for, read before a transaction needs it."""
    async with postgres.transaction(context.pool) as connection:
        found = await invoices.find(connection, invoice_id)
    if found is None:
        return None
    return (await context.catalogs.need([found.plan_version])).plans[found.plan_version]


async def settled(
    context: Context, connection: postgres.Connection, now_is: Invoice, now: datetime
) -> Learned:
    """What becomes known by what was done to an invoice by hand; its tenant is locked, its plan known."""
    plan = (await context.catalogs.need([now_is.plan_version])).plans[now_is.plan_version]
    look = payment_facts.of_invoice(
        now_is, seen_at=now, rule=fact.rule(plan), collected=is_collected(context)
    )
    return await payment_facts.learn(connection, now_is.tenant_id, [look], now=now)


async def _note(connection: postgres.Connection, late: Invoice, now: datetime) -> int:
    """Says of an invoice that it is overdue, once it is."""
    if late.overdue_at is not None or late.due_at is None or late.due_at > now:
        return 0
    await invoices.note_overdue(connection, late, now)
    number = invoice.number("invoice", late.number)
    changed = Changed(
        action="invoice.overdue",
        subject=late.invoice_id,
        tenant_id=late.tenant_id,
        before={"number": number, "overdue": False},
        after={"number": number, "overdue": True},
    )
    await audit.append_all(connection, _lines([changed], now))
    return 1


async def _written(
    connection: postgres.Connection, tenant_id: str, learned: Learned, now: datetime
) -> int | None:
    """The tenant's new snapshot version, if it is decided otherwise from now on."""
    await audit.append_all(connection, _lines(learned.changed, now))
    return await tenant_store.raise_version(connection, tenant_id) if learned.decides else None


def _lines(told: Sequence[Changed], now: datetime) -> list[audit.Line]:
    return [
        audit.Line(
            at=now,
            actor=ACTOR,
            action=one.action,
            subject=one.subject,
            before=one.before,
            after=one.after,
            tenant_id=one.tenant_id,
            reason=one.reason,
        )
        for one in told
    ]
