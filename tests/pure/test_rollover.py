"""What months leave each other: as a slow count of single units has it, not a unit too many or too few."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from policies import balance, rollover
from tests.pure.months import HOUR, Months, said

MOMENT = timedelta(microseconds=1)

small = st.integers(0, 30)
carries = st.tuples(small, st.integers(1, 3))
terms = st.builds(said, small, st.none() | carries, up_to=st.just(0) | small)
years = st.lists(terms, min_size=5, max_size=7)


def begun(span):
    return span.start + timedelta(days=3)


# --- against single units ---------------------------------------------------------------------------


def slowly(year, used):
    """The sizes of each month's generations by counting single units, each known by the month it is of."""
    units, found = [], []
    for number, (span, quantity) in enumerate(zip(year.spans, used, strict=True)):
        held = sorted(units)
        found.append(tuple(held.count(number - k) for k in range(1, len(year.links(span)) + 1)))
        stock = [*held, *[number] * year.terms[span].included]
        left = stock[quantity:]
        said = year.terms[span].rollover
        units = []
        if said is not None:
            lasting = [unit for unit in left if number - unit < min(said.intervals, _own(year, unit))]
            units = sorted(lasting, reverse=True)[: said.max]
    return found


def _own(year, number):
    return year.terms[year.spans[number]].rollover.intervals


@settings(deadline=None)
@given(st.lists(st.builds(said, small, st.none() | carries), min_size=5, max_size=7), st.data())
def test_each_generation_is_what_single_units_say(several, data):
    year, used, found = Months(*several), [], []
    for span in year.spans:
        found.append(year.sizes(span))
        account = balance.of(year.terms[span], year.levels(span), overage=False)
        used.append(data.draw(st.integers(0, account.granted)))
        year.draw(span, used[-1], begun(span))
    assert found == slowly(year, used)


def test_a_winter_with_a_leap_february():
    """1,000 a month, at most 300 of it carried, for two months."""
    year = Months(*[said(1_000, (300, 2))] * 6)
    assert [span.end - span.start for span in year.spans][3] == timedelta(days=29)
    got = []
    for span, quantity in zip(year.spans, (900, 1_000, 600, 0, 1_100, 0), strict=True):
        got.append(year.sizes(span))
        year.draw(span, quantity, begun(span))
    #                     900 used  1,000     600       none      1,100: 300 carried, 800 of its own
    assert got == [(), (100,), (100, 0), (300, 0), (300, 0), (200, 0)]


def test_what_expires_first_is_drawn_first():
    year = Months(*[said(100, (200, 2))] * 3)
    first, second, third = year.spans
    year.draw(first, 40, begun(first))
    year.draw(second, 30, begun(second))
    assert year.sizes(third) == (100, 30)
    assert year.draw(third, 40, begun(third)).rollover == (10, 30)


def test_before_the_seal_a_late_event_takes_from_what_is_carried_and_after_it_from_what_expired():
    year = Months(*[said(100, (60, 1), up_to=None)] * 2)
    first, second = year.spans
    assert year.sizes(second) == (60,)
    assert year.draw(second, 10, second.start).rollover == (10,)
    taken = year.draw(first, 50, second.start + HOUR - MOMENT)
    assert (taken.included, year.sizes(second)) == (50, (50,))
    taken = year.draw(first, 45, second.start + HOUR - MOMENT)
    assert (taken.included, taken.overage, year.sizes(second)) == (40, 5, (10,))  # never below what is used
    year = Months(*[said(100, (60, 1), up_to=None)] * 2)
    taken = year.draw(first, 50, second.start + HOUR)
    assert (taken.included, taken.overage, year.sizes(second)) == (40, 10, (60,))


def test_what_comes_back_goes_on_before_the_seal_and_expires_after_it():
    for back_at, got in ((HOUR - MOMENT, (60,)), (HOUR, (10,))):
        year = Months(*[said(100, (60, 1))] * 2)
        first, second = year.spans
        own = year.draw(first, 90, begun(first))
        year.give_back(first, own, second.start + back_at)
        assert year.sizes(second) == got


