"""One difference, as one look has found it, and the two sides that were compared."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, TypeVar

import msgspec

from policies import invoice
from policies.charging import charge, seen
from policies.model import BillingStatus, Noun
from policies.payment.fact import Kind as FactKind
from policies.reconcile.classes import KINDS, Class

YOUNG: Final = timedelta(minutes=15)
T = TypeVar("T", bound=seen.Seen)


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
    ends_at: datetime | None = None


class OurPrice(msgspec.Struct, frozen=True):
    """What is charged for a plan or an add-on that is offered."""

    amount: int
    currency: str


class Stuck(msgspec.Struct, frozen=True):
    """A thing that could not be looked at so many times in a row."""

    kind: seen.Kind
    ref: str
    tenant_id: str
    failed: str


class Missed(msgspec.Struct, frozen=True):
    """A notice that did not come and was found by asking."""

    ref: str
    type: str
    happened_at: datetime


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
    prices: Mapping[str, OurPrice] = {}
    """By the id of the plan or add-on."""
    stuck: tuple[Stuck, ...] = ()
    missed: tuple[Missed, ...] = ()
    """Of late, where notices are sent to us; the first one first."""


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
    listed: frozenset[seen.Kind] = frozenset()
    """Kinds of which everything was listed."""
    tells: bool = False
    """It is to send notices to us."""
    version: str = ""
    """Of its API, that is pinned."""

    def all(self, kind: type[T]) -> list[T]:
        """All things of a kind, in order of their ids."""
        found = [one for one in self.things.values() if isinstance(one, kind)]
        return sorted(found, key=lambda one: one.ref)


def is_young(created_at: datetime | None, now: datetime) -> bool:
    """Did it come so lately that word of it may still be on its way?"""
    return created_at is not None and now - created_at < YOUNG
