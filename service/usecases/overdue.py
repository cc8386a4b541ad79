"""What an overdue invoice does to how its subscription stands, where no payment provider says it (R39).

A plan that says by when its invoices are to be paid (`due`) lets an invoice be overdue. Then its days of
grace begin, as after a failed payment; once nothing is overdue any more the subscription stands well again.
Of a plan that does not say it nothing is ever overdue.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from policies import errors, invoice, limits, period, subscription
from policies.model import BillingStatus, PlanVersion
from policies.subscription import Subscription
from service.context import Context
from service.usecases.changes import Changed
from store import audit, invoices, postgres, subscriptions
from store import tenants as tenant_store
from store.invoices import Invoice

ACTOR: Final = "job:overdue"
_WORSE: Final = frozenset[BillingStatus]({"grace", "restricted", "suspended"})


async def mark(context: Context, now: datetime) -> int:
    """Tells the subscriptions of invoices that have become overdue; how many.

    Errors: UnavailableError; it is right to run it again.
    """
    async with postgres.transaction(context.pool) as connection:
        found = await invoices.newly_overdue(connection, now, limit=limits.OVERDUE_BATCH)
    for tenant_id, invoice_id in found:
        plan = await know(context, invoice_id)
        version = None
        async with postgres.transaction(context.pool) as connection:
            await tenant_store.lock(connection, tenant_id)
            locked = await invoices.lock(connection, invoice_id)
            if locked is not None and locked.state == "open" and locked.overdue_at is None:
                version = await _begin_grace(connection, locked, plan, now)
        if version is not None:
            await context.snapshots.announce(tenant_id, version)
    return len(found)


async def know(context: Context, invoice_id: str) -> PlanVersion | None:
    """The plan that an invoice's subscription is on by now, read before a transaction needs it."""
    async with postgres.transaction(context.pool) as connection:
        found = await invoices.find(connection, invoice_id)
        held = None if found is None else await subscriptions.latest(connection, found.tenant_id)
    if held is None or not held.subscription.phases:
        return None
    version = held.subscription.phases[-1].plan_version
    return (await context.catalogs.need([version])).plans[version]


async def restored(connection: postgres.Connection, settled: Invoice, now: datetime) -> Sequence[Changed]:
    """What changes of a subscription when nothing of an invoice is due any more; its tenant is locked."""
    if settled.overdue_at is None or await invoices.others_overdue(connection, settled):
        return ()
    held = await subscriptions.latest(connection, settled.tenant_id)
    if held is None or held.subscription.id != settled.subscription_id:
        return ()
    before = held.subscription
    if subscription.billing_status_at(before, now) not in _WORSE:
        return ()
    try:
        after = subscription.bill(before, "good", reason=f"{_number(settled)} is settled", now=now)
    except errors.ConflictError:
        return ()  # it has ended
    await subscriptions.replace(connection, settled.tenant_id, before, after)
    return (_changed(settled, before, after),)


async def _begin_grace(
    connection: postgres.Connection, late: Invoice, plan: PlanVersion | None, now: datetime
) -> int | None:
    """The tenant's new snapshot version, if its subscription stands worse by it."""
    await invoices.note_overdue(connection, late, now)
    told = [
        Changed(
            action="invoice.overdue",
            subject=late.invoice_id,
            tenant_id=late.tenant_id,
            before={"number": _number(late), "overdue": False},
            after={"number": _number(late), "overdue": True},
        )
    ]
    held = await subscriptions.latest(connection, late.tenant_id)
    version = None
    if held is not None and held.subscription.id == late.subscription_id:
        before = held.subscription
        after = _in_grace(before, late, plan, now)
        if after != before:
            await subscriptions.replace(connection, late.tenant_id, before, after)
            version = await tenant_store.raise_version(connection, late.tenant_id)
            told.append(_changed(late, before, after))
    await audit.append_all(connection, [_line(one, now) for one in told])
    return version


def _in_grace(before: Subscription, late: Invoice, plan: PlanVersion | None, now: datetime) -> Subscription:
    """Only what stands well begins its grace: another status says something else already."""
    if subscription.billing_status_at(before, now) != "good":
        return before
    assert late.due_at is not None, "what is overdue was due"
    reason = f"{_number(late)} was due on {period.written(late.due_at)[:10]}"
    try:
        return subscription.bill(before, "grace", reason=reason, now=now, plan=plan)
    except errors.ConflictError:
        return before  # it has ended


def _number(of: Invoice) -> str:
    return invoice.number("invoice", of.number)


def _changed(of: Invoice, before: Subscription, after: Subscription) -> Changed:
    return Changed(
        action="billing.set", subject=before.id, tenant_id=of.tenant_id, before=before, after=after
    )


def _line(changed: Changed, now: datetime) -> audit.Line:
    return audit.Line(
        at=now,
        actor=ACTOR,
        action=changed.action,
        subject=changed.subject,
        before=changed.before,
        after=changed.after,
        tenant_id=changed.tenant_id,
    )
