"""What do the prices of plans and add-ons come to, day by day?

A price is for one billing period of its own interval, and every day of that period costs the same part of it.
Days are 24 hours long and begin at the clock time of the subscription's anchor, so a period has whole ones.
A day is charged once:

- not at all if the trial ran in it;
- for the one plan with its add-ons that was held in it;
- where it changed in that day, for what is dearer, and of what costs the same for the later.

So a plan that was held all the time costs its price to the cent, and one that was held for an hour a day's.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final, NamedTuple

from policies import money, period
from policies.model import AddonVersion, BillingInterval, PlanVersion
from policies.period import Period
from policies.rating.holdings import Holding
from policies.rating.lines import Line

_DAY: Final = timedelta(days=1)
_ORDER: Final[tuple[BillingInterval, ...]] = ("day", "week", "month", "year")


class _Price(NamedTuple):
    """What is paid for, so many times, in one of its billing periods."""

    sold: PlanVersion | AddonVersion
    times: int
    window: Period

    @property
    def days(self) -> int:
        """Of its billing period."""
        assert self.window.end is not None, "billing periods end"
        return (self.window.end - self.window.start) // _DAY

    @property
    def whole(self) -> Fraction:
        """For all days of the period, in minor units."""
        return money.exact(self.sold.price, self.sold.currency) * self.times


def usage_period(plan: PlanVersion, billing: Period, anchored_at: datetime, at: datetime) -> Period:
    """The part of a billing period whose usage is billed together: all of it, of a year its months (R36)."""
    if plan.interval != "year":
        return billing
    return period.containing(at, interval="month", anchor="subscription", anchored_at=anchored_at)


def lines(
    holdings: Sequence[Holding],
    interval: BillingInterval,
    billing: Period,
    usage: Period,
    anchored_at: datetime,
) -> Iterator[Line]:
    """A line for each price and each of its own billing periods, in the order in which they begin.

    Of a year only the days of the month are charged to what has a shorter interval: it is billed with usage.
    """
    held: Counter[tuple[str, int, Period]] = Counter()
    prices: dict[tuple[str, int, Period], _Price] = {}
    for day in _days(billing):
        for price in _charged(holdings, day, anchored_at):
            shorter = _ORDER.index(price.sold.interval) < _ORDER.index(interval)
            if shorter and not period.contains(usage, day):
                continue
            key = (price.sold.version, price.times, price.window)
            prices[key] = price
            held[key] += 1
    for key, price in prices.items():
        yield _line(price, held[key])


def _days(span: Period) -> Iterator[datetime]:
    """The beginning of each day."""
    assert span.end is not None, "billing periods end"
    for number in range((span.end - span.start) // _DAY):
        yield span.start + number * _DAY


def _charged(holdings: Sequence[Holding], day: datetime, anchored_at: datetime) -> list[_Price]:
    """The prices that one day is charged at."""
    touching = [one for one in holdings if one.start < day + _DAY and one.end > day]
    if not touching or any(one.trial for one in touching):
        return []
    offers = [_prices(one, day, anchored_at) for one in reversed(touching)]
    return offers[0] if len(offers) == 1 else max(offers, key=_of_a_day)


def _of_a_day(prices: list[_Price]) -> Fraction:
    return sum((price.whole / price.days for price in prices), Fraction(0))


def _prices(holding: Holding, day: datetime, anchored_at: datetime) -> list[_Price]:
    """The plan first, then its add-ons."""
    sold: list[tuple[PlanVersion | AddonVersion, int]] = [(holding.plan, 1)]
    sold += [(held.addon, held.times) for held in holding.addons]
    return [
        _Price(
            one,
            times,
            period.containing(day, interval=one.interval, anchor="subscription", anchored_at=anchored_at),
        )
        for one, times in sold
    ]


def _line(price: _Price, days: int) -> Line:
    sold = price.sold
    return Line(
        kind="plan" if isinstance(sold, PlanVersion) else "addon",
        version=sold.version,
        name=sold.name,
        source=sold.source,
        period=price.window,
        quantity=price.times,
        days=days,
        of_days=price.days,
        unit_amount=sold.price,
        currency=sold.currency,
        amount=money.rounded(price.whole * Fraction(days, price.days)),
    )
