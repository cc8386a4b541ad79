"""Which feature periods are on a bill, and at which price is the overage of each rated?

A feature period is on the bill in whose span it ends (R36); so one that has begun and ends within it is on
it too, with what was used up to now. The end of the subscription ends the periods that run. Overage is rated
from the period's total (R18), at the terms that held last in it; where those sell none, because the plan
changed, at the last before them that did: what was bought is not given away by leaving.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from policies import buckets
from policies.balance import Levels
from policies.entitlement import Right
from policies.model import MeteredTerms
from policies.period import Period
from policies.rating import holdings as holding
from policies.rating.holdings import Holding
from policies.rating.overage import Use

INSTANT: Final = timedelta(microseconds=1)

Resolve = Callable[[datetime], Right]
"""The right of the tenant to one feature at an instant."""


class Rated(msgspec.Struct, frozen=True, kw_only=True):
    """A feature period on a bill."""

    right: Right
    """As it held last in the period, or holds now; its period names the counters."""
    priced: Right
    """The one whose terms sell the overage."""
    after: Right | None = None
    """The one that held first in the next period, if this one has ended and carried something there."""

    def use(self, included: int, overage: int, reserved: int = 0, carried: Sequence[int] = ()) -> Use:
        """What the counters of the period make of it.

        `reserved` is what is only held of its overage. `carried` is what the next period got or used of what
        was left of this one, and of its generations: that is gone, so late use is overage (R19).
        """
        right, priced = self.right, self.priced
        assert right.period is not None, "a metered right has a period"
        assert right.feature is not None
        assert priced.plan is not None
        assert isinstance(priced.terms, MeteredTerms)
        assert priced.terms.overage is not None
        counted = Levels(included=included, overage=overage)
        if self.after is None:
            books = buckets.of(right, counted, (), {}, right.period.start)
        else:
            books = buckets.of_ended(right, counted, self.after.rollover[0], carried)
        units = sum(one.used for one in books if one.bucket == "overage")
        return Use(
            feature=right.feature,
            plan_version=priced.plan.version,
            currency=priced.plan.currency,
            overage=priced.terms.overage,
            window=right.period,
            units=max(0, units - reserved),
        )


def of(holdings: Sequence[Holding], span: Period, resolve: Resolve, now: datetime) -> tuple[Rated, ...]:
    """The periods of one feature that are on the bill of a span and may have overage, oldest first."""
    return tuple(reversed(list(_backwards(holdings, span, resolve, now))))


def _backwards(holdings: Sequence[Holding], span: Period, resolve: Resolve, now: datetime) -> Iterator[Rated]:
    assert span.end is not None, "billing periods end"
    over = holdings[-1].end if holdings else now
    at = _paid(holdings, now)
    while at is not None and at >= span.start:
        right, held = resolve(at), holding.at(holdings, at)
        assert held is not None
        window = right.period
        if not isinstance(right.terms, MeteredTerms) or window is None or window.end is None:
            at = _paid(holdings, held.start - INSTANT)
            continue
        if min(window.end, over) <= span.end:
            priced = _priced(holdings, right, resolve, at)
            if priced is not None:
                yield Rated(right=right, priced=priced, after=_after(right, resolve, now))
        at = _paid(holdings, window.start - INSTANT)


def _after(right: Right, resolve: Resolve, now: datetime) -> Right | None:
    """The right of the next period, if it has begun and stands on something that was left of this one."""
    assert right.period is not None
    end = right.period.end
    if not right.lasts or end is None or end > now:
        return None
    found = resolve(end)
    return found if found.rollover and found.rollover[0].window == right.period else None


def _paid(holdings: Sequence[Holding], at: datetime) -> datetime | None:
    """The last instant up to another in which something was held."""
    for one in reversed(holdings):
        if one.start <= at:
            return min(at, one.end - INSTANT)
    return None


def _priced(holdings: Sequence[Holding], right: Right, resolve: Resolve, at: datetime) -> Right | None:
    """The right that held last in the period, up to an instant, and sold overage."""
    assert right.period is not None
    ends = [one.end - INSTANT for one in reversed(holdings) if right.period.start < one.end <= at]
    for instant in (at, *ends):
        found = right if instant == at else resolve(instant)
        sells = isinstance(found.terms, MeteredTerms) and found.terms.overage is not None
        if sells and found.period is not None and found.period.start == right.period.start:
            return found
    return None
