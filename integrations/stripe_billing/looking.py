"""Looking at what Stripe has: by id, by list, by what happened. Never by its search, which lags behind."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import stripe

from integrations.payments import Done, Notice, Outcome, Rejected
from integrations.stripe_billing import notices, shapes
from integrations.stripe_billing.account import MISSING, Account, shaped
from policies.charging import seen

_EARLIER: Final = timedelta(minutes=5)
"""How far Stripe's clock may be behind ours when we ask what was made since an instant."""

T = TypeVar("T")


_PLAIN: Final[dict[seen.Kind, tuple[str, Callable[[Any], seen.Seen]]]] = {
    "customer": ("customers", shapes.customer),
    "invoice": ("invoices", shapes.invoice),
    "credit_note": ("credit_notes", shapes.credit_note),
    "subscription": ("subscriptions", shapes.subscription),
    "item": ("invoice_items", shapes.item),
    "price": ("prices", shapes.price),
    "endpoint": ("webhook_endpoints", shapes.endpoint),
}
_FOR_AN_INVOICE: Final[dict[seen.Kind, tuple[str, Callable[[Any], seen.Seen]]]] = {
    "payment": ("charges", lambda one: shapes.payment(one, None)),
    "dispute": ("disputes", lambda one: shapes.dispute(one, None)),
}
"""What Stripe calls things, and how they are read; those below do not say for which invoice they were."""
_ALL: Final[dict[seen.Kind, dict[str, Any]]] = {"item": {"pending": True}, "price": {}, "endpoint": {}}
"""Kinds that are listed whole: how old one is bears on nothing."""


