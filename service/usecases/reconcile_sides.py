"""Reads the two sides that are compared: our records, and what a payment provider shows now.

What could not be read is named; then the look is not whole, and says of nothing that it is well.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar, get_args

import msgspec

from integrations.payments import Done, Outcome, Payments, StoppedError
from policies import limits, money, subscription
from policies.charging import seen
from policies.model import AddonVersion, PlanVersion
from policies.payment import course, fact, laying, table
from policies.payment.fact import Kind as FactKind
from policies.payment.fact import PaymentFact
from policies.reconcile.finding import OurPrice, Ours, OurStatus, Theirs
from policies.reconcile.plan import Scope
from policies.subscription import Subscription
from service.context import Context
from store import payment_facts, postgres, reconcile, subscriptions

_T = TypeVar("_T")
_LATELY: Final = timedelta(days=2)
_NOTICED: Final = timedelta(days=1)
"""How long it is told that a notice did not come."""
_ASKED_FOR: Final[dict[FactKind, seen.Kind]] = {
    "dispute": "dispute",
    "subscription": "subscription",
}
"""Things known by facts that are asked for by name, as long as they can still change."""


class Sides(msgspec.Struct, frozen=True, kw_only=True):
    """Both of them, and what could not be read."""

    ours: Ours
    theirs: Theirs
    unread: tuple[str, ...]

    @property
    def looked_at(self) -> int:
        """How many things were compared."""
        return len(self.ours.charges) + len(self.ours.statuses) + len(self.theirs.things)


async def read(context: Context, scope: Scope, now: datetime) -> Sides:
    """Both sides: `open` asks for all that is not over, `full` also lists what the provider has of late.

    Errors: UnavailableError.
    """
    ours = await _ours(context, scope, now)
    if context.payments is None:
        nobody = msgspec.structs.replace(ours, charges=(), customers={}, facts={}, stuck=())
        return Sides(ours=nobody, theirs=Theirs(), unread=())
    reader = _Reader(context.payments)
    if scope == "full":
        await reader.browse(since=now - timedelta(days=limits.RECONCILE_DAYS), until=now)
    await reader.fetch(_wanted(ours, scope))
    await reader.read_lines(ours)
    theirs = reader.theirs()
    async with postgres.transaction(context.pool) as connection:
        ids = [one.invoice_id for one in theirs.things.values() if isinstance(one, seen.Invoice)]
        known = await reconcile.named(connection, [one for one in ids if one is not None])
    ours = msgspec.structs.replace(ours, invoices=known)
    return Sides(ours=ours, theirs=theirs, unread=tuple(sorted(reader.unread)))


async def _ours(context: Context, scope: Scope, now: datetime) -> Ours:
    since = now - timedelta(days=limits.RECONCILE_DAYS)
    async with postgres.transaction(context.pool) as connection:
        charges = await reconcile.charges(connection, since=since)
        customers = await reconcile.customers(connection)
        facts = await reconcile.facts(connection)
        credit_ids = await reconcile.credits_since(connection, since)
        lately = now - _LATELY if scope == "open" else datetime.min.replace(tzinfo=now.tzinfo)
        tenants = await reconcile.tenants_with_facts(connection, lately)
        stuck = await reconcile.stuck(connection, tries=limits.RECONCILE_STUCK)
        told = context.payments is not None and context.payments.hears
        account = context.payments.account if context.payments is not None and told else ""
        missed = await reconcile.missed(connection, account, since=now - _NOTICED) if told else []
    statuses = list[OurStatus]()
    for place in range(0, len(tenants), limits.RECONCILE_TENANTS):
        statuses += await _statuses(context, tenants[place : place + limits.RECONCILE_TENANTS], now)
    return Ours(
        charges=tuple(charges),
        customers=customers,
        facts=facts,
        credits=credit_ids,
        statuses=tuple(statuses),
        prices=await _prices(context),
        stuck=tuple(stuck),
        missed=tuple(missed),
    )


async def _statuses(context: Context, tenants: Sequence[str], now: datetime) -> list[OurStatus]:
    """What is stored of these tenants' billing statuses, beside what follows from facts."""
    async with postgres.transaction(context.pool) as connection:
        held = await subscriptions.latest_of(connection, tenants)
        facts = await payment_facts.of_tenants(connection, tenants)
    return [_status(tenant_id, stored, facts.get(tenant_id, ()), now) for tenant_id, stored in held.items()]


def _status(tenant_id: str, stored: Subscription, facts: Sequence[PaymentFact], now: datetime) -> OurStatus:
    said = course.of(facts, stored.id)
    step = said.at(now)
    return OurStatus(
        tenant_id=tenant_id,
        state=subscription.state_at(stored, now),
        holds=subscription.billing_status_at(stored, now),
        follows="good" if step is None else step.status,
        laid=laying.laid(stored, facts, now=now) == stored,
        by_hand=fact.word_at(facts, stored.id, now) is not None,
        unknown=tuple(f"{one.kind} {one.subject}: {one.state}" for one in said.unknown),
    )


