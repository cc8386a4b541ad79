"""In which half-open period of UTC does an instant lie, for an interval and an anchor?

Periods of one (interval, anchor, anchored_at) are laid end to end over all of time, before the anchor as
well as after it. Their edges are numbered from the anchor, and an edge is computed from its number alone:
a month that begins on the 31st is clamped to 28 February and is back on 31 March.

All instants are aware and in UTC; `never` alone has one period, without an end.
"""

from calendar import isleap, monthrange
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from policies.model import Anchor, Interval

_CALENDAR_ANCHOR: Final = datetime(2001, 1, 1, tzinfo=UTC)
"""A Monday, the first of a month and of a year: anchored here, every interval falls on its calendar edges."""
_NO_OFFSET: Final = timedelta(0)
_INSTANT: Final = timedelta(microseconds=1)
_SPANS: Final[dict[Interval, timedelta]] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
_DAYS_OF_ALL: Final = 28
"""Every month has so many days."""
_LENGTHS: Final = tuple(timedelta(days=monthrange(2001, month)[1]) for month in range(1, 13))
"""Of the months of a year that is no leap year."""
_FEBRUARY: Final = 2
_MONTHS: Final[dict[Interval, int]] = {"month": 1, "year": 12}
LONGEST: Final[dict[Interval, timedelta]] = _SPANS | {
    "month": timedelta(days=31),
    "year": timedelta(days=366),
}
"""The longest period of each interval that has an end."""


class Period(msgspec.Struct, frozen=True, order=True, gc=False):
    """Half-open: `start` is in it, `end` is not. `end` is None only for the interval `never`."""

    start: datetime
    end: datetime | None


_LATEST: Final[dict[Interval, Period]] = {}
"""The calendar period of each interval that was asked for last: nearly all ask for that of now."""


def contains(period: Period, at: datetime) -> bool:
    """Is `at` in the period?"""
    return period.start <= at and (period.end is None or at < period.end)


def containing(at: datetime, *, interval: Interval, anchor: Anchor, anchored_at: datetime) -> Period:
    """The period that `at` lies in.

    With the anchor `subscription` the day and the clock time of `anchored_at` are kept; with `calendar` it
    is not looked at. The one period of `never` begins at `anchored_at` with either anchor, and is the answer
    for earlier instants too.
    """
    assert at.utcoffset() == _NO_OFFSET
    assert anchored_at.utcoffset() == _NO_OFFSET
    if interval == "never":
        return Period(anchored_at, None)
    if anchor == "subscription":
        return _laid(at, interval, anchored_at)
    latest = _LATEST.get(interval)
    if latest is None or not contains(latest, at):
        latest = _LATEST[interval] = _laid(at, interval, _CALENDAR_ANCHOR)
    return latest


def _laid(at: datetime, interval: Interval, base: datetime) -> Period:
    """The period of an interval other than `never` whose edges are laid from `base`."""
    span = _SPANS.get(interval)
    if span is not None:
        start = base + (at - base) // span * span
        return Period(start, start + span)
    if interval == "month" and base.day <= _DAYS_OF_ALL:
        return _month(at, base)
    months = _MONTHS[interval]
    number = _months_between(base, at) // months
    # That edge lies in the month (or year) of `at`, so it is the right one or the one just after.
    start = _months_later(base, number * months)
    if start > at:
        number -= 1
        start = _months_later(base, number * months)
    return Period(start, _months_later(base, (number + 1) * months))


def _month(at: datetime, base: datetime) -> Period:
    """The month from a day that every month has: the next one is a month's length away."""
    start = base.replace(at.year, at.month)
    if start > at:
        start -= _length(at.year, at.month - 1) if at.month > 1 else _LENGTHS[-1]
    return Period(start, start + _length(start.year, start.month))


def _length(year: int, month: int) -> timedelta:
    return timedelta(days=29) if month == _FEBRUARY and isleap(year) else _LENGTHS[month - 1]


def following(period: Period, *, interval: Interval, anchor: Anchor, anchored_at: datetime) -> Period | None:
    """The period that begins where this one ends; None after `never`."""
    if period.end is None:
        return None
    return containing(period.end, interval=interval, anchor=anchor, anchored_at=anchored_at)


def preceding(period: Period, *, interval: Interval, anchor: Anchor, anchored_at: datetime) -> Period | None:
    """The period that ends where this one begins; None before `never`."""
    if period.end is None:
        return None
    return containing(period.start - _INSTANT, interval=interval, anchor=anchor, anchored_at=anchored_at)


def _months_between(base: datetime, at: datetime) -> int:
    """How many month boundaries lie between the two, days and clock times not looked at."""
    return (at.year - base.year) * 12 + at.month - base.month


def _months_later(base: datetime, months: int) -> datetime:
    """The same day and clock time that many months on (or back); a month too short gives its last day."""
    year, month_before = divmod(base.year * 12 + base.month - 1 + months, 12)
    month = month_before + 1
    day = base.day if base.day <= _DAYS_OF_ALL else min(base.day, monthrange(year, month)[1])
    return base.replace(year=year, month=month, day=day)


def written(at: datetime) -> str:
    """The instant as sentences name it, to the second."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
