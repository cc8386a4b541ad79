"""Every class of drift is found and named, nothing else is, and what a machine may do is little."""

from datetime import timedelta
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.charging import seen
from policies.reconcile import classes, compare, looks, plan
from policies.reconcile.classes import ACTS, KINDS, Class
from policies.reconcile.finding import Finding
from policies.reconcile.looks import APART
from tests.pure.reconciled import (
    DAY,
    DRAFT,
    NOW,
    OLD,
    WRONG,
    _here,
    _lines,
    _more,
    _second,
    _there,
    clean,
    payment,
)

MINUTE = timedelta(minutes=1)


def found(sides) -> tuple[Finding, ...]:
    return compare.findings(*sides, NOW)


def test_there_is_an_injection_for_every_class():
    assert set(WRONG) == set(get_args(Class)) == set(KINDS)


OF_NOBODY = {"livemode_mismatch", "price_differs", "notice_gap", "endpoint_off", "endpoint_version"}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_put_wrong_is_found_and_named_and_nothing_else_is(kind):
    wrong, money = WRONG[kind]
    (one,) = found(wrong(clean()))
    assert (one.kind, one.money) == (kind, money)
    assert one.expected != one.actual
    assert one.tenant_id == "t0" or kind in OF_NOBODY
    assert one.currency == ("usd" if money else one.currency)


def test_a_clean_account_gives_no_finding():
    ours, theirs = clean(150)
    assert len(theirs.things) >= 1_000
    assert found((ours, theirs)) == ()


CONCERNED = {
    # of these the one hides the other, or is about the same side of the same thing
    "item_missing", "item_duplicate", "item_amount", "item_foreign", "invoice_missing", "operation_stuck",
    "invoice_finalized_early", "invoice_total", "invoice_paid_missed", "invoice_settled_missed",
    "status_unknown", "invoice_unpaid_there", "invoice_open_stale", "subscription_status", "status_stale",
    "status_by_hand", "subscription_zombie", "customer_missing", "customer_metadata_lost",
    "customer_duplicate", "invoice_duplicate_draft", "invoice_duplicate_unpaid", "invoice_duplicate_paid",
    "invoice_unknown", "invoice_foreign", "subscription_end", "endpoint_off", "endpoint_version",
}  # fmt: skip


@given(st.data())
def test_several_at_once_are_all_found(data):
    """One of those that concern the same thing, and any of the others."""
    apart = sorted(set(WRONG) - CONCERNED - {"livemode_mismatch"})
    kinds = [
        data.draw(st.sampled_from(sorted(CONCERNED))),
        *data.draw(st.lists(st.sampled_from(apart), unique=True)),
    ]
    sides = clean()
    for kind in kinds:
        sides = WRONG[kind][0](sides)
    assert {one.kind for one in found(sides)} == set(kinds)


@given(st.sampled_from(sorted(WRONG)), st.randoms(use_true_random=False))
def test_the_order_of_both_sides_bears_on_nothing(kind, chance):
    ours, theirs = WRONG[kind][0](clean())
    things, charges = list(theirs.things.items()), list(ours.charges)
    chance.shuffle(things)
    chance.shuffle(charges)
    other = (
        msgspec.structs.replace(ours, charges=tuple(charges)),
        msgspec.structs.replace(theirs, things=dict(things)),
    )
    assert found(other) == found((ours, theirs))


def test_what_is_under_way_is_left_alone():
    young = msgspec.structs.replace(_second, created_at=NOW - timedelta(minutes=14))
    assert found(_more(young)(clean())) == ()
    assert found(_more(payment(0, ref="pi_x", invoice_ref=None, created_at=NOW - MINUTE))(clean())) == ()
    sending = _here("inv_t0_draft", sending_since=NOW - timedelta(minutes=29))
    assert found(_lines(*DRAFT[1:])(sending(clean()))) == ()
    to_come = _here("inv_t0_draft", lines={"2": 1234, "3": -400}, planned=frozenset({"1"}))
    assert found(to_come(clean())) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        _there("price_0", amount=None), _there("price_0", currency="eur"), _there("price_0", active=False),
    ],
)  # fmt: skip
def test_a_price_differs_in_amount_currency_or_whether_it_is_sold(wrong):
    assert [one.kind for one in found(wrong(clean()))] == ["price_differs"]


def test_money_that_came_for_a_part_of_an_open_invoice_is_told():
    (one,) = found(_there("in_t0_open", amount_paid=700)(clean()))
    assert (one.kind, one.expected, one.actual, one.money) == ("paid_amount", "0", "700", 700)


def test_what_was_not_listed_is_not_said_to_be_missing():
    """An hourly look lists nothing; one without a secret is to be told nothing."""
    ours, theirs = _there("we_0", enabled=False)(clean())
    for quiet in (
        msgspec.structs.replace(theirs, **change) for change in ({"listed": frozenset()}, {"tells": False})
    ):
        assert found((ours, quiet)) == ()


def test_an_endpoint_in_an_old_version_does_no_harm_beside_one_in_the_pinned():
    second = seen.Endpoint(ref="we_2", ours=True, enabled=True, version="2025-03-31.basil")
    assert found(_more(second)(clean())) == ()


def test_a_line_of_somebody_elses_customer_is_not_ours_to_tell():
    strange = seen.Item(ref="ii_x", customer_ref="cus_x", amount=5, currency="usd", created_at=OLD)
    assert found(_more(strange)(clean())) == ()
    ours = msgspec.structs.replace(strange, line_id="1")
    assert [one.kind for one in found(_more(ours)(clean()))] == ["item_pending"]


