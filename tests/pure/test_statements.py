"""Bills one after the other: every day and feature period once, what comes late, and what is carried over."""

from collections import Counter
from datetime import timedelta
from functools import partial
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import entitlement, money
from policies.model import Tier
from policies.period import Period
from policies.rating import bill, days, frozen, overage, settle, words
from policies.rating.overage import Use
from policies.rating.settle import Payable
from policies.snapshot import Snapshot
from tests.pure import plans, selling
from tests.pure.selling import DAY, START, addon, lived, metered, plan

HOUR = timedelta(hours=1)
CHEAP = selling.overage(unit_amount="0.01")
SOLD = {
    interval: plan(f"by-{interval}", amount, interval=interval)
    for interval, amount in (("day", "1.00"), ("week", "7.10"), ("month", "30.00"), ("year", "365.00"))
}
WEEKLY = addon("crew", "7.00", interval="week")


def spans(held, versions, until):
    """The spans of all bills until then, and where they end."""
    found, since = [], held.phases[0].start
    while (span := bill.to_close(held, versions, since)) is not None and span.end <= until:
        found.append(span)
        since = span.end
    return found


def billed(held, versions, until):
    """The price lines of all bills, each knowing those before it."""
    lines = []
    for span in spans(held, versions, until):
        account = bill.closing(held, versions, span, held.phases[0].start)
        lines.append([*account.lines((), days.billed(line for bill_ in lines for line in bill_))])
    return lines


def told(lines):
    return [words.described(line) + f": {money.written(line.amount, 'usd')}" for line in lines]


# --- which span is billed next -------------------------------------------------------------------


def test_a_month_follows_a_month():
    held, versions = lived((SOLD["month"], START))
    assert spans(held, versions, START + 70 * DAY) == [
        Period(START, START + 30 * DAY),
        Period(START + 30 * DAY, START + 61 * DAY),
    ]


def test_of_a_year_each_month_is_billed():
    held, versions = lived((SOLD["year"], START))
    assert spans(held, versions, START + 31 * DAY) == [Period(START, START + 30 * DAY)]


def test_the_end_of_a_subscription_ends_the_last_span():
    held, versions = lived((SOLD["month"], START), end=START + 40 * DAY)
    assert spans(held, versions, START + 400 * DAY)[-1] == Period(START + 30 * DAY, START + 40 * DAY)
    assert bill.to_close(held, versions, START + 40 * DAY) is None


