"""Cedar's answers are read by R2, and whatever goes wrong is told apart from a refusal."""

import gc
import random

import cedarpy
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import engine, limits, validation
from policies.compiler import cedar
from policies.compiler.cedar import Clause, Policy
from policies.engine import Engine, Facts, Question, Verdict
from policies.errors import InvalidError
from policies.slices import Parsed, Slice
from tests.pure import plans

GOOD = Facts(billing_status="good", trial=False)
ONE = Question(drawn=0, requested=1)

PRO = plans.pro()
TOKENS = PRO.features["ai-tokens"]
HOLDS, FAILS, ERRS = "1 < 2", "2 < 1", "context.nowhere < 1"
OVERFLOWS = "9223372036854775807 + context.requested < 1"


def policy(text, effect="permit", name=None):
    return Policy(
        id=f"plan/pro/x/{name or effect}", source="plans/pro.yaml:1", reason="within_limit", feature_id="x",
        effect=effect,
        clauses=(Clause(kind="limit", text=text, source="p:2", reason="limit_reached", reads=()),),
    )  # fmt: skip


def answer(decision, reasons, errors=()):
    """As Cedar would give it."""
    diagnostics = {"reason": list(reasons), "errors": list(errors)}
    return cedarpy.AuthzResult({"decision": decision, "diagnostics": diagnostics})


def part(*policies, **options):
    return Slice("x", policies, **options)


def pro_slice(asked):
    return asked.slice(PRO, TOKENS)


# --- R2 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policies", "outcome"),
    [
        ([], "denied"),
        ([policy(HOLDS)], "allowed"),
        ([policy(FAILS)], "denied"),
        ([policy(ERRS)], "indeterminate"),
        ([policy(OVERFLOWS)], "indeterminate"),
        ([policy(ERRS), policy(HOLDS, name="b")], "indeterminate"),
        ([policy(HOLDS), policy(ERRS, name="b")], "indeterminate"),
        ([policy(FAILS), policy(ERRS, name="b")], "indeterminate"),
        ([policy(HOLDS), policy(HOLDS, "forbid")], "denied"),
        ([policy(HOLDS), policy(FAILS, "forbid")], "allowed"),
        # A forbid that errs is skipped by Cedar, which would say Allow.
        ([policy(HOLDS), policy(ERRS, "forbid")], "indeterminate"),
        ([policy(FAILS), policy(ERRS, "forbid")], "indeterminate"),
        # No error can take back a forbid that matched.
        ([policy(ERRS), policy(HOLDS, "forbid")], "denied"),
        ([policy(HOLDS), policy(ERRS, "forbid", "b"), policy(HOLDS, "forbid", "c")], "denied"),
    ],
)
def test_an_error_is_neither_allowed_nor_denied_unless_a_forbid_matched(policies, outcome):
    verdict = Engine().evaluate(part(*policies), GOOD, ONE)
    assert verdict.outcome == outcome
    assert bool(verdict.errors) == any(one.clauses[0].text in (ERRS, OVERFLOWS) for one in policies)


def test_an_error_names_the_policy_by_our_id():
    verdict = Engine().evaluate(part(policy(HOLDS), policy(ERRS, name="broken")), GOOD, ONE)
    assert "`plan/pro/x/broken`" in verdict.errors[0]
    assert "policy1" not in verdict.errors[0]


def test_a_forbid_that_matched_is_what_decided():
    verdict = Engine().evaluate(part(policy(HOLDS), policy(HOLDS, "forbid")), GOOD, ONE)
    assert [one.id for one in verdict.matched] == ["plan/pro/x/forbid"]


def test_a_slice_without_policies_is_asked_and_denies():
    asked = Engine()
    assert asked.evaluate(asked.slice(None, None), GOOD, ONE) == Verdict(outcome="denied")


