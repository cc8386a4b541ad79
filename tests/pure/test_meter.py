"""A level rises and never falls within a period, and all that was drawn of it is that level (R21)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import balance, case_runner, decide, explain, limits, meter
from policies.balance import Capacity, Levels, Room
from policies.compiler import build
from policies.decide import Request
from policies.engine import Engine
from policies.explain import Sold
from policies.model import Feature
from policies.verify import verify
from service.rights import Given
from tests.pure import plans

SEATS = Feature(
    id="seats", type="metered", name="Seats", source="features.yaml:1", unit="seat", aggregation="max"
)
USERS = Feature(
    id="users",
    type="metered",
    name="Users",
    source="features.yaml:2",
    unit="user",
    aggregation="unique",
    property="user_id",
    properties=("user_id",),
)
STAMP = {"now": plans.NOW, "decision_id": "dec_1", "catalog_hash": "sha256:0"}
amounts = st.one_of(st.integers(0, 30), st.integers(0, limits.QUANTITY_MAX))
rooms = st.builds(
    lambda included, up_to: Capacity(finite=(Room("included", included),), up_to=up_to),
    st.none() | amounts,
    st.none() | amounts,
)


def level(levels: Levels) -> int:
    return levels.included + levels.overage + levels.excess


def drawn(levels: Levels, room: Capacity, quantity: int) -> Levels:
    taken = meter.draw("max", room, levels, quantity)
    return Levels(
        included=levels.included + taken.included,
        overage=levels.overage + taken.overage,
        excess=levels.excess + taken.excess,
    )


@given(st.lists(st.tuples(rooms, amounts), max_size=8))
def test_a_level_is_the_highest_quantity_whatever_the_right_was_meanwhile(history):
    levels = Levels()
    for place, (room, quantity) in enumerate(history):
        levels = drawn(levels, room, quantity)
        assert level(levels) == max(told for _, told in history[: place + 1])
        assert min(levels.included, levels.overage, levels.excess) >= 0


@given(st.lists(st.tuples(rooms, amounts), max_size=5), rooms, amounts)
def test_what_fits_is_drawn_from_rights_alone_and_what_does_not_fit_is_excess(history, room, quantity):
    before = Levels()
    for earlier, told in history:
        before = drawn(before, earlier, told)
    asked = meter.asked("max", before, quantity)
    after = drawn(before, room, quantity)
    was, now = before.included + before.overage, after.included + after.overage
    assert was <= now <= was + asked
    if now == was + asked:
        assert now == max(was, quantity)
        assert after.excess <= before.excess
    else:
        assert level(after) == max(level(before), quantity)


def test_what_was_excess_is_drawn_once_there_is_room_and_it_is_told_again():
    ten, twenty = (Capacity(finite=(Room("included", size),), up_to=0) for size in (10, 20))
    levels = drawn(Levels(), ten, 15)
    assert (levels.included, levels.excess) == (10, 5)
    assert drawn(levels, twenty, 12) == Levels(included=12, excess=3)
    assert drawn(levels, twenty, 15) == Levels(included=15)
    assert drawn(levels, twenty, 25) == Levels(included=20, excess=5)


def test_a_value_is_drawn_once_in_a_period():
    room = Capacity(finite=(Room("included", 1),), up_to=0)
    assert meter.draw("unique", room, Levels(), 1) == balance.Draw(included=1)
    assert meter.draw("unique", room, Levels(included=1), 1) == balance.Draw(excess=1)
    assert meter.draw("unique", room, Levels(included=1, seen=3), 1) == balance.Draw()


def test_each_meter_makes_its_own_of_an_event():
    assert [meter.measured(one, 7) for one in (plans.TOKENS, SEATS, USERS)] == [7, 7, 1]
    assert meter.value(USERS, {"user_id": "ada"}) == "ada"
    assert [meter.value(USERS, said) for said in (None, {}, {"user_id": ""})] == [None] * 3
    assert meter.value(SEATS, {"user_id": "ada"}) is None


def right(feature, included=10, **rest):
    return plans.right(plans.metered(included, **rest), feature)


def decided(on, quantity, levels):
    request = Request(feature_id=on.feature_id, quantity=quantity)
    return decide.decide(Engine(), on, request, levels, **STAMP)


@pytest.mark.parametrize(
    ("quantity", "levels", "allowed"),
    [
        pytest.param(10, Levels(included=7), True, id="up to the limit"),
        pytest.param(11, Levels(included=7), False, id="past it"),
        pytest.param(11, Levels(), False, id="past it at once"),
        pytest.param(5, Levels(included=10), True, id="fewer than there were"),
        pytest.param(12, Levels(included=10, excess=5), False, id="what was excess fits no better again"),
    ],
)
def test_of_a_highest_quantity_what_it_comes_to_is_decided(quantity, levels, allowed):
    decision = decided(right(SEATS), quantity, levels)
    assert (decision.allowed, decision.requested) == (allowed, quantity)
    assert decision.usage == levels.included


def test_a_refusal_says_what_it_would_come_to():
    decision = decided(right(SEATS), 12, Levels(included=7))
    assert decision.reason == "limit_reached"
    assert decision.message == "Limit reached: 12 asked, 10 seats at most; resets 2026-12-01"


def test_past_what_is_included_it_is_overage():
    on = right(SEATS, up_to=5)
    assert decided(on, 12, Levels(included=7)).reason == "in_overage"
    assert not decided(on, 16, Levels(included=10, overage=2)).allowed


def test_a_value_that_was_seen_fits_where_no_other_does():
    full = Levels(included=10)
    assert not decided(right(USERS), 1, full).allowed
    assert decided(right(USERS), 1, Levels(included=10, seen=1)).allowed


@given(st.integers(0, 20), st.integers(0, 30), st.integers(0, 30))
def test_an_allow_is_given_again_only_for_what_would_be_allowed_alike(used, first, other):
    on, engine = right(SEATS, up_to=5), Engine()
    levels = Levels(included=min(used, 10), overage=max(0, used - 10))
    asked = Request(feature_id=on.feature_id, quantity=first)
    decision = decide.decide(engine, on, asked, levels, **STAMP)
    kept = Given((), asked, levels, decision)
    asked = Request(feature_id=on.feature_id, quantity=other)
    again = kept.again(engine, on, asked, now=plans.NOW, decision_id="dec_1")
    if again is not None:
        assert again == decided(on, other, levels)


def test_a_refusal_is_flipped_by_what_cedar_confirms_and_by_no_grant():
    on, levels = right(SEATS), Levels(included=7)
    request, engine = Request(feature_id="seats", quantity=12), Engine()
    decision = decide.decide(engine, on, request, levels, **STAMP)
    whole = explain.complete(decision, engine, on, request, levels, now=plans.NOW, sold=Sold())
    assert [(one.kind, one.quantity) for one in whole.would_allow.changes] == [("quantity", 10)]


FILES = {
    "features.yaml": """
