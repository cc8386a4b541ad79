"""What a payment provider shows of a thing when it is asked: in our own words, amounts in minor units.

A `ref` is the provider's id of a thing, an `id` is ours, which the provider carries for us. A status is text
as it came: one that nobody knows is shown, never guessed at.
"""

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

Kind = Literal[
    "customer", "invoice", "payment", "dispute", "credit_note", "subscription", "item", "price", "endpoint"
]


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """Names something that the provider has."""

    kind: Kind
    ref: str


class Customer(msgspec.Struct, frozen=True, kw_only=True, tag="customer"):
    """Who pays. `tenant_id` is None for one that somebody made elsewhere."""

    ref: str
    tenant_id: str | None = None
    email: str = ""
    live: bool = False
    created_at: datetime | None = None


class Invoice(msgspec.Struct, frozen=True, kw_only=True, tag="invoice"):
    """A request for money. `invoice_id` is None for one that is not of ours."""

    ref: str
    customer_ref: str
    currency: str
    status: str
    """`draft`, `open`, `paid`, `void` or `uncollectible`."""
    subtotal: int
    """What the lines add up to; tax, discounts and balances of the provider come after it."""
    total: int
    amount_due: int
    amount_paid: int
    amount_remaining: int
    attempts: int = 0
    """How often a payment was tried."""
    invoice_id: str | None = None
    tenant_id: str | None = None
    number: str = ""
    page_url: str = ""
    """Where the customer can pay by hand."""
    live: bool = False
    created_at: datetime | None = None
    finalized_at: datetime | None = None
    paid_at: datetime | None = None
    voided_at: datetime | None = None
    written_off_at: datetime | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True, tag="line"):
    """One line of an invoice. `line_id` is None for one that is not of ours."""

    ref: str
    invoice_ref: str
    amount: int
    currency: str
    line_id: str | None = None
    description: str = ""


class Payment(msgspec.Struct, frozen=True, kw_only=True, tag="payment"):
    """Money that moved, or did not. `invoice_ref` is None where it was for no invoice."""

    ref: str
    status: str
    """`succeeded`, `pending` or `failed`."""
    amount: int
    amount_refunded: int
    currency: str
    customer_ref: str | None = None
    invoice_ref: str | None = None
    disputed: bool = False
    decline_code: str = ""
    live: bool = False
    created_at: datetime | None = None


class Dispute(msgspec.Struct, frozen=True, kw_only=True, tag="dispute"):
    """The customer's bank asks a payment back, or asks about it."""

    ref: str
    status: str
    reason: str
    amount: int
    currency: str
    payment_ref: str
    customer_ref: str | None = None
    invoice_ref: str | None = None
    live: bool = False
    created_at: datetime | None = None


class CreditNote(msgspec.Struct, frozen=True, kw_only=True, tag="credit_note"):
    """What an invoice was lowered by after it was final."""

    ref: str
    status: str
    amount: int
    currency: str
    customer_ref: str
    invoice_ref: str
    credit_id: str | None = None
    live: bool = False
    created_at: datetime | None = None


class Subscription(msgspec.Struct, frozen=True, kw_only=True, tag="subscription"):
    """A subscription that the provider bills by itself: one that was there before us. Ours are not there."""

    ref: str
    customer_ref: str
    status: str
    status_reason: str = ""
    tenant_id: str | None = None
    cancels_at: datetime | None = None
    ended_at: datetime | None = None
    collection_paused: bool = False
    live: bool = False
    created_at: datetime | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True, tag="item"):
    """A line that is on no invoice: it waits for the next one that somebody lets take it along."""

    ref: str
    customer_ref: str
    amount: int
    currency: str
    line_id: str | None = None
    live: bool = False
    created_at: datetime | None = None


class Price(msgspec.Struct, frozen=True, kw_only=True, tag="price"):
    """A price that the provider keeps for subscriptions that it bills by itself. Our invoices need none."""

    ref: str
    key: str
    """The name that it is looked up by; empty if it has none."""
    amount: int | None
    """None for one with tiers, or with parts of a minor unit."""
    currency: str
    active: bool = True
    live: bool = False
    created_at: datetime | None = None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, tag="endpoint"):
    """Where the provider sends its notices."""

    ref: str
    ours: bool
    """It is the address of our route, on whatever host."""
    enabled: bool
    version: str = ""
    """Of the provider's API, in which it writes; empty: that of the account."""
    live: bool = False
    created_at: datetime | None = None


Seen: TypeAlias = Customer | Invoice | Payment | Dispute | CreditNote | Subscription | Item | Price | Endpoint
"""Whatever may be fetched."""
