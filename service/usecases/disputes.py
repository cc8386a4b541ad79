"""How a dispute ended, said by hand: where the provider's word comes late, or a lost one was settled."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from policies import errors
from policies.payment import fact
from policies.payment.fact import PaymentFact
from service.context import Context
from service.usecases import billing_view, changes, subscribe
from service.usecases import payment_facts as learning
from service.usecases.changes import Done, Order, Reply
from store import payment_facts, postgres, subscriptions

Outcome = Literal["won", "lost", "settled"]
_OVER: Final[dict[Outcome, frozenset[str]]] = {
    "won": frozenset({"won", "settled", "prevented"}),
    "lost": frozenset({"lost", "settled", "prevented"}),
    "settled": frozenset({"settled"}),
}
"""By what is said: the states in which there is nothing to say."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended, and how that is known."""

    outcome: Outcome
    reason: str


async def settle(context: Context, order: Order, tenant_id: str, dispute_id: str, wish: Wish) -> Reply:
    """Notes how a dispute ended; answers the billing status as it follows.

    `settled` stays, whatever the provider shows later: what the dispute took was paid or given up. `won` and
    `lost` stand until a later look shows something else.

    Errors: NotFoundError for a tenant or a dispute that is not known; PreconditionError; ConflictError where
    there is nothing to say, or the tenant is closed.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        await subscribe.lock_open_tenant(connection, tenant_id)
        held = await subscriptions.latest(connection, tenant_id)
        if held is None:
            raise subscribe.none(tenant_id)
        changes.require(order, subscribe.etag(held))
        last = _last(await payment_facts.of_tenant(connection, tenant_id), dispute_id)
        if last.state in _OVER[wish.outcome]:
            raise errors.ConflictError(f"The dispute is {last.state} already.")
        if wish.outcome == "settled" and last.state != "lost":
            raise errors.ConflictError(f"Only what was lost is settled; the dispute is {last.state}.")
        said = PaymentFact(
            kind="dispute",
            subject=dispute_id,
            state=wish.outcome,
            seen_at=max(now, last.seen_at + timedelta(microseconds=1)),
            since=now,
            reason=wish.reason,
        )
        learned = await learning.learn(connection, tenant_id, [said], now=now)
        after = await subscriptions.latest(connection, tenant_id)
        assert after is not None, "it was there a moment ago"
        facts = await payment_facts.of_tenant(connection, tenant_id)
        return Done(
            result=billing_view.of(tenant_id, after.subscription, facts, now),
            changed=learned.changed,
            etag=subscribe.etag(after),
            decisions_of=tenant_id if learned.decides else None,
        )

    return await changes.carry_out(
        context, order, act, route="dispute.settle", request=(tenant_id, dispute_id, wish)
    )


def _last(facts: Sequence[PaymentFact], dispute_id: str) -> PaymentFact:
    """What is known of it last."""
    known = [one for one in facts if one.kind == "dispute" and one.subject == dispute_id]
    if not known:
        raise errors.NotFoundError(f'Nothing is known of a dispute "{dispute_id}" of this tenant.')
    return max(known, key=fact.order)