features:
  seats: {type: metered, name: Seats, unit: seat, aggregation: max}
  users: {type: metered, name: Users, unit: user, aggregation: unique, property: user_id}
ladder: [small, large]
""",
    "plans/small.yaml": """
plan: small
name: Small
currency: usd
price: "1.00"
interval: month
features:
  seats: {included: 10, interval: day}
  users: {included: 10}
""",
    "plans/large.yaml": """
plan: large
name: Large
currency: usd
price: "2.00"
interval: month
features:
  seats: {included: 10, overage: {upTo: 2, model: perUnit, unitAmount: "1.00"}}
  users: {included: 10}
""",
    "addons/more.yaml": """
addon: more
name: More
currency: usd
price: "1.00"
interval: month
for: [small]
features: {seats: {included: 5}}
""",
    "invariants.yaml": """
invariants:
  - {name: up, rule: ladder-monotone, severity: error}
""",
    "tests/small.yaml": """
cases:
  - name: as many seats as there were
    given: {plan: small, usage: {seats: 10}}
    when: {feature: seats, quantity: 10}
    expect: {allowed: true, reason: within_limit, remaining: 0}
  - name: one seat more than there are
    given: {plan: small, usage: {seats: 3}}
    when: {feature: seats, quantity: 11}
    expect: {allowed: false, reason: limit_reached, limit: 10, message: "11 asked, 10 seats at most"}
  - name: seats of an add-on
    given: {plan: small, addons: [more], usage: {seats: 3}}
    when: {feature: seats, quantity: 15}
    expect: {allowed: true, reason: within_limit, granted: 15}
  - name: seats that an override gives
    given: {plan: small, overrides: {seats: {included: 20}}}
    when: {feature: seats, quantity: 20}
    expect: {allowed: true, reason: within_limit}
  - name: overage of a level
    given: {plan: large, usage: {seats: 11}}
    when: {feature: seats, quantity: 12}
    expect: {allowed: true, reason: in_overage, limit: 12}
  - name: one user more
    given: {plan: small, usage: {users: 9}}
    when: {feature: users}
    expect: {allowed: true, reason: within_limit, remaining: 1}
  - name: two users more
    given: {plan: small, usage: {users: 9}}
    when: {feature: users, quantity: 2}
    expect: {allowed: false, reason: limit_reached}
""",
}


def proven(**texts):
    """The findings of the catalog and its tests, with other texts of some files."""
    compiled = build.compile_catalog(
        FILES | {name.replace("_", "/") + ".yaml": text for name, text in texts.items()}
    )
    assert compiled.catalog is not None, [one.render() for one in compiled.findings]
    return compiled


def test_table_tests_speak_of_levels():
    compiled = proven()
    tested = case_runner.run(compiled.catalog, compiled.cases)
    assert [result.sentence() for result in tested.failed] == []


def test_a_highest_quantity_of_a_day_is_none_the_less_of_a_month():
    """Ten a day are ten a month: an upgrade to ten a month takes nothing away, one to nine does."""
    assert verify.verify(proven().catalog) == ()
    fewer = FILES["plans/large.yaml"].replace("included: 10, overage", "included: 9, overage")
    (found,) = verify.verify(proven(plans_large=fewer).catalog)
    told = "a tenant on Small on trial that has used 9 seats may use 1 seat more"
    assert found.counterexample.startswith(told)


def test_the_property_of_a_unique_meter_may_be_carried_by_its_events():
    assert proven().catalog.features["users"].properties == ("user_id",)
