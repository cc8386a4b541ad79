"""What may become of an invoice: every state and act, and what is left to be paid."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import invoice
from policies.errors import ConflictError, InvalidError
from policies.invoice import MOVES, Act, By, Move, Standing, State

ACTS = get_args(Act)


def test_every_state_and_act_has_its_answer():
    assert set(MOVES) == {(state, act) for state in get_args(State) for act in ACTS}
    for answer in MOVES.values():
        assert isinstance(answer, str) or (answer.to in get_args(State) and answer.by <= set(get_args(By)))


def test_what_is_void_or_credited_stays_so_and_a_draft_is_only_issued():
    for (state, act), answer in MOVES.items():
        if state in ("void", "credited") or (state == "draft" and act != "issue"):
            assert isinstance(answer, str), (state, act)


@pytest.mark.parametrize(
    ("state", "act", "by", "to"),
    [
        ("open", "pay", "operator", "paid"),
        ("open", "pay", "provider", "paid"),
        ("open", "void", "operator", "void"),
        ("open", "write-off", "provider", "uncollectible"),
        ("uncollectible", "pay", "provider", "paid"),
        ("uncollectible", "reopen", "operator", "open"),
        ("paid", "reopen", "provider", "open"),
    ],
)
def test_where_an_act_leads(state, act, by, to):
    after = invoice.moved(Standing(state=state, total=100, credited=30), act, by)
    assert (after.state, after.paid) == (to, 70 if to == "paid" else 0)


@pytest.mark.parametrize(
    ("state", "act", "by", "why"),
    [
        ("paid", "void", "operator", "credit it instead"),
        ("paid", "pay", "provider", "paid already"),
        ("paid", "reopen", "operator", "done by a payment provider, not by hand"),
        ("open", "void", "job", "done by hand or a payment provider"),
        ("void", "pay", "provider", "taken back whole"),
    ],
)
def test_what_is_refused_says_why(state, act, by, why):
    with pytest.raises(ConflictError, match=why):
        invoice.moved(Standing(state=state, total=100), act, by)


def test_credit_lowers_what_is_due_until_nothing_is_left():
    standing, settles = invoice.credited(Standing(state="open", total=100), 60, "operator")
    assert (standing.state, standing.due, settles) == ("open", 40, "due")
    standing, _ = invoice.credited(standing, 40, "operator")
    assert (standing.state, standing.due) == ("credited", 0)


def test_credit_for_what_was_paid_goes_to_the_balance():
    paid = invoice.moved(Standing(state="open", total=100, credited=10), "pay", "operator")
    standing, settles = invoice.credited(paid, 90, "operator")
    assert (standing.state, standing.paid, standing.returned, settles) == ("paid", 90, 90, "balance")
    with pytest.raises(InvalidError):
        invoice.credited(standing, 1, "operator")


acts = st.tuples(st.sampled_from(ACTS), st.sampled_from(get_args(By)), st.integers(-5, 120))


@given(st.integers(0, 100), st.lists(acts, max_size=12))
def test_whatever_is_tried_the_amounts_stay_within_the_total(total, tried):
    standing = Standing(state="open", total=total)
    for act, by, amount in tried:
        try:
            if act == "credit":
                standing, _ = invoice.credited(standing, amount, by)
            else:
                standing = invoice.moved(standing, act, by)
        except (ConflictError, InvalidError):
            continue
        assert 0 <= standing.due <= total
        assert standing.credited + standing.returned <= total
        assert standing.paid in (0, total - standing.credited)


def test_numbers_as_people_read_them():
    assert invoice.number("invoice", 42) == "INV-000042"
    assert invoice.number("credit-note", 1_234_567) == "CN-1234567"
    assert isinstance(MOVES["open", "pay"], Move)