class Looking(Account):
    """What can be asked of an account."""

    async def find_customers(self, tenant_id: str, *, since: datetime) -> Outcome[Sequence[seen.Customer]]:
        """Reads the list: Stripe's search is minutes behind."""
        found = await self._list(
            "customers.list", self._api.customers.list_async, _created(since - _EARLIER), shapes.customer
        )
        return _only(found, lambda one: one.tenant_id == tenant_id)

    async def find_invoices(
        self, customer_ref: str, invoice_id: str, *, since: datetime
    ) -> Outcome[Sequence[seen.Invoice]]:
        """Reads the list of the customer's."""
        params = _created(since - _EARLIER) | {"customer": customer_ref}
        found = await self._list("invoices.list", self._api.invoices.list_async, params, shapes.invoice)
        return _only(found, lambda one: one.invoice_id == invoice_id)

    async def lines(self, invoice_ref: str) -> Outcome[Sequence[seen.Line]]:
        """The invoice's items."""
        return await self._list(
            "invoiceitems.list", self._api.invoice_items.list_async, {"invoice": invoice_ref}, shapes.line
        )

    async def payments(self, invoice_ref: str) -> Outcome[Sequence[seen.Payment]]:
        """Through invoice payments: charges do not say what they are for."""
        refs = await self._list(
            "invoice_payments.list",
            self._api.invoice_payments.list_async,
            {"invoice": invoice_ref, "expand": ["data.payment.payment_intent"]},
            _charge_of,
        )
        if not isinstance(refs, Done):
            return refs
        found = []
        for ref in filter(None, refs.value):
            one = await self._charge(ref, invoice_ref)
            if not isinstance(one, Done):
                return one
            found.append(one.value)
        return Done(tuple(found))

    async def fetch(self, thing: seen.Thing) -> Outcome[seen.Seen | None]:
        """One object; a customer that was deleted is gone, though Stripe still answers for it."""
        found = await self._fetch(thing)
        if isinstance(found, Rejected) and found.code == MISSING:
            return Done(None)
        return found

    async def browse(
        self, kind: seen.Kind, *, since: datetime, until: datetime
    ) -> Outcome[Sequence[seen.Seen]]:
        """Pages through the list; payments and disputes are then asked for their invoice one by one."""
        found = await self._browse(kind, _created(since, until))
        if kind not in ("payment", "dispute") or not isinstance(found, Done):
            return found
        whole: list[seen.Seen] = []
        for bare in found.value:
            one = await self.fetch(seen.Thing(kind=kind, ref=bare.ref))
            if not isinstance(one, Done):
                return one
            if one.value is not None:
                whole.append(one.value)
        return Done(tuple(whole))

    async def notices(self, *, since: datetime) -> Outcome[Sequence[Notice]]:
        """The events that Stripe keeps, oldest first."""
        found = await self._list("events.list", self._api.events.list_async, _created(since), notices.of)
        return Done(tuple(reversed(found.value))) if isinstance(found, Done) else found

    def read_notice(self, raw: bytes, signature: str, *, now: datetime) -> Notice:
        """A webhook's body, signed with the current or the previous secret."""
        return notices.read(raw, signature, self._secrets, now=now)

    async def _fetch(self, thing: seen.Thing) -> Outcome[seen.Seen | None]:
        match thing.kind:
            case "payment":
                return await self._payment(thing.ref)
            case "dispute":
                return await self._dispute(thing.ref)
        noun, shape = _PLAIN[thing.kind]
        service = getattr(self._api, noun)
        done = await self._ask(f"{noun}.retrieve", lambda: service.retrieve_async(thing.ref))
        if isinstance(done, Done) and getattr(done.value, "deleted", False):
            return Done(None)
        return shaped(done, shape)

    async def _payment(self, ref: str) -> Outcome[seen.Payment]:
        """A charge, and the invoice that it was for."""
        charge = await self._ask("charges.retrieve", lambda: self._api.charges.retrieve_async(ref))
        if not isinstance(charge, Done):
            return charge
        intent = shapes.ref_of(charge.value, "payment_intent")
        if not intent:  # what an invoice asks for has one
            return Done(shapes.payment(charge.value, None))
        invoices = await self._list(
            "invoice_payments.list",
            self._api.invoice_payments.list_async,
            {"payment": {"type": "payment_intent", "payment_intent": intent}},
            lambda one: shapes.ref_of(one, "invoice"),
        )
        if not isinstance(invoices, Done):
            return invoices
        return Done(shapes.payment(charge.value, next(iter(invoices.value), None)))

    async def _dispute(self, ref: str) -> Outcome[seen.Dispute]:
        dispute = await self._ask("disputes.retrieve", lambda: self._api.disputes.retrieve_async(ref))
        if not isinstance(dispute, Done):
            return dispute
        paid = await self._payment(shapes.ref_of(dispute.value, "charge"))
        if isinstance(paid, Rejected):
            return Done(shapes.dispute(dispute.value, None))
        return shaped(paid, lambda one: shapes.dispute(dispute.value, one))

    async def _charge(self, ref: str, invoice_ref: str) -> Outcome[seen.Payment]:
        return shaped(
            await self._ask("charges.retrieve", lambda: self._api.charges.retrieve_async(ref)),
            lambda one: shapes.payment(one, invoice_ref),
        )

    async def _browse(self, kind: seen.Kind, params: dict[str, Any]) -> Outcome[Sequence[seen.Seen]]:
        noun, shape = (_PLAIN | _FOR_AN_INVOICE)[kind]
        params = _ALL.get(kind, params)
        if kind == "subscription":
            params |= {"status": "all"}
        return await self._list(f"{noun}.list", getattr(self._api, noun).list_async, params, shape)


def _created(since: datetime, until: datetime | None = None) -> dict[str, Any]:
    span = {"gte": int(since.timestamp())}
    return {"created": span if until is None else span | {"lt": int(until.timestamp())}}


def _only(found: Outcome[Sequence[T]], wanted: Callable[[T], bool]) -> Outcome[Sequence[T]]:
    if not isinstance(found, Done):
        return found
    return Done(tuple([one for one in found.value if wanted(one)]))


def _charge_of(one: stripe.InvoicePayment) -> str:
    """The charge behind an invoice's payment: the last one of its intent, if it has one."""
    paid: Any = shapes.plain(one).get("payment") or {}
    intent = paid.get("payment_intent")
    charge = intent.get("latest_charge") if isinstance(intent, dict) else paid.get("charge")
    return str((charge.get("id") if isinstance(charge, dict) else charge) or "")
