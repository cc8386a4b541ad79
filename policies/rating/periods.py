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

from policies import buckets, period
from policies.balance import Levels
from policies.buckets import Bucket
from policies.entitlement import Right
from policies.model import MeteredTerms, Overage
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

    def use(
        self,
        included: int,
        overage: int,
        reserved: int = 0,
        carried: Sequence[int] = (),
        *,
        uncounted: int = 0,
        excess: int = 0,
    ) -> Use:
        """What the counters of the period make of it.

        `reserved` is what is only held of its overage. `carried` is what the next period got or used of what
        was left of this one, and of its generations: that is gone, so late use is overage (R19). `uncounted`
        is what came so late, or was revised so late, that no counter was moved (R20): it takes what is left,
        then overage up to its bound; below zero it takes back `excess`, which costs nothing, then overage.
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
        units = max(0, sum(one.used for one in books if one.bucket == "overage") - reserved)
        if uncounted:
            units = _with_uncounted(units, uncounted, excess, books, priced.terms.overage)
        return Use(
            feature=right.feature,
            plan_version=priced.plan.version,
            currency=priced.plan.currency,
            overage=priced.terms.overage,
            window=right.period,
            units=units,
        )


def _with_uncounted(units: int, uncounted: int, excess: int, books: Sequence[Bucket], sold: Overage) -> int:
    """Overage units with what no counter was moved for."""
    if uncounted < 0:
        return max(0, units + min(0, uncounted + excess))
    included = next(one for one in books if one.bucket == "included")
    if included.remaining is None:
        return units
    more = max(0, uncounted - included.remaining - included.expired)
    return units + (more if sold.up_to is None else min(more, max(0, sold.up_to - units)))


def of(holdings: Sequence[Holding], span: Period, resolve: Resolve, now: datetime) -> tuple[Rated, ...]:
    """The periods of one feature that are on the bill of a span and may have overage, oldest first."""
    return tuple(reversed(list(_backwards(holdings, span, resolve, now))))


def containing(
    holdings: Sequence[Holding], at: datetime, resolve: Resolve, now: datetime
) -> tuple[Rated, datetime] | None:
    """The period of a feature that an instant lies in, if it may have overage, and by when it is over."""
    window = resolve(at).period
    if window is None or window.end is None or not holdings:
        return None
    ends = [one.end - INSTANT for one in reversed(holdings) if window.start < one.end <= window.end]
    for instant in (_paid(holdings, window.end - INSTANT), *ends):
        if instant is not None and (right := resolve(instant)).period == window:
            rated = _rated(holdings, instant, resolve, now, right)
            return None if rated is None else (rated, min(window.end, _over(holdings)))
    return None


def _over(holdings: Sequence[Holding]) -> datetime:
    """When nothing is held any more; the end of all time, if that is not known."""
    return holdings[-1].end


def _backwards(holdings: Sequence[Holding], span: Period, resolve: Resolve, now: datetime) -> Iterator[Rated]:
    """From the last period back to those that were over before the span began."""
    assert span.end is not None, "billing periods end"
    over = _over(holdings) if holdings else now
    at = _paid(holdings, min(now, span.end))
    earliest = span.start - period.LONGEST["year"]
    while at is not None and at >= earliest:
        right, held = resolve(at), holding.at(holdings, at)
        assert held is not None
        window = right.period
        if not isinstance(right.terms, MeteredTerms) or window is None or window.end is None:
            at = _paid(holdings, held.start - INSTANT)
            continue
        end = min(window.end, over)
        if end <= span.start:
            return
        if end <= span.end and (rated := _rated(holdings, at, resolve, now, right)) is not None:
            yield rated
        at = _paid(holdings, window.start - INSTANT)


def _rated(
    holdings: Sequence[Holding], at: datetime, resolve: Resolve, now: datetime, right: Right | None = None
) -> Rated | None:
    """The period whose last instant that was paid for this is; None if nothing sold overage in it."""
    right = right or resolve(at)
    if not isinstance(right.terms, MeteredTerms):
        return None
    priced = _priced(holdings, right, resolve, at)
    return None if priced is None else Rated(right=right, priced=priced, after=_after(right, resolve, now))


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