def test_a_thing_of_the_wrong_mode_makes_the_rest_unbelievable():
    sides = WRONG["livemode_mismatch"][0](WRONG["item_missing"][0](clean()))
    assert {one.kind for one in found(sides)} == {"livemode_mismatch"}


def test_what_a_machine_may_do_moves_no_money():
    """Law 13: it looks again, goes on, deletes a draft, voids our unpaid duplicate, lays a status anew."""
    assert ACTS == ("look", "resume", "discard", "void", "lay")
    for kind, row in KINDS.items():
        assert (row.act is None) == (not row.why_safe), kind
        assert row.act is None or row.act in ACTS
    assert {kind for kind, row in KINDS.items() if row.act == "void"} == {"invoice_duplicate_unpaid"}
    assert {kind for kind, row in KINDS.items() if row.act == "discard"} == {"invoice_duplicate_draft"}


ONE = Finding(kind="invoice_paid_missed", tenant_id="t0", subject="in_1", expected="paid", actual="open",
              money=100, currency="usd")  # fmt: skip


def kept(*found, before=(), at=NOW, covered=frozenset(KINDS)):
    known = {one.finding.finding_id: one for one in before}
    return looks.looked(known, found, at, covered=covered)


def test_only_what_two_looks_a_minute_apart_have_found_alike_is_open():
    first = kept(ONE)
    assert [one.state for one in first] == ["suspected"]
    assert [one.state for one in kept(ONE, before=first, at=NOW + APART / 2)] == ["suspected"]
    second = kept(ONE, before=first, at=NOW + APART)
    assert [(one.state, one.looks, one.first_seen_at) for one in second] == [("open", 2, NOW)]
    other = msgspec.structs.replace(ONE, actual="void")
    assert [one.state for one in kept(other, before=first, at=NOW + APART)] == ["suspected"]


def test_what_a_whole_look_does_not_find_is_gone_and_what_it_could_not_read_stays():
    open_ = kept(ONE, before=kept(ONE), at=NOW + APART)
    assert [one.state for one in kept(before=open_, at=NOW + DAY)] == ["gone"]
    lists = classes.covered(listed=True, unread=False, believed=True)
    charges = classes.covered(listed=False, unread=False, believed=True)
    assert "payment_orphan" in lists - charges
    assert [one.state for one in kept(before=open_, at=NOW + DAY, covered=charges)] == ["gone"]
    for unread, believed in ((True, True), (False, False)):
        nothing = classes.covered(listed=True, unread=unread, believed=believed)
        assert kept(before=open_, at=NOW + DAY, covered=nothing) == ()
    gone = kept(before=open_, at=NOW + DAY)
    assert [one.state for one in kept(ONE, before=gone, at=NOW + 2 * DAY)] == ["suspected"]


def planned(found, looked_at=1_000, unread=()):
    twice = kept(*found, before=kept(*found), at=NOW + APART)
    return plan.made("pln_1", twice, scope="full", looked_at=looked_at, unread=unread, now=NOW + APART)


def test_a_plan_says_what_is_to_be_done_why_that_is_safe_and_what_is_at_risk():
    ask = Finding(
        kind="paid_amount", tenant_id="t1", subject="in_2", expected="9", actual="8", money=1, currency="jpy"
    )
    made = planned([ONE, ask])
    assert [(one.finding.kind, one.act, bool(one.why_safe)) for one in made.proposals] == [
        ("invoice_paid_missed", "look", True), ("paid_amount", None, False),
    ]  # fmt: skip
    assert [one.finding for one in made.actions] == [ONE]
    assert [(one.kind, one.open, one.money, one.oldest) for one in made.totals] == [
        ("invoice_paid_missed", 1, {"usd": 100}, NOW), ("paid_amount", 1, {"jpy": 1}, NOW),
    ]  # fmt: skip
    assert (made.at_risk, made.oldest) == ({"jpy": 1, "usd": 100}, NOW)
    first = plan.made("pln_1", kept(ONE), scope="full", looked_at=1, unread=(), now=NOW)
    assert (first.at_risk, first.oldest) == ({"usd": 100}, None), "what one look has found is not open"
    assert not made.is_clean
    assert planned([]).is_clean
    assert not planned([], unread=("disputes: timed out",)).is_clean


def many(count: int) -> list[Finding]:
    return [msgspec.structs.replace(ONE, subject=f"in_{number}") for number in range(count)]


@given(st.integers(0, 40), st.integers(0, 3_000))
def test_the_breaker_stops_everything_where_a_class_has_too_many(count, looked_at):
    made = planned(many(count), looked_at)
    trips = count > max(5, looked_at // 100)
    assert bool(made.broken) == trips
    assert len(made.actions) == (0 if trips else count)


def test_one_thing_of_the_wrong_mode_breaks_it():
    wrong = Finding(kind="livemode_mismatch", subject="in_1", expected="test", actual="live")
    made = planned([wrong, ONE])
    assert (made.broken, made.actions) == (("livemode_mismatch",), ())


def test_a_plan_is_read_back_as_it_was_written():
    made = planned([ONE, *many(3)])
    assert msgspec.json.decode(msgspec.json.encode(made), type=plan.Plan) == made
    assert OLD < NOW
