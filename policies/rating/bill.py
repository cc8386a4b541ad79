"""What does a tenant owe for a billing period, as far as it is known at an instant?

A bill has one currency. It is worked out from facts and from the counters of its feature periods alone; a
caller reads the counters between `of` and `total`.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from policies import subscription
from policies.errors import ConflictError
from policies.model import PlanVersion, Versions
from policies.period import Period
from policies.rating import days, holdings, overage, periods
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
    """The feature periods that end in it are on the bill: the month where a year is billed."""

    def rated(self, resolve: Resolve, now: datetime) -> tuple[Rated, ...]:
        """The periods of a feature that are on it."""
        return periods.of(self.holdings, self.usage_period, resolve, now)

    def lines(self, uses: Iterable[Use]) -> tuple[Line, ...]:
        """Prices first, then overage in the order of the uses.

        Errors: ConflictError where plans of the period have different currencies.
        """
        found = (
            *days.lines(
                self.holdings,
                self.plan.interval,
                self.period,
                self.usage_period,
                self.subscription.anchored_at,
            ),
            *overage.lines(uses),
        )
        others = {line.currency for line in found} - {self.plan.currency}
        if others:
            named = ", ".join(sorted(code.upper() for code in others))
            raise ConflictError(
                f"The period has prices in {self.plan.currency.upper()} and in {named}; "
                "a bill has one currency."
            )
        return found


def account(held: Subscription, versions: Versions, now: datetime) -> Account:
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
    period = subscription.billing_period(held, plan.interval, at)
    return Account(
        subscription=held,
        plan=plan,
        holdings=holdings.of(held, versions),
        period=period,
        usage_period=days.usage_period(plan, period, held.anchored_at, at),
    )


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
