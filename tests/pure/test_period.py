"""Periods cover time without gaps or overlaps, keep their anchor's day, and cost the same in any year."""

from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import period
from policies.model import Anchor, Interval
from policies.period import Period

ENDING = [interval for interval in get_args(Interval) if interval != "never"]
TICK = timedelta(microseconds=1)

FIRST, LAST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 12, 31, tzinfo=UTC)
instants = st.timedeltas(timedelta(0), LAST - FIRST).map(lambda since: FIRST + since)
month_ends = st.builds(
    lambda year, month, at: at.replace(year=year, month=month, day=28) + timedelta(days=at.day % 5),
    st.integers(1990, 2100), st.integers(1, 12), instants,
)  # fmt: skip
anchors = instants | month_ends
intervals = st.sampled_from(ENDING)
kinds = st.sampled_from(get_args(Anchor))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def of(at: str, interval: Interval, anchor: Anchor, anchored_at: str = "2024-01-31T09:30:00") -> Period:
    return period.containing(utc(at), interval=interval, anchor=anchor, anchored_at=utc(anchored_at))


@given(anchors, intervals, kinds, anchors)
def test_every_instant_lies_in_its_period_and_in_no_neighbour(at, interval, anchor, anchored_at):
    terms = {"interval": interval, "anchor": anchor, "anchored_at": anchored_at}
    own = period.containing(at, **terms)
    before, after = period.preceding(own, **terms), period.following(own, **terms)
    assert own.start < own.end
    assert period.contains(own, at)
    assert not period.contains(before, at)
    assert not period.contains(after, at)


@given(anchors, intervals, kinds, anchors)
def test_neighbours_touch_without_gap_or_overlap(at, interval, anchor, anchored_at):
    terms = {"interval": interval, "anchor": anchor, "anchored_at": anchored_at}
    own = period.containing(at, **terms)
    before, after = period.preceding(own, **terms), period.following(own, **terms)
    assert before.end == own.start
    assert own.end == after.start
    assert period.following(before, **terms) == own
    assert period.preceding(after, **terms) == own


@given(anchors, intervals, kinds, anchors)
def test_all_instants_from_start_to_just_before_the_end_share_the_period(at, interval, anchor, anchored_at):
    terms = {"interval": interval, "anchor": anchor, "anchored_at": anchored_at}
    own = period.containing(at, **terms)
    for inside in (own.start, own.start + TICK, own.end - TICK):
        assert period.containing(inside, **terms) == own
    assert period.containing(own.end, **terms) != own


@given(anchors, anchors, intervals, kinds, anchors)
def test_later_instants_never_lie_in_earlier_periods(one, other, interval, anchor, anchored_at):
    terms = {"interval": interval, "anchor": anchor, "anchored_at": anchored_at}
    earlier, later = sorted((one, other))
    assert period.containing(earlier, **terms) <= period.containing(later, **terms)


@given(anchors, st.sampled_from(["month", "year"]), anchors)
def test_months_and_years_keep_the_anchors_day_and_clock_time(at, interval, anchored_at):
    own = period.containing(at, interval=interval, anchor="subscription", anchored_at=anchored_at)
    for edge in (own.start, own.end):
        assert edge.timetz() == anchored_at.timetz()
        shortened = edge.day < anchored_at.day
        assert edge.day == anchored_at.day or (shortened and (edge + timedelta(days=1)).day == 1)
        if interval == "year":
            assert edge.month == anchored_at.month


@given(anchors, intervals, anchors)
def test_the_anchor_is_an_edge_of_its_own_periods(at, interval, anchored_at):
    """The arithmetic is the same whichever side of the anchor an instant lies on."""
    own = period.containing(at, interval=interval, anchor="subscription", anchored_at=anchored_at)
    assert own.end <= anchored_at or own.start >= anchored_at
    first = period.containing(anchored_at, interval=interval, anchor="subscription", anchored_at=anchored_at)
    assert first.start == anchored_at


@given(anchors, anchors, anchors, intervals)
def test_the_calendar_asks_no_subscription(at, one, other, interval):
    assert period.containing(
        at, interval=interval, anchor="calendar", anchored_at=one
    ) == period.containing(at, interval=interval, anchor="calendar", anchored_at=other)  # fmt: skip