@pytest.mark.parametrize(
    ("first", "second", "change", "ends"),
    [
        ("week", "month", 10, [7, 30, 61]),  # the month that contains the change
        ("month", "week", 10, [14, 21, 28]),
        ("month", "year", 10, [30, 61]),
        ("year", "month", 40, [30, 61]),
        ("day", "month", 1, [1, 30]),
    ],
)
def test_a_change_of_interval_leaves_no_gap_and_bills_nothing_twice(first, second, change, ends):
    held, versions = lived((SOLD[first], START), (SOLD[second], START + change * DAY))
    found = spans(held, versions, START + ends[-1] * DAY)
    assert [(span.end - START) // DAY for span in found] == ends
    assert [span.start for span in found] == [START, *(span.end for span in found[:-1])]


# --- prices over several bills -------------------------------------------------------------------


def test_a_year_is_charged_whole_and_later_only_what_changes_of_it():
    held, versions = lived((SOLD["year"], START), end=START + 70 * DAY)
    first, second, third = billed(held, versions, START + 100 * DAY)
    assert told(first) == ["By-Year, 70 of 365 days: 70.00"], "its end is known"
    assert (second, third) == ([], [])
    running, versions = lived((SOLD["year"], START))
    first, *later = billed(running, versions, START + 70 * DAY)
    assert told(first) == ["By-Year: 365.00"]
    assert later == [[]]
    before = days.billed(first)
    closed = bill.closing(held, versions, Period(START + 30 * DAY, START + 61 * DAY), START)
    assert told(closed.lines((), before)) == ["By-Year, 70 of 365 days; less 365.00 billed before: -295.00"]


def test_leaving_a_year_for_a_month_gives_its_days_back():
    held, versions = lived((SOLD["year"], START), (SOLD["month"], START + 40 * DAY))
    whole, _ = lived((SOLD["year"], START))
    before = days.billed(billed(whole, versions, START + 30 * DAY)[0])
    span = Period(START + 30 * DAY, START + 61 * DAY)
    assert told(bill.closing(held, versions, span, START).lines((), before)) == [
        "By-Year, 40 of 365 days; less 365.00 billed before: -325.00",
        "By-Month, 21 of 31 days: 20.32",
    ]


held_beside = st.sampled_from([[], [(WEEKLY, 2)]])


@st.composite
def lives(draw):
    """Up to four phases on plans of any interval, with or without add-ons of a week; known from the start."""
    starts = sorted(draw(st.sets(st.integers(0, 90 * 24), min_size=1, max_size=4)))
    phases = [
        (draw(st.sampled_from([*SOLD.values()])), START + hours * HOUR, draw(held_beside))
        for hours in starts
    ]  # fmt: skip
    trial = draw(st.none() | st.integers(0, 20))
    end = draw(st.none() | st.integers(1, 40))
    return phases, {
        "anchored_at": START,
        "trial_ends_at": None if trial is None else phases[0][1] + trial * DAY,
        "end": None if end is None else phases[-1][1] + end * DAY,
    }


@settings(deadline=None, max_examples=40 if settings().max_examples < 1_000 else 5_000)
@given(lives())
def test_all_bills_together_charge_each_day_once_and_each_price_with_one_rounding(life):
    phases, rest = life
    held, versions = lived(*phases, **rest)
    until = START + 140 * DAY
    last = spans(held, versions, until)[-1].end
    charged, lines = Counter(), {}
    for line in (line for one in billed(held, versions, until) for line in one):
        key = (line.version, line.quantity, line.period)
        charged[key] += line.amount
        lines[key] = line
    at_once = {
        (line.version, line.quantity, line.period): line
        for line in days.lines(
            bill.closing(held, versions, Period(held.phases[0].start, last), START).holdings,
            Period(held.phases[0].start, last),
            START,
        )
    }
    assert {key: amount for key, amount in charged.items() if amount or key in at_once} == {
        key: line.amount for key, line in at_once.items()
    }


# --- what comes late -----------------------------------------------------------------------------


def use(number, units, sold, *, currency="usd"):
    window = Period(START + number * HOUR, START + (number + 1) * HOUR)
    return Use(
        feature=plans.TOKENS,
        plan_version="pro@1",
        currency=currency,
        overage=sold,
        window=window,
        units=units,
    )


units = st.lists(st.integers(0, 60), min_size=1, max_size=5)


@given(selling.overages(), st.lists(units, min_size=1, max_size=5), selling.currencies)
def test_a_bill_and_its_adjustments_come_to_what_all_of_it_at_once_would(sold, stages, currency):
    now, charged = frozen.Frozen(), 0
    for stage in stages:
        after = frozen.changed(now, [use(n, each, sold, currency=currency) for n, each in enumerate(stage)])
        adjusted = [*frozen.adjustments(now, after)]
        charged += sum(line.amount for line in adjusted)
        now = after
    assert charged == sum(line.amount for line in overage.lines(frozen.uses(now)))
    assert [*frozen.adjustments(now, now)] == []


@given(selling.overages(), units)
def test_what_is_frozen_is_read_back_as_it_was(sold, each):
    kept = frozen.of(use(n, one, sold) for n, one in enumerate(each))
    assert msgspec.json.decode(msgspec.json.encode(kept), type=frozen.Frozen) == kept
    assert sorted(one.units for one in frozen.uses(kept)) == sorted(one for one in each if one)


def test_a_tier_that_is_not_reached_any_more_is_given_back():
    tiers = (Tier(up_to=10, unit_amount="1.00"), Tier(unit_amount="0.50"))
    sold = selling.overage("graduated", tiers=tiers)
    before, after = frozen.of([use(0, 14, sold)]), frozen.of([use(0, 8, sold)])
    assert told(frozen.adjustments(before, after)) == [
        "AI tokens, past what is included: up to 10; 8 instead of 10, less 10.00 billed before: -2.00",
        "AI tokens, past what is included: above 10; 0 instead of 4, less 2.00 billed before: -2.00",
    ]


# --- feature periods over several bills ----------------------------------------------------------


def windows(phases, span, now, **rest):
    held, versions = lived(*phases, **rest)
    account = bill.closing(held, versions, span, START)
    snapshot = Snapshot(tenant_id="acme", version=1, known=True, subscriptions=(held,))
    resolve = partial(
        entitlement.resolve, snapshot, offer=plans.offer(features=(plans.TOKENS,)), versions=versions,
        feature_id="ai-tokens",
    )  # fmt: skip
    return [(one.right.period.start - START) // DAY for one in account.rated(lambda at: resolve(at=at), now)]


def test_each_feature_period_is_on_one_bill_also_where_the_plan_has_lost_the_feature():
    """Its month goes on past the bill in which the plan changed; it is billed where it ends."""
    weekly = plan("crew", "7.00", interval="week", terms=metered(100, sold=CHEAP))
    without = plan("bare", "7.00", interval="week")
    phases = [(weekly, START), (without, START + 9 * DAY)]
    bills = [windows(phases, Period(START + 7 * n * DAY, START + 7 * (n + 1) * DAY), START + 60 * DAY)
             for n in range(7)]  # fmt: skip
    assert bills == [[], [], [], [], [0], [], []]


@given(st.sampled_from(["hour", "day", "week", "month"]), st.integers(1, 60))
def test_whatever_the_spans_are_each_feature_period_is_billed_once(interval, step):
    sold = plan(terms=metered(100, sold=CHEAP, interval=interval))
    now = START + 62 * DAY
    edges = [*range(0, 61, step), 61]
    found = Counter()
    for start, end in pairwise(edges):
        if start < end:
            span = Period(START + start * DAY, START + end * DAY)
            found.update(windows([(sold, START)], span, now) if interval != "hour" else [])
    assert set(found.values()) <= {1}
    whole = windows([(sold, START)], Period(START, START + 61 * DAY), now) if interval != "hour" else []
    assert sorted(found) == sorted(whole)


# --- what is carried over ------------------------------------------------------------------------


def line(amount):
    (found,) = overage.lines([use(0, 1, CHEAP)])
    return msgspec.structs.replace(found, amount=amount)


SPAN = Period(START, START + 30 * DAY)


@pytest.mark.parametrize(
    ("amounts", "balance", "least", "total", "left"),
    [
        ([100], 0, 0, 100, 0),
        ([100], -30, 0, 70, 0),
        ([100], -130, 0, 0, -30),
        ([-100], 0, 0, 0, -100),
        ([40], 0, 50, 0, 40),
        ([40], 10, 50, 50, 0),
        ([50], 0, 50, 50, 0),
        ([0], 60, 50, 60, 0),
        ([100, -40], 0, 0, 60, 0),
    ],
)
def test_what_is_paid_now_and_what_is_carried_over(amounts, balance, least, total, left):
    payable = Payable(least=least)
    found = settle.settled([line(one) for one in amounts], "usd", SPAN, balance=balance, payable=payable)
    assert (found.total, found.taken_in, found.handed_on) == (total, balance, left)


@pytest.mark.parametrize(("amounts", "balance"), [([], 0), ([0], 0), ([], -10), ([0], 49)])
def test_where_nothing_is_said_there_is_no_invoice(amounts, balance):
    payable = Payable(least=50, step=10)
    lines = [line(one) for one in amounts]
    assert settle.settled(lines, "usd", SPAN, balance=balance, payable=payable) is None


@pytest.mark.parametrize(
    ("amounts", "balance", "least", "total", "left"),
    [
        ([1234], 0, 0, 1230, 4),
        ([1234], 6, 0, 1240, 0),
        ([1234], -5, 0, 1220, 9),
        ([507], 0, 500, 500, 7),
        ([499], 0, 500, 0, 499),
        ([9], 0, 0, 0, 9),
        ([-7], 0, 0, 0, -7),
    ],
)
def test_what_is_no_whole_step_is_carried_over_too(amounts, balance, least, total, left):
    """As Stripe writes dinars: three digits, the last of which is 0."""
    payable = Payable(least=least, step=10)
    found = settle.settled([line(one) for one in amounts], "kwd", SPAN, balance=balance, payable=payable)
    assert (found.total, found.handed_on) == (total, left)


@given(
    st.lists(st.lists(st.integers(-500, 500), max_size=3), max_size=8),
    st.sampled_from([0, 1, 50, 57]),
    st.sampled_from([1, 10, 100]),
)
def test_invoices_and_the_ledger_together_have_every_amount(months, least, step):
    balance, invoiced = 0, 0
    for month in months:
        lines, payable = [line(one) for one in month], Payable(least=least, step=step)
        found = settle.settled(lines, "usd", SPAN, balance=balance, payable=payable)
        if found is None:
            assert not any(month)
            continue
        assert found.total >= 0
        assert found.total == 0 or found.total >= least
        assert found.total % step == 0
        assert found.handed_on < least + step, "nothing waits that could be collected"
        assert sum(one.amount for one in found.lines) == found.total
        balance, invoiced = found.handed_on, invoiced + found.total
    assert invoiced + balance == sum(one for month in months for one in month)