# --- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "question"),
    [
        (GOOD, Question(drawn=0, requested=1, caps=(0,))),
        (GOOD, Question(drawn=0, requested=1, caps=())),
        (GOOD, Question(drawn=-1, requested=1, caps=(0, 0))),
        (GOOD, Question(drawn=0, requested=1, caps=(0, -1))),
        (GOOD, Question(drawn=cedar.VARIABLE_MAX + 1, requested=1, caps=(0, 0))),
        (GOOD, Question(drawn=2**63, requested=1, caps=(0, 0))),
        (GOOD, Question(drawn=0.5, requested=1, caps=(0, 0))),
        (GOOD, Question(drawn=None, requested=1, caps=(0, 0))),
        (Facts(billing_status="gud", trial=False), Question(drawn=0, requested=1, caps=(0, 0))),
        (Facts(billing_status="good", trial="no"), Question(drawn=0, requested=1, caps=(0, 0))),
        (
            Facts(billing_status="good", trial=False, extra=-(2**60) - 1),
            Question(drawn=0, requested=1, caps=(0, 0)),
        ),
        (Facts(billing_status="good", trial=False, extra=2**63), Question(drawn=0, requested=1, caps=(0, 0))),
    ],
)
def test_a_missing_or_impossible_fact_or_level_is_indeterminate(facts, question):
    heard = []
    asked = Engine(on_fault=heard.append)
    verdict = asked.evaluate(pro_slice(asked), facts, question)
    assert verdict.outcome == "indeterminate"
    assert heard == [verdict]
    assert verdict.errors


class PanicException(BaseException):
    """Named as a panic of the Rust side is."""


@pytest.mark.parametrize("thrown", [RuntimeError("gone"), KeyError("principal"), PanicException("index")])
def test_what_the_engine_throws_is_indeterminate(thrown, monkeypatch):
    def broken(*_):
        raise thrown

    asked = Engine()
    pro = pro_slice(asked)
    monkeypatch.setattr(cedarpy, "is_authorized", broken)
    question = Question(drawn=0, requested=1, caps=(0, 0))
    assert asked.evaluate(pro, GOOD, question).outcome == "indeterminate"
    assert asked.probe(pro, GOOD, question) == (None,) * len(pro.clauses)


def test_an_interrupt_is_not_an_answer_of_the_engine(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    asked = Engine()
    monkeypatch.setattr(cedarpy, "is_authorized", interrupted)
    with pytest.raises(KeyboardInterrupt):
        asked.evaluate(part(policy(HOLDS)), GOOD, ONE)


@pytest.mark.parametrize("decision", ["NoDecision", "Perhaps"])
def test_an_answer_that_is_neither_allow_nor_deny_is_indeterminate(decision, monkeypatch):
    monkeypatch.setattr(cedarpy, "is_authorized", lambda *_: answer(decision, []))
    assert Engine().evaluate(part(policy(HOLDS)), GOOD, ONE).outcome == "indeterminate"


def test_a_reason_that_we_did_not_compile_is_indeterminate(monkeypatch):
    monkeypatch.setattr(cedarpy, "is_authorized", lambda *_: answer("Allow", ["policy7"]))
    assert Engine().evaluate(part(policy(HOLDS)), GOOD, ONE).outcome == "indeterminate"


def test_an_allow_that_comes_from_no_permit_is_indeterminate(monkeypatch):
    monkeypatch.setattr(cedarpy, "is_authorized", lambda *_: answer("Allow", []))
    assert Engine().evaluate(part(policy(HOLDS)), GOOD, ONE).outcome == "indeterminate"


def test_a_slice_that_cannot_be_compiled_is_indeterminate_and_not_the_empty_one():
    asked = Engine()
    too_large = plans.plan((plans.TOKENS,), {"ai-tokens": plans.metered(2**63)})
    verdict = asked.evaluate(asked.slice(too_large, plans.TOKENS), GOOD, ONE)
    assert verdict.outcome == "indeterminate"


# --- what a caller says --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        {"__entity": "x"},
        {"__extn": "x"},
        {"country": "de"},
        {"region": {"__entity": {"type": "Tenant", "id": "other"}}},
        {"region": 5},
    ],
)
def test_context_that_is_not_declared_text_is_the_callers_error_and_never_a_fallback(request_):
    asked = Engine()
    with pytest.raises(InvalidError) as raised:
        asked.evaluate(pro_slice(asked), GOOD, Question(drawn=0, requested=1, caps=(0, 0), request=request_))
    assert raised.value.errors[0].pointer == "/context"


