"""Invoices: show them, and say by hand what became of one: paid, given up, taken back, credited (R39)."""

from datetime import datetime

import msgspec

from policies import errors, invoice
from policies.invoice import Act, Standing
from service.context import Context
from service.usecases import changes, invoice_view, issuing, overdue, tenants
from service.usecases.changes import Changed, Done, Order, Reply
from service.usecases.invoice_view import InvoicePage, InvoiceView
from store import invoices, postgres
from store import tenants as tenant_store
from store.invoices import CreditNote, Entry, Invoice


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of an invoice, and why."""

    act: Act
    reason: str
    amount: int | None = None
    """Of a credit note, in minor units; None: all that is left to be credited."""


async def page(context: Context, tenant_id: str, *, limit: int, before: int) -> InvoicePage:
    """A tenant's invoices, newest first, before the one of a number; the cursor is the last one's number.

    Errors: NotFoundError.
    """
    async with postgres.transaction(context.pool) as connection:
        if await tenant_store.get(connection, tenant_id) is None:
            raise tenants.unknown(tenant_id)
        found = await invoices.page(connection, tenant_id, limit=limit + 1, before=before)
    more = str(found[limit - 1].number) if len(found) > limit else None
    return InvoicePage(items=[invoice_view.summary(one) for one in found[:limit]], next_cursor=more)


async def get(context: Context, invoice_id: str, *, only: str | None) -> tuple[InvoiceView, str]:
    """An invoice whole, and its ETag; with `only`, if it is of that tenant.

    Errors: NotFoundError.
    """
    async with postgres.transaction(context.pool) as connection:
        found = await invoices.find(connection, invoice_id, only=only)
        if found is None:
            raise unknown(invoice_id)
        return await _view(connection, found), invoice_view.etag(found)


async def change(context: Context, order: Order, invoice_id: str, wish: Wish) -> Reply:
    """Carries out what somebody says by hand of an invoice; answers the invoice.

    The billing status follows: once nothing is overdue any more it is good.
    Errors: NotFoundError, PreconditionError, IdempotencyMismatchError; ConflictError where its state does not
    allow it; InvalidError for an amount that there is not.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        found = await invoices.find(connection, invoice_id)
        if found is None:
            raise unknown(invoice_id)
        await tenant_store.lock(connection, found.tenant_id)  # before its invoice, as whoever is overdue
        before = await invoices.lock(connection, invoice_id)
        assert before is not None, "no invoice is ever deleted"
        changes.require(order, invoice_view.etag(before))
        _require_steps(context, before, wish)
        after, told = await _changed(connection, before, wish, now)
        learned = await overdue.settled(context, connection, after, now)
        return Done(
            result=await _view(connection, after),
            changed=(told, *learned.changed),
            etag=invoice_view.etag(after),
            decisions_of=before.tenant_id if learned.decides else None,
        )

    await overdue.know(context, invoice_id)
    route = f"invoice.{wish.act}"
    return await changes.carry_out(context, order, act, route=route, request=(invoice_id, wish))


def _require_steps(context: Context, before: Invoice, wish: Wish) -> None:
    """A credit of what is still to be paid leaves what the payment provider can collect.

    Errors: InvalidError.
    """
    step = issuing.payable(context, before.currency).step
    if wish.act == "credit" and before.state != "paid" and (wish.amount or 0) % step:
        currency = before.currency.upper()
        sentence = f"The payment provider takes amounts of {currency} in steps of {step} minor units."
        raise errors.invalid("/amount", sentence)


async def _changed(
    connection: postgres.Connection, before: Invoice, wish: Wish, now: datetime
) -> tuple[Invoice, Changed]:
    """The invoice afterwards, and the line of the audit."""
    if wish.act == "credit":
        amount = before.standing.creditable if wish.amount is None else wish.amount
        standing, settles = invoice.credited(before.standing, amount, "operator")
        note = CreditNote(
            tenant_id=before.tenant_id,
            credit_note_id=changes.new_id("cn", now),
            number=await invoices.take_numbers(connection, "credit-note", 1),
            invoice_id=before.invoice_id,
            amount=amount,
            currency=before.currency,
            settles=settles,
            reason=wish.reason,
            issued_at=now,
        )
        await invoices.add_credit_note(connection, note)
        if settles == "balance":
            entry = _entry(before, -amount, "credit-note", note.credit_note_id, now)
            await invoices.enter(connection, [entry])
    else:
        standing = invoice.moved(before.standing, wish.act, "operator")
        if wish.act == "void":
            await give_back(connection, before, now)
    after = await invoices.write_standing(connection, before, standing, at=now, reason=wish.reason)
    return after, Changed(
        action=f"invoice.{wish.act}",
        subject=before.invoice_id,
        tenant_id=before.tenant_id,
        before=_told(before, before.standing),
        after=_told(before, standing),
        reason=wish.reason,
    )


async def give_back(connection: postgres.Connection, of: Invoice, now: datetime) -> None:
    """What a void invoice had taken over of the ledger stands there again."""
    taken = await invoices.carried_in(connection, of.tenant_id, of.invoice_id)
    if taken:
        await invoices.enter(connection, [_entry(of, taken, "void", of.invoice_id, now)])


def _entry(of: Invoice, amount: int, kind: invoices.EntryKind, subject: str, now: datetime) -> Entry:
    return Entry(
        tenant_id=of.tenant_id, currency=of.currency, at=now, amount=amount, kind=kind, subject=subject
    )


async def _view(connection: postgres.Connection, found: Invoice) -> InvoiceView:
    lines = await invoices.lines(connection, found.tenant_id, found.invoice_id)
    notes = await invoices.credit_notes(connection, found.tenant_id, found.invoice_id)
    return invoice_view.whole(found, lines, notes)


def _told(of: Invoice, standing: Standing) -> dict[str, object]:
    return {"number": invoice.number("invoice", of.number)} | msgspec.structs.asdict(standing)


def unknown(invoice_id: str) -> errors.NotFoundError:
    """The error where there is no such invoice, or none that the caller may see."""
    return errors.NotFoundError(f'There is no invoice "{invoice_id}".')
