"""Invoices, their lines and credit notes, written once, never changed; beside them states and the ledger."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from policies.invoice import Settles, Standing, State
from policies.rating.lines import Line
from store import postgres
from store.queries import Queries

_SQL = Queries("invoices")

Series = Literal["invoice", "credit-note"]
EntryKind = Literal["carried-over", "carried-in", "credit-note", "void"]
LAST = 2**62
"""Comes after the number of every invoice."""


class BilledTo(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whom an invoice was made out to, as the tenant was called then."""

    name: str = ""
    email: str = ""


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice as it is issued. Amounts are minor units of its currency."""

    tenant_id: str
    invoice_id: str
    number: int
    subscription_id: str
    period_no: int
    """Of the billing period, counted from 1 for each subscription."""
    start_at: datetime
    end_at: datetime
    """Equal to the start where it has only what came later than the last period."""
    plan_id: str
    plan_version: str
    currency: str
    total: int
    issued_at: datetime
    due_at: datetime | None
    billed_to: BilledTo


class Invoice(Issued, frozen=True, kw_only=True):
    """An invoice with what became of it since."""

    state: State
    since: datetime
    """When it came into that state."""
    paid: int
    credited: int
    returned: int
    overdue_at: datetime | None
    """When its being overdue was told to its subscription."""
    reason: str
    revision: int

    @property
    def standing(self) -> Standing:
        """As the pure rules read it."""
        return Standing(
            state=self.state,
            total=self.total,
            paid=self.paid,
            credited=self.credited,
            returned=self.returned,
        )


class New(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice to be issued, with its lines in their order, each with its sentence."""

    invoice: Issued
    lines: Sequence[tuple[Line, str]]
    state: State = "open"
    reason: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the ledger: above zero the tenant owes it, below it is to its credit."""

    tenant_id: str
    currency: str
    at: datetime
    amount: int
    kind: EntryKind
    subject: str
    """The invoice or credit note."""


class StoredEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One that was written, by number."""

    entry_no: int
    currency: str
    at: datetime
    amount: int
    kind: EntryKind
    subject: str


class CreditNote(msgspec.Struct, frozen=True, kw_only=True):
    """So much of an invoice was taken back, and what that lowered."""

    tenant_id: str
    credit_note_id: str
    number: int
    invoice_id: str
    amount: int
    currency: str
    settles: Settles
    reason: str
    issued_at: datetime


class _Balance(msgspec.Struct, frozen=True):
    tenant_id: str
    currency: str
    amount: int


class _Name(msgspec.Struct, frozen=True):
    tenant_id: str
    invoice_id: str


class _Row(Issued, frozen=True, kw_only=True):
    """As the driver reads it: with JSON that is not looked into yet."""

    billed_to: Mapping[str, str]  # type: ignore[assignment]
    state: State
    since: datetime
    paid: int
    credited: int
    returned: int
    overdue_at: datetime | None
    reason: str
    revision: int

    def invoice(self) -> Invoice:
        fields = msgspec.structs.asdict(self)
        return Invoice(**fields | {"billed_to": BilledTo(**self.billed_to)})


async def take_numbers(connection: postgres.Connection, series: Series, count: int) -> int:
    """The first of so many numbers that follow each other without a gap.

    To be called late in a transaction: until that ends, whoever wants a number waits.
    """
    first: int
    (first,) = await postgres.scalars(connection, _SQL.take_numbers, {"series": series, "count": count})
    return first


async def issue(connection: postgres.Connection, new: Sequence[New]) -> None:
    """Writes invoices with their lines and first states."""
    async with connection.cursor().copy(_SQL.copy_invoices) as copy:
        for one in new:
            *fields, billed_to = msgspec.structs.astuple(one.invoice)
            await copy.write_row([*fields, _json(billed_to)])
    async with connection.cursor().copy(_SQL.copy_lines) as copy:
        for one in new:
            for line_no, (line, description) in enumerate(one.lines, start=1):
                await copy.write_row(_line_row(one.invoice, line_no, line, description))
    async with connection.cursor().copy(_SQL.copy_states) as copy:
        for one in new:
            invoice = one.invoice
            await copy.write_row(
                (invoice.tenant_id, invoice.invoice_id, one.state, invoice.issued_at, one.reason)
            )


def _line_row(invoice: Issued, line_no: int, line: Line, description: str) -> tuple[object, ...]:
    return (
        invoice.tenant_id,
        invoice.invoice_id,
        line_no,
        line.kind,
        description,
        line.amount,
        line.version,
        line.feature_id,
        line.period.start,
        line.period.end,
        _json(line),
    )


