"""Stripe as a payment provider: each verb is one request, two where a payment has to be found.

Invoice mode: Stripe gets integer amounts as invoice items on drafts that it never finalizes or collects by
itself. No object of its library leaves this package.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import stripe

from integrations.payments import Done, Outcome, Rejected
from integrations.stripe_billing import amounts, shapes
from integrations.stripe_billing.account import MISSING, VERSION
from integrations.stripe_billing.looking import Looking
from policies.charging import seen
from policies.charging.orders import AddCustomer, AddLine, Credit, Draft
from policies.rating.settle import Payable


class StripePayments(Looking):
    """One account, by its key."""

    collects: bool = True
    lines_max: int = 250
    version: str = VERSION

    def payable(self, currency: str) -> Payable:
        """As the protocol has it."""
        return amounts.payable(currency)

    async def add_customer(self, order: AddCustomer, key: str) -> Outcome[seen.Customer]:
        """Carries the tenant's id as metadata."""
        params = {"metadata": {shapes.TENANT: order.tenant_id}} | _given(name=order.name, email=order.email)
        return await self._order(
            "customers.create", key, self._api.customers.create_async, params, shapes.customer
        )

    async def draft(self, order: Draft, key: str) -> Outcome[seen.Invoice]:
        """Never advances by itself, and takes up no items that lie around in the account."""
        params = {
            "customer": order.customer_ref,
            "currency": order.currency,
            "auto_advance": False,
            "collection_method": "charge_automatically",
            "pending_invoice_items_behavior": "exclude",
            "metadata": {shapes.TENANT: order.tenant_id, shapes.INVOICE: order.invoice_id},
        } | _given(description=order.number)
        return await self._order(
            "invoices.create", key, self._api.invoices.create_async, params, shapes.invoice
        )

    async def add_line(self, order: AddLine, key: str) -> Outcome[seen.Line]:
        """An invoice item: these carry metadata, which lines of an invoice lose."""

        async def create(params: Any, options: Any) -> stripe.InvoiceItem:
            amount = amounts.outward(order.amount, order.currency)
            return await self._api.invoice_items.create_async(params | {"amount": amount}, options)

        params: dict[str, Any] = {
            "customer": order.customer_ref,
            "invoice": order.invoice_ref,
            "currency": order.currency,
            "description": order.description,
            "metadata": {shapes.LINE: order.line_id},
        }
        if order.starts_at is not None and order.ends_at is not None:
            params["period"] = {
                "start": int(order.starts_at.timestamp()),
                "end": int(order.ends_at.timestamp()),
            }
        return await self._order("invoiceitems.create", key, create, params, shapes.line)

    async def drop_line(self, line: seen.Line, key: str) -> Outcome[None]:
        """The item with the line that it became, which has an id of its own."""
        found = await self._list(
            "invoices.lines",
            lambda page: self._api.invoices.line_items.list_async(line.invoice_ref, page),
            {},
            lambda one: (one.id, shapes.item_of(one)),
        )
        if not isinstance(found, Done):
            return found
        refs = [ref for ref, item in found.value if item == line.ref]
        if not refs:
            return Done(None)
        params = {"lines": [{"id": refs[0], "behavior": "delete"}]}
        remove = self._api.invoices.remove_lines_async
        done = await self._act("invoices.remove_lines", remove, line.invoice_ref, key, params)
        return Done(None) if isinstance(done, Done) else done

    async def discard(self, invoice_ref: str, key: str) -> Outcome[None]:
        """Deletes the draft."""
        del key
        return _gone(await self._ask("invoices.delete", lambda: self._api.invoices.delete_async(invoice_ref)))

    async def finalize(self, invoice_ref: str, key: str) -> Outcome[seen.Invoice]:
        """Without `auto_advance`: Stripe's own retries and ours must not both run."""
        act = self._api.invoices.finalize_invoice_async
        return await self._act("invoices.finalize", act, invoice_ref, key, {"auto_advance": False})

    async def pay(self, invoice_ref: str, key: str) -> Outcome[seen.Invoice]:
        """With the customer's default way of paying, without the customer: Stripe's own default."""
        return await self._act("invoices.pay", self._api.invoices.pay_async, invoice_ref, key, {})

    async def void(self, invoice_ref: str, key: str) -> Outcome[seen.Invoice]:
        """Voids it."""
        return await self._act("invoices.void", self._api.invoices.void_invoice_async, invoice_ref, key, {})

    async def write_off(self, invoice_ref: str, key: str) -> Outcome[seen.Invoice]:
        """Marks it as uncollectible."""
        act = self._api.invoices.mark_uncollectible_async
        return await self._act("invoices.write_off", act, invoice_ref, key, {})

    async def credit(self, order: Credit, key: str) -> Outcome[seen.CreditNote]:
        """A credit note; of an invoice that was paid it becomes the customer's balance, never a refund."""
        found = await self.fetch(seen.Thing(kind="invoice", ref=order.invoice_ref))
        if not isinstance(found, Done):
            return found
        if not isinstance(found.value, seen.Invoice):
            return Rejected(MISSING, "There is no such invoice.", "invoice")
        amount = amounts.outward(order.amount, found.value.currency)
        paid = {"credit_amount": amount} if found.value.status == "paid" else {}
        params = {
            "invoice": order.invoice_ref,
            "amount": amount,
            "metadata": {shapes.CREDIT: order.credit_id},
        } | paid | _given(memo=order.reason)  # fmt: skip
        return await self._order(
            "credit_notes.create", key, self._api.credit_notes.create_async, params, shapes.credit_note
        )

    async def _act(
        self,
        lane: str,
        act: Callable[[str, Any, Any], Awaitable[stripe.Invoice]],
        invoice_ref: str,
        key: str,
        params: Mapping[str, Any],
    ) -> Outcome[seen.Invoice]:
        """Something that is done to an invoice."""
        return await self._order(
            lane, key, lambda given, options: act(invoice_ref, given, options), dict(params), shapes.invoice
        )


def _given(**fields: str) -> dict[str, str]:
    """Those that say something: an empty text would unset what is there."""
    return {name: value for name, value in fields.items() if value}


def _gone(done: Outcome[stripe.Invoice]) -> Outcome[None]:
    """What is not there any more is gone, too."""
    if isinstance(done, Done) or (isinstance(done, Rejected) and done.code == MISSING):
        return Done(None)
    return done
