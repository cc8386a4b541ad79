"""How a course becomes billing statuses of a subscription: edges in time that need no further write.

What has begun is never rewritten: it decided. What is to come is laid anew whenever something becomes known.
A word by hand stands in the place of what payments say until its end, or until it is lifted.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from policies import subscription
from policies.model import BillingStatus, PlanVersion
from policies.payment import course, fact
from policies.payment.course import Course, Step
from policies.payment.fact import PaymentFact
from policies.subscription import BillingFact, Subscription


def laid(held: Subscription, facts: Sequence[PaymentFact], *, now: datetime) -> Subscription:
    """The subscription with what these facts say from now on; one that has ended stays as it is."""
    if subscription.state_at(held, now) == "ended":
        return held
    found, word = course.of(facts, held.id), fact.word_at(facts, held.id, now)
    begun = [one for one in held.billing if one.since <= now]
    if word is None:
        return _with(held, [*_now(held, begun, found, now), *_facts(found.after(now))])
    if word.ends_at is None:
        return held
    spoken = [one for one in held.billing if now < one.since < word.ends_at]
    return _with(held, [*begun, *spoken, *_from(found, word.ends_at)])


def spoken(
    held: Subscription,
    status: BillingStatus,
    facts: Sequence[PaymentFact],
    *,
    reason: str,
    now: datetime,
    until: datetime | None = None,
    plan: PlanVersion | None = None,
) -> Subscription:
    """The subscription with a word by hand from now on; after its end payments speak again.

    With a plan its days take the word further, as `subscription.bill` tells.
    Errors: ConflictError; nothing has changed.
    """
    after = subscription.bill(held, status, reason=reason, now=now, plan=plan)
    if until is None:
        return after
    kept = [one for one in after.billing if one.since < until]
    return _with(after, [*kept, *_from(course.of(facts, held.id), until)])


def _now(held: Subscription, begun: list[BillingFact], found: Course, now: datetime) -> Iterable[BillingFact]:
    """What has begun, and what holds from now on if that is something else."""
    step = found.at(now)
    wanted = BillingFact(status="good", since=now, reason=found.settled.reason if found.settled else "")
    if step is not None:
        wanted = _fact(step, since=now)
    present = subscription.billing_fact_at(held, now)
    if _same(present, wanted):
        return begun
    return [*[one for one in begun if one.since < now], wanted]


def _same(present: BillingFact | None, wanted: BillingFact) -> bool:
    """Do they say the same? Who is good is so for whatever reason."""
    if present is None or present.status == "good":
        return wanted.status == "good"
    return (present.status, present.reason, present.happened_at) == (
        wanted.status,
        wanted.reason,
        wanted.happened_at,
    )


def _from(found: Course, at: datetime) -> Iterable[BillingFact]:
    """What holds at an instant to come, and what follows."""
    step = found.at(at)
    first = BillingFact(status="good", since=at) if step is None else _fact(step, since=at)
    return [first, *_facts(found.after(at))]


def _facts(steps: Iterable[Step]) -> Iterable[BillingFact]:
    return [_fact(step, since=step.since) for step in steps]


def _fact(step: Step, *, since: datetime) -> BillingFact:
    return BillingFact(status=step.status, since=since, reason=step.reason, happened_at=step.happened_at)


def _with(held: Subscription, billing: Iterable[BillingFact]) -> Subscription:
    return msgspec.structs.replace(held, billing=tuple(billing))
