"""What payments say of a tenant: every case of the file, and what holds of any facts."""

import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import message, subscription
from policies.payment import course, fact, laying, table
from policies.payment.fact import PaymentFact, Rule
from policies.subscription import Phase, Subscription
from tests.pure import payments, plans

CASES = payments.cases()
T0 = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
JANUARY = payments.day("Jan 1")
SECOND = timedelta(seconds=1)


def status(found: course.Course, at: datetime) -> str:
    step = found.at(at)
    return "good" if step is None else step.status


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_of_the_file(case):
    found = course.of(payments.facts(case), "sub_1")
    assert {day: status(found, payments.day(day)) for day in case.expect} == case.expect
    assert [one.flag for one in found.flags] == case.flags
    assert [one.subject for one in found.unknown] == case.unknown
    held = laying.laid(started(), payments.facts(case), now=payments.day("Jan 1"))
    for day, words in case.says.items():
        holding, *coming = subscription.billing_from(held, payments.day(day))
        assert message.standing(holding, coming) == words


def test_every_row_of_the_table_has_a_case():
    told = {(one.kind, one.state) for case in CASES for one in payments.facts(case)}
    assert {(kind, state) for kind, rows in table.TABLE.items() for state in rows} <= told


def test_every_status_has_a_place_among_the_worse_and_the_better():
    given_by_rows = {row.gives for rows in table.TABLE.values() for row in rows.values()} - {None}
    assert given_by_rows | {"good", "restricted"} <= set(table.WORST)
    assert len(set(table.WORST)) == len(table.WORST) == 7


def started(at: datetime = JANUARY) -> Subscription:
    phase = Phase(plan_id="pro", plan_version="pro@1", start=at)
    return Subscription(id="sub_1", anchored_at=at, created_at=at, phases=(phase,))


states = st.sampled_from(
    [(kind, state) for kind, rows in table.TABLE.items() for state in rows]
    + [("subscription", "hibernating"), ("invoice", "crumpled"), ("dispute", "mediated")]
)
instants = st.integers(0, 25).map(lambda days: T0 + days * DAY)
rules = st.builds(Rule, grace_days=st.integers(0, 9), restricted_days=st.integers(0, 9))


@st.composite
def looks(draw):
    kind, state = draw(states)
    seen_at = draw(instants)
    due = draw(st.none() | instants) if kind == "invoice" else None
    ends = draw(st.none() | instants) if kind == "subscription" else None
    return PaymentFact(
        kind=kind, state=state, subject=draw(st.sampled_from("AB")), seen_at=seen_at,
        since=seen_at - draw(st.sampled_from([timedelta(0), SECOND, DAY])), due_at=due, ends_at=ends,
        rule=draw(rules), reason=draw(st.sampled_from(["", "declined"])),
    )  # fmt: skip


