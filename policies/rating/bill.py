"""What does a tenant owe for a billing period, as far as it is known at an instant?

A bill has one currency. It is worked out from facts and from the counters of its feature periods alone; a
caller reads the counters between `of` and `total`. Periods are closed one after the other, each from the end
of the one before, so that together they have every day and every feature period once.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from policies import subscription
from policies.errors import ConflictError
from policies.model import PlanVersion, Versions
from policies.period import Period, contains
from policies.rating import days, holdings, overage, periods
from policies.rating.days import Billed
from policies.rating.holdings import Holding
from policies.rating.lines import Line
from policies.rating.overage import Use
from policies.rating.periods import Rated, Resolve
from policies.subscription import Subscription


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What a bill is about."""

    subscription: Subscription
    plan: PlanVersion
    """The one that holds, is to begin, or held last: its interval makes the billing period."""
    holdings: tuple[Holding, ...]
    period: Period
    usage_period: Period
    """What the bill spans: its days are charged, and the feature periods that end in it are on the bill.

    The billing period, of a year its month, and only from where the bill before ended. Without length once
    all of a subscription that is over was billed.
    """
    billed_from: datetime | None = None
    """Days before are never charged."""

    def rated(self, resolve: Resolve, now: datetime) -> tuple[Rated, ...]:
        """The periods of a feature that are on it."""
        return periods.of(self.holdings, self.usage_period, resolve, now)

    def lines(self, uses: Iterable[Use], before: Billed | None = None) -> tuple[Line, ...]:
        """Prices first, then overage in the order of the uses; `before` is what earlier bills charged.

        Errors: ConflictError where plans of the period have different currencies.
        """
        prices = days.lines(
            self.holdings,
            self.usage_period,
            self.subscription.anchored_at,
            billed_from=self.billed_from,
            before=before,
        )
        found = (*prices, *overage.lines(uses))
        others = {line.currency for line in found} - {self.plan.currency}
        if others:
            named = ", ".join(sorted(code.upper() for code in others))
            raise ConflictError(
                f"The period has prices in {self.plan.currency.upper()} and in {named}; "
                "a bill has one currency."
            )
        return found


def account(
    held: Subscription,
    versions: Versions,
    now: datetime,
    *,
    closed_until: datetime | None = None,
    billed_from: datetime | None = None,
) -> Account:
    """Of the billing period that contains `now`; of a pending subscription its first, of an ended its last.

    Errors: ConflictError if it was cancelled before it began; KeyError if a version is missing.
    """
    if not held.phases:
        raise ConflictError("The subscription was cancelled before it began, so nothing is owed for it.")
    ended_at = subscription.ends_at(held)
    at = now if ended_at is None or now < ended_at else ended_at - periods.INSTANT
    at = max(at, held.phases[0].start)
    phase = subscription.phase_at(held, at) or held.phases[-1]
    plan = versions.plans[phase.plan_version]
    usage = days.usage_period(
        plan, subscription.billing_period(held, plan.interval, at), held.anchored_at, at
    )
    if closed_until is not None and ended_at is not None and closed_until >= ended_at:
        usage = Period(ended_at, ended_at)
    elif closed_until is not None and contains(usage, closed_until):
        usage = Period(closed_until, usage.end)
    return Account(
        subscription=held,
        plan=plan,
        holdings=holdings.of(held, versions),
        period=subscription.billing_period(held, plan.interval, at),
        usage_period=usage,
        billed_from=billed_from,
    )


def to_close(held: Subscription, versions: Versions, since: datetime) -> Period | None:
    """The span that is billed next after one that ended at `since`; None if there is none any more.

    It ends with the billing period of what holds then, or the month of a year, or the subscription.
    Errors: KeyError if a version is missing.
    """
    ended_at = subscription.ends_at(held)
    if not held.phases or (ended_at is not None and since >= ended_at):
        return None
    at = max(since, held.phases[0].start)
    while True:
        phase = subscription.phase_at(held, at)
        assert phase is not None, "phases follow each other without gaps"
        plan = versions.plans[phase.plan_version]
        period = subscription.billing_period(held, plan.interval, at)
        end = days.usage_period(plan, period, held.anchored_at, at).end
        assert end is not None, "billing periods end"
        if phase.end is None or phase.end >= end or phase.end == ended_at:
            return Period(since, end if ended_at is None else min(end, ended_at))
        at = phase.end


def closing(held: Subscription, versions: Versions, span: Period, billed_from: datetime) -> Account:
    """What a bill of a span is about, once it is over.

    Errors: KeyError if a version is missing.
    """
    assert span.end is not None, "billing periods end"
    found = account(held, versions, span.end - periods.INSTANT, billed_from=billed_from)
    return msgspec.structs.replace(found, usage_period=span)


def refuse_mixture(before: PlanVersion, after: PlanVersion) -> None:
    """Whether a plan may follow another inside a billing period.

    Errors: ConflictError where the period would have prices in two currencies.
    """
    if before.currency != after.currency:
        raise ConflictError(
            f"The present plan is billed in {before.currency.upper()} and {after.plan_id} in "
            f"{after.currency.upper()}; a bill has one currency, so the change comes at renewal."
        )


def total(lines: Iterable[Line]) -> int:
    """What they add up to, in minor units."""
    return sum(line.amount for line in lines)
