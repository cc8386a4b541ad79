"""Looked up is as asked: a table's answer is Cedar's on the slice, and Cedar's on the whole policy set.

The whole set is every policy of the plan, the off-plan ones, and the guards, in one text that strict
validation accepts; it is parsed and asked here, with entities and context of this file's own making.
"""

import json
from functools import cache
from itertools import product

import cedarpy
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies import balance, decide, entitlement, limits, table, validation
from policies.balance import Levels
from policies.compiler import cedar
from policies.compiler.cedar import Clause, Policy
from policies.engine import Engine, Facts, Question
from policies.model import Guard
from policies.slices import Slice
from policies.table import Cuts
from tests.pure import plans, random_catalogs
from tests.pure.random_catalogs import facts as random_facts

EXAMPLES = settings(
    max_examples=max(500, settings().max_examples),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
FEWER = settings(EXAMPLES, max_examples=max(100, settings().max_examples // 10))
TENANT = {"type": "Tenant", "id": "acme"}
GOOD = Facts(billing_status="good", trial=False)


# --- Cedar, asked by this file -------------------------------------------------------------------


class Whole:
    """Every policy that may decide about who stands on a plan, as one text."""

    def __init__(self, catalog, plan):
        permits = [
            policy
            for feature in catalog.features.values()
            for policy in (
                cedar.policies(plan, feature.id) if feature.id in plan.terms else cedar.off_plan(feature)
            )
        ]
        self.policies = (*permits, *cedar.guards(catalog.guards, "any"))
        self.text = cedar.text(self.policies)
        self.parsed = cedarpy.PolicySet.from_str(self.text)
        self.features = catalog.features.values()

    def ask(self, feature, stated, facts, question):
        """Outcome and ids of the policies that decided, in the order of the text."""
        answer = asked(self.parsed, feature, stated, facts, question)
        assert answer.diagnostics.errors == []
        decided = {int(name.removeprefix("policy")) for name in answer.diagnostics.reasons}
        outcome = "allowed" if answer.decision is cedarpy.Decision.Allow else "denied"
        return outcome, [self.policies[place].id for place in sorted(decided)]


def asked(policies, feature, stated, facts, question):
    attributes = {
        "billingStatus": {"__entity": {"type": "BillingStatus", "id": facts.billing_status}},
        "trial": facts.trial, "entitled": facts.entitled, "extra": facts.extra,
        "extraLimit": facts.extra_limit, "unlimited": facts.unlimited,
        "unlimitedOverage": facts.unlimited_overage,
    }  # fmt: skip
    context = {
        "drawn": question.drawn, "requested": question.requested, "request": question.request,
        "facts": stated,
        "caps": {f"c{place}": level for place, level in enumerate(question.caps, 1)},
    }  # fmt: skip
    request = {
        "principal": TENANT, "action": {"type": "Action", "id": "use"},
        "resource": {"type": "Feature", "id": feature.id}, "context": json.dumps(context),
    }  # fmt: skip
    entities = [{"uid": TENANT, "attrs": attributes, "parents": [], "tags": dict(facts.tags)}]
    return cedarpy.is_authorized(request, policies, json.dumps(entities))


def clause_holds(clause, feature, stated, facts, question):
    text = f"permit (principal, action, resource) when {{ {clause.text} }};"
    return asked(text, feature, stated, facts, question).decision is cedarpy.Decision.Allow


# --- questions at every boundary -----------------------------------------------------------------


@st.composite
def questions(draw, part, facts):
    """One at random, and with it on each axis those at every cut, one before and one after it."""
    cuts = table.cuts(part.bounds, facts.bounding(), part.axes)
    assert cuts.cells <= limits.TABLE_CELLS
    near = [
        sorted({at + step for at in axis for step in (-1, 0, 1) if 0 <= at + step <= table.SUM_MAX} | {0})
        for axis in cuts.axes
    ]
    anywhere = st.integers(0, limits.REQUESTED_MAX)
    base = [draw(st.sampled_from(each) | anywhere) for each in near]
    request = draw(random_catalogs.requests)
    found = []
    for axis, sums in enumerate(near):
        for at in sums:
            each = [*base[:axis], at, *base[axis + 1 :]]
            most = min(*each, limits.REQUESTED_MAX)
            requested = draw(st.sampled_from(sorted({0, min(1, most), most})) | st.integers(0, most))
            drawn, *caps = (sum_ - requested for sum_ in each)
            found.append(
                Question(drawn=drawn, requested=requested, caps=tuple(caps), request=request)
            )  # fmt: skip
    return found


def part_of(engine, catalog, plan, feature):
    guards = entitlement.guards_of(random_catalogs.everything(catalog)[0], feature.id)
    return engine.slice(plan, feature, guards)


@st.composite
def cases(draw):
    """A slice of a random catalog, facts, questions at its boundaries, and the whole set."""
    catalog = draw(random_catalogs.catalogs())
    plan = catalog.plans[draw(st.sampled_from(["pro", "free"]))]
    feature = draw(st.sampled_from(sorted(catalog.features.values(), key=lambda one: one.id)))
    part = part_of(Engine(), catalog, plan, feature)
    facts = draw(random_facts(part.tags))
    return catalog, plan, feature, part, facts, draw(questions(part, facts))


@EXAMPLES
@given(cases())
def test_a_table_answers_as_cedar_does_on_the_slice_and_on_the_whole_set(case):
    catalog, plan, feature, part, facts, questions = case
    whole, stated = Whole(catalog, plan), cedar.stated(plan.plan_id, feature)
    assert validation.check(whole.policies, catalog.features.values()) == ()
    heard = []
    engine = Engine(on_fault=heard.append)
    for question in questions:
        answer = engine.answer(part, facts, question)
        assert answer == engine.answer(part, facts, question)  # the one that was kept
        verdict = answer.verdict
        told = verdict.outcome, [policy.id for policy in verdict.matched]
        assert told == whole.ask(feature, stated, facts, question)
        assert verdict == engine.evaluate(part, facts, question)
        assert answer.holds == engine.probe(part, facts, question)
    for clause, holds in zip(part.clauses, answer.holds, strict=True):
        assert holds is clause_holds(clause, feature, stated, facts, question)
    assert heard == []


class Direct(Engine):
    """Asks Cedar for each answer."""

    def answer(self, part, facts, question):
        return self._direct(part, facts, question)


@EXAMPLES
@given(st.data())
def test_a_decision_from_tables_is_the_one_that_cedar_gives_directly(data):
    """From stored facts to the answer: add-ons, grants, overrides, billing status, trial, metadata."""
    catalog = data.draw(random_catalogs.catalogs())
    snapshot = data.draw(random_catalogs.snapshots(catalog))
    feature = data.draw(st.sampled_from(sorted(catalog.features.values(), key=lambda one: one.id)))
    offer, versions = random_catalogs.everything(catalog)
    right = entitlement.resolve(snapshot, offer=offer, versions=versions, feature_id=feature.id, at=plans.NOW)
    looked_up, direct = Engine(), Direct()
    part = decide.slice_of(looked_up, right)
    for question in data.draw(questions(part, decide.facts_of(right, Levels(), part))):
        levels = levels_of(right, question)
        request = decide.Request(
            feature_id=feature.id, quantity=question.requested, entity_id="ada", context=question.request
        )
        first, second = (
            decide.decide(
                engine, right, request, levels, now=plans.NOW, decision_id="dec_1", catalog_hash=catalog.hash
            )
            for engine in (looked_up, direct)
        )  # fmt: skip
        assert first == second
        assert first.outcome in ("allowed", "denied")


def levels_of(right, question):
    """Counters at which this much was drawn, spread over the buckets as the drawdown would."""
    room = balance.capacity(
        right.terms, overage=right.has_overage, grants=right.grants, before=right.grants_before
    )
    spread = balance.draw(room, Levels(), question.drawn)
    return Levels(
        included=spread.included, overage=spread.overage + spread.excess, grants=spread.grants,
        caps=question.caps,
    )  # fmt: skip


# --- ceilings ------------------------------------------------------------------------------------


@EXAMPLES
@given(cases())
def test_a_ceiling_is_the_last_that_cedar_allows_on_each_axis(case):
    *_, part, facts, asked_for = case
    engine, request = Engine(), asked_for[0].request
    ceilings = engine.ceilings(part, facts, request)

    def allows(sums):
        drawn, *caps = sums
        question = Question(drawn=drawn, requested=0, caps=tuple(caps), request=request)
        return engine.evaluate(part, facts, question).outcome == "allowed"

    if ceilings is None:
        assert not allows([0] * part.axes)
        return
    corner = [table.SUM_MAX if at is None else at for at in ceilings]
    assert allows(corner)
    assert allows([0] * part.axes)
    for axis, at in enumerate(ceilings):
        if at is not None:
            assert not allows([*corner[:axis], at + 1, *corner[axis + 1 :]])
            assert not allows([0] * axis + [at + 1] + [0] * (part.axes - axis - 1))


# --- broken finders ------------------------------------------------------------------------------

REAL = table.cuts


@cache
def capped():
    """A plan with overage and two caps, so that every axis has cuts."""
    terms = plans.metered(100, up_to=50, caps=(70, 30))
    plan = plans.plan((plans.TOKENS,), {"ai-tokens": terms})
    return Engine().slice(plan, plans.TOKENS)


def dropped(bounds, facts, axes, *, axis, place):
    found = [list(each) for each in REAL(bounds, facts, axes).axes]
    if place < len(found[axis]):
        del found[axis][place]
    return Cuts(tuple(tuple(each) for each in found))


def shifted(bounds, facts, axes, *, axis, place, by):
    found = [list(each) for each in REAL(bounds, facts, axes).axes]
    if place < len(found[axis]):
        found[axis][place] += by
    return Cuts(tuple(tuple(sorted(set(each))) for each in found))


BROKEN = [
    *({"axis": axis, "place": place} for axis, place in ((0, 0), (0, 1), (1, 0), (2, 0))),
    *(
        {"axis": axis, "place": place, "by": by}
        for axis, place in ((0, 0), (0, 1), (1, 0), (2, 0))
        for by in (-1, 1)
    ),
]


def every_question(part, facts):
    cuts = REAL(part.bounds, facts.bounding(), part.axes)
    near = [sorted({0, *(at + step for at in axis for step in (-1, 0, 1))}) for axis in cuts.axes]
    for drawn, *caps in product(*near):
        yield Question(drawn=drawn, requested=0, caps=tuple(caps))


def disagreements(part, facts, heard):
    """Questions that a table does not answer as Cedar does, asked from zero upwards."""
    engine, direct = Engine(on_fault=heard.append), Direct()
    return [
        question
        for question in every_question(part, facts)
        if engine.answer(part, facts, question) != direct.answer(part, facts, question)
    ]


def break_cuts(monkeypatch, how):
    broken = shifted if "by" in how else dropped
    monkeypatch.setattr(table, "cuts", lambda *args: broken(*args, **how))


@pytest.mark.parametrize("how", BROKEN, ids=str)
def test_the_net_catches_a_finder_that_misses_a_cut_or_is_off_by_one(how, monkeypatch):
    """Both ends of the cell are asked; they differ, so nothing is kept, somebody is told, Cedar answers."""
    break_cuts(monkeypatch, how)
    heard = []
    assert disagreements(capped(), GOOD, heard) == []
    assert heard
    assert "differ" in heard[0].errors[0]


@pytest.mark.parametrize("how", BROKEN, ids=str)
def test_without_the_net_the_comparison_fails(how, monkeypatch):
    """What the tests above compare can tell a wrong table from a right one."""
    break_cuts(monkeypatch, how)
    monkeypatch.setattr(Cuts, "ends", lambda self, place, ends=Cuts.ends: (ends(self, place)[0],) * 2)
    assert disagreements(capped(), GOOD, [])


def test_with_the_right_finder_there_is_nothing_to_tell():
    heard = []
    assert disagreements(capped(), GOOD, heard) == []
    assert heard == []


@FEWER
@given(cases(), st.data())
def test_whatever_the_cuts_no_wrong_answer_is_kept(case, data):
    *_, part, facts, asked_for = case
    numbers = st.sampled_from(
        sorted({at for question in asked_for for at in (question.drawn, *question.caps)} | {1})
    )
    cuts = Cuts(tuple(tuple(sorted(set(data.draw(st.lists(numbers, max_size=3))))) for _ in range(part.axes)))
    engine = Engine()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "cuts", lambda *_: cuts)
        for question in asked_for:
            assert engine.answer(part, facts, question) == Direct().answer(part, facts, question)


# --- outside of the fragment ---------------------------------------------------------------------

OUTSIDE = (
    "context.drawn * 2 + context.requested <= 100",
    "context.drawn <= 100",
    "context.requested <= 100",
    "context.drawn + context.requested < 100",
    "context.drawn + context.requested >= 100",
    "context.drawn + context.caps.c1 + context.requested <= 100",
    "context.drawn + context.requested <= 100 - principal.extra",
    "principal.trial || context.drawn + context.requested <= 100",
    "context.drawn + context.requested <= 100 && context.caps.c1 + context.requested <= 3",
    "!(context.drawn + context.requested <= 100)",
)


def odd(text):
    clause = Clause(kind="limit", text=text, source="plans/pro.yaml:9", reason="limit_reached", reads=())
    return Policy(
        id="plan/pro/ai-tokens/included", source="plans/pro.yaml:8", reason="within_limit",
        feature_id="ai-tokens", clauses=(clause,),
    )  # fmt: skip


@pytest.mark.parametrize("text", OUTSIDE)
def test_a_clause_outside_of_the_fragment_is_refused_at_validation(text):
    (sentence,) = validation.check([odd(text)], [plans.TOKENS])
    assert sentence.startswith("plans/pro.yaml:9: plan/pro/ai-tokens/included: ")
    assert text in sentence


@pytest.mark.parametrize("text", OUTSIDE)
def test_and_asked_each_time_where_it_runs_all_the_same(text):
    part, engine = Slice("ai-tokens", (odd(text),), axes=2), Engine()
    assert part.bounds is None
    for drawn, requested, cap in product((0, 49, 50, 51, 99, 100, 101), (0, 1), (0, 3)):
        question = Question(drawn=drawn, requested=requested, caps=(cap,))
        assert engine.answer(part, GOOD, question) == Direct().answer(part, GOOD, question)
    with pytest.raises(ValueError, match="no table"):
        engine.ceilings(part, GOOD, {})


# --- bounds --------------------------------------------------------------------------------------


def test_no_plan_has_a_table_of_more_cells_than_the_bound():
    """Two permits cut what was drawn, and each cap its own axis; all else reads no usage."""
    caps = tuple(range(1, limits.CAPS + 1))
    largest = plans.plan((plans.TOKENS,), {"ai-tokens": plans.metered(100, up_to=50, caps=caps)})
    part = Engine().slice(largest, plans.TOKENS)
    assert table.cuts(part.bounds, GOOD.bounding(), part.axes).cells == 3 * 2**limits.CAPS
    assert 3 * 2**limits.CAPS <= limits.TABLE_CELLS


def test_what_callers_say_fills_no_table():
    """Past TABLE_VARIANTS Cedar is asked each time, and rightly so."""
    condition = 'context.request has region && context.request.region == "eu"'
    text = f'@id("g") @reason("No.") forbid (principal, action, resource) when {{ {condition} }};'
    guard = Guard(id="g", source="guards/g.cedar:1", text=text, reason="No.", request_keys=("region",))
    plan = plans.plan((plans.TOKENS,), {"ai-tokens": plans.metered(5)})
    engine = Engine()
    part = engine.slice(plan, plans.TOKENS, (guard,))
    for number in range(limits.TABLE_VARIANTS * 3):
        for region in (f"r{number}", "eu"):
            question = Question(drawn=0, requested=1, request={"region": region})
            outcome = engine.answer(part, GOOD, question).verdict.outcome
            assert outcome == ("denied" if region == "eu" else "allowed")
    (kept,) = engine._tables._items.values()
    assert len(kept.variants) == limits.TABLE_VARIANTS
    assert len(kept.answers) <= limits.TABLE_VARIANTS * kept.cuts.cells


def test_tables_are_bounded(monkeypatch):
    monkeypatch.setattr(limits, "TABLES_ALIVE", 3)
    engine = Engine()
    for extra in range(10):
        facts = msgspec.structs.replace(GOOD, extra=extra)
        question = Question(drawn=99 + extra, requested=1, caps=(0, 0))
        assert engine.answer(capped(), facts, question).verdict.matched[0].reason == "within_limit"
    assert len(engine._tables) == 3


def test_what_could_not_be_answered_for_a_whole_cell_is_asked_each_time_and_told_once_each():
    part = Slice("ai-tokens", (odd("context.nowhere < 1"),))
    heard = []
    engine = Engine(on_fault=heard.append)
    for told in range(1, 4):
        answer = engine.answer(part, GOOD, Question(drawn=0, requested=1))
        assert answer.verdict.outcome == "indeterminate"
        assert heard == [answer.verdict] * told


def test_a_counter_below_zero_is_no_answer_whatever_is_added_to_it():
    engine = Engine()
    question = Question(drawn=-5, requested=10, caps=(0, 0))
    assert (
        engine.answer(capped(), GOOD, Question(drawn=5, requested=0, caps=(0, 0))).verdict.outcome
        == "allowed"
    )
    assert engine.answer(capped(), GOOD, question).verdict.outcome == "indeterminate"
