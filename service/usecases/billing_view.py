"""What payments say of a tenant, shown: the status, why, since when, what comes next, and the facts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from policies import message, subscription
from policies.model import BillingStatus
from policies.payment import course, fact
from policies.payment.course import Course
from policies.payment.fact import Kind, PaymentFact
from policies.payment.table import Flag
from policies.subscription import Subscription
from service.context import Context
from service.usecases import subscribe, tenants
from store import payment_facts, postgres, subscriptions
from store import tenants as tenant_store
from store.payment_facts import LAST, Noted


class TurnView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A billing status from an instant on, if nothing more becomes known; it takes effect by itself."""

    status: BillingStatus
    since: datetime
    reason: str


class WordView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A word by hand that stands in the place of what payments say."""

    status: BillingStatus
    reason: str
    since: datetime
    until: datetime | None
    """None: until it is lifted."""


class SaidView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What payments alone say."""

    status: BillingStatus
    reason: str
    happened_at: datetime | None


class FlagView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something to know of beside the status."""

    flag: Flag
    subject: str
    since: datetime
    reason: str
    link: str
    """Where the customer can pay or confirm."""


class FactView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing that became known: a look at an invoice, a dispute, a subscription, or a word by hand."""

    kind: Kind
    subject: str
    """Our id of an invoice, the provider's of anything else; empty for a word by hand."""
    state: str
    since: datetime
    """When what the state tells happened."""
    seen_at: datetime
    """When it was looked at, or said."""
    noted_at: datetime
    """When it was written here."""
    due_at: datetime | None
    ends_at: datetime | None
    attempts: int
    reason: str
    link: str


class FactPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of the list, last known first."""

    items: list[FactView]
    next_cursor: str | None


class BillingStatusView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What payments say of a tenant now."""

    tenant_id: str
    subscription_id: str
    status: BillingStatus
    since: datetime | None
    """None: it was never anything else."""
    reason: str
    happened_at: datetime | None
    """When what the reason tells happened; None where that is not known apart."""
    message: str
    """All of it in one sentence, with what comes next."""
    next: list[TurnView]
    by_hand: WordView | None
    payments_say: SaidView
    """What would hold without the word by hand."""
    flags: list[FlagView]
    unknown: list[str]
    """Things whose state nobody knows: what was known of them before still counts."""


async def show(context: Context, tenant_id: str) -> tuple[BillingStatusView, str]:
    """The billing status of the subscription that the tenant made last, and its ETag.

    Errors: NotFoundError.
    """
    now = context.clock.now()
    async with postgres.transaction(context.pool) as connection:
        if await tenant_store.get(connection, tenant_id) is None:
            raise tenants.unknown(tenant_id)
        held = await subscriptions.latest(connection, tenant_id)
        facts = await payment_facts.of_tenant(connection, tenant_id)
    if held is None:
        raise subscribe.none(tenant_id)
    return of(tenant_id, held.subscription, facts, now), subscribe.etag(held)


async def history(context: Context, tenant_id: str, *, before: int = LAST, limit: int) -> FactPage:
    """What became known, the last first, before the fact of this number.

    Errors: NotFoundError.
    """
    async with postgres.transaction(context.pool) as connection:
        if await tenant_store.get(connection, tenant_id) is None:
            raise tenants.unknown(tenant_id)
        found = await payment_facts.page(connection, tenant_id, limit=limit + 1, before=before)
    more = len(found) > limit
    return FactPage(
        items=[_fact(one) for one in found[:limit]],
        next_cursor=str(found[limit - 1].fact_no) if more else None,
    )


def of(tenant_id: str, held: Subscription, facts: Sequence[PaymentFact], now: datetime) -> BillingStatusView:
    """The view of a subscription and all that is known of payments."""
    found, word = course.of(facts, held.id), fact.word_at(facts, held.id, now)
    fields = _ended(held) if subscription.state_at(held, now) == "ended" else _holding(held, now)
    return BillingStatusView(
        tenant_id=tenant_id,
        subscription_id=held.id,
        by_hand=None if word is None else _word(word),
        payments_say=_said(found, now),
        flags=[FlagView(**msgspec.structs.asdict(one)) for one in found.flags],
        unknown=[f"{one.kind} {one.subject}: {one.state}" for one in found.unknown],
        **fields,
    )


def _holding(held: Subscription, now: datetime) -> dict[str, Any]:
    """What holds, and what comes next."""
    holding = subscription.billing_fact_at(held, now)
    coming = [one for one in held.billing if one.since > now]
    return {
        "status": "good" if holding is None else holding.status,
        "since": None if holding is None else holding.since,
        "reason": "" if holding is None else holding.reason,
        "happened_at": None if holding is None else holding.happened_at,
        "message": message.standing(holding, coming),
        "next": [TurnView(status=one.status, since=one.since, reason=one.reason) for one in coming],
    }


def _ended(held: Subscription) -> dict[str, Any]:
    said = "the subscription has ended"
    since = subscription.ends_at(held)
    return {
        "status": "ended",
        "since": since,
        "reason": said,
        "happened_at": since,
        "message": said,
        "next": [],
    }


def _word(word: PaymentFact) -> WordView:
    return WordView(
        status=word.state,  # type: ignore[arg-type]  # a word is made of a status
        reason=word.reason,
        since=word.since,
        until=word.ends_at,
    )


def _said(found: Course, now: datetime) -> SaidView:
    step = found.at(now)
    if step is not None:
        return SaidView(status=step.status, reason=step.reason, happened_at=step.happened_at)
    settled = found.settled
    return SaidView(
        status="good",
        reason=settled.reason if settled else "",
        happened_at=settled.happened_at if settled else None,
    )


def _fact(noted: Noted) -> FactView:
    fields = msgspec.structs.asdict(noted.fact)
    del fields["rule"], fields["subscription_id"]
    return FactView(noted_at=noted.noted_at, **fields)