async def find(
    connection: postgres.Connection, invoice_id: str, *, only: str | None = None
) -> Invoice | None:
    """The invoice; with `only`, if it is of that tenant."""
    params = {"invoice_id": invoice_id, "only": only}
    row = await postgres.row(connection, _SQL.find, params, _Row)
    return row.invoice() if row is not None else None


async def lock(
    connection: postgres.Connection, invoice_id: str, *, only: str | None = None
) -> Invoice | None:
    """The same, its state held for a change until the transaction ends."""
    params = {"invoice_id": invoice_id, "only": only}
    row = await postgres.row(connection, _SQL.lock, params, _Row)
    return row.invoice() if row is not None else None


async def page(
    connection: postgres.Connection, tenant_id: str, *, limit: int, before: int = LAST
) -> list[Invoice]:
    """A tenant's invoices, newest first, before the one of this number."""
    params = {"tenant_id": tenant_id, "limit": limit, "before": before}
    return [row.invoice() for row in await postgres.rows(connection, _SQL.page, params, _Row)]


async def lines(connection: postgres.Connection, tenant_id: str, invoice_id: str) -> list[Line]:
    """The lines of an invoice, in their order."""
    params = {"tenant_id": tenant_id, "invoice_id": invoice_id}
    bodies: list[str] = await postgres.scalars(connection, _SQL.lines, params)
    return [msgspec.json.decode(body, type=Line) for body in bodies]


async def write_standing(
    connection: postgres.Connection, invoice: Invoice, standing: Standing, *, at: datetime, reason: str
) -> Invoice:
    """What became of a locked invoice; as it stands then."""
    since = invoice.since if standing.state == invoice.state else at
    changed: dict[str, object] = {
        "state": standing.state,
        "since": since,
        "paid": standing.paid,
        "credited": standing.credited,
        "returned": standing.returned,
        "reason": reason,
    }
    whose: dict[str, object] = {"tenant_id": invoice.tenant_id, "invoice_id": invoice.invoice_id}
    (revision,) = await postgres.scalars(connection, _SQL.write_state, whose | changed)
    return msgspec.structs.replace(invoice, revision=revision, **changed)


async def nearly_due(
    connection: postgres.Connection, *, now: datetime, ahead: datetime, limit: int
) -> list[tuple[str, str]]:
    """Tenant and id of open invoices that are due by then and not known as such, or overdue and not told."""
    params = {"now": now, "ahead": ahead, "limit": limit}
    found = await postgres.rows(connection, _SQL.nearly_due, params, _Name)
    return [(one.tenant_id, one.invoice_id) for one in found]


async def note_overdue(connection: postgres.Connection, invoice: Invoice, at: datetime) -> None:
    """That a locked invoice is overdue is told to its subscription."""
    params = {"tenant_id": invoice.tenant_id, "invoice_id": invoice.invoice_id, "at": at}
    await postgres.execute(connection, _SQL.note_overdue, params)


async def add_credit_note(connection: postgres.Connection, note: CreditNote) -> None:
    """Writes a credit note."""
    await postgres.execute(connection, _SQL.add_credit_note, msgspec.structs.asdict(note))


async def credit_notes(connection: postgres.Connection, tenant_id: str, invoice_id: str) -> list[CreditNote]:
    """The credit notes of an invoice, oldest first."""
    params = {"tenant_id": tenant_id, "invoice_id": invoice_id}
    return await postgres.rows(connection, _SQL.credit_notes, params, CreditNote)


async def enter(connection: postgres.Connection, entries: Sequence[Entry]) -> None:
    """Writes lines of the ledger."""
    async with connection.cursor().copy(_SQL.copy_ledger) as copy:
        for one in entries:
            await copy.write_row((one.tenant_id, one.currency, one.at, one.amount, one.kind, one.subject))


async def balances(connection: postgres.Connection, tenant_ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """What tenants owe beside their invoices, by tenant and currency; nothing of who owes nothing."""
    found = await postgres.rows(connection, _SQL.balances, {"tenants": list(tenant_ids)}, _Balance)
    return {(one.tenant_id, one.currency): one.amount for one in found}


async def ledger(connection: postgres.Connection, tenant_id: str) -> list[StoredEntry]:
    """A tenant's lines of the ledger, oldest first."""
    return await postgres.rows(connection, _SQL.ledger, {"tenant_id": tenant_id}, StoredEntry)


async def carried_in(connection: postgres.Connection, tenant_id: str, invoice_id: str) -> int:
    """What an invoice has taken over of the ledger."""
    params = {"tenant_id": tenant_id, "invoice_id": invoice_id}
    found: list[int] = await postgres.scalars(connection, _SQL.carried_in, params)
    return found[0]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
