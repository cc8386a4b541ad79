"""What was said by hand of an invoice that is being collected: it is taken back, or lowered, there too."""

import msgspec

from integrations.payments import Done, Outcome
from jobs.charging import ordering
from jobs.charging.desk import Desk
from policies.charging import seen
from policies.charging.charge import Planned
from policies.invoice import State
from service.usecases import collected
from store import charges, notices
from store.charges import ChargeRow


async def withdraw(desk: Desk, charge: ChargeRow, ours: State) -> None:
    """Our invoice is not to be paid any more: nothing of it may be collected.

    Errors: LeaseLostError, StoppedError, UnavailableError.
    """
    ref = charge.invoice_ref or await _sent(desk, charge)
    if ref is None:
        return
    if not ref:
        await _over(desk, charge, "it was never there")
        return
    fetched = await desk.payments.fetch(seen.Thing(kind="invoice", ref=ref))
    if not isinstance(fetched, Done):
        await desk.put_off(charge, fetched.reason)
        return
    done = await _taken_back(desk, fetched.value, ours)
    if isinstance(done, Done):
        paid = isinstance(fetched.value, seen.Invoice) and fetched.value.status == "paid"
        await _over(desk, charge, "it is paid there" if paid else f"it is {ours} here")
    else:
        await desk.put_off(charge, done.reason)


async def elsewhere(desk: Desk, charge: ChargeRow, found: seen.Invoice) -> None:
    """Somebody has voided it or given it up at the provider."""
    async with desk.writing() as connection:
        over = msgspec.structs.replace(
            charge, state="withdrawn", next_at=None, reason=f"the provider has it as {found.status}"
        )
        await charges.write(connection, over)
        await collected.heard(connection, charge.tenant_id, charge.invoice_id, found, now=desk.now)


async def lowered(desk: Desk, charge: ChargeRow) -> ChargeRow | None:
    """The charge once the provider has every credit note that lowers what is to be paid; None if put off."""
    async with desk.writing() as connection:
        wanted = await charges.credits_of(connection, charge)
        known = {one.subject for one in await charges.operations(connection, charge) if one.step == "credit"}
        new = [
            Planned(step="credit", subject=one.credit_id, order=one)
            for one in wanted
            if one.credit_id not in known
        ]
        first = await charges.count_operations(connection, charge)
        await charges.add_operations(
            connection, charge.tenant_id, charge.invoice_id, new, revision=charge.revision, first=first
        )
        todo = [
            one
            for one in await charges.operations(connection, charge)
            if one.step == "credit" and one.state != "done"
        ]
    for one in todo:
        if not await ordering.carry_out(desk, charge, one):
            return None
    return await desk.write(charge, credited=sum(one.amount for one in wanted)) if todo else charge


async def _sent(desk: Desk, charge: ChargeRow) -> str | None:
    """The draft that may be there without our having heard of it; empty if there is none, None if put off."""
    async with desk.writing() as connection:
        operations = await charges.operations(connection, charge)
    draft = next(one for one in operations if one.step == "draft")
    if draft.state != "sending":
        return draft.ref or ""
    found = await ordering.look(desk, charge, draft)
    if isinstance(found, Done):
        return found.value or ""
    await desk.put_off(charge, found.reason)
    return None


async def _taken_back(desk: Desk, found: seen.Seen | None, ours: State) -> Outcome[object]:
    if not isinstance(found, seen.Invoice):
        return Done(None)
    match found.status:
        case "draft":
            return await desk.payments.discard(found.ref, f"mg1:discard:{found.ref}")
        case "open" if ours == "uncollectible":
            return await desk.payments.write_off(found.ref, f"mg1:write-off:{found.ref}")
        case "open" | "uncollectible" if ours != "uncollectible":
            return await desk.payments.void(found.ref, f"mg1:void:{found.ref}")
    return Done(None)


async def _over(desk: Desk, charge: ChargeRow, reason: str) -> None:
    async with desk.writing() as connection:
        over = msgspec.structs.replace(charge, state="withdrawn", next_at=None, reason=reason)
        await charges.write(connection, over)
        if charge.invoice_ref:
            thing = seen.Thing(kind="invoice", ref=charge.invoice_ref)
            await notices.want(connection, [thing], now=desk.now)
