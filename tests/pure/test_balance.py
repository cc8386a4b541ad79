"""The books of a period close, and a report is spread over the buckets by one rule."""

from itertools import accumulate

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from policies import balance
from policies.balance import Capacity, Draw, Levels, Room
from tests.pure import plans

small = st.integers(0, 40)
units = st.integers(0, 9 * 10**15)
some = small | units


def alone(included: int | None, up_to: int | None) -> Capacity:
    """What a plan gives without any grant."""
    return Capacity(finite=(Room("included", included),), up_to=up_to)


capacities = st.builds(alone, st.none() | some, st.none() | some)
levels = st.builds(
    lambda i, o, x: Levels(included=i, overage=o, excess=x), some, st.just(0) | some, st.just(0) | some
)
metered = st.builds(
    lambda included, overage, up_to: plans.metered(
        included,
        overage=overage and included is not None,
        up_to=up_to if overage and included is not None else None,
    ),
    st.none() | some,
    st.booleans(),
    st.none() | some,
)

finite = st.builds(
    lambda included, overage, up_to: plans.metered(
        included, overage=overage, up_to=up_to if overage else None
    ),
    some,
    st.booleans(),
    st.none() | some,
)


def after(held, drawn):
    return Levels(
        included=held.included + drawn.included,
        overage=held.overage + drawn.overage,
        excess=held.excess + drawn.excess,
        reserved=held.reserved,
    )


def reported(room, held, quantities):
    """The levels after each report."""
    return list(accumulate(quantities, lambda at, q: after(at, balance.draw(room, at, q)), initial=held))


# --- draws ---------------------------------------------------------------------------------------


@given(capacities, levels, some)
def test_a_draw_is_never_negative_and_adds_up_to_what_was_reported(room, held, quantity):
    drawn = balance.draw(room, held, quantity)
    assert min(drawn.included, drawn.overage, drawn.excess) >= 0
    assert drawn.included + drawn.overage + drawn.excess == quantity


@given(capacities, levels, st.lists(some, max_size=6), st.randoms(use_true_random=False))
def test_within_one_capacity_the_totals_do_not_depend_on_the_order_of_reports(room, held, quantities, rnd):
    shuffled = rnd.sample(quantities, len(quantities))
    whole = [sum(quantities)]
    assert (
        reported(room, held, quantities)[-1]
        == reported(room, held, shuffled)[-1]
        == reported(room, held, whole)[-1]
    )


@given(capacities, levels, some)
def test_a_bucket_is_used_only_when_those_before_it_are_full(room, held, quantity):
    drawn = balance.draw(room, held, quantity)
    then = after(held, drawn)
    if drawn.overage or drawn.excess:
        assert room.finite[0].size is not None
        assert then.included + then.overage >= room.finite[0].size
    if drawn.excess:
        assert room.up_to is not None
        assert then.included + then.overage >= max(room.finite[0].size, then.included) + room.up_to


@given(metered, levels, some, st.booleans())
def test_what_cedar_would_allow_is_never_excess(terms, held, quantity, trial):
    """One limit in both worlds: a draw that ends within it leaves nothing over."""
    account = balance.of(terms, held, overage=not trial)
    drawn = balance.draw(balance.capacity(terms, overage=not trial), held, quantity)
    fits = account.limit is None or account.drawn + quantity <= account.limit
    assert (drawn.excess == 0) == (fits or quantity == 0)


@pytest.mark.parametrize(
    ("room", "held", "quantity", "expected"),
    [
        ((100, 0), (0, 0, 0), 100, (100, 0, 0)),
        ((100, 0), (0, 0, 0), 101, (100, 0, 1)),
        ((100, 50), (90, 0, 0), 70, (10, 50, 10)),
        ((100, None), (90, 0, 0), 1_000, (10, 990, 0)),
        ((None, 0), (10**9, 0, 0), 5, (5, 0, 0)),
        ((0, 0), (0, 0, 0), 5, (0, 0, 5)),
        # Grew from 100 to 200: the overage of before takes its part of the new quantity.
        ((200, 50), (100, 30, 0), 100, (70, 30, 0)),
        # Shrank from 100 to 20: what was drawn stays granted, and all of the new overage is open.
        ((20, 50), (80, 0, 0), 60, (0, 50, 10)),
        ((20, 0), (80, 30, 0), 1, (0, 0, 1)),
    ],
)
def test_draws_by_example(room, held, quantity, expected):
    included, up_to = room
    at = Levels(included=held[0], overage=held[1], excess=held[2])
    drawn = balance.draw(alone(included, up_to), at, quantity)
    assert (drawn.included, drawn.overage, drawn.excess) == expected


def test_nothing_reported_draws_nothing():
    nothing = Draw(included=0, overage=0, excess=0)
    assert balance.draw(alone(5, 0), Levels(included=9), 0) == nothing


# --- units that come back -------------------------------------------------------------------------

ROOMS = (Room("grant", 30), Room("included", 20), Room("grant", 10))


def over(held: Levels, drawn: Draw) -> Levels:
    return msgspec.structs.replace(
        after(held, drawn), grants=tuple(map(sum, zip(held.grants, drawn.grants, strict=True)))
    )


