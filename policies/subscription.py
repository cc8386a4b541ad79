"""What a subscription is at an instant, and what may be done to it.

A subscription is a list of phases in order of time: each is a plan version and a half-open span, each begins
where the one before it ends, and only the last may be without an end. A change or an end that is scheduled is
an edge in the future, so it takes effect at its instant without a write. What lies before `now` is never
rewritten. The same holds for its billing facts: what payments say of it, from an instant on.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from policies import limits, period
from policies.errors import ConflictError, invalid
from policies.model import BillingInterval, BillingStatus, Noun, PlanVersion
from policies.period import Period

State = Literal["pending", "active", "ended"]
Act = Literal["change", "cancel", "resume", "bill"]

_BY_DAYS: Final[tuple[BillingStatus, ...]] = ("grace", "restricted", "suspended")
"""What a plan's days make of an overdue payment, step by step."""

_Standing = Literal["pending", "active", "ending", "ended"]
"""State, with an active subscription whose end is scheduled told apart."""

TRANSITIONS: Final[dict[tuple[_Standing, Act], str | None]] = {
    ("pending", "change"): None,
    ("pending", "cancel"): None,
    ("pending", "resume"): "The subscription has not begun, so there is nothing to resume.",
    ("pending", "bill"): None,
    ("active", "change"): None,
    ("active", "cancel"): None,
    ("active", "resume"): "No end is scheduled, so there is nothing to resume.",
    ("active", "bill"): None,
    ("ending", "change"): None,
    ("ending", "cancel"): None,
    ("ending", "resume"): None,
    ("ending", "bill"): None,
    ("ended", "change"): "The subscription has ended and cannot change; start a new one.",
    ("ended", "cancel"): "The subscription has ended already.",
    ("ended", "resume"): "The subscription has ended and cannot be resumed; start a new one.",
    ("ended", "bill"): "The subscription has ended, and its billing status with it.",
}
"""Every standing and act: None is allowed, a sentence is why it is refused."""