@pytest.mark.parametrize("requested", [-1, limits.REQUESTED_MAX + 1])
def test_a_quantity_out_of_bounds_is_the_callers_error_too(requested):
    asked = Engine()
    with pytest.raises(InvalidError):
        asked.evaluate(pro_slice(asked), GOOD, Question(drawn=0, requested=requested, caps=(0, 0)))


@given(st.text())
def test_declared_context_may_hold_any_text(value):
    asked = Engine()
    question = Question(drawn=0, requested=1, caps=(0, 0), request={"region": value})
    assert asked.evaluate(pro_slice(asked), GOOD, question).outcome == "allowed"


# --- order, ids ----------------------------------------------------------------------------------


def test_policies_come_in_compile_order_whatever_order_cedar_gives():
    policies = [policy(HOLDS, name=f"n{place}") for place in range(12)]
    asked, whole = Engine(), part(*policies)
    given_orders = set()
    for _ in range(50):
        raw = cedarpy.is_authorized(
            {"principal": {"type": "Tenant", "id": "t"}, "action": {"type": "Action", "id": "use"},
             "resource": {"type": "Feature", "id": "x"}, "context": "{}"}, whole.parse().handle, "[]",
        )  # fmt: skip
        given_orders.add(tuple(raw.diagnostics.reasons))
        assert list(asked.evaluate(whole, GOOD, ONE).matched) == policies
    assert len(given_orders) > 1  # else this test proves nothing


@given(st.permutations([f"policy{place}" for place in range(12)]))
def test_any_order_of_reasons_is_sorted(reasons):
    policies = [policy(HOLDS, name=f"n{place}") for place in range(12)]
    assert list(engine._read(part(*policies), answer("Allow", reasons)).matched) == policies


def test_ids_and_sources_survive_the_way_through_cedar():
    asked = Engine()
    verdict = asked.evaluate(pro_slice(asked), GOOD, Question(drawn=0, requested=1, caps=(0, 0)))
    assert [(one.id, one.source, one.reason) for one in verdict.matched] == [
        ("plan/pro/ai-tokens/included", "plans/pro.yaml:14", "within_limit"),
        ("plan/pro/ai-tokens/overage", "plans/pro.yaml:18", "in_overage"),
    ]


# --- probes --------------------------------------------------------------------------------------


def test_probes_tell_clause_by_clause_what_holds_fails_and_could_not_be_reached():
    many = part(policy(HOLDS), policy(FAILS, name="b"), policy(ERRS, name="c"), policy(HOLDS, name="d"))
    assert Engine().probe(many, GOOD, ONE) == (True, False, None, True)


def test_probes_are_matched_by_whole_names():
    """`policy1` is not found in an error about `policy11`."""
    texts = [FAILS] * 11 + [ERRS]
    many = part(*(policy(text, name=f"n{place}") for place, text in enumerate(texts)))
    assert Engine().probe(many, GOOD, ONE) == (False,) * 11 + (None,)


@given(st.data())
def test_a_policy_matches_exactly_when_all_its_probes_hold(data):
    asked = Engine()
    edge = st.sampled_from([0, 19_999, 20_000, 99_999, 100_000, 999_999, 1_000_000, 4_999_999, 5_000_000])
    question = Question(
        drawn=data.draw(edge), requested=data.draw(st.integers(0, 2)), caps=(data.draw(edge), data.draw(edge))
    )
    status = data.draw(st.sampled_from(["good", "restricted", "ended"]))
    facts = Facts(billing_status=status, trial=data.draw(st.booleans()))
    pro = pro_slice(asked)
    holds = dict(zip(pro.clauses, asked.probe(pro, facts, question), strict=True))
    expected = [one for one in pro.policies if all(holds[clause] for clause in one.clauses)]
    assert list(asked.evaluate(pro, facts, question).matched) == expected


