"""An invoice as it is answered: with its state, its lines and its credit notes."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from policies import invoice, money
from policies.invoice import Settles, State
from policies.rating.lines import Line
from service.usecases import line_view
from service.usecases.line_view import LineView
from service.usecases.subscription_view import PeriodView
from store.invoices import CreditNote, Invoice


class BilledToView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whom it was made out to, as the tenant was called then."""

    name: str
    email: str


class CreditNoteView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """So much of an invoice was taken back."""

    credit_note_id: str
    number: str
    """`CN-000007`; without gaps."""
    amount: int
    """In minor units."""
    settles: Settles
    """What it lowers: `due` what was still to be paid, `balance` the next invoice."""
    reason: str
    issued_at: datetime


class InvoiceSummary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An invoice without its lines. Amounts are whole minor units: `total` 4900 with `digits` 2 is 49.00."""

    invoice_id: str
    number: str
    """`INV-000042`; without gaps."""
    tenant_id: str
    subscription_id: str
    plan_id: str
    """The plan that held last in the period."""
    plan_version: str
    period: PeriodView
    """The billed period; without length for what came after the last one."""
    currency: str
    digits: int
    """Digits after the point of the currency's major unit."""
    total: int
    state: State
    since: datetime
    """When it came into that state."""
    reason: str
    """Why, in words; empty once it is issued."""
    paid: int
    credited: int
    """By credit notes that lower what is due."""
    due: int
    """What is still to be paid."""
    due_at: datetime | None
    """By when, if the plan says so."""
    issued_at: datetime
    billed_to: BilledToView


class InvoiceView(InvoiceSummary, frozen=True, kw_only=True, rename="camel"):
    """An invoice whole."""

    lines: list[LineView]
    """They add up to the total."""
    credit_notes: list[CreditNoteView]


class InvoicePage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Invoices, newest first, and where the next page begins."""

    items: list[InvoiceSummary]
    next_cursor: str | None


def summary(found: Invoice) -> InvoiceSummary:
    """Without its lines."""
    return InvoiceSummary(
        invoice_id=found.invoice_id,
        number=invoice.number("invoice", found.number),
        tenant_id=found.tenant_id,
        subscription_id=found.subscription_id,
        plan_id=found.plan_id,
        plan_version=found.plan_version,
        period=PeriodView(start=found.start_at, end=found.end_at),
        currency=found.currency,
        digits=money.DIGITS[found.currency],
        total=found.total,
        state=found.state,
        since=found.since,
        reason=found.reason,
        paid=found.paid,
        credited=found.credited,
        due=found.standing.due,
        due_at=found.due_at,
        issued_at=found.issued_at,
        billed_to=BilledToView(name=found.billed_to.name, email=found.billed_to.email),
    )


def whole(found: Invoice, lines: Sequence[Line], notes: Sequence[CreditNote]) -> InvoiceView:
    """With its lines and its credit notes."""
    return InvoiceView(
        **msgspec.structs.asdict(summary(found)),
        lines=[line_view.of(line) for line in lines],
        credit_notes=[credit_note(note) for note in notes],
    )


def credit_note(note: CreditNote) -> CreditNoteView:
    """As it is answered."""
    return CreditNoteView(
        credit_note_id=note.credit_note_id,
        number=invoice.number("credit-note", note.number),
        amount=note.amount,
        settles=note.settles,
        reason=note.reason,
        issued_at=note.issued_at,
    )


def etag(found: Invoice) -> str:
    """The version of its state."""
    return f'"{found.revision}"'
