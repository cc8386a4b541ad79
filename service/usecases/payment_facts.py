"""What becomes known of a tenant's payments, and the billing status that follows from it.

Whoever learns something says it here, in the transaction in which it learned it: the fact, the statuses that
follow, and the lines that tell of both stand together, or none does. A fact that says nothing new is not
written again.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from policies import period, subscription
from policies.invoice import number
from policies.payment import fact, laying
from policies.payment.fact import PaymentFact, Rule
from policies.subscription import Subscription
from service.context import Context
from service.usecases import changes
from service.usecases.changes import Changed, Done, Order
from store import payment_facts, postgres, subscriptions
from store import tenants as tenant_store
from store.invoices import Invoice

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to tell of, for audit lines."""

    changed: tuple[Changed, ...] = ()
    decides: bool = False
    """Decisions about the tenant may differ from now on."""


async def learn(
    connection: postgres.Connection, tenant_id: str, facts: Sequence[PaymentFact], *, now: datetime
) -> Learned:
    """Writes what is new and what follows from it, inside a transaction that holds the tenant from here on.

    The caller writes the lines, and where it `decides` raises the tenant's version. A tenant that does not
    exist, or was closed, learns nothing.
    """
    tenant = await tenant_store.lock(connection, tenant_id)
    if tenant is None or tenant.closed_at is not None:
        return Learned()
    known = await payment_facts.of_tenant(connection, tenant_id)
    news = _news(known, facts)
    if not news:
        return Learned()
    await payment_facts.add(connection, tenant_id, news, now=now)
    lines = [line(tenant_id, one) for one in news]
    held = await subscriptions.latest(connection, tenant_id)
    if held is None:
        return Learned(changed=tuple(lines))
    after = laying.laid(held.subscription, [*known, *news], now=now)
    if after == held.subscription:
        return Learned(changed=tuple(lines))
    await subscriptions.replace(connection, tenant_id, held.subscription, after)
    holding = subscription.billing_fact_at(after, now)
    reason = holding.reason if holding is not None else ""
    lines.append(status_line(tenant_id, held.subscription, after, reason=reason))
    return Learned(changed=tuple(lines), decides=True)


async def note(context: Context, order: Order, tenant_id: str, facts: Sequence[PaymentFact]) -> bool:
    """The same in a transaction of its own; says whether anything was new. Decisions follow at once.

    Errors: UnavailableError; then nothing was written.
    """
    new = False

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        nonlocal new
        learned = await learn(connection, tenant_id, facts, now=now)
        new = bool(learned.changed)
        return Done(
            result=None,
            changed=learned.changed,
            decisions_of=tenant_id if learned.decides else None,
        )

    await changes.carry_out(context, order, act, route="payment.learn", request=None)
    return new


def of_invoice(
    invoice: Invoice, *, seen_at: datetime, rule: Rule | None = None, collected: bool = False
) -> PaymentFact:
    """What one of our own invoices says, as it stands.

    One that is `collected` by a provider is never overdue: its attempts fail or do not.
    """
    return PaymentFact(
        kind="invoice",
        subject=invoice.invoice_id,
        state=invoice.state,
        seen_at=seen_at,
        since=invoice.since,
        rule=rule or Rule(),
        due_at=None if collected else invoice.due_at,
        reason=number("invoice", invoice.number),
    )


def _news(known: Sequence[PaymentFact], facts: Iterable[PaymentFact]) -> list[PaymentFact]:
    """Those that say something that the last fact about the same thing did not."""
    so_far, news = list(known), list[PaymentFact]()
    for one in sorted(facts, key=fact.order):
        if not is_said(so_far, one):
            so_far.append(one)
            news.append(one)
    return news


def is_said(known: Sequence[PaymentFact], one: PaymentFact) -> bool:
    """Did the last fact about the same thing say it already, or is it the very look that is known?"""
    before = _last(known, one)
    return (before is not None and _says(before) == _says(one)) or any(
        each.seen_at == one.seen_at and _thing(each) == _thing(one) and _says(each) == _says(one)
        for each in known
    )


def _last(known: Iterable[PaymentFact], about: PaymentFact) -> PaymentFact | None:
    """What was seen last of the same thing."""
    same = [one for one in known if _thing(one) == _thing(about)]
    return max(same, key=fact.order, default=None)


def _thing(one: PaymentFact) -> tuple[str, str, str]:
    return one.kind, one.subject, one.subscription_id


def _says(one: PaymentFact) -> PaymentFact:
    """What a fact says, whoever looked when, and by which plan. A word by hand is said when it is said."""
    since = _NEVER if one.kind == "hand" else one.since
    return msgspec.structs.replace(one, seen_at=_NEVER, since=since, rule=Rule())


def line(tenant_id: str, new: PaymentFact) -> Changed:
    """Tells of a fact. Each is a thing of its own, that never changes."""
    return Changed(
        action="payment.learn",
        subject="/".join((new.kind, new.subject or new.subscription_id, period.written(new.seen_at))),
        tenant_id=tenant_id,
        before=None,
        after=new,
        reason=new.reason,
    )


def status_line(tenant_id: str, before: Subscription, after: Subscription, *, reason: str) -> Changed:
    """Tells of the billing statuses that follow."""
    return Changed(
        action="billing.set", subject=after.id, tenant_id=tenant_id, before=before, after=after, reason=reason
    )
