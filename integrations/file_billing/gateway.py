"""A folder as a payment provider: it writes down what is to be collected, and reads what was paid.

For who collects by bank transfer, with a program of their own, or by hand:

- `to-collect/INV-000042.json` appears when an invoice binds: who owes how much, line by line;
- `receipts/INV-000042.json` is put there when it was paid: `{"amount": 13000, "reference": "transfer 4711"}`,
  with the amount in minor units.

`customers` and `invoices` are the provider's own books. Nothing here moves money.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from integrations.file_billing.books import Folder, Invoice, Line, Payer, ref_of
from integrations.payments import Declined, Done, Notice, NoticeError, Outcome, Rejected
from policies.charging import seen
from policies.charging.orders import AddCustomer, AddLine, Credit, Draft
from policies.rating.settle import Payable

_LINES_MAX: Final = 100_000


class FilePayments:
    """The provider; `now` tells the time."""

    live = False
    hears = False
    collects = False
    lines_max = _LINES_MAX
    version = ""

    def __init__(self, folder: Path, *, now: Callable[[], datetime]) -> None:
        self._books, self._now = Folder(folder), now
        self.account = f"file:{folder}"

    def payable(self, currency: str) -> Payable:
        """Any amount can be written down."""
        del currency
        return Payable()

    async def close(self) -> None:
        """Nothing is open."""

    # --- orders --------------------------------------------------------------------------------------

    async def add_customer(self, order: AddCustomer, key: str) -> Outcome[seen.Customer]:
        """Keeps who pays."""
        made = Payer(
            ref=ref_of("cus", key),
            tenant_id=order.tenant_id,
            name=order.name,
            email=order.email,
            created_at=self._now(),
        )
        kept = await asyncio.to_thread(self._books.once, "customers", made.ref, made, Payer)
        return Done(kept.value.seen, repeated=kept.repeated)

    async def draft(self, order: Draft, key: str) -> Outcome[seen.Invoice]:
        """Begins an invoice."""
        made = Invoice(
            ref=ref_of("inv", key),
            customer_ref=order.customer_ref,
            tenant_id=order.tenant_id,
            invoice_id=order.invoice_id,
            number=order.number,
            currency=order.currency,
            status="draft",
            created_at=self._now(),
        )
        kept = await asyncio.to_thread(self._books.once, "invoices", made.ref, made, Invoice)
        return Done(self._books.invoice(kept.value), repeated=kept.repeated)

    async def add_line(self, order: AddLine, key: str) -> Outcome[seen.Line]:
        """Adds a line to a draft."""
        line = Line(
            ref=ref_of("li", key),
            line_id=order.line_id,
            amount=order.amount,
            description=order.description,
            starts_at=order.starts_at,
            ends_at=order.ends_at,
        )

        def add(kept: Invoice) -> Invoice | Rejected:
            if any(each.ref == line.ref for each in kept.lines):
                return kept
            if kept.status != "draft":
                return Rejected("not_a_draft", f"The invoice is {kept.status}.")
            return msgspec.structs.replace(kept, lines=(*kept.lines, line))

        done = await self._changed(order.invoice_ref, add)
        return Done(line.of(done.value)) if isinstance(done, Done) else done

    async def drop_line(self, line: seen.Line, key: str) -> Outcome[None]:
        """Takes a line off a draft."""
        del key

        def drop(kept: Invoice) -> Invoice | Rejected:
            if kept.status != "draft":
                return Rejected("not_a_draft", f"The invoice is {kept.status}.")
            return msgspec.structs.replace(
                kept, lines=tuple(each for each in kept.lines if each.ref != line.ref)
            )

        done = await self._changed(line.invoice_ref, drop)
        return Done(None) if isinstance(done, Done) else done

    async def discard(self, invoice_ref: str, key: str) -> Outcome[None]:
        """Deletes a draft."""
        del key
        kept = await asyncio.to_thread(self._books.read, "invoices", invoice_ref, Invoice)
        if kept is not None and kept.status != "draft":
            return Rejected("not_a_draft", f"The invoice is {kept.status}.")
        await asyncio.to_thread(self._books.file("invoices", invoice_ref).unlink, missing_ok=True)
        return Done(None)

    async def finalize(self, invoice_ref: str, key: str) -> Outcome[seen.Invoice]:
        """Makes a draft binding, and writes down what is to be collected."""
        del key

        def bind(kept: Invoice) -> Invoice | Rejected:
            if kept.status != "draft":
                return kept
            return msgspec.structs.replace(kept, status="open", finalized_at=self._now())

        done = await self._changed(invoice_ref, bind)
        if not isinstance(done, Done):
            return done
        if done.value.status == "open":
            await asyncio.to_thread(self._books.tell, done.value)
        return Done(self._books.invoice(done.value))

    async def pay(self, invoice_ref: str, key: str) -> Outcome[seen.Invoice]:
        """Looks whether it was paid; until then it is declined."""
        del key
        kept = await asyncio.to_thread(self._books.read, "invoices", invoice_ref, Invoice)
        if kept is None:
            return Rejected("no_such_invoice", "The folder has no such invoice.")
        found = self._books.invoice(kept)
        if found.status == "paid":
            return Done(found)
        if found.status != "open":
            return Rejected("not_open", f"The invoice is {found.status}.")
        said = "there is no receipt for it yet" if not found.amount_paid else "only a part of it was paid"
        return Declined("not_paid_yet", f"{kept.number}: {said}")

    async def void(self, invoice_ref: str, key: str) -> Outcome[seen.Invoice]:
        """Takes it back; it is not to be collected any more."""
        del key
        return await self._ended(invoice_ref, "void")

    async def write_off(self, invoice_ref: str, key: str) -> Outcome[seen.Invoice]:
        """Gives up on it; a receipt may still come."""
        del key
        return await self._ended(invoice_ref, "uncollectible")

    async def credit(self, order: Credit, key: str) -> Outcome[seen.CreditNote]:
        """Lowers what is to be collected."""
        ref = ref_of("cn", key)

        def lower(kept: Invoice) -> Invoice | Rejected:
            if any(each.ref == ref for each in kept.credits):
                return kept
            if order.amount > kept.due:
                return Rejected("too_much", f"No more than {kept.due} can be credited.", "amount")
            note = seen.CreditNote(
                ref=ref,
                status="issued",
                amount=order.amount,
                currency=kept.currency,
                customer_ref=kept.customer_ref,
                invoice_ref=kept.ref,
                created_at=self._now(),
            )
            return msgspec.structs.replace(kept, credits=(*kept.credits, note))

        done = await self._changed(order.invoice_ref, lower)
        if not isinstance(done, Done):
            return done
        await asyncio.to_thread(self._books.tell, done.value)
        return Done(next(each for each in done.value.credits if each.ref == ref))

    # --- looking -------------------------------------------------------------------------------------

    async def find_customers(self, tenant_id: str, *, since: datetime) -> Outcome[Sequence[seen.Customer]]:
        """The customers of a tenant."""
        found = await asyncio.to_thread(self._books.browse, "customer")
        return Done(
            [
                one
                for one in found
                if isinstance(one, seen.Customer) and one.tenant_id == tenant_id and _made(one, since)
            ]
        )

    async def find_invoices(
        self, customer_ref: str, invoice_id: str, *, since: datetime
    ) -> Outcome[Sequence[seen.Invoice]]:
        """The customer's invoices that carry our id."""
        found = await asyncio.to_thread(self._books.browse, "invoice")
        wanted = (customer_ref, invoice_id)
        return Done(
            [
                one
                for one in found
                if isinstance(one, seen.Invoice)
                and (one.customer_ref, one.invoice_id) == wanted
                and _made(one, since)
            ]
        )

    async def lines(self, invoice_ref: str) -> Outcome[Sequence[seen.Line]]:
        """All lines of an invoice."""
        kept = await asyncio.to_thread(self._books.read, "invoices", invoice_ref, Invoice)
        if kept is None:
            return Rejected("no_such_invoice", "The folder has no such invoice.")
        return Done([line.of(kept) for line in kept.lines])

    async def payments(self, invoice_ref: str) -> Outcome[Sequence[seen.Payment]]:
        """Its receipt, if there is one."""
        kept = await asyncio.to_thread(self._books.read, "invoices", invoice_ref, Invoice)
        return Done([] if kept is None else await asyncio.to_thread(self._books.payments, kept))

    async def fetch(self, thing: seen.Thing) -> Outcome[seen.Seen | None]:
        """A thing as it is now."""
        for each in await asyncio.to_thread(self._books.browse, thing.kind):
            if each.ref == thing.ref:
                return Done(each)
        return Done(None)

    async def browse(
        self, kind: seen.Kind, *, since: datetime, until: datetime
    ) -> Outcome[Sequence[seen.Seen]]:
        """All things of a kind that were made in a span."""
        found = await asyncio.to_thread(self._books.browse, kind)
        return Done([one for one in found if one.created_at is not None and since <= one.created_at < until])

    async def notices(self, *, since: datetime) -> Outcome[Sequence[Notice]]:
        """The receipts that came since then."""
        found = await asyncio.to_thread(self._books.browse, "payment")
        return Done(
            [
                Notice(
                    ref=one.ref,
                    type="receipt",
                    happened_at=one.created_at,
                    things=(seen.Thing(kind="invoice", ref=one.invoice_ref),),
                    live=False,
                )
                for one in found
                if isinstance(one, seen.Payment)
                and one.invoice_ref is not None
                and one.created_at is not None
                and one.created_at >= since
            ]
        )

    def read_notice(self, raw: bytes, signature: str, *, now: datetime) -> Notice:
        """A folder sends nothing.

        Errors: NoticeError.
        """
        del raw, signature, now
        raise NoticeError("A folder sends no notices.")

    async def _changed(
        self, ref: str, change: Callable[[Invoice], Invoice | Rejected]
    ) -> Done[Invoice] | Rejected:
        kept = await asyncio.to_thread(self._books.read, "invoices", ref, Invoice)
        if kept is None:
            return Rejected("no_such_invoice", "The folder has no such invoice.")
        new = change(kept)
        if isinstance(new, Rejected):
            return new
        if new is not kept:
            await asyncio.to_thread(self._books.write, self._books.file("invoices", ref), new)
        return Done(new, repeated=new is kept)

    async def _ended(self, ref: str, status: str) -> Outcome[seen.Invoice]:
        def end(kept: Invoice) -> Invoice | Rejected:
            if kept.status == status:
                return kept
            if self._books.invoice(kept).status not in ("open", "uncollectible"):
                return Rejected("not_open", f"The invoice is {self._books.invoice(kept).status}.")
            at = {"void": "voided_at", "uncollectible": "written_off_at"}[status]
            return msgspec.structs.replace(kept, status=status, **{at: self._now()})

        done = await self._changed(ref, end)
        if not isinstance(done, Done):
            return done
        await asyncio.to_thread(self._books.file("to-collect", done.value.number).unlink, missing_ok=True)
        return Done(self._books.invoice(done.value))


def _made(one: seen.Customer | seen.Invoice, since: datetime) -> bool:
    return one.created_at is not None and one.created_at >= since