async def _prices(context: Context) -> dict[str, OurPrice]:
    """What is charged for all that is offered, by the id under which a provider may know it."""
    offer = context.catalogs.active
    if offer is None:
        return {}
    versions = await context.catalogs.need(offer.plans.values(), offer.addons.values())
    sold: list[PlanVersion | AddonVersion] = [versions.plans[one] for one in offer.plans.values()]
    sold += [versions.addons[one] for one in offer.addons.values()]
    return {
        one.addon_id if isinstance(one, AddonVersion) else one.plan_id: OurPrice(
            money.rounded(money.exact(one.price, one.currency)), one.currency
        )
        for one in sold
    }


def _wanted(ours: Ours, scope: Scope) -> list[seen.Thing]:
    """What is asked for by name: what created-windows miss."""
    wanted = {
        seen.Thing(kind="invoice", ref=one.invoice_ref)
        for one in ours.charges
        if one.invoice_ref is not None and one.state != "withdrawn"
    }
    for (kind, ref), known in ours.facts.items():
        row = table.row(kind, known.state)
        if kind in _ASKED_FOR and not (row is not None and (row.final or known.state in _OVER)):
            wanted.add(seen.Thing(kind=_ASKED_FOR[kind], ref=ref))
    if scope == "full":
        wanted |= {seen.Thing(kind="customer", ref=ref) for ref in ours.customers}
    return sorted(wanted, key=lambda one: one.ref)


_OVER: Final = frozenset({"won", "settled", "prevented", "warning_closed"})


class _Reader:
    """Asks a provider, a few questions at once."""

    def __init__(self, payments: Payments) -> None:
        self._payments = payments
        self._at_once = asyncio.Semaphore(limits.RECONCILE_AT_ONCE)
        self._things: dict[str, seen.Seen] = {}
        self._gone: set[str] = set()
        self._lines: dict[str, tuple[seen.Line, ...]] = {}
        self._listed: set[seen.Kind] = set()
        self.unread: set[str] = set()

    def theirs(self) -> Theirs:
        """All that was read."""
        return Theirs(
            things=self._things,
            gone=frozenset(self._gone - self._things.keys()),
            lines=self._lines,
            live=self._payments.live,
            listed=frozenset(self._listed),
            tells=self._payments.hears,
            version=self._payments.version,
        )

    async def browse(self, *, since: datetime, until: datetime) -> None:
        """Lists what was made of late, kind by kind."""

        async def one(kind: seen.Kind) -> None:
            found = await self._ask(f"{kind}s", self._payments.browse(kind, since=since, until=until))
            if found is not None:
                self._listed.add(kind)
            for thing in found or ():
                self._things[thing.ref] = thing

        await asyncio.gather(*(one(kind) for kind in get_args(seen.Kind)))

    async def fetch(self, wanted: Iterable[seen.Thing]) -> None:
        """Asks for things by name, apart from those that were listed."""

        async def one(thing: seen.Thing) -> None:
            answered = await self._outcome(f"{thing.kind} {thing.ref}", self._payments.fetch(thing))
            if answered is None:
                return
            if answered.value is None:
                self._gone.add(thing.ref)
            else:
                self._things[thing.ref] = answered.value

        await asyncio.gather(*(one(thing) for thing in wanted if thing.ref not in self._things))

    async def read_lines(self, ours: Ours) -> None:
        """Reads the lines of our drafts."""

        async def one(ref: str) -> None:
            found = await self._ask(f"lines of {ref}", self._payments.lines(ref))
            if found is not None:
                self._lines[ref] = tuple(found)

        refs = [one.invoice_ref for one in ours.charges if one.invoice_ref is not None]
        drafts = [ref for ref in refs if _is_draft(self._things.get(ref))]
        await asyncio.gather(*(one(ref) for ref in drafts))

    async def _ask(self, name: str, asked: Awaitable[Outcome[_T]]) -> _T | None:
        answered = await self._outcome(name, asked)
        return None if answered is None else answered.value

    async def _outcome(self, name: str, asked: Awaitable[Outcome[_T]]) -> Done[_T] | None:
        async with self._at_once:
            try:
                answered = await asked
            except StoppedError as error:
                self.unread.add(f"the provider does not let us in: {error}")
                return None
        if isinstance(answered, Done):
            return answered
        self.unread.add(f"{name}: {answered.reason}")
        return None


def _is_draft(found: seen.Seen | None) -> bool:
    return isinstance(found, seen.Invoice) and found.status == "draft"
