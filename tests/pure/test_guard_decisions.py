"""Guards in decisions: they outrank every right, and one that errs opens nothing (R2)."""

import msgspec
import pytest

from policies import decide
from policies.balance import Levels
from policies.engine import Engine
from policies.model import BooleanTerms, Guard
from tests.pure import plans

VOICE = BooleanTerms(source="plans/pro.yaml:10")


def guard(condition, guard_id="g"):
    """As nothing that was read from a file can be: its condition is not looked at."""
    text = f'@id("{guard_id}") @reason("No.") forbid (principal, action, resource) when {{ {condition} }};'
    return Guard(id=guard_id, source="guards/g.cedar:1", text=text, reason="No.")


def decided(right, levels=None, **context):
    request = decide.Request(feature_id=right.feature_id, quantity=1, context=context)
    return decide.decide(
        Engine(), right, request, levels, now=plans.NOW, decision_id="dec_1", catalog_hash="sha256:0"
    )


ERRS = 'principal.getTag("none") == "x"'
MISSING = 'Tenant::"other".trial'
OVERFLOWS = "9223372036854775807 + 1 > 0"


@pytest.mark.parametrize("condition", [ERRS, MISSING, OVERFLOWS])
@pytest.mark.parametrize("stance", ["allow", "deny", "lastKnown"])
def test_a_guard_that_errs_opens_nothing_whatever_the_feature_says(condition, stance):
    feature = msgspec.structs.replace(plans.TOKENS, when_unavailable=stance)
    open_ = plans.right(plans.metered(), feature)
    assert decided(open_, Levels()).allowed is True
    erring = plans.right(plans.metered(), feature, guards=(guard(condition),))
    answer = decided(erring, Levels())
    assert (answer.allowed, answer.outcome, answer.degraded) == (False, "indeterminate", True)


@pytest.mark.parametrize("condition", [ERRS, MISSING, OVERFLOWS])
@pytest.mark.parametrize("stance", ["allow", "deny", "lastKnown"])
def test_nor_does_it_while_the_counters_cannot_be_read(condition, stance):
    feature = msgspec.structs.replace(plans.TOKENS, when_unavailable=stance)
    right = plans.right(plans.metered(), feature, guards=(guard(condition),))
    request = decide.Request(feature_id=feature.id, quantity=1)
    answer = decide.unavailable(
        Engine(), right, request, Levels(), now=plans.NOW, decision_id="dec_1", catalog_hash="sha256:0"
    )
    assert (answer.allowed, answer.outcome, answer.degraded) == (False, "indeterminate", True)


def test_the_refusal_of_a_guard_that_errs_is_not_put_down_to_the_feature():
    feature = msgspec.structs.replace(plans.TOKENS, when_unavailable="allow")
    answer = decided(plans.right(plans.metered(), feature, guards=(guard(ERRS),)), Levels())
    assert answer.message == "Could not be decided: a guard failed, so it is refused"


def test_a_guard_that_holds_stands_beside_one_that_errs():
    both = (guard(ERRS, "broken"), guard("true", "holds"))
    answer = decided(plans.right(VOICE, plans.VOICE, guards=both))
    assert (answer.allowed, answer.outcome, answer.reason) == (False, "denied", "guard")
    assert answer.reasons[0].policy_id == "holds"


@pytest.mark.parametrize("key", ["plan", "ai", "costly", "always"])
def test_what_a_caller_says_never_stands_in_for_what_the_catalog_says(key):
    """Even where the feature takes a key of that very name (law 10)."""
    feature = msgspec.structs.replace(plans.VOICE, ai=True, context=(key,))
    refuses = guard('context.facts.plan == "pro" && context.facts.ai && !context.facts.costly')
    right = plans.right(VOICE, feature, guards=(refuses,))
    for said in ("", "false", "true", "free"):
        assert decided(right, **{key: said}).reason == "guard"


def test_a_guard_gives_nothing_to_who_has_no_right():
    absent = plans.right(None, plans.VOICE, absence="feature_not_in_plan", guards=(guard("false"),))
    assert decided(absent).reason == "feature_not_in_plan"
