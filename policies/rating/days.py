"""What do the prices of plans and add-ons come to, day by day?

A price is for one billing period of its own interval, and every day of that period costs the same part of it.
Days are 24 hours long and begin at the clock time of the subscription's anchor, so a period has whole ones.
A day is charged once:

- not at all if the trial ran in it;
- for the one plan with its add-ons that was held in it;
- where it changed in that day, for what is dearer, and of what costs the same for the later.

So a plan that was held all the time costs its price to the cent, and one that was held for an hour a day's.

A bill has the days of its span. Of what is sold by the year beside a plan of a year it has all days of that
year at once, by what is known of them. What earlier bills charged for the same price is taken off, so that
all bills of a price together are what its days come to.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final, NamedTuple

import msgspec

from policies import money, period
from policies.model import AddonVersion, PlanVersion
from policies.period import Period
from policies.rating.holdings import Holding
from policies.rating.lines import Line

_DAY: Final = timedelta(days=1)


class Key(NamedTuple):
    """A price in one of its own billing periods, held so many times."""

    version: str
    times: int
    window: Period


Billed = Mapping[Key, Line]
"""What earlier bills charged, by price; the amount of each line is all of it together."""


class _Price(NamedTuple):
    """What is paid for, so many times, in one of its billing periods."""

    sold: PlanVersion | AddonVersion
    times: int
    window: Period

    @property
    def key(self) -> Key:
        """What it is told apart by."""
        return Key(self.sold.version, self.times, self.window)

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


def billed(lines: Iterable[Line]) -> Billed:
    """What these lines of earlier bills charged for prices."""
    found: dict[Key, Line] = {}
    for line in lines:
        if line.kind in ("plan", "addon"):
            key = Key(line.version, line.quantity, line.period)
            before = found[key].amount if key in found else 0
            found[key] = msgspec.structs.replace(line, amount=before + line.amount)
    return found


def lines(
    holdings: Sequence[Holding],
    span: Period,
    anchored_at: datetime,
    *,
    billed_from: datetime | None = None,
    before: Billed | None = None,
) -> Iterator[Line]:
    """A line for each price and each of its own billing periods, in the order in which they begin.

    `before` has what earlier bills charged; days before that of `billed_from` are not charged at all.
    """
    assert span.end is not None, "billing periods end"
    if span.start >= span.end:
        return
    earlier = {} if before is None else before
    counted = _Counted(holdings, anchored_at)
    counted.add(_days(_day_of(span.start, anchored_at), span.end), ahead=False)
    running = [key for key in earlier if key.window.end is not None and key.window.end > span.start]
    wanted = {*counted.days, *running}
    begins = min((key.window.start for key in wanted), default=span.start)
    if billed_from is not None:
        begins = max(begins, _day_of(billed_from, anchored_at))
    counted.add(_days(begins, _day_of(span.start, anchored_at)), ahead=False, wanted=wanted)
    ends = max((key.window.end or span.end for key in wanted if counted.by_year(key)), default=span.end)
    counted.add(_days(span.end, ends), ahead=True, wanted=wanted)
    for key in [*counted.days, *(key for key in running if key not in counted.days)]:
        line = counted.line(key, earlier.get(key))
        if line.billed is None or line.amount:
            yield line


class _Counted:
    """How many days each price was charged for."""

    def __init__(self, holdings: Sequence[Holding], anchored_at: datetime) -> None:
        self._holdings, self._anchored_at = holdings, anchored_at
        self._prices: dict[Key, _Price] = {}
        self._by_year: set[Key] = set()
        self._same: list[_Price] = []
        self._until: datetime | None = None
        self.days: dict[Key, int] = {}

    def add(self, days: Iterable[datetime], *, ahead: bool, wanted: Iterable[Key] | None = None) -> None:
        """Counts days; those `ahead` of the bill only for what is sold by the year with a plan of a year."""
        only = None if wanted is None else frozenset(wanted)
        self._until = None
        for day in days:
            prices = self._of(day)
            yearly = bool(prices) and prices[0].sold.interval == "year"
            for price in prices:
                key = price.key
                by_year = yearly and price.sold.interval == "year"
                if (only is not None and key not in only) or (ahead and not by_year):
                    continue
                self._prices[key] = price
                self.days[key] = self.days.get(key, 0) + 1
                if by_year:
                    self._by_year.add(key)

    def by_year(self, key: Key) -> bool:
        """Is it charged for the whole year at once?"""
        return key in self._by_year

    def line(self, key: Key, before: Line | None) -> Line:
        """The line of a price, less what was charged for it before."""
        days = self.days.get(key, 0)
        if days:
            line = _line(self._prices[key], days)
        else:
            assert before is not None, "what no day was charged for was charged before"
            line = msgspec.structs.replace(before, days=0, amount=0)
        if before is None:
            return line
        return msgspec.structs.replace(
            line,
            amount=line.amount - before.amount,
            billed=before.amount,
            billed_quantity=before.days,
        )

    def _of(self, day: datetime) -> list[_Price]:
        """The prices that a day is charged at: mostly those of the day before it."""
        if self._until is None or day + _DAY > self._until:
            self._same, self._until = _charged(self._holdings, day, self._anchored_at)
        return self._same


def _day_of(at: datetime, anchored_at: datetime) -> datetime:
    """The beginning of the day that contains an instant."""
    return anchored_at + (at - anchored_at) // _DAY * _DAY


def _days(start: datetime, end: datetime) -> Iterator[datetime]:
    """The beginning of each day that begins in a span."""
    while start < end:
        yield start
        start += _DAY


def _charged(
    holdings: Sequence[Holding], day: datetime, anchored_at: datetime
) -> tuple[list[_Price], datetime | None]:
    """The prices that one day is charged at, and until when following days are charged alike, if known."""
    touching = [one for one in holdings if one.start < day + _DAY and one.end > day]
    if not touching or any(one.trial for one in touching):
        return [], None
    offers = [_prices(one, day, anchored_at) for one in reversed(touching)]
    if len(offers) > 1:
        return max(offers, key=_of_a_day), None
    (same,) = offers
    return same, min([touching[0].end, *(price.window.end or touching[0].end for price in same)])


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
