"""Makes an invoice at the provider: customer, draft, lines, the barrier, and only then what binds it."""

from typing import Final

import msgspec

from integrations.payments import Done, Outcome, Rejected
from jobs.charging import ordering
from jobs.charging.desk import Desk
from policies.charging import barrier, seen
from policies.charging.orders import AddLine
from store import charges
from store.charges import ChargeRow, Operation
from store.crash_points import crash_point

BINDING: Final = ("open", "paid")


async def assemble(desk: Desk, charge: ChargeRow) -> ChargeRow | None:
    """The charge once it binds; None when it was put off or stopped.

    Errors: LeaseLostError, StoppedError, UnavailableError.
    """
    while charge.state == "assembling":
        async with desk.writing() as connection:
            operations = await charges.operations(connection, charge)
        todo = next(one for one in operations if one.state != "done")
        if todo.state == "rejected":
            await desk.stop(charge, f"the {todo.step} was rejected")
            return None
        if todo.step == "finalize":
            again = await _finalize(desk, charge, operations, todo)
        else:
            again = await ordering.carry_out(desk, charge, todo)
        if not again:
            return None
        charge = await _fresh(desk, charge)
    return charge


async def _finalize(desk: Desk, charge: ChargeRow, operations: list[Operation], finalize: Operation) -> bool:
    """Whether to go on at once."""
    fetched = await desk.payments.fetch(seen.Thing(kind="invoice", ref=charge.invoice_ref or ""))
    lines = await desk.payments.lines(charge.invoice_ref or "")
    if not isinstance(fetched, Done) or not isinstance(lines, Done):
        return await _failed(desk, charge, fetched if not isinstance(fetched, Done) else lines)
    invoice = fetched.value
    if not isinstance(invoice, seen.Invoice):
        return await _begin_anew(desk, charge)
    planned = {
        one.subject: one.order.amount
        for one in operations
        if one.step == "line" and isinstance(one.order, AddLine)
    }
    verdict = barrier.judge(planned, charge.currency, invoice, lines.value)
    if verdict.wrong or (invoice.status != "draft" and not verdict.holds):
        await desk.stop(charge, "; ".join(verdict.wrong) or f"it is {invoice.status} and not whole")
        return False
    if verdict.drop or verdict.missing:
        return await _mend(desk, charge, operations, verdict)
    if invoice.status != "draft":
        return await _bound(desk, charge, finalize, invoice)
    return await _bind(desk, charge, finalize)


async def _bind(desk: Desk, charge: ChargeRow, finalize: Operation) -> bool:
    async with desk.writing() as connection:
        await charges.send(connection, finalize, now=desk.now)
    outcome = await desk.payments.finalize(charge.invoice_ref or "", finalize.key)
    crash_point("push-bound")
    if not isinstance(outcome, Done):
        return await _failed(desk, charge, outcome)
    return await _bound(desk, charge, finalize, outcome.value)


async def _bound(desk: Desk, charge: ChargeRow, finalize: Operation, invoice: seen.Invoice) -> bool:
    """It binds. What it came to meanwhile is looked at once more before anything is paid."""
    if invoice.status not in BINDING:
        await desk.stop(charge, f"the provider has it as {invoice.status}")
        return False
    async with desk.writing() as connection:
        await charges.finish(connection, finalize, invoice.ref)
        opened = msgspec.structs.replace(
            charge, state="open", opened_at=desk.now, page_url=invoice.page_url, tries=0, reason=""
        )
        await charges.write(connection, opened)
    return True


async def _mend(desk: Desk, charge: ChargeRow, operations: list[Operation], verdict: barrier.Verdict) -> bool:
    """Drops what is there twice, and has what is missing sent again."""
    for line in verdict.drop:
        dropped = await desk.payments.drop_line(line, f"mg1:drop:{line.ref}")
        if not isinstance(dropped, Done):
            return await _failed(desk, charge, dropped)
    async with desk.writing() as connection:
        for one in operations:
            if one.step == "line" and one.subject in verdict.missing:
                await charges.renew(connection, one)
    return True


async def _begin_anew(desk: Desk, charge: ChargeRow) -> bool:
    """The draft was deleted elsewhere: all is ordered again, under new keys."""
    async with desk.writing() as connection:
        again = msgspec.structs.replace(charge, revision=charge.revision + 1, invoice_ref=None)
        await charges.repeat(connection, charge)
        await charges.write(connection, again)
    return True


async def _failed(desk: Desk, charge: ChargeRow, outcome: Outcome[object]) -> bool:
    """A look or the last step did not succeed; it is begun with a look again."""
    assert not isinstance(outcome, Done)
    if isinstance(outcome, Rejected):
        await desk.stop(charge, outcome.reason)
        return False
    await desk.put_off(charge, outcome.reason, getattr(outcome, "after_s", None))
    return False


async def _fresh(desk: Desk, charge: ChargeRow) -> ChargeRow:
    async with desk.writing() as connection:
        found = await charges.find(connection, charge.tenant_id, charge.invoice_id)
    assert found is not None, "a charge is never deleted"
    return found