# --- what is kept --------------------------------------------------------------------------------


def test_a_slice_is_parsed_once_and_the_number_alive_is_bounded():
    asked = Engine(slices_alive=3)
    made = [
        plans.plan((plans.TOKENS,), {"ai-tokens": plans.metered(n)}, version=f"pro@{n}") for n in range(5)
    ]
    first = asked.slice(made[0], plans.TOKENS)
    assert asked.slice(made[0], plans.TOKENS) is first
    for plan in made[1:]:
        asked.slice(plan, plans.TOKENS)
        asked.slice(made[0], plans.TOKENS)
    assert len(asked._slices) == 3
    assert asked.slice(made[0], plans.TOKENS) is first  # used last, so kept
    newest = asked.slice(made[4], plans.TOKENS)
    assert asked.slice(made[4], plans.TOKENS) is newest
    assert newest.clauses[-1].text.endswith("<= 4 + principal.extra")


def test_absent_rights_share_the_slice_without_a_permit_so_made_up_features_fill_nothing():
    asked = Engine(slices_alive=3)
    assert asked.slice(PRO, None) is asked.slice(None, plans.TOKENS)
    assert len(asked._slices) == 0


def test_handles_of_facts_are_bounded_and_never_mixed_up():
    asked = Engine()
    plan = plans.plan((plans.TOKENS,), {"ai-tokens": plans.metered(0)})
    rnd = random.Random(7)
    for _ in range(limits.FACTS_ALIVE + 500):
        extra = rnd.randrange(limits.FACTS_ALIVE * 2)
        facts = Facts(billing_status="good", trial=False, extra=extra)
        drawn = rnd.randrange(limits.FACTS_ALIVE * 2)
        verdict = asked.evaluate(asked.slice(plan, plans.TOKENS), facts, Question(drawn=drawn, requested=0))
        assert verdict.outcome == ("allowed" if drawn <= extra else "denied")
    assert len(asked._facts) <= limits.FACTS_ALIVE


# --- validation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("context.drawn <= principal.extras", "extras"),
        ('principal.billingStatus == BillingStatus::"gud"', "gud"),
        ('context.request.country == "de"', "country"),
        ("context.drawn + 1", "Bool"),
        ("context.drawn +", "unexpected token"),
    ],
)
def test_validation_says_what_is_wrong_with_a_broken_text(text, words):
    (sentence,) = validation.check([policy(HOLDS), policy(text, name="b")], [plans.TOKENS, x_feature()])
    assert words in sentence


def test_validation_names_the_policy_and_the_line():
    (sentence,) = validation.check([policy(HOLDS), policy("principal.x", name="b")], [x_feature()])
    assert sentence.startswith("plans/pro.yaml:1: plan/pro/x/b: ")


def test_two_policies_with_one_id_are_refused_though_cedar_takes_them():
    assert validation.check([policy(HOLDS), policy(FAILS)], [x_feature()]) == (
        'Two policies have the id "plan/pro/x/permit".',
    )


def x_feature():
    return msgspec.structs.replace(plans.VOICE, id="x")


def test_what_was_parsed_may_be_forgotten_between_any_two_questions(monkeypatch):
    monkeypatch.setattr(limits, "PARSED_ALIVE", 1)
    asked, parts = Engine(), [part(policy(HOLDS)), part(policy(FAILS)), part(policy(ERRS))]
    once = [[asked.evaluate(each, GOOD, ONE) for each in parts] for _ in range(3)]
    assert once[0] == once[1] == once[2]
    assert [verdict.outcome for verdict in once[0]] == ["allowed", "denied", "indeterminate"]
    assert [asked.probe(each, GOOD, ONE) for each in parts] == [(True,), (False,), (None,)]
    gc.collect()
    mine = {id(each.clauses) for each in parts}
    parsed = [one for one in gc.get_objects() if isinstance(one, Parsed) and id(one.clauses) in mine]
    assert len(parsed) == 1