@given(st.lists(looks(), max_size=9), st.randoms(use_true_random=False))
def test_order_and_repetition_of_facts_bear_on_nothing(facts, chance: random.Random):
    shuffled = [*facts, *chance.sample(facts, len(facts) // 2)]
    chance.shuffle(shuffled)
    assert course.of(shuffled, "sub_1") == course.of(facts, "sub_1")


@given(st.lists(looks(), max_size=9), st.data())
def test_facts_of_the_same_second_may_come_in_any_order(facts, data):
    """Looks that began within one second: whichever was stored first, the course is one."""
    same = [msgspec.structs.replace(one, seen_at=T0, since=T0) for one in facts]
    assert course.of(data.draw(st.permutations(same)), "sub_1") == course.of(same, "sub_1")


@given(st.lists(looks(), max_size=9))
def test_without_news_a_status_only_gets_worse(facts):
    steps = course.of(facts, "sub_1").steps
    bad = [table.badness(step.status) for step in steps]
    assert bad == sorted(set(bad))
    assert [step.since for step in steps] == sorted({step.since for step in steps})


@given(st.lists(looks(), max_size=9))
def test_what_nobody_knows_changes_nothing_but_is_told(facts):
    known = [one for one in facts if table.row(one.kind, one.state) is not None]
    with_strange, without = course.of(facts, "sub_1"), course.of(known, "sub_1")
    assert with_strange.steps == without.steps
    assert with_strange.flags == without.flags
    assert without.unknown == ()
    newest: dict[tuple[str, str], PaymentFact] = {}
    for one in sorted(facts, key=fact.order):
        newest[one.kind, one.subject] = one
    strange = [one for one in newest.values() if table.row(one.kind, one.state) is None]
    assert sorted(with_strange.unknown, key=fact.order) == sorted(strange, key=fact.order)


@given(st.lists(instants, min_size=1, max_size=6), rules, rules)
def test_grace_is_set_once_by_the_first_failure(attempts, first, later):
    failures = [
        PaymentFact(
            kind="invoice", subject="A", state="failed", seen_at=at, since=at,
            rule=first if at == min(attempts) else later,
        )
        for at in attempts
    ]  # fmt: skip
    alone = [one for one in failures if one.since == min(attempts)]
    assert course.of(failures, "sub_1").steps == course.of(alone, "sub_1").steps
    ends = min(attempts) + timedelta(days=first.grace_days + first.restricted_days)
    assert status(course.of(failures, "sub_1"), ends) == "suspended"
    if ends > min(attempts):
        assert status(course.of(failures, "sub_1"), ends - SECOND) != "suspended"


@given(st.lists(looks(), max_size=9))
def test_paid_is_good_whatever_was_before(facts):
    late = T0 + 50 * DAY
    paid = [
        PaymentFact(kind="invoice", subject=subject, state="paid", seen_at=late, since=late)
        for subject in "AB"
    ]
    invoices = [one for one in facts if one.kind == "invoice"]
    assert course.of([*invoices, *paid], "sub_1").steps == ()


@given(st.lists(st.tuples(instants, looks()), max_size=8), st.data())
def test_what_is_laid_decides_as_the_course_says_and_the_past_stays(news, data):
    """Facts become known one by one; at each instant the status is what was laid last says of it."""
    held, known = started(T0), list[PaymentFact]()
    for now, one in sorted(news, key=lambda each: each[0]):
        before, known = held, [*known, one]
        held = laying.laid(held, known, now=now)
        assert [one for one in held.billing if one.since < now] == [
            one for one in before.billing if one.since < now
        ]
        instants_laid = [one.since for one in held.billing]
        assert instants_laid == sorted(set(instants_laid))
        found = course.of(known, "sub_1")
        for ahead in data.draw(st.lists(st.integers(0, 99).map(lambda n: n * DAY), max_size=4)):
            assert subscription.billing_status_at(held, now + ahead) == status(found, now + ahead)
        assert laying.laid(held, known, now=now) == held


def failed(at: datetime, **rest) -> PaymentFact:
    return PaymentFact(
        kind="invoice", subject="A", state="failed", seen_at=at, since=at,
        rule=Rule(grace_days=7, restricted_days=14), **rest,
    )  # fmt: skip


def paid(at: datetime) -> PaymentFact:
    return PaymentFact(kind="invoice", subject="A", state="paid", seen_at=at, since=at)


def word(state: str, at: datetime, until: datetime | None = None) -> PaymentFact:
    return fact.word(state, now=at, subscription_id="sub_1", reason="agreed", until=until)


def told(held: Subscription) -> list[tuple[str, float]]:
    return [(one.status, (one.since - T0) / DAY) for one in held.billing]


def test_a_word_by_hand_stands_until_its_end_and_then_payments_speak_again():
    facts = [failed(T0)]
    held = laying.laid(started(T0), facts, now=T0)
    until = T0 + 10 * DAY
    said = laying.spoken(held, "good", facts, reason="agreed", now=T0 + DAY, until=until)
    assert told(said) == [("grace", 0), ("good", 1), ("restricted", 10), ("suspended", 21)]
    facts.append(word("good", T0 + DAY, until))
    assert laying.laid(said, [*facts, failed(T0 + 3 * DAY)], now=T0 + 3 * DAY) == said
    settled = laying.laid(said, [*facts, paid(T0 + 4 * DAY)], now=T0 + 4 * DAY)
    assert told(settled) == [("grace", 0), ("good", 1), ("good", 10)]


def test_of_two_news_at_one_instant_the_last_is_laid():
    held = laying.laid(started(T0), [failed(T0)], now=T0)
    assert told(laying.laid(held, [failed(T0), paid(T0)], now=T0)) == [("good", 0)]


def test_a_word_without_an_end_stands_until_it_is_lifted():
    facts = [failed(T0)]
    held = laying.laid(started(T0), facts, now=T0)
    said = laying.spoken(held, "suspended", facts, reason="fraud", now=T0 + DAY)
    facts.append(word("suspended", T0 + DAY))
    facts.append(paid(T0 + 2 * DAY))
    assert laying.laid(said, facts, now=T0 + 2 * DAY) == said
    facts.append(fact.lifted(now=T0 + 3 * DAY, subscription_id="sub_1", reason="cleared"))
    assert told(laying.laid(said, facts, now=T0 + 3 * DAY))[-1] == ("good", 3)


def test_a_word_with_a_course_of_its_own_is_cut_at_its_end():
    said = laying.spoken(
        started(T0), "grace", [], reason="agreed", now=T0, until=T0 + 9 * DAY,
        plan=msgspec.structs.replace(plans.pro(), grace_days=7, restricted_days=14),
    )  # fmt: skip
    assert told(said) == [("grace", 0), ("restricted", 7), ("good", 9)]


def test_a_subscription_that_has_ended_has_no_status_to_lay():
    over = subscription.cancel(started(T0), at_effective=T0 + DAY, now=T0 + DAY)
    assert laying.laid(over, [failed(T0)], now=T0 + 2 * DAY) == over


def test_facts_about_another_subscription_are_passed_over():
    assert course.of([failed(T0, subscription_id="sub_2")], "sub_1").steps == ()
    assert course.of([failed(T0, subscription_id="sub_1")], "sub_1").steps != ()


def test_of_two_words_at_one_instant_the_last_one_stands():
    first = word("suspended", T0)
    for state in ("good", "suspended", fact.LIFTED, "grace"):
        second = fact.said_after([first], word(state, T0))
        standing = fact.word_at([second, first], "sub_1", T0)
        assert standing is (None if state == fact.LIFTED else second)
    assert fact.said_after([first], word("good", T0 + DAY)) == word("good", T0 + DAY)
