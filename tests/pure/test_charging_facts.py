"""What a look says of payments, as billing statuses read it: every word is one that they know."""

from datetime import timedelta

import pytest

from policies.charging import facts, seen
from policies.payment import table
from tests.conftest import NOW


def payment(refunded: int) -> seen.Payment:
    return seen.Payment(
        ref="ch_1", status="succeeded", amount=500, amount_refunded=refunded, currency="usd", created_at=NOW
    )


def subscribed(status: str, reason: str = "", **more) -> seen.Subscription:
    return seen.Subscription(
        ref="sub_1", customer_ref="cus_1", status=status, status_reason=reason, created_at=NOW, **more
    )


@pytest.mark.parametrize(("refunded", "states"), [(0, []), (1, ["partial"]), (500, ["full"])])
def test_what_was_given_back(refunded, states):
    assert [one.state for one in facts.of_payment(payment(refunded), seen_at=NOW)] == states


@pytest.mark.parametrize(
    ("status", "reason", "state"),
    [
        ("active", "", "active"),
        ("paused", "pause_requested", "paused:pause_requested"),
        ("paused", "final_payment_failure", "paused:final_payment_failure"),
        ("paused", "", "paused"),
        ("past_due", "whatever", "past_due"),
    ],
)
def test_a_subscription_that_the_provider_bills(status, reason, state):
    found = facts.of_subscription(subscribed(status, reason), seen_at=NOW)
    assert found.state == state
    assert table.row(found.kind, found.state) is not None


def test_a_word_that_nobody_knows_is_kept_as_it_came():
    found = facts.of_subscription(subscribed("hibernating"), seen_at=NOW)
    assert found.state == "hibernating"
    assert table.row(found.kind, found.state) is None


def test_whoever_looks_twice_says_the_same_of_everything_but_the_look():
    later = NOW + timedelta(hours=1)
    dispute = seen.Dispute(
        ref="dp_1", status="lost", reason="fraudulent", amount=5, currency="usd", payment_ref="ch_1",
        created_at=NOW,
    )  # fmt: skip
    for told in (
        lambda at: facts.of_payment(payment(5), seen_at=at)[0],
        lambda at: facts.of_dispute(dispute, seen_at=at),
        lambda at: facts.of_subscription(subscribed("canceled", ended_at=NOW), seen_at=at),
    ):
        first, second = told(NOW), told(later)
        assert (first.since, first.state) == (second.since, second.state)
        assert table.row(first.kind, first.state) is not None


def test_an_end_that_is_coming_is_told():
    ends = NOW + timedelta(days=9)
    assert facts.of_subscription(subscribed("active", cancels_at=ends), seen_at=NOW).ends_at == ends
