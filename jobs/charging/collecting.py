"""Has a binding invoice paid: one attempt after the other, by the days of the plan, each looked at before."""

from typing import Final

import msgspec

from integrations.payments import Ambiguous, Declined, Done, Outcome, Rejected, Retry
from jobs.charging import withdrawing
from jobs.charging.desk import Desk
from policies.charging import dunning, seen
from service.usecases import collected
from store import charges, notices
from store.charges import Attempt, ChargeRow
from store.crash_points import crash_point

_UNDER_WAY_S: Final = 3600.0
"""How long to wait for a payment that takes days, as one by bank debit does."""


async def collect(desk: Desk, charge: ChargeRow) -> None:
    """One step further: an attempt, or the wait for the next.

    Errors: LeaseLostError, StoppedError, UnavailableError.
    """
    lowered = await withdrawing.lowered(desk, charge)
    if lowered is None:
        return
    charge = lowered
    attempt = await _attempt(desk, charge)
    if attempt.state != "sending" and (attempt.due_at is None or attempt.due_at > desk.now):
        await desk.write(charge, next_at=attempt.due_at)
        return
    found = await _look(desk, charge)
    if found is None or not await _payable(desk, charge, found, attempt):
        return
    async with desk.writing() as connection:
        sending = msgspec.structs.replace(attempt, state="sending", at=desk.now)
        await charges.write_attempt(connection, sending)
    crash_point("push-paying")
    outcome = await desk.payments.pay(charge.invoice_ref or "", attempt.key)
    crash_point("push-paid")
    await _answered(desk, charge, sending, outcome)


async def _attempt(desk: Desk, charge: ChargeRow) -> Attempt:
    """The last one, or the first."""
    async with desk.writing() as connection:
        known = await charges.attempts(connection, charge)
        if known:
            return known[-1]
        assert charge.opened_at is not None, "it binds"
        due = dunning.due(charge.days, 1, charge.opened_at)
        first = Attempt(tenant_id=charge.tenant_id, invoice_id=charge.invoice_id, attempt=1, due_at=due)
        await charges.write_attempt(connection, first)
        return first


async def _look(desk: Desk, charge: ChargeRow) -> seen.Invoice | None:
    """The invoice as it is now; None when it was put off or stopped."""
    fetched = await desk.payments.fetch(seen.Thing(kind="invoice", ref=charge.invoice_ref or ""))
    if not isinstance(fetched, Done):
        await desk.put_off(charge, fetched.reason, getattr(fetched, "after_s", None))
    elif not isinstance(fetched.value, seen.Invoice):
        await desk.stop(charge, "the provider has no such invoice any more")
    else:
        return fetched.value
    return None


async def _payable(desk: Desk, charge: ChargeRow, found: seen.Invoice, attempt: Attempt) -> bool:
    """Is it open, unpaid, as we sent it, and is no payment under way?"""
    if found.status == "paid":
        await _paid(desk, charge, attempt, found)
        return False
    if found.status != "open":
        await withdrawing.elsewhere(desk, charge, found)
        return False
    if found.subtotal != charge.total:
        await desk.stop(charge, f"its lines add up to {found.subtotal}, not to {charge.total}")
        return False
    if found.amount_remaining > charge.total - charge.credited:
        await desk.stop(charge, f"{found.amount_remaining} is left to be paid there, and less here")
        return False
    return not await _under_way(desk, charge, found)


async def _under_way(desk: Desk, charge: ChargeRow, found: seen.Invoice) -> bool:
    """Whether money may be on its way; the charge was put off then."""
    payments = await desk.payments.payments(found.ref)
    if not isinstance(payments, Done):
        await desk.put_off(charge, payments.reason, getattr(payments, "after_s", None))
        return True
    if any(one.status == "pending" for one in payments.value):
        await desk.put_off(charge, "a payment is under way", _UNDER_WAY_S)
        return True
    return False


async def _answered(desk: Desk, charge: ChargeRow, attempt: Attempt, outcome: Outcome[seen.Invoice]) -> None:
    match outcome:
        case Done(value=found) if found.status == "paid":
            await _paid(desk, charge, attempt, found)
        case Done(value=found):
            if not await _under_way(desk, charge, found):
                nothing = Declined("nothing_paid", "nothing was paid: is there a way to pay?")
                await _declined(desk, charge, attempt, nothing)
        case Retry():
            await desk.put_off(charge, outcome.reason, outcome.after_s)
        case Ambiguous(kept=True):
            await _declined(desk, charge, attempt, Declined(dunning.PROVIDER_FAULT, outcome.reason))
        case Ambiguous():
            await desk.put_off(charge, outcome.reason)
        case Declined():
            await _declined(desk, charge, attempt, outcome)
        case Rejected():
            await _declined(desk, charge, attempt, Declined(outcome.code or "rejected", outcome.reason))


async def _paid(desk: Desk, charge: ChargeRow, attempt: Attempt, found: seen.Invoice) -> None:
    """By us, or by the customer meanwhile."""
    async with desk.writing() as connection:
        if attempt.state == "sending" or attempt.due_at is not None:
            paid = msgspec.structs.replace(attempt, state="paid", at=desk.now)
            await charges.write_attempt(connection, paid)
        done = msgspec.structs.replace(charge, state="paid", next_at=None, reason="")
        await charges.write(connection, done)
        await collected.heard(connection, charge.tenant_id, charge.invoice_id, found, now=desk.now)
        await notices.want(connection, [seen.Thing(kind="invoice", ref=found.ref)], now=desk.now)


async def _declined(desk: Desk, charge: ChargeRow, attempt: Attempt, why: Declined) -> None:
    """What follows stands in the table of `policies.charging.dunning`."""
    follows = dunning.after(why.code, charge.days, attempt.attempt)
    declined = msgspec.structs.replace(
        attempt, state="declined", at=desk.now, code=why.code, reason=why.reason
    )
    following = Attempt(tenant_id=charge.tenant_id, invoice_id=charge.invoice_id, attempt=attempt.attempt + 1)
    changed = msgspec.structs.replace(charge, next_at=None, tries=0, reason=why.reason)
    rule = await collected.rule_of(desk.context.uses, charge.invoice_id)
    async with desk.writing() as connection:
        await charges.write_attempt(connection, declined)
        if follows == "again":
            assert charge.opened_at is not None, "it binds"
            due = dunning.due(charge.days, following.attempt, charge.opened_at)
            await charges.write_attempt(connection, msgspec.structs.replace(following, due_at=due))
            changed = msgspec.structs.replace(changed, state="open", next_at=due)
        elif desk.woken_at is not None and attempt.at is not None and desk.woken_at >= attempt.at:
            # The customer had a new way to pay while the old one was tried.
            await charges.write_attempt(connection, msgspec.structs.replace(following, due_at=desk.now))
            changed = msgspec.structs.replace(changed, state="open", next_at=desk.now)
        elif follows == "wait":
            await charges.write_attempt(connection, following)
            changed = msgspec.structs.replace(changed, state="waiting")
        else:
            changed = msgspec.structs.replace(changed, state="exhausted")
        await charges.write(connection, changed)
        if desk.payments.collects and why.code != dunning.PROVIDER_FAULT:
            await collected.declined(
                connection,
                changed,
                rule,
                attempt=attempt.attempt,
                reason=why.reason,
                confirm=why.code in dunning.CONFIRM,
                now=desk.now,
            )
        thing = seen.Thing(kind="invoice", ref=charge.invoice_ref or "")
        await notices.want(connection, [thing], now=desk.now)