@given(anchors, kinds, anchors)
def test_never_has_one_period_from_the_anchor_on(at, anchor, anchored_at):
    terms = {"interval": "never", "anchor": anchor, "anchored_at": anchored_at}
    own = period.containing(at, **terms)
    assert own == Period(anchored_at, None)
    assert period.following(own, **terms) is None
    assert period.preceding(own, **terms) is None
    assert period.contains(own, max(at, anchored_at))


@pytest.mark.parametrize(
    ("at", "start", "end"),
    [
        ("2024-02-01T00:00:00", "2024-01-31T09:30:00", "2024-02-29T09:30:00"),
        ("2024-02-29T09:29:59", "2024-01-31T09:30:00", "2024-02-29T09:30:00"),
        ("2024-02-29T09:30:00", "2024-02-29T09:30:00", "2024-03-31T09:30:00"),
        ("2024-04-15T00:00:00", "2024-03-31T09:30:00", "2024-04-30T09:30:00"),
        ("2025-02-10T00:00:00", "2025-01-31T09:30:00", "2025-02-28T09:30:00"),
        ("2025-03-01T00:00:00", "2025-02-28T09:30:00", "2025-03-31T09:30:00"),
        ("2023-12-31T09:29:00", "2023-11-30T09:30:00", "2023-12-31T09:30:00"),
        ("2023-02-28T09:30:00", "2023-02-28T09:30:00", "2023-03-31T09:30:00"),
    ],
)
def test_a_month_from_the_31st_is_clamped_and_comes_back(at, start, end):
    assert of(at, "month", "subscription") == Period(utc(start), utc(end))


@pytest.mark.parametrize(
    ("at", "start", "end"),
    [
        ("2024-12-01T00:00:00", "2024-02-29T00:00:00", "2025-02-28T00:00:00"),
        ("2025-02-28T00:00:00", "2025-02-28T00:00:00", "2026-02-28T00:00:00"),
        ("2027-06-01T00:00:00", "2027-02-28T00:00:00", "2028-02-29T00:00:00"),
        ("2028-02-28T23:59:59", "2027-02-28T00:00:00", "2028-02-29T00:00:00"),
        ("2100-03-01T00:00:00", "2100-02-28T00:00:00", "2101-02-28T00:00:00"),
        ("2023-06-01T00:00:00", "2023-02-28T00:00:00", "2024-02-29T00:00:00"),
    ],
)
def test_a_year_from_29_february_is_clamped_and_comes_back(at, start, end):
    assert of(at, "year", "subscription", "2024-02-29T00:00:00") == Period(utc(start), utc(end))


@pytest.mark.parametrize(
    ("interval", "start", "end"),
    [
        ("hour", "2026-11-22T10:00:00", "2026-11-22T11:00:00"),
        ("day", "2026-11-22T00:00:00", "2026-11-23T00:00:00"),
        ("week", "2026-11-16T00:00:00", "2026-11-23T00:00:00"),
        ("month", "2026-11-01T00:00:00", "2026-12-01T00:00:00"),
        ("year", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
    ],
)
def test_calendar_periods_begin_on_the_hour_midnight_monday_first_and_new_year(interval, start, end):
    """22 November 2026 is a Sunday, the last day of its week."""
    assert of("2026-11-22T10:15:00", interval, "calendar") == Period(utc(start), utc(end))


@pytest.mark.parametrize(
    ("interval", "start", "end"),
    [
        ("hour", "2026-11-22T09:30:00", "2026-11-22T10:30:00"),
        ("day", "2026-11-22T09:30:00", "2026-11-23T09:30:00"),
        ("week", "2026-11-18T09:30:00", "2026-11-25T09:30:00"),
        ("month", "2026-10-31T09:30:00", "2026-11-30T09:30:00"),
        ("year", "2026-01-31T09:30:00", "2027-01-31T09:30:00"),
    ],
)
def test_subscription_periods_keep_minute_clock_time_and_weekday(interval, start, end):
    """31 January 2024 was a Wednesday."""
    assert of("2026-11-22T10:15:00", interval, "subscription") == Period(utc(start), utc(end))


@pytest.mark.parametrize("zone", [None, timezone(timedelta(hours=2))])
def test_an_instant_that_is_not_utc_is_a_bug_of_the_caller(zone):
    with pytest.raises(AssertionError):
        period.containing(
            datetime(2026, 1, 1, tzinfo=zone),
            interval="day",
            anchor="calendar",
            anchored_at=utc("2026-01-01"),
        )
