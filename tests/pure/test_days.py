"""Prices of plans and add-ons by the day: whole when held all the time, and every day once."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import money, period
from policies.rating import bill
from policies.subscription import BillingFact
from tests.pure import selling
from tests.pure.selling import DAY, START, addon, lived, plan

BASIC, PRO = plan("basic", "15.00"), plan("pro", "30.00")
SEAT, PACK = addon("seat", "6.00"), addon("pack", "9.00")


def lines(*phases, now=START, **rest):
    held, versions = lived(*phases, **rest)
    account = bill.account(held, versions, now)
    return account.lines(())


def told(found):
    return [
        (line.version.partition("@")[0], line.quantity, line.days, line.of_days, line.amount)
        for line in found
    ]


def test_a_plan_that_is_held_all_the_time_costs_its_price():
    (line,) = lines((PRO, START))
    assert told([line]) == [("pro", 1, 30, 30, 3_000)]
    assert (line.kind, line.period.start, line.period.end) == (
        "plan",
        START,
        datetime(2026, 12, 1, 9, 30, tzinfo=UTC),
    )
    assert (line.unit_amount, line.currency, line.source) == ("30.00", "usd", "plans/pro.yaml:1")


@pytest.mark.parametrize(
    ("after", "days"),
    [
        (timedelta(seconds=1), 0),  # the first day had both, and pro is dearer
        (10 * DAY, 10),
        (10 * DAY + timedelta(hours=3), 10),
        (11 * DAY - timedelta(seconds=1), 10),
        (29 * DAY, 29),
    ],
)
def test_an_upgrade_is_charged_from_its_day_on(after, days):
    expected = [("basic", 1, days, 30, 50 * days), ("pro", 1, 30 - days, 30, 100 * (30 - days))]
    assert told(lines((BASIC, START), (PRO, START + after), now=START + after)) == [
        one for one in expected if one[2]
    ]


def test_a_downgrade_is_charged_from_the_day_after_its_day():
    found = lines((PRO, START), (BASIC, START + 10 * DAY + timedelta(hours=3)))
    assert told(found) == [("pro", 1, 11, 30, 1_100), ("basic", 1, 19, 30, 950)]


def test_a_plan_that_was_held_for_an_hour_costs_a_day():
    hour = timedelta(hours=1)
    found = lines((BASIC, START), (PRO, START + 5 * DAY + hour), (BASIC, START + 5 * DAY + 2 * hour))
    assert told(found) == [("basic", 1, 29, 30, 1_450), ("pro", 1, 1, 30, 100)]


def test_of_what_costs_the_same_the_later_has_the_day():
    newer = plan("pro", "30.00", version="pro@00000009")
    found = lines((PRO, START), (newer, START + 10 * DAY + timedelta(hours=3)))
    assert [(line.version, line.days) for line in found] == [("pro@00000001", 10), ("pro@00000009", 20)]


def test_an_add_on_is_charged_so_many_times():
    assert told(lines((PRO, START, [(SEAT, 5), (PACK, 1)]))) == [
        ("pro", 1, 30, 30, 3_000),
        ("seat", 5, 30, 30, 3_000),
        ("pack", 1, 30, 30, 900),
    ]


def test_more_seats_in_mid_period_are_a_line_of_their_own_and_the_plan_stays_whole():
    found = lines((PRO, START, [(SEAT, 3)]), (PRO, START + 12 * DAY, [(SEAT, 5)]))
    assert told(found) == [
        ("pro", 1, 30, 30, 3_000),
        ("seat", 3, 12, 30, 720),
        ("seat", 5, 18, 30, 1_800),
    ]


def test_a_trial_costs_nothing_and_a_day_that_it_runs_in_neither():
    trial = START + 14 * DAY + timedelta(hours=1)
    assert told(lines((PRO, START, [(SEAT, 2)]), trial_ends_at=trial)) == [
        ("pro", 1, 15, 30, 1_500),
        ("seat", 2, 15, 30, 600),
    ]


def test_a_trial_longer_than_the_period_leaves_no_line():
    assert lines((PRO, START), trial_ends_at=START + 40 * DAY) == ()


def test_a_subscription_that_begins_or_ends_inside_a_period_pays_its_days():
    assert told(lines((PRO, START + 10 * DAY))) == [("pro", 1, 20, 30, 2_000)]
    assert told(lines((PRO, START), end=START + 10 * DAY + timedelta(minutes=1))) == [
        ("pro", 1, 11, 30, 1_100)
    ]


def test_an_ended_subscription_is_shown_with_its_last_period():
    end = START + 40 * DAY
    (line,) = lines((PRO, START), end=end, now=end + 100 * DAY)
    assert (line.period.start, line.days, line.of_days) == (START + 30 * DAY, 10, 31)


def test_one_that_ended_with_its_period_is_shown_with_that():
    end = START + 30 * DAY
    assert told(lines((PRO, START), end=end, now=end)) == [("pro", 1, 30, 30, 3_000)]


def test_a_pending_one_is_shown_with_its_first_period():
    assert told(lines((PRO, START + 5 * DAY), now=START - 100 * DAY)) == [("pro", 1, 25, 30, 2_500)]


def test_what_payments_call_ended_is_not_charged_on():
    facts = (BillingFact(status="ended", since=START + 10 * DAY),)
    assert told(lines((PRO, START), billing=facts)) == [("pro", 1, 10, 30, 1_000)]


def test_of_a_year_the_price_is_shown_whole_and_what_is_monthly_with_its_month():
    yearly = plan("team", "365.00", interval="year")
    found = lines((yearly, START, [(PACK, 2)]), now=START + 40 * DAY)
    assert told(found) == [("team", 1, 365, 365, 36_500), ("pack", 2, 31, 31, 1_800)]
    assert found[1].period.start == START + 30 * DAY


def test_a_plan_of_a_longer_interval_is_charged_by_its_own_days():
    yearly = plan("team", "365.00", interval="year")
    found = lines((PRO, START), (yearly, START + 10 * DAY), now=START + 11 * DAY)
    assert told(found) == [("pro", 1, 10, 30, 1_000), ("team", 1, 355, 365, 35_500)]
    later = lines((PRO, START), (yearly, START + 10 * DAY), now=START + 50 * DAY)
    assert told(later) == [("team", 1, 355, 365, 35_500)]


def test_an_add_on_of_a_week_beside_a_plan_of_a_month_pays_each_day_once():
    weekly = addon("crew", "7.00", interval="week")
    found = [line for line in lines((PRO, START, [(weekly, 1)])) if line.kind == "addon"]
    assert [(line.days, line.of_days, line.amount) for line in found] == [(7, 7, 700)] * 4 + [(2, 7, 200)]


@pytest.mark.parametrize(
    ("currency", "amount", "expected"), [("jpy", "1000", [333, 667]), ("kwd", "1.000", [333, 667])]
)
def test_other_currencies_are_rounded_to_their_own_digits(currency, amount, expected):
    small, large = plan("basic", amount, currency=currency), plan("pro", amount, currency=currency)
    found = lines((small, START), (large, START + 10 * DAY))
    assert [line.amount for line in found] == expected


# --- what holds of any life ----------------------------------------------------------------------

moments = st.integers(0, 30 * 24 * 60 - 1).map(lambda minutes: START + timedelta(minutes=minutes))


@st.composite
def lives(draw):
    """Up to five phases on three plans with and without seats, some in trial."""
    sold = [plan(name, draw(selling.whole_amounts)) for name in ("free", "basic", "pro")]
    starts = sorted(draw(st.sets(moments, min_size=1, max_size=5)))
    phases = [(draw(st.sampled_from(sold)), at, draw(st.sampled_from([[], [(SEAT, 2)]]))) for at in starts]
    trial = draw(st.none() | moments)
    return phases, {"trial_ends_at": trial, "end": draw(st.none() | st.just(starts[-1] + 9 * DAY))}


@given(lives())
def test_every_day_is_charged_at_most_once(life):
    phases, rest = life
    found = lines(*phases, **rest)
    assert sum(line.days for line in found if line.kind == "plan") <= 30
    for line in found:
        assert 0 < line.days <= line.of_days == 30
        exact = money.exact(line.unit_amount, "usd") * line.quantity * Fraction(line.days, line.of_days)
        assert line.amount == money.rounded(exact)


@given(lives())
def test_each_day_costs_what_was_dearest_in_it(life):
    """The slow rule: look at every minute of the day, and pay a thirtieth of the dearest that was held."""
    phases, rest = life
    held, _ = lived(*phases, **rest)
    sold = {plan.version: Fraction(plan.price) for plan, *_ in phases}
    trial, total = rest["trial_ends_at"], Fraction(0)
    for number in range(30):
        day, dearest, free = START + number * DAY, Fraction(0), False
        for phase in held.phases:
            if phase.start < day + DAY and (phase.end is None or phase.end > day):
                seats = sum(one.quantity for one in phase.addons) * Fraction(SEAT.price)
                dearest = max(dearest, sold[phase.plan_version] + seats)
                free = free or (trial is not None and max(day, phase.start) < trial)
        total += 0 if free else dearest * 100 / 30
    found = lines(*phases, **rest)
    assert abs(sum(line.amount for line in found) - total) <= Fraction(len(found), 2)


@given(selling.whole_amounts, st.lists(st.integers(1, 29), max_size=6, unique=True))
def test_days_of_one_price_add_up_to_the_price_to_the_cent(amount, changes):
    """Versions that cost the same follow each other: their days make the price, beyond one rounding each."""
    starts = [START, *(START + day * DAY for day in sorted(changes))]
    phases = [(plan("pro", amount, version=f"pro@{n:08}"), at) for n, at in enumerate(starts)]
    found = lines(*phases)
    assert sum(line.days for line in found) == 30
    assert abs(sum(line.amount for line in found) - 100 * int(amount)) <= Fraction(len(found), 2)
    (alone,) = lines((phases[0][0], START))
    assert alone.amount == 100 * int(amount)


@given(st.integers(0, 40 * 366 * 24 * 60), st.integers(0, 400))
def test_a_period_has_whole_days_wherever_it_is_anchored(minutes, later):
    anchored_at = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    for interval in ("day", "week", "month", "year"):
        span = period.containing(
            anchored_at + later * DAY, interval=interval, anchor="subscription", anchored_at=anchored_at
        )
        assert (span.end - span.start) % DAY == timedelta(0)
