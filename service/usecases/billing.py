"""Billing statuses by hand: said, with an end or without, and lifted again.

A platform that bills elsewhere says here what payments say of a tenant. Where payments are known here, a word
by hand stands in their place.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import msgspec

from policies import errors, subscription
from policies.model import BillingStatus
from policies.payment import fact, laying
from policies.payment.fact import PaymentFact
from policies.subscription import Subscription
from service.context import Context
from service.usecases import changes, subscribe, subscription_view
from service.usecases import payment_facts as learning
from service.usecases.changes import Changed, Done, Order, Reply
from store import payment_facts, postgres, subscriptions


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A billing status from now on; with `schedule`, the plan's days take it further."""

    status: BillingStatus
    reason: str
    schedule: bool = False
    until: datetime | None = None
    """After which payments speak again; None: until it is lifted."""


_Next = Callable[[Subscription, Sequence[PaymentFact], datetime], Awaitable[Subscription]]
"""What a subscription becomes by a word, given what is known of payments."""


async def put(context: Context, order: Order, tenant_id: str, wish: Wish) -> Reply:
    """Sets the billing status of the tenant's subscription; what was scheduled after it is dropped.

    The plan's days are those of the plan version that holds now; a change of plan does not move them.

    Errors: NotFoundError, PreconditionError, InvalidError for an end that is over, ConflictError if the
    tenant is closed or nothing runs.
    """

    async def apply(held: Subscription, facts: Sequence[PaymentFact], now: datetime) -> Subscription:
        subscription.permit(held, "bill", now)
        if wish.until is not None and wish.until <= now:
            raise errors.invalid("/until", "A word by hand ends at an instant to come.")
        plan = None
        if wish.schedule:
            version = subscription_view.speaking(held, now).plan_version
            plan = (await context.catalogs.need([version])).plans[version]
        return laying.spoken(
            held, wish.status, facts, reason=wish.reason, now=now, until=wish.until, plan=plan
        )

    def word(held: Subscription, now: datetime) -> PaymentFact:
        return fact.word(wish.status, now=now, subscription_id=held.id, reason=wish.reason, until=wish.until)

    return await _say(context, order, tenant_id, apply, word, route="billing.set", request=wish)


async def lift(context: Context, order: Order, tenant_id: str, reason: str) -> Reply:
    """Takes the word by hand back: from now on the status is what payments say.

    Errors: NotFoundError without one, PreconditionError, ConflictError if the tenant is closed.
    """

    async def apply(held: Subscription, facts: Sequence[PaymentFact], now: datetime) -> Subscription:
        if fact.word_at(facts, held.id, now) is None:
            raise errors.NotFoundError(f'Nothing is said by hand of the tenant "{tenant_id}".')
        return laying.laid(held, [*facts, fact.said_after(facts, word(held, now))], now=now)

    def word(held: Subscription, now: datetime) -> PaymentFact:
        return fact.lifted(now=now, subscription_id=held.id, reason=reason)

    return await _say(context, order, tenant_id, apply, word, route="billing.lift", request=reason)


async def _say(
    context: Context,
    order: Order,
    tenant_id: str,
    apply: _Next,
    word: Callable[[Subscription, datetime], PaymentFact],
    *,
    route: str,
    request: object,
) -> Reply:
    """Writes the word, and the subscription as it becomes by it; one that is said already is not written."""

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        await subscribe.lock_open_tenant(connection, tenant_id)
        held = await subscriptions.latest(connection, tenant_id)
        if held is None:
            raise subscribe.none(tenant_id)
        changes.require(order, subscribe.etag(held))
        facts = await payment_facts.of_tenant(connection, tenant_id)
        before = held.subscription
        said = fact.said_after(facts, word(before, now))
        after = await apply(before, facts, now)
        lines = list[Changed]()
        if not learning.is_said(facts, said):
            await payment_facts.add(connection, tenant_id, [said], now=now)
            lines.append(learning.line(tenant_id, said))
        if after != before:
            held = await subscriptions.replace(connection, tenant_id, before, after)
            lines.append(learning.status_line(tenant_id, before, after, reason=said.reason))
        return Done(
            result=await subscription_view.view(context, tenant_id, held.subscription, now),
            changed=lines,
            etag=subscribe.etag(held),
            decisions_of=tenant_id if after != before else None,
        )

    await subscribe.know_versions(context, tenant_id)
    return await changes.carry_out(context, order, act, route=route, request=(tenant_id, request))
