"""What is ordered of a payment provider: each is kept as it is before it is sent, and never made anew."""

from datetime import datetime

import msgspec


class AddCustomer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer for a tenant."""

    tenant_id: str
    name: str = ""
    email: str = ""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice, still without lines."""

    tenant_id: str
    invoice_id: str
    customer_ref: str
    currency: str
    number: str = ""
    """Of our own invoice, which the customer's copy names."""


class AddLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line: a whole amount, negative for a credit."""

    line_id: str
    invoice_ref: str
    customer_ref: str
    amount: int
    currency: str
    description: str
    starts_at: datetime | None = None
    ends_at: datetime | None = None


class Credit(msgspec.Struct, frozen=True, kw_only=True):
    """An amount by which a final invoice is lowered. What was paid already is not paid back by it."""

    invoice_ref: str
    credit_id: str
    amount: int
    reason: str = ""
