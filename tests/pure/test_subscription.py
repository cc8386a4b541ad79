"""Phases stay in order and without gaps, the past is never rewritten, each act is allowed or told why not."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import limits, subscription
from policies.errors import ConflictError, InvalidError
from policies.model import PlanVersion
from policies.subscription import Phase, Subscription

T0 = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def plan(plan_id="pro", *, trial_days=None, interval="month"):
    return PlanVersion(
        version=f"{plan_id}@00000001", plan_id=plan_id, name=plan_id, currency="usd", price="1.00",
        interval=interval, source=f"plans/{plan_id}.yaml:1", features={}, terms={}, trial_days=trial_days,
    )  # fmt: skip


def started(plan_id="pro", *, start_at=T0, now=T0, **options) -> Subscription:
    return subscription.start("sub_1", plan(plan_id), start_at=start_at, now=now, **options)


def to(held: Subscription, plan_id: str, at: datetime, now: datetime | None = None, *, addons=()):
    return subscription.change(
        held, plan_id, f"{plan_id}@00000001", addons=addons, at_effective=at, now=now or at
    )


def plans_of(held: Subscription) -> list[str]:
    return [phase.plan_id for phase in held.phases]


# --- random lives --------------------------------------------------------------------------------

acts = st.tuples(
    st.sampled_from(["change-now", "change-renewal", "cancel-now", "cancel-end", "resume"]),
    st.sampled_from(["free", "pro", "team"]),
    st.timedeltas(timedelta(0), timedelta(days=45)) | st.just(timedelta(0)),
)


def perform(held, act, plan_id, now):
    renewal = subscription.renewal(held, "month", now)
    match act:
        case "change-now":
            return to(held, plan_id, now)
        case "change-renewal":
            return to(held, plan_id, renewal, now)
        case "cancel-now":
            return subscription.cancel(held, at_effective=now, now=now)
        case "cancel-end":
            return subscription.cancel(held, at_effective=renewal, now=now)
        case _:
            return subscription.resume(held, now=now)


def history(held, until):
    """What held before an instant: plan version by span, adjoining spans of one version joined."""
    spans = []
    for phase in held.phases:
        end = until if phase.end is None else min(phase.end, until)
        if end <= phase.start:
            continue
        if spans and spans[-1][0] == phase.plan_version and spans[-1][2] == phase.start:
            spans[-1] = (phase.plan_version, spans[-1][1], end)
        else:
            spans.append((phase.plan_version, phase.start, end))
    return spans


def assert_well_formed(held):
    for phase in held.phases:
        assert phase.end is None or phase.start < phase.end
    for one, next_one in pairwise(held.phases):
        assert one.end == next_one.start
        assert (one.plan_id, one.plan_version) != (next_one.plan_id, next_one.plan_version)


@given(st.integers(-30, 30), st.lists(acts, max_size=12))
def test_any_life_keeps_phases_in_order_and_the_past_as_it_was(start_in_days, life):
    now = T0
    held = started(start_at=T0 + start_in_days * DAY)
    for act, plan_id, wait in life:
        now += wait
        before = held
        try:
            held = perform(held, act, plan_id, now)
        except ConflictError:
            continue
        assert_well_formed(held)
        assert history(held, now) == history(before, now)
        assert (held.anchored_at, held.id, held.created_at) == (
            before.anchored_at,
            before.id,
            before.created_at,
        )


@given(st.lists(acts, max_size=12))
def test_what_an_act_says_is_what_holds_from_its_instant_on(life):
    now, held = T0, started()
    for act, plan_id, wait in life:
        now += wait
        renewal = subscription.renewal(held, "month", now)
        try:
            held = perform(held, act, plan_id, now)
        except ConflictError:
            continue
        if act == "change-now":
            assert subscription.phase_at(held, now).plan_id == plan_id
            assert subscription.scheduled(held, now) is None
        elif act == "change-renewal":
            assert subscription.phase_at(held, renewal).plan_id == plan_id
        elif act == "cancel-now":
            assert subscription.state_at(held, now) == "ended"
        elif act == "cancel-end":
            assert subscription.state_at(held, renewal) == "ended"
        else:
            assert subscription.ends_at(held) is None


@given(st.lists(acts, max_size=8), st.timedeltas(timedelta(days=-60), timedelta(days=800)))
def test_state_phase_and_next_edge_agree_at_every_instant(life, offset):
    now, held = T0, started(trial=False)
    for act, plan_id, wait in life:
        now += wait
        try:
            held = perform(held, act, plan_id, now)
        except ConflictError:
            continue
    at = T0 + offset
    phase = subscription.phase_at(held, at)
    assert (phase is not None) == (subscription.state_at(held, at) == "active")
    edge = subscription.next_edge(held, at)
    if edge is not None:
        assert edge > at
        assert subscription.phase_at(held, edge - timedelta(microseconds=1)) == phase
    else:
        assert subscription.phase_at(held, at + 10_000 * DAY) == phase


# --- the table -----------------------------------------------------------------------------------


def test_every_standing_and_act_has_an_entry():
    standings, allowed = get_args(subscription._Standing), get_args(subscription.Act)
    assert set(subscription.TRANSITIONS) == set(product(standings, allowed))


@pytest.mark.parametrize(("standing", "act"), subscription.TRANSITIONS)
def test_each_entry_of_the_table_is_what_happens(standing, act):
    now = T0 + DAY
    held = {
        "pending": started(start_at=T0 + 2 * DAY),
        "active": started(),
        "ending": subscription.cancel(started(), at_effective=T0 + 20 * DAY, now=now),
        "ended": subscription.cancel(started(), at_effective=now, now=now),
    }[standing]
    run = {
        "change": lambda: to(held, "team", now),
        "cancel": lambda: subscription.cancel(held, at_effective=now, now=now),
        "resume": lambda: subscription.resume(held, now=now),
        "bill": lambda: subscription.bill(held, "paused", reason="asked to", now=now),
    }[act]
    refusal = subscription.TRANSITIONS[standing, act]
    if refusal is None:
        assert run() != held
    else:
        with pytest.raises(ConflictError) as caught:
            run()
        assert caught.value.detail == refusal


# --- starting ------------------------------------------------------------------------------------


def test_a_subscription_is_anchored_at_its_start_unless_told_otherwise():
    assert started().anchored_at == T0
    assert started(anchor=T0 - 3 * DAY).anchored_at == T0 - 3 * DAY


def test_a_scheduled_start_is_pending_until_its_instant():
    held = started(start_at=T0 + DAY)
    assert subscription.state_at(held, T0) == "pending"
    assert subscription.phase_at(held, T0) is None
    assert subscription.scheduled(held, T0) == held.phases[0]
    assert subscription.next_edge(held, T0) == T0 + DAY
    assert subscription.state_at(held, T0 + DAY) == "active"


def test_a_start_out_of_bounds_names_its_field():
    for offset, bound in ((-1, limits.BACKDATE_DAYS), (1, limits.START_AHEAD_DAYS)):
        assert started(start_at=T0 + offset * bound * DAY).phases
        with pytest.raises(InvalidError) as caught:
            started(start_at=T0 + offset * (bound * DAY + timedelta(seconds=1)))
        assert caught.value.errors[0].pointer == "/startAt"


@pytest.mark.parametrize("anchor", [datetime(1989, 12, 31, tzinfo=UTC), T0 + 401 * DAY])
def test_an_anchor_out_of_bounds_names_its_field(anchor):
    with pytest.raises(InvalidError) as caught:
        started(anchor=anchor)
    assert caught.value.errors[0].pointer == "/anchor"


def test_a_trial_runs_from_the_start_for_the_days_of_the_plan():
    held = subscription.start("sub_1", plan(trial_days=14), start_at=T0 + DAY, now=T0, trial=True)
    assert held.trial_ends_at == T0 + 15 * DAY
    assert not subscription.in_trial(held, T0)
    assert subscription.in_trial(held, T0 + DAY)
    assert not subscription.in_trial(held, T0 + 15 * DAY)
    assert subscription.next_edge(held, T0 + DAY) == T0 + 15 * DAY
    assert subscription.start("sub_1", plan(trial_days=14), start_at=T0, now=T0).trial_ends_at is None


def test_a_trial_that_the_plan_does_not_have_is_refused():
    with pytest.raises(InvalidError) as caught:
        started(trial=True)
    assert caught.value.errors[0].pointer == "/trial"


# --- changing ------------------------------------------------------------------------------------


def test_a_change_now_keeps_anchor_and_period():
    now = T0 + 10 * DAY
    held = to(started(), "team", now)
    assert plans_of(held) == ["pro", "team"]
    assert held.anchored_at == T0
    assert subscription.renewal(held, "month", now) == datetime(2026, 2, 28, 9, 30, tzinfo=UTC)


def test_a_change_at_renewal_takes_effect_by_itself_and_replaces_an_earlier_one():
    now = T0 + 10 * DAY
    renewal = subscription.renewal(started(), "month", now)
    held = to(to(started(), "team", renewal, now), "free", renewal, now + DAY)
    assert plans_of(held) == ["pro", "free"]
    assert subscription.phase_at(held, renewal - timedelta(microseconds=1)).plan_id == "pro"
    assert subscription.phase_at(held, renewal).plan_id == "free"


@pytest.mark.parametrize("when", ["now", "renewal"])
def test_changing_back_to_what_runs_takes_a_scheduled_change_back(when):
    now = T0 + 10 * DAY
    renewal = subscription.renewal(started(), "month", now)
    held = to(to(started(), "team", renewal, now), "pro", now if when == "now" else renewal, now)
    assert held == started()


def test_a_change_now_drops_the_scheduled_one():
    now = T0 + 10 * DAY
    renewal = subscription.renewal(started(), "month", now)
    held = to(to(started(), "team", renewal, now), "free", now)
    assert plans_of(held) == ["pro", "free"]
    assert subscription.next_edge(held, now) is None


def test_a_pending_subscription_changes_its_first_phase():
    held = to(started(start_at=T0 + DAY), "team", T0)
    assert held.phases == (Phase(plan_id="team", plan_version="team@00000001", start=T0 + DAY),)


def test_a_renewal_of_a_pending_subscription_is_the_end_of_its_first_period():
    held = started(start_at=T0 + DAY, anchor=T0)
    assert subscription.renewal(held, "month", T0 - 50 * DAY) == datetime(2026, 2, 28, 9, 30, tzinfo=UTC)


def test_a_change_keeps_the_scheduled_end_and_cannot_lie_past_it():
    now = T0 + 10 * DAY
    end = subscription.renewal(started(), "month", now)
    ending = subscription.cancel(started(), at_effective=end, now=now)
    changed = to(ending, "team", now + DAY)
    assert subscription.ends_at(changed) == end
    with pytest.raises(ConflictError, match="resume it first"):
        to(ending, "team", end, now)


# --- ending --------------------------------------------------------------------------------------


def test_an_end_at_the_period_is_kept_until_then_and_can_be_taken_back():
    now = T0 + 10 * DAY
    end = subscription.renewal(started(), "month", now)
    ending = subscription.cancel(started(), at_effective=end, now=now)
    assert subscription.state_at(ending, end - timedelta(microseconds=1)) == "active"
    assert subscription.state_at(ending, end) == "ended"
    assert subscription.resume(ending, now=now) == started()


def test_an_end_drops_the_change_that_was_scheduled_for_it():
    now = T0 + 10 * DAY
    end = subscription.renewal(started(), "month", now)
    ending = subscription.cancel(to(started(), "team", end, now), at_effective=end, now=now)
    assert plans_of(ending) == ["pro"]
    assert subscription.resume(ending, now=now) == started()


def test_a_later_cancel_does_not_prolong():
    now = T0 + DAY
    ending = subscription.cancel(started(), at_effective=T0 + 5 * DAY, now=now)
    assert subscription.cancel(ending, at_effective=T0 + 9 * DAY, now=now) == ending
    assert subscription.ends_at(subscription.cancel(ending, at_effective=now, now=now)) == now


def test_a_pending_subscription_that_is_cancelled_never_begins():
    gone = subscription.cancel(started(start_at=T0 + DAY), at_effective=T0, now=T0)
    assert gone.phases == ()
    assert subscription.state_at(gone, T0) == "ended"
    assert subscription.state_at(gone, T0 + 2 * DAY) == "ended"
    assert subscription.next_edge(gone, T0) is None
