"""Has invoices collected: plans what is not planned, and carries on whatever is due, tenant by tenant."""

import asyncio
import logging
from datetime import datetime, timedelta

from integrations.payments import Payments, StoppedError
from jobs.charging import desk as desks
from jobs.charging import planning, withdrawing
from jobs.charging.assembling import assemble
from jobs.charging.collecting import collect
from jobs.charging.desk import Desk, LeaseLostError
from jobs.context import JobContext
from policies import limits
from policies.charging.charge import OVER
from policies.errors import UnavailableError
from store import charges, invoices, postgres
from store.crash_points import crash_point

log = logging.getLogger("metergate.charging")


async def run(context: JobContext, now: datetime) -> str:
    """Everything that is due, up to limits.PUSH_BATCH tenants; says how many, or nothing.

    Errors: UnavailableError, also when the provider lets us in no more; it is right to run it again.
    """
    payments = context.uses.payments
    if payments is None:
        return ""
    planned = await planning.plan(context, payments, now)
    crash_point("push-planned")
    tenants, holder = 0, desks.holder()
    while tenants < limits.PUSH_BATCH:
        found = await _lease(context, holder, now)
        if not found:
            break
        tenants += len(found)
        await asyncio.gather(*(_carry_on(context, payments, tenant_id, holder) for tenant_id in found))
    return f"{planned} charges planned, {tenants} tenants carried on" if planned or tenants else ""


async def _lease(context: JobContext, holder: str, now: datetime) -> list[str]:
    until = now + timedelta(seconds=limits.PUSH_LEASE_S)
    async with postgres.transaction(context.pool) as connection:
        return await charges.lease(connection, holder, now=now, until=until, limit=limits.PUSH_AT_ONCE)


async def _carry_on(context: JobContext, payments: Payments, tenant_id: str, holder: str) -> None:
    """All of a tenant's charges that are due; then the tenant is free for others."""
    desk = Desk(context, payments, tenant_id, holder)
    try:
        async with desk.writing() as connection:
            due = await charges.due(connection, tenant_id, now=desk.now)
        for invoice_id in due:
            await _carry_on_one(desk, invoice_id)
        async with postgres.transaction(context.pool) as connection:
            await charges.let_go(connection, tenant_id, holder)
    except LeaseLostError:
        log.warning("another worker has taken over the charges of %s", tenant_id)
    except StoppedError as error:
        raise UnavailableError(f"the payment provider does not let us in: {error}") from error


async def _carry_on_one(desk: Desk, invoice_id: str) -> None:
    """As far as it goes at this moment."""
    async with desk.writing() as connection:
        charge = await charges.find(connection, desk.tenant_id, invoice_id)
        ours = await invoices.find(connection, invoice_id, only=desk.tenant_id)
    assert charge is not None, "it was due a moment ago"
    assert ours is not None, "no invoice is ever deleted"
    if charge.state in OVER or charge.state == "stopped":
        await desk.write(charge, next_at=None)
    elif ours.state != "open":
        await withdrawing.withdraw(desk, charge, ours.state)
    elif charge.state in ("waiting", "exhausted"):
        lowered = await withdrawing.lowered(desk, charge)
        if lowered is not None:
            await desk.write(lowered, next_at=None)
    elif (opened := await assemble(desk, charge)) is not None:
        await collect(desk, opened)