def test_what_expired_of_an_older_generation_is_there_for_late_events():
    year = Months(*[said(100, (200, 1))] * 3)
    _, second, third = year.spans
    assert year.sizes(second) == year.sizes(third) == (100,)
    assert year.draw(second, 70, third.start + HOUR).rollover == (70,)
    assert year.sizes(third) == (100,)


def test_what_comes_back_to_a_generation_after_the_seal_goes_no_further():
    for back_at, got in ((HOUR - MOMENT, (100, 100)), (HOUR, (100, 40))):
        year = Months(*[said(100, (300, 2))] * 3)
        _, second, third = year.spans
        own = year.draw(second, 60, begun(second))
        assert (own.rollover, year.sizes(third)) == ((60,), (100, 40))
        year.give_back(second, own, third.start + back_at)
        assert year.sizes(third) == got


def test_overage_that_an_upgrade_makes_part_of_the_included_quantity_is_not_left_over():
    year = Months(*[said(1_000, (500, 1), up_to=None)] * 2)
    first, second = year.spans
    taken = year.draw(first, 700, begun(first), said(100, None, up_to=None))
    assert (taken.included, taken.overage) == (100, 600)
    assert year.sizes(second) == (300,)


# --- the books, whatever comes late -----------------------------------------------------------------


def close(year, span, present):
    """The books of a month that ended: nothing below zero, and all that was included is in one place."""
    carried = year.sizes(present)
    read = year.counters
    handed = max(carried[0], read[present, "v1"]) if carried else 0
    included = year.terms[span].included
    drawn = read[span, "i"] + read[span, "o"]
    assert read[span, "i"] + handed <= included
    used = min(drawn, included - handed)
    assert included == used + handed + (included - used - handed)
    for number, size in enumerate(year.sizes(span), start=1):
        assert 0 <= read[span, f"v{number}"] <= size
        on = carried[number] if number < len(carried) else 0
        assert read[span, f"v{number}"] + max(on, 0) <= size


@settings(max_examples=300, deadline=None)
@given(years, st.data())
def test_nothing_is_lost_or_invented_whatever_comes_late(several, data):
    year = Months(*several)
    for number, span in enumerate(year.spans):
        previous = year.spans[number - 1] if number else None
        for after_start in sorted(
            data.draw(st.lists(st.sampled_from([HOUR / 2, HOUR, 40 * HOUR]), max_size=4))
        ):
            now = span.start + after_start
            where = previous if previous and data.draw(st.booleans()) else span
            fixed = previous is not None and rollover.lateness(previous, now) == 2
            before, quantity = year.sizes(span), data.draw(small)
            used_before = [year.counters[span, f"v{k}"] for k in range(1, len(before) + 1)]
            year.draw(where, quantity, now)
            after = year.sizes(span)
            assert sum(after) <= (year.links(span)[0].max if after else 0)
            assert all(size >= used for size, used in zip(after, used_before, strict=True))
            if fixed or where is span:
                assert after == before
            if previous:
                close(year, previous, span)
    spent = sum(
        amount for (_, field), amount in year.counters.items() if field == "i" or field in ("v1", "v2", "v3")
    )
    assert spent <= sum(one.included for one in several)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.builds(said, small, st.tuples(small, st.just(1)), up_to=st.none()), min_size=3, max_size=5),
    st.data(),
)
def test_nothing_is_invented_where_units_come_back(several, data):
    year, own = Months(*several), []
    for number, span in enumerate(year.spans):
        previous = year.spans[number - 1] if number else None
        for after_start in sorted(
            data.draw(st.lists(st.sampled_from([HOUR / 2, HOUR, 40 * HOUR]), max_size=6))
        ):
            now = span.start + after_start
            mine = [one for one in own if one[0] in (previous, span)]
            fixed, before = previous is not None and rollover.lateness(previous, now) == 2, year.sizes(span)
            if mine and data.draw(st.booleans()):
                own.remove(one := data.draw(st.sampled_from(mine)))
                year.give_back(*one, now)
            else:
                where = previous if previous and data.draw(st.booleans()) else span
                own.append((where, year.draw(where, data.draw(small), now)))
            if fixed:
                assert year.sizes(span) == before
            if previous:
                close(year, previous, span)