@given(
    st.none() | small,
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_what_all_events_give_back_is_all_that_was_drawn_in_whatever_order(up_to, quantities, rnd):
    """Others' returns may have cancelled an event's overage: its units are found all the same."""
    capacity = Capacity(finite=ROOMS, up_to=up_to)
    held, events = Levels(grants=(0, 0)), []
    for quantity in quantities:
        events.append(balance.draw(capacity, held, quantity))
        held = over(held, events[-1])
    rnd.shuffle(events)
    for own in events:
        quantity = own.included + own.overage + own.excess + sum(own.grants)
        back = balance.give_back(capacity, held, own, quantity)
        then = over(held, back)
        assert total(held) - total(then) == quantity
        assert min(then.included, then.overage, then.excess, *then.grants) >= 0
        if then.excess:
            assert (then.overage, then.included, then.grants) == (held.overage, held.included, held.grants)
        if then.overage:
            assert (then.included, then.grants) == (held.included, held.grants)
        held = then
    assert total(held) == 0


def total(levels: Levels) -> int:
    return levels.included + levels.overage + levels.excess + sum(levels.grants)


@pytest.mark.parametrize(
    ("held", "own", "quantity", "expected"),
    [
        pytest.param((20, 5, 2, (30, 10)), (0, 0, 0, (3, 0)), 3, (0, -1, -2, (0, 0)), id="excess first"),
        pytest.param((20, 0, 0, (30, 4)), (5, 0, 0, (0, 4)), 6, (-2, 0, 0, (0, -4)), id="own"),
        pytest.param((20, 0, 0, (30, 4)), (0, 9, 0, (0, 0)), 9, (-5, 0, 0, (0, -4)), id="cancelled"),
        pytest.param((1, 0, 0, (0, 0)), (2, 0, 0, (0, 0)), 2, (-1, 0, 0, (0, 0)), id="no more"),
    ],
)
def test_units_come_back_in_this_order(held, own, quantity, expected):
    included, overage, excess, grants = held
    levels = Levels(included=included, overage=overage, excess=excess, grants=grants)
    drew = Draw(included=own[0], overage=own[1], excess=own[2], grants=own[3])
    back = balance.give_back(Capacity(finite=ROOMS, up_to=None), levels, drew, quantity)
    assert (back.included, back.overage, back.excess, back.grants) == expected


# --- capacity ------------------------------------------------------------------------------------


def test_a_trial_has_no_overage_so_what_goes_past_the_included_is_excess():
    terms = plans.metered(100, up_to=50)
    assert balance.capacity(terms, overage=True) == alone(100, 50)
    assert balance.capacity(terms, overage=False) == alone(100, 0)


def test_without_overage_nothing_may_go_past_and_without_its_end_anything():
    assert balance.capacity(plans.metered(100), overage=True).up_to == 0
    assert balance.capacity(plans.metered(100, overage=True), overage=True).up_to is None
    assert balance.capacity(plans.metered(None), overage=True).finite == (Room("included", None),)


def test_a_plan_without_the_feature_has_room_for_nothing():
    assert balance.capacity(None, overage=True) == alone(0, 0)


# --- the account ---------------------------------------------------------------------------------


@given(metered, levels, st.booleans())
def test_the_books_close(terms, held, trial):
    account = balance.of(terms, held, overage=not trial)
    assert account.drawn == held.included + held.overage
    if account.granted is None:
        assert (account.remaining, account.limit, account.overage) == (None, None, 0)
        return
    used = account.drawn - account.overage
    assert account.granted == used + account.remaining
    assert min(account.remaining, account.overage, used) >= 0
    assert account.granted == max(terms.included, held.included)
    assert account.unlimited == (account.limit is None)
    assert account.unlimited or account.limit >= account.granted


@given(finite, levels, some, st.booleans())
def test_the_books_close_with_reservations_too(terms, held, wished, trial):
    reserved = wished % (held.included + held.overage + 1)
    holding = Levels(included=held.included, overage=held.overage, reserved=reserved)
    then = balance.of(terms, holding, overage=not trial)
    assert then.granted + then.overage == then.drawn + then.reserved + then.remaining


@given(metered, levels, st.lists(some, max_size=6))
def test_the_books_stay_closed_report_after_report(terms, held, quantities):
    room = balance.capacity(terms, overage=True)
    for at in reported(room, held, quantities):
        account = balance.of(terms, at, overage=True)
        assert (
            account.granted is None or account.granted == account.drawn - account.overage + account.remaining
        )


@given(metered, levels)
def test_a_right_that_shrank_keeps_what_was_drawn_and_gives_only_the_rest(now, held):
    """R15, whatever the plan of before was: the levels are all that it left behind."""
    assume(now.included is not None)
    account = balance.of(now, held, overage=True)
    assert account.granted == max(now.included, held.included)
    assert account.remaining == max(0, now.included - account.drawn)


def test_excess_is_no_usage():
    account = balance.of(plans.metered(10), Levels(included=10, excess=90), overage=True)
    assert (account.drawn, account.remaining, account.overage, account.limit) == (10, 0, 0, 10)
