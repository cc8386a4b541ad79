"""Stripe's objects as what is seen of them. Only what is named here is read; what Stripe adds passes by."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
import stripe

from integrations.stripe_billing.amounts import inward
from policies.charging import seen

TENANT: Final = "metergate_tenant"
INVOICE: Final = "metergate_invoice"
LINE: Final = "metergate_line"
CREDIT: Final = "metergate_credit"
"""Keys of metadata: by them things are recognised as ours."""

ROUTE: Final = "/v1/stripe/webhook"
"""Of ours, by which an endpoint is recognised, on whatever host."""

T = TypeVar("T")


class _Object(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    livemode: bool = False
    created: int | None = None
    metadata: dict[str, str] | None = None


class _Customer(_Object, frozen=True, kw_only=True):
    email: str | None = None


class _Transitions(msgspec.Struct, frozen=True, kw_only=True):
    finalized_at: int | None = None
    paid_at: int | None = None
    voided_at: int | None = None
    marked_uncollectible_at: int | None = None


class _Invoice(_Object, frozen=True, kw_only=True):
    customer: Any
    currency: str
    status: str | None
    subtotal: int
    total: int
    amount_due: int
    amount_paid: int
    amount_remaining: int
    attempt_count: int = 0
    number: str | None = None
    hosted_invoice_url: str | None = None
    status_transitions: _Transitions = _Transitions()


class _Item(_Object, frozen=True, kw_only=True):
    invoice: Any
    amount: int
    currency: str
    description: str | None = None


class _Charge(_Object, frozen=True, kw_only=True):
    status: str
    amount: int
    amount_refunded: int = 0
    currency: str
    customer: Any = None
    disputed: bool = False
    failure_code: str | None = None


class _Dispute(_Object, frozen=True, kw_only=True):
    status: str
    reason: str
    amount: int
    currency: str
    charge: Any


class _CreditNote(_Object, frozen=True, kw_only=True):
    status: str
    total: int
    currency: str
    customer: Any
    invoice: Any


class _Subscription(_Object, frozen=True, kw_only=True):
    customer: Any
    status: str
    cancel_at: int | None = None
    ended_at: int | None = None
    pause_collection: dict[str, Any] | None = None
    status_details: dict[str, Any] | None = None


class _Pending(_Object, frozen=True, kw_only=True):
    customer: Any
    amount: int
    currency: str
    date: int | None = None


class _Price(_Object, frozen=True, kw_only=True):
    active: bool
    currency: str
    lookup_key: str | None = None
    unit_amount: int | None = None


class _Endpoint(_Object, frozen=True, kw_only=True):
    url: str
    status: str
    api_version: str | None = None


def plain(given: stripe.StripeObject) -> dict[str, Any]:
    """An object of the library as JSON has it: nothing of the library leaves this package."""
    found: dict[str, Any] = given.to_dict(for_json=True)
    return found


def customer(given: stripe.StripeObject) -> seen.Customer:
    """Who pays."""
    one = _read(given, _Customer)
    return seen.Customer(
        ref=one.id,
        tenant_id=_ours(one, TENANT),
        email=one.email or "",
        live=one.livemode,
        created_at=_at(one.created),
    )


def invoice(given: stripe.StripeObject) -> seen.Invoice:
    """A request for money."""
    one = _read(given, _Invoice)
    steps, code = one.status_transitions, one.currency
    return seen.Invoice(
        ref=one.id,
        customer_ref=_ref(one.customer),
        currency=code,
        status=one.status or "",
        subtotal=inward(one.subtotal, code),
        total=inward(one.total, code),
        amount_due=inward(one.amount_due, code),
        amount_paid=inward(one.amount_paid, code),
        amount_remaining=inward(one.amount_remaining, code),
        attempts=one.attempt_count,
        invoice_id=_ours(one, INVOICE),
        tenant_id=_ours(one, TENANT),
        number=one.number or "",
        page_url=one.hosted_invoice_url or "",
        live=one.livemode,
        created_at=_at(one.created),
        finalized_at=_at(steps.finalized_at),
        paid_at=_at(steps.paid_at),
        voided_at=_at(steps.voided_at),
        written_off_at=_at(steps.marked_uncollectible_at),
    )


def line(given: stripe.StripeObject) -> seen.Line:
    """An invoice item: a line before and after it is on an invoice, with its metadata."""
    one = _read(given, _Item)
    return seen.Line(
        ref=one.id,
        invoice_ref=_ref(one.invoice),
        amount=inward(one.amount, one.currency),
        currency=one.currency,
        line_id=_ours(one, LINE),
        description=one.description or "",
    )


def payment(given: stripe.StripeObject, invoice_ref: str | None) -> seen.Payment:
    """A charge; for which invoice it was has to be asked apart."""
    one = _read(given, _Charge)
    return seen.Payment(
        ref=one.id,
        status=one.status,
        amount=inward(one.amount, one.currency),
        amount_refunded=inward(one.amount_refunded, one.currency),
        currency=one.currency,
        customer_ref=_ref(one.customer) or None,
        invoice_ref=invoice_ref,
        disputed=one.disputed,
        decline_code=one.failure_code or "",
        live=one.livemode,
        created_at=_at(one.created),
    )


def dispute(given: stripe.StripeObject, paid: seen.Payment | None) -> seen.Dispute:
    """A dispute, with whom and what its payment was for."""
    one = _read(given, _Dispute)
    return seen.Dispute(
        ref=one.id,
        status=one.status,
        reason=one.reason,
        amount=inward(one.amount, one.currency),
        currency=one.currency,
        payment_ref=_ref(one.charge),
        customer_ref=None if paid is None else paid.customer_ref,
        invoice_ref=None if paid is None else paid.invoice_ref,
        live=one.livemode,
        created_at=_at(one.created),
    )


def credit_note(given: stripe.StripeObject) -> seen.CreditNote:
    """A credit note."""
    one = _read(given, _CreditNote)
    return seen.CreditNote(
        ref=one.id,
        status=one.status,
        amount=inward(one.total, one.currency),
        currency=one.currency,
        customer_ref=_ref(one.customer),
        invoice_ref=_ref(one.invoice),
        credit_id=_ours(one, CREDIT),
        live=one.livemode,
        created_at=_at(one.created),
    )


def subscription(given: stripe.StripeObject) -> seen.Subscription:
    """A subscription that Stripe bills."""
    one = _read(given, _Subscription)
    why: Any = (one.status_details or {}).get(one.status) or {}
    return seen.Subscription(
        ref=one.id,
        customer_ref=_ref(one.customer),
        status=one.status,
        status_reason=str(why.get("type") or why.get("reason") or "") if isinstance(why, Mapping) else "",
        tenant_id=_ours(one, TENANT),
        cancels_at=_at(one.cancel_at),
        ended_at=_at(one.ended_at),
        collection_paused=one.pause_collection is not None,
        live=one.livemode,
        created_at=_at(one.created),
    )


def item(given: stripe.StripeObject) -> seen.Item:
    """An invoice item that waits for an invoice."""
    one = _read(given, _Pending)
    return seen.Item(
        ref=one.id,
        customer_ref=_ref(one.customer),
        amount=inward(one.amount, one.currency),
        currency=one.currency,
        line_id=_ours(one, LINE),
        live=one.livemode,
        created_at=_at(one.date),
    )


def price(given: stripe.StripeObject) -> seen.Price:
    """A price of Stripe's own catalog."""
    one = _read(given, _Price)
    return seen.Price(
        ref=one.id,
        key=one.lookup_key or "",
        amount=None if one.unit_amount is None else inward(one.unit_amount, one.currency),
        currency=one.currency,
        active=one.active,
        live=one.livemode,
        created_at=_at(one.created),
    )


def endpoint(given: stripe.StripeObject) -> seen.Endpoint:
    """Where events are sent."""
    one = _read(given, _Endpoint)
    return seen.Endpoint(
        ref=one.id,
        ours=one.url.rstrip("/").endswith(ROUTE),
        enabled=one.status == "enabled",
        version=one.api_version or "",
        live=one.livemode,
        created_at=_at(one.created),
    )


def item_of(given: stripe.InvoiceLineItem) -> str:
    """The invoice item that became a line of an invoice."""
    parent: Any = plain(given).get("parent") or {}
    return str((parent.get("invoice_item_details") or {}).get("invoice_item") or "")


def ref_of(given: stripe.StripeObject, field: str) -> str:
    """The id that a field names, whether or not the whole object came with it."""
    return _ref(plain(given).get(field))


def _read(given: stripe.StripeObject, kind: type[T]) -> T:
    return msgspec.convert(plain(given), kind)


def _ref(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("id")
    return str(value or "")


def _ours(one: _Object, key: str) -> str | None:
    return (one.metadata or {}).get(key)


def _at(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
