"""What payments say of a subscription: facts in time that run their course by themselves."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import subscription
from policies.subscription import BillingFact, Subscription
from tests.pure import plans

T0 = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def plan(grace=7, restricted=14):
    return msgspec.structs.replace(plans.pro(), grace_days=grace, restricted_days=restricted)


def started() -> Subscription:
    return subscription.start("sub_1", plan(), start_at=T0, now=T0)


def billed(held, status, now=T0, reason="said so", **rest):
    return subscription.bill(held, status, reason=reason, now=now, **rest)


def course(held):
    return [(fact.status, (fact.since - T0) / DAY) for fact in held.billing]


def test_a_subscription_is_good_until_somebody_says_otherwise():
    held = started()
    assert subscription.billing_fact_at(held, T0 + 99 * DAY) is None
    assert subscription.billing_status_at(held, T0) == "good"
    late = billed(held, "paused", T0 + DAY)
    assert subscription.billing_status_at(late, T0 + DAY - timedelta(microseconds=1)) == "good"
    assert subscription.billing_fact_at(late, T0 + DAY) == BillingFact(
        status="paused", since=T0 + DAY, reason="said so"
    )


def test_grace_runs_into_restriction_and_suspension_by_the_days_of_the_plan():
    held = billed(started(), "grace", plan=plan())
    assert course(held) == [("grace", 0), ("restricted", 7), ("suspended", 21)]
    assert [fact.reason for fact in held.billing] == [
        "said so", "7 days of grace over", "14 days of restricted use over",
    ]  # fmt: skip
    assert subscription.next_edge(held, T0) == T0 + 7 * DAY
    assert subscription.next_edge(held, T0 + 7 * DAY) == T0 + 21 * DAY
    assert course(billed(started(), "restricted", plan=plan())) == [("restricted", 0), ("suspended", 14)]


@pytest.mark.parametrize("status", ["good", "suspended", "paused", "ended", "pending"])
def test_the_other_statuses_go_nowhere_by_themselves(status):
    held = billed(started(), status, plan=plan())
    assert course(held) == ([] if status == "good" else [(status, 0)])


def test_without_a_schedule_a_status_stays():
    assert course(billed(started(), "grace")) == [("grace", 0)]


def test_good_clears_what_was_scheduled_and_keeps_what_was():
    held = billed(billed(started(), "grace", plan=plan()), "good", T0 + 8 * DAY)
    assert course(held) == [("grace", 0), ("restricted", 7), ("good", 8)]


def test_saying_the_same_again_gives_no_second_grace():
    once = billed(started(), "grace", plan=plan())
    again = billed(once, "grace", T0 + 3 * DAY, reason="failed again", plan=plan())
    assert again == once
    assert course(billed(once, "grace", T0 + 3 * DAY)) == [("grace", 0)], "only the schedule is dropped"
    assert billed(started(), "good", T0 + DAY) == started()


@pytest.mark.parametrize("day", [8, 20, 25])
def test_saying_it_again_after_the_days_of_grace_gives_no_second_grace_either(day):
    """A payment provider tries again for weeks, and says of each attempt that it failed."""
    once = billed(started(), "grace", plan=plan())
    assert billed(once, "grace", T0 + day * DAY, reason="failed again", plan=plan()) == once


def test_who_paid_in_between_has_days_of_grace_again_and_so_has_who_is_given_them_by_hand():
    once = billed(started(), "grace", plan=plan())
    paid = billed(once, "good", T0 + 8 * DAY)
    assert course(billed(paid, "grace", T0 + 9 * DAY, plan=plan()))[3:] == [
        ("grace", 9), ("restricted", 16), ("suspended", 30)
    ]  # fmt: skip
    assert course(billed(once, "grace", T0 + 8 * DAY))[2:] == [("grace", 8)]
    longer = billed(once, "grace", T0 + 8 * DAY, plan=plan(10, 14))
    assert course(longer)[2:] == [("grace", 8), ("restricted", 10), ("suspended", 24)]


def test_grace_after_grace_has_passed_is_restriction_again():
    """The days are counted from the beginning; shorter ones may be over at once."""
    once = billed(started(), "grace")
    held = billed(once, "grace", T0 + 10 * DAY, plan=plan())
    assert course(held) == [("grace", 0), ("restricted", 10), ("suspended", 21)]
    assert course(billed(once, "grace", T0 + 30 * DAY, plan=plan())) == [("grace", 0), ("suspended", 30)]


@pytest.mark.parametrize(
    ("grace", "restricted", "wanted"),
    [
        (0, 14, [("restricted", 0), ("suspended", 14)]),
        (7, 0, [("grace", 0), ("suspended", 7)]),
        (0, 0, [("suspended", 0)]),
        (1, 1, [("grace", 0), ("restricted", 1), ("suspended", 2)]),
    ],
)
def test_a_plan_without_days_skips_the_step(grace, restricted, wanted):
    assert course(billed(started(), "grace", plan=plan(grace, restricted))) == wanted


def test_two_words_at_one_instant_leave_the_last():
    held = billed(billed(started(), "grace", plan=plan()), "paused")
    assert course(held) == [("paused", 0)]


def test_a_change_of_plan_or_an_end_leaves_billing_alone():
    held = billed(started(), "grace", plan=plan())
    moved = subscription.change(held, "team", "team@00000001", addons=(), at_effective=T0 + DAY, now=T0 + DAY)
    assert moved.billing == held.billing
    assert subscription.cancel(held, at_effective=T0 + DAY, now=T0 + DAY).billing == held.billing


words = st.tuples(
    st.sampled_from(["good", "grace", "restricted", "suspended", "paused"]),
    st.booleans(),
    st.timedeltas(timedelta(0), timedelta(days=20)) | st.just(timedelta(0)),
)


@given(st.lists(words, max_size=8), st.integers(0, 9), st.integers(0, 9))
def test_any_life_keeps_the_past_in_order_and_says_what_was_said_last(life, grace, restricted):
    now, held = T0, started()
    for status, scheduled, wait in life:
        now += wait
        before = held
        held = billed(held, status, now, plan=plan(grace, restricted) if scheduled else None)
        instants = [fact.since for fact in held.billing]
        assert instants == sorted(set(instants))
        past = [fact for fact in before.billing if fact.since < now]
        assert [fact for fact in held.billing if fact.since < now] == past
        if not scheduled:
            assert subscription.billing_status_at(held, now) == status
            assert all(fact.since <= now for fact in held.billing)
        last = subscription.billing_status_at(held, now + 99 * DAY)
        assert last == ("suspended" if scheduled and status in ("grace", "restricted") else status)
