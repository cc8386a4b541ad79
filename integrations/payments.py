"""Payment providers: what we ask of one, in verbs of our own (R40).

A provider moves money and decides nothing: it gets whole amounts, line by line, and the orders to finalize
and to pay. Who implements `Payments` maps an API to these verbs, and each answer to one of five outcomes:

| outcome | says | what follows |
|---|---|---|
| Done | it is so | go on |
| Retry | nothing happened, or it is still happening | later again, with the same key |
| Ambiguous | it may have happened | look, then again with the same key |
| Rejected | it did not happen and never will like this | stop and tell |
| Declined | the payment was tried and refused | another attempt, with a new key |

Orders take a `key`: the same order with the same key is carried out once, as long as the provider remembers
keys, which may be no longer than a day. So every order can also be recognised by what we had it carry: the
ids of the tenant, the invoice and the line.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Generic, Protocol, TypeAlias, TypeVar

import msgspec

from policies.charging import seen
from policies.charging.orders import AddCustomer, AddLine, Credit, Draft
from policies.rating.settle import Payable

T_co = TypeVar("T_co", covariant=True)


class Done(msgspec.Struct, Generic[T_co], frozen=True):
    """It is so. `repeated`: it had been carried out before, under the same key."""

    value: T_co
    repeated: bool = False


class Retry(msgspec.Struct, frozen=True):
    """Nothing happened, or it is being carried out at this moment: later again, with the same key."""

    reason: str
    after_s: float | None = None
    """How long the provider asked us to wait, if it did."""


class Ambiguous(msgspec.Struct, frozen=True):
    """No answer, or one that says nothing: it may have happened."""

    reason: str
    kept: bool = False
    """The provider will say this again to the same key: a new key is needed once a look has shown nothing."""


class Rejected(msgspec.Struct, frozen=True):
    """It did not happen, and the same order never will."""

    code: str
    reason: str
    field: str = ""


class Declined(msgspec.Struct, frozen=True):
    """The payment was tried and refused."""

    code: str
    reason: str


Outcome: TypeAlias = Done[T_co] | Retry | Ambiguous | Rejected | Declined


class StoppedError(Exception):
    """The provider does not let us in at all: a key that does not hold, or may not do this."""


class NoticeError(Exception):
    """A notice that is not the provider's, or cannot be read."""


class BusyError(Exception):
    """There is no turn soon: too much is under way."""

    def __init__(self, reason: str, *, after_s: float) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Word that something has changed. It is a hint: what is so is fetched."""

    ref: str
    type: str
    """As the provider has it; for people."""
    happened_at: datetime
    things: tuple[seen.Thing, ...]
    """What is to be looked at."""
    live: bool
    new_means: bool = False
    """The customer has a new way to pay."""
    version: str = ""
    """Of the provider's API, in which the notice is written."""
    caused_by: str = ""
    """The key of the order that led to it, if one of ours did."""


class Limiter(Protocol):
    """Spaces what all our processes together ask of a provider."""

    def turn(self, lane: str) -> AbstractAsyncContextManager[None]:
        """Waits for a turn and holds it as long as the block runs; a lane is one kind of request.

        Errors: BusyError.
        """
        ...

    async def refused(self, lane: str, after_s: float | None) -> None:
        """The provider said that this was too much: nobody asks in this lane for a while."""
        ...


class Payments(Protocol):
    """A payment provider. Errors of every verb that answers an Outcome: StoppedError."""

    account: str
    """Names the provider and whether real money moves."""
    live: bool
    """Real money moves."""
    hears: bool
    """Whether it can be told by whom a notice was sent; if not, none is taken."""
    collects: bool
    """It takes the money by itself, so that an attempt can fail; else somebody pays by a day, or does not."""
    lines_max: int
    """Lines of one invoice."""
    version: str
    """Of its API, that we were written against; empty if it has none."""

    def payable(self, currency: str) -> Payable:
        """What can be paid in a currency; the rest is carried forward."""
        ...

    async def close(self) -> None:
        """Ends the connections."""
        ...

    # --- orders ----------------------------------------------------------------------------------
    async def add_customer(self, order: AddCustomer, key: str) -> Outcome[seen.Customer]:
        """Makes who pays."""
        ...

    async def draft(self, order: Draft, key: str) -> Outcome[seen.Invoice]:
        """Begins an invoice without lines, which nobody sees and nothing finalizes by itself."""
        ...

    async def add_line(self, order: AddLine, key: str) -> Outcome[seen.Line]:
        """Adds a line to a draft."""
        ...

    async def drop_line(self, line: seen.Line, key: str) -> Outcome[None]:
        """Takes a line off a draft; one that is not there any more is off."""
        ...

    async def discard(self, invoice_ref: str, key: str) -> Outcome[None]:
        """Deletes a draft; one that is not there any more is deleted."""
        ...

    async def finalize(self, invoice_ref: str, key: str) -> Outcome[seen.Invoice]:
        """Makes a draft binding: from now on it cannot be changed, and can be paid."""
        ...

    async def pay(self, invoice_ref: str, key: str) -> Outcome[seen.Invoice]:
        """Tries once to take the money. One key is one attempt, whatever comes of it."""
        ...

    async def void(self, invoice_ref: str, key: str) -> Outcome[seen.Invoice]:
        """Takes back an invoice that is final and unpaid."""
        ...

    async def write_off(self, invoice_ref: str, key: str) -> Outcome[seen.Invoice]:
        """Gives up on an invoice that is final and unpaid."""
        ...

    async def credit(self, order: Credit, key: str) -> Outcome[seen.CreditNote]:
        """Lowers a final invoice."""
        ...

    # --- looking ---------------------------------------------------------------------------------
    async def find_customers(self, tenant_id: str, *, since: datetime) -> Outcome[Sequence[seen.Customer]]:
        """The customers of a tenant that were made since then: as it is, not as a search index has it."""
        ...

    async def find_invoices(
        self, customer_ref: str, invoice_id: str, *, since: datetime
    ) -> Outcome[Sequence[seen.Invoice]]:
        """The customer's invoices that carry our id and were made since then."""
        ...

    async def lines(self, invoice_ref: str) -> Outcome[Sequence[seen.Line]]:
        """All lines of an invoice."""
        ...

    async def payments(self, invoice_ref: str) -> Outcome[Sequence[seen.Payment]]:
        """All payments of an invoice."""
        ...

    async def fetch(self, thing: seen.Thing) -> Outcome[seen.Seen | None]:
        """A thing as it is now; None if there is no such thing (any more)."""
        ...

    async def browse(
        self, kind: seen.Kind, *, since: datetime, until: datetime
    ) -> Outcome[Sequence[seen.Seen]]:
        """All things of a kind that were made in [since, until), for whoever compares.

        Refunds show in their payments. Lines on no invoice, prices and endpoints are listed however old.
        """
        ...

    async def notices(self, *, since: datetime) -> Outcome[Sequence[Notice]]:
        """What has happened since then, whether or not we were told; the provider remembers about 30 days."""
        ...

    def read_notice(self, raw: bytes, signature: str, *, now: datetime) -> Notice:
        """A notice that was sent to us; `raw` is the body byte by byte, `now` the real time.

        Errors: NoticeError.
        """
        ...
