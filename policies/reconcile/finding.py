"""One difference, as one look has found it, and the two sides that were compared."""

import hashlib
from collections.abc import Mapping
from datetime import datetime

import msgspec

from policies import invoice
from policies.charging import charge, seen
from policies.model import BillingStatus, Noun
from policies.payment.fact import Kind as FactKind
from policies.reconcile.classes import KINDS, Class


class Finding(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """A class, whose it is, and what each side says. Money in minor units of its currency."""

    kind: Class = msgspec.field(name="class")
    tenant_id: str = ""
    """Empty for what belongs to no tenant of ours."""
    subject: str
    """What an act is about: the provider's id; of a charge our invoice; of a status the tenant."""
    expected: str
    actual: str
    money: int = 0
    """At risk, or in doubt."""
    currency: str = ""

    @property
    def finding_id(self) -> str:
        """The same for whatever look finds it."""
        name = f"{self.kind}\0{self.tenant_id}\0{self.subject}"
        return "fnd_" + hashlib.sha256(name.encode()).hexdigest()[:16]

    @property
    def automatic(self) -> bool:
        """May a machine end it?"""
        return KINDS[self.kind].act is not None


class OurCharge(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice of ours and how far its collecting is."""

    tenant_id: str
    invoice_id: str
    currency: str
    total: int
    credited: int = 0
    state: charge.State
    invoice_state: invoice.State
    invoice_ref: str | None = None
    lines: Mapping[str, int] = {}
    """Amounts by line id, of those that were sent and are to be there."""
    planned: frozenset[str] = frozenset()
    """Lines that are yet to be sent."""
    next_at: datetime | None = None
    sending_since: datetime | None = None
    """Since when nobody knows whether an order was carried out."""


class OurStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The billing status of a tenant, by what is stored and by what is known."""

    tenant_id: str
    state: str
    """Of its subscription: pending, active, ended."""
    holds: BillingStatus
    follows: BillingStatus
    """What payment facts say."""
    laid: bool
    """Is what is stored what would be laid?"""
    by_hand: bool
    unknown: tuple[str, ...] = ()
    """Things whose state nobody knows."""


class Known(msgspec.Struct, frozen=True):
    """The last fact about a thing of the provider."""

    tenant_id: str
    state: str


class Ours(msgspec.Struct, frozen=True, kw_only=True):
    """Our side."""

    charges: tuple[OurCharge, ...] = ()
    customers: Mapping[str, str] = {}
    """The provider's customer → the tenant."""
    facts: Mapping[tuple[FactKind, str], Known] = {}
    credits: frozenset[str] = frozenset()
    """Ids of credit notes."""
    invoices: frozenset[str] = frozenset()
    """Ids of all invoices that there are among those that the provider's objects name."""
    statuses: tuple[OurStatus, ...] = ()


class Theirs(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's side: what was listed, and what was asked for by name."""

    things: Mapping[str, seen.Seen] = {}
    """By the provider's id."""
    gone: frozenset[str] = frozenset()
    """What was asked for and is not there."""
    lines: Mapping[str, tuple[seen.Line, ...]] = {}
    """Of invoices, by their id."""
    live: bool = False
    """The mode of the account."""
