"""Carries one operation out: noted before it is sent, looked for before it is sent again."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from integrations.payments import Ambiguous, Declined, Done, Outcome, Rejected, Retry
from jobs.charging.desk import Desk
from policies.charging import seen
from policies.charging.charge import filled
from policies.charging.orders import AddCustomer, AddLine, Credit, Draft
from store import charges
from store.charges import ChargeRow, Operation
from store.crash_points import crash_point

_BEFORE: Final = timedelta(minutes=1)
"""What was sent at an instant is looked for from a little before, since clocks differ."""


async def carry_out(desk: Desk, charge: ChargeRow, operation: Operation) -> bool:
    """Whether it is done by now; if not, the charge was put off or stopped.

    Errors: LeaseLostError, StoppedError, UnavailableError.
    """
    async with desk.writing() as connection:
        await charges.send(connection, operation, now=desk.now)
    crash_point("push-sending")
    if operation.state == "sending":  # whoever sent it has not told what came of it
        found = await look(desk, charge, operation)
        if not isinstance(found, Done):
            return await _not_done(desk, charge, operation, found)
        if found.value is not None:
            return await _done(desk, operation, found.value)
    outcome = await _send(desk, charge, operation)
    crash_point("push-answered")
    if isinstance(outcome, Done):
        return await _done(desk, operation, outcome.value)
    return await _not_done(desk, charge, operation, outcome)


async def look(desk: Desk, charge: ChargeRow, operation: Operation) -> Outcome[str | None]:
    """The provider's id of what an operation made; None if it is not there."""
    since = (operation.first_sent_at or desk.now) - _BEFORE
    order, payments = operation.order, desk.payments
    match order:
        case AddCustomer():
            return _first(await payments.find_customers(order.tenant_id, since=since))
        case Draft():
            customer = desk.customer_ref
            return _first(await payments.find_invoices(customer, order.invoice_id, since=since))
        case AddLine():
            lines = await payments.lines(charge.invoice_ref or "")
            return _first(_only_line(lines, order.line_id))
        case Credit():
            notes = await payments.browse("credit_note", since=since, until=desk.now + timedelta(days=1))
            return _first(_only_note(notes, order.credit_id))


async def _send(desk: Desk, charge: ChargeRow, operation: Operation) -> Outcome[str]:
    order = filled(operation.order, customer_ref=desk.customer_ref, invoice_ref=charge.invoice_ref or "")
    match order:
        case AddCustomer():
            return _ref(await desk.payments.add_customer(order, operation.key))
        case Draft():
            return _ref(await desk.payments.draft(order, operation.key))
        case AddLine():
            return _ref(await desk.payments.add_line(order, operation.key))
        case Credit():
            return _ref(await desk.payments.credit(order, operation.key))


async def _done(desk: Desk, operation: Operation, ref: str) -> bool:
    async with desk.writing() as connection:
        await charges.finish(connection, operation, ref)
        if operation.step == "draft":
            await charges.know_invoice(connection, operation, ref)
    crash_point("push-kept")
    return True


async def _not_done(desk: Desk, charge: ChargeRow, operation: Operation, outcome: Outcome[object]) -> bool:
    match outcome:
        case Retry():
            await desk.put_off(charge, outcome.reason, outcome.after_s)
        case Ambiguous(kept=True):
            await _with_a_new_key(desk, charge, operation, outcome)
        case Ambiguous():
            await desk.put_off(charge, outcome.reason)
        case Rejected() | Declined():
            async with desk.writing() as connection:
                await charges.finish(connection, operation, None, state="rejected")
            await desk.stop(charge, outcome.reason)
    return False


async def _with_a_new_key(desk: Desk, charge: ChargeRow, operation: Operation, outcome: Ambiguous) -> None:
    """The provider would repeat its fault for a day: if nothing is there, it is ordered anew."""
    found = await look(desk, charge, operation)
    if isinstance(found, Done) and found.value is None:
        async with desk.writing() as connection:
            await charges.renew(connection, operation)
    await desk.put_off(charge, outcome.reason)


def _ref(outcome: Outcome[seen.Customer | seen.Invoice | seen.Line | seen.CreditNote]) -> Outcome[str]:
    return Done(outcome.value.ref, outcome.repeated) if isinstance(outcome, Done) else outcome


def _first(
    outcome: "Outcome[Sequence[seen.Customer | seen.Invoice | seen.Line | seen.Seen]]",
) -> Outcome[str | None]:
    """The oldest that was found."""
    if not isinstance(outcome, Done):
        return outcome
    found = [one for one in outcome.value if getattr(one, "status", "") != "void"]
    return Done(found[-1].ref if found else None)


def _only_line(outcome: Outcome[Sequence[seen.Line]], line_id: str) -> Outcome[Sequence[seen.Line]]:
    if not isinstance(outcome, Done):
        return outcome
    return Done([one for one in outcome.value if one.line_id == line_id])


def _only_note(outcome: Outcome[Sequence[seen.Seen]], credit_id: str) -> Outcome[Sequence[seen.Seen]]:
    if not isinstance(outcome, Done):
        return outcome
    return Done(
        [one for one in outcome.value if isinstance(one, seen.CreditNote) and one.credit_id == credit_id]
    )