class HeldAddon(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """An add-on version beside the plan, so many times."""

    addon_id: str
    addon_version: str
    quantity: int = 1


class Phase(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """One plan version with its add-ons for a half-open span; `end` None is until further notice."""

    plan_id: str
    plan_version: str
    start: datetime
    end: datetime | None = None
    addons: tuple[HeldAddon, ...] = ()
    """By add-on id; each id once."""


class BillingFact(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """From an instant on, this billing status, until the next fact. One in the future is an edge to come."""

    status: BillingStatus
    since: datetime
    reason: str = ""
    """What happened, for people: `payment failed`."""
    happened_at: datetime | None = None
    """When it did, where that is known; the status may begin later."""


class Subscription(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """A tenant on plan versions over time. Written in full as JSON, so that audit lines can be compared."""

    id: str
    anchored_at: datetime
    """Periods with the anchor `subscription` are laid from here, billing and usage; it never moves (R16)."""
    created_at: datetime
    trial_ends_at: datetime | None = None
    phases: tuple[Phase, ...]
    """In order of time, without gaps; empty if it was cancelled before it began."""
    billing: tuple[BillingFact, ...] = ()
    """In order of time; good before the first of them."""


def phase_at(subscription: Subscription, at: datetime) -> Phase | None:
    """The phase that holds at an instant; None before the start and from the end on."""
    for phase in reversed(subscription.phases):
        if phase.start <= at:
            return phase if phase.end is None or at < phase.end else None
    return None


def state_at(subscription: Subscription, at: datetime) -> State:
    """Whether it has yet to begin, runs, or has ended."""
    if phase_at(subscription, at) is not None:
        return "active"
    return "pending" if subscription.phases and at < subscription.phases[0].start else "ended"


def ends_at(subscription: Subscription) -> datetime | None:
    """The end, past or scheduled; None if there is none, or if it never began."""
    return subscription.phases[-1].end if subscription.phases else None


def scheduled(subscription: Subscription, at: datetime) -> Phase | None:
    """The next phase that begins after an instant: a scheduled change, or the start of a pending one."""
    return next((phase for phase in subscription.phases if phase.start > at), None)


def billing_fact_at(subscription: Subscription, at: datetime) -> BillingFact | None:
    """The billing fact that holds at an instant; None before the first."""
    return next((fact for fact in reversed(subscription.billing) if fact.since <= at), None)


def billing_from(subscription: Subscription, at: datetime) -> tuple[BillingFact, ...]:
    """The billing fact that holds at an instant, and those to come after it; nothing before the first."""
    begun = len([fact for fact in subscription.billing if fact.since <= at])
    return subscription.billing[begun - 1 :] if begun else ()


def billing_status_at(subscription: Subscription, at: datetime) -> BillingStatus:
    """What payments say of it at an instant."""
    fact = billing_fact_at(subscription, at)
    return "good" if fact is None else fact.status


def next_edge(subscription: Subscription, at: datetime) -> datetime | None:
    """The next instant at which phase, trial or billing status may change; None if nothing is scheduled."""
    return min([edge for edge in _edges(subscription) if edge > at], default=None)


def in_trial(subscription: Subscription, at: datetime) -> bool:
    """Does the trial run at that instant?"""
    return (
        subscription.trial_ends_at is not None
        and at < subscription.trial_ends_at
        and state_at(subscription, at) == "active"
    )


def ended_with_trial(subscription: Subscription, at: datetime) -> bool:
    """Was it over with its trial, so that it was never paid for?"""
    end = ends_at(subscription)
    return end is not None and end == subscription.trial_ends_at and end <= at


def billing_period(subscription: Subscription, interval: BillingInterval, now: datetime) -> Period:
    """The billing period that contains `now`; of a pending subscription its first one."""
    at = max(now, subscription.phases[0].start) if subscription.phases else now
    return period.containing(
        at, interval=interval, anchor="subscription", anchored_at=subscription.anchored_at
    )


def renewal(subscription: Subscription, interval: BillingInterval, now: datetime) -> datetime:
    """The end of the billing period that contains `now`."""
    end = billing_period(subscription, interval, now).end
    assert end is not None  # no plan is billed `never`
    return end


def start(
    subscription_id: str,
    plan: PlanVersion,
    *,
    addons: tuple[HeldAddon, ...] = (),
    start_at: datetime,
    now: datetime,
    anchor: datetime | None = None,
    trial: bool = False,
) -> Subscription:
    """A new subscription with one phase; the anchor is its start unless another instant is given.

    Errors: InvalidError with the pointer of the field whose value is out of bounds.
    """
    earliest = now - timedelta(days=limits.BACKDATE_DAYS)
    latest = now + timedelta(days=limits.START_AHEAD_DAYS)
    if not earliest <= start_at <= latest:
        raise invalid(
            "/startAt",
            f"A subscription starts between {period.written(earliest)} and {period.written(latest)}.",
        )
    anchored_at = start_at if anchor is None else anchor
    if anchored_at.year < limits.ANCHOR_YEAR_MIN or anchored_at > latest:
        raise invalid(
            "/anchor", f"An anchor lies between {limits.ANCHOR_YEAR_MIN}-01-01 and {period.written(latest)}."
        )
    if trial and plan.trial_days is None:
        raise invalid("/trial", f'The plan "{plan.plan_id}" has no trial.')
    return Subscription(
        id=subscription_id,
        anchored_at=anchored_at,
        created_at=now,
        trial_ends_at=start_at + timedelta(days=plan.trial_days) if trial and plan.trial_days else None,
        phases=(Phase(plan_id=plan.plan_id, plan_version=plan.version, start=start_at, addons=addons),),
    )


def change(
    subscription: Subscription,
    plan_id: str,
    plan_version: str,
    *,
    addons: tuple[HeldAddon, ...],
    at_effective: datetime,
    now: datetime,
) -> Subscription:
    """On this plan version with exactly these add-ons from an instant on; what was scheduled is replaced.

    A change to what runs now only takes a scheduled change back. A scheduled end stays. A pending
    subscription changes at its start at the earliest. Anchor, periods and trial stay (R16).

    Errors: ConflictError; nothing has changed.
    """
    assert at_effective >= now
    permit(subscription, "change", now)
    first, end = subscription.phases[0], ends_at(subscription)
    at = max(at_effective, first.start)
    if end is not None and at >= end:
        raise ConflictError(
            f"The subscription ends on {period.written(end)}, before the change; resume it first."
        )
    begun = [phase for phase in subscription.phases if phase.start <= now] or [first]
    kept = _until(begun, at, running_to=end)
    new = Phase(plan_id=plan_id, plan_version=plan_version, start=at, end=end, addons=addons)
    if kept and msgspec.structs.replace(kept[-1], start=at, end=end) == new:
        phases = (*kept[:-1], msgspec.structs.replace(kept[-1], end=end))
    else:
        phases = (*kept, new)
    return msgspec.structs.replace(subscription, phases=phases)


def cancel(subscription: Subscription, *, at_effective: datetime, now: datetime) -> Subscription:
    """The subscription with an end; what was scheduled from then on is dropped.

    A pending one never begins, whatever the instant. An end that comes sooner already stands.

    Errors: ConflictError; nothing has changed.
    """
    assert at_effective >= now
    permit(subscription, "cancel", now)
    if state_at(subscription, now) == "pending":
        return msgspec.structs.replace(subscription, phases=())
    end = ends_at(subscription)
    if end is not None and end <= at_effective:
        return subscription
    return msgspec.structs.replace(
        subscription, phases=_until(subscription.phases, at_effective, running_to=end)
    )


def resume(subscription: Subscription, *, now: datetime) -> Subscription:
    """The subscription without its scheduled end.

    Errors: ConflictError; nothing has changed.
    """
    permit(subscription, "resume", now)
    last = msgspec.structs.replace(subscription.phases[-1], end=None)
    return msgspec.structs.replace(subscription, phases=(*subscription.phases[:-1], last))


def bill(
    subscription: Subscription,
    status: BillingStatus,
    *,
    reason: str,
    now: datetime,
    plan: PlanVersion | None = None,
) -> Subscription:
    """With this billing status from now on; what was scheduled after it is dropped.

    With a plan, its days take it further: `grace` becomes `restricted`, and that `suspended`, each at its
    instant and without a write. A status that holds already keeps its beginning and its reason, and so does
    one that the plan's days have taken further since: the same word of a payment provider, said with each
    attempt that fails, gives no second grace. Days that are over count as passed.

    Errors: ConflictError; nothing has changed.
    """
    permit(subscription, "bill", now)
    since = _begun(subscription, status, now, by_days=plan is not None)
    course = [BillingFact(status=status, since=since, reason=reason), *_course(status, since, plan)]
    due = [fact for fact in course if fact.since <= now][-1]
    facts = [fact for fact in subscription.billing if fact.since <= now]
    if due.status != billing_status_at(subscription, now):
        facts = [fact for fact in facts if fact.since < now]
        facts.append(BillingFact(status=due.status, since=now, reason=due.reason))
    later = {fact.since: fact for fact in course if fact.since > now}  # of two at one instant the last
    return msgspec.structs.replace(subscription, billing=(*facts, *later.values()))


def permit(subscription: Subscription, act: Act, now: datetime) -> None:
    """Errors: ConflictError, with the table's sentence, where the act is not allowed."""
    refusal = TRANSITIONS[_standing(subscription, now), act]
    if refusal is not None:
        raise ConflictError(refusal)


def _standing(subscription: Subscription, now: datetime) -> _Standing:
    state = state_at(subscription, now)
    return "ending" if state == "active" and ends_at(subscription) is not None else state


def _until(phases: Iterable[Phase], at: datetime, *, running_to: datetime | None) -> tuple[Phase, ...]:
    """The phases that begin before an instant, the last of them cut there, or at `running_to` if sooner."""
    kept = [phase for phase in phases if phase.start < at]
    if not kept:
        return ()
    end = at if running_to is None else min(at, running_to)
    return (*kept[:-1], msgspec.structs.replace(kept[-1], end=end))


def _begun(subscription: Subscription, status: BillingStatus, now: datetime, *, by_days: bool) -> datetime:
    """When a status began that holds, or `by_days` has become another since; else now."""
    follows = _BY_DAYS[_BY_DAYS.index(status) + 1 :] if by_days and status in _BY_DAYS else ()
    for fact in reversed([fact for fact in subscription.billing if fact.since <= now]):
        if fact.status == status:
            return fact.since
        if fact.status not in follows:
            break
    return now


def _course(status: BillingStatus, since: datetime, plan: PlanVersion | None) -> Iterator[BillingFact]:
    """What a status becomes by the plan's days when nothing else is said."""
    if plan is None:
        return
    if status == "grace":
        since += timedelta(days=plan.grace_days)
        yield BillingFact(status="restricted", since=since, reason=f"{_days(plan.grace_days)} of grace over")
    if status in ("grace", "restricted"):
        since += timedelta(days=plan.restricted_days)
        over = f"{_days(plan.restricted_days)} of restricted use over"
        yield BillingFact(status="suspended", since=since, reason=over)


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _edges(subscription: Subscription) -> list[datetime]:
    found = [phase.start for phase in subscription.phases]
    found += [phase.end for phase in subscription.phases if phase.end is not None]
    found += [fact.since for fact in subscription.billing]
    if subscription.trial_ends_at is not None:
        found.append(subscription.trial_ends_at)
    return found
