"""A plan version reads as Cedar that people can check, that Cedar accepts, and that no name can bend."""

import json
import re
from pathlib import Path

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import engine, limits, validation
from policies.compiler import build, cedar, cedar_schema
from policies.errors import NotFoundError
from policies.model import BooleanTerms, Cap, Feature, StaticTerms
from tests.pure import plans

GOLDEN = """\
@id("plan/pro/ai-tokens/included")
@source("plans/pro.yaml:14")
@reason("within_limit")
permit (
  principal is Tenant,
  action == Action::"use",
  resource == Feature::"ai-tokens"
)
when { [BillingStatus::"good", BillingStatus::"grace", BillingStatus::"restricted"].contains(principal.billingStatus) }
when { context.caps.c1 + context.requested <= 100000 }
when { context.caps.c2 + context.requested <= 20000 }
when { principal.unlimited || context.drawn + context.requested <= 1000000 + principal.extra };

@id("plan/pro/ai-tokens/overage")
@source("plans/pro.yaml:18")
@reason("in_overage")
permit (
  principal is Tenant,
  action == Action::"use",
  resource == Feature::"ai-tokens"
)
when { [BillingStatus::"good", BillingStatus::"grace"].contains(principal.billingStatus) }
when { !principal.trial }
when { context.caps.c1 + context.requested <= 100000 }
when { context.caps.c2 + context.requested <= 20000 }
when { principal.unlimitedOverage || context.drawn + context.requested <= 1000000 + 4000000 + principal.extraLimit };
"""  # noqa: E501 - the text as people see it

numbers = st.integers(0, limits.COUNTER_MAX)
metered_terms = st.builds(
    lambda included, overage, up_to, caps: plans.metered(
        included,
        overage=overage and included is not None,
        up_to=up_to if overage and included is not None else None,
        caps=caps,
    ),
    st.none() | numbers,
    st.booleans(),
    st.none() | numbers,
    st.lists(numbers, max_size=limits.CAPS),
)
any_text = st.text(max_size=30)


CATALOG = Path(build.__file__).parents[1] / "catalog"


def bundled():
    """The example catalog as it ships."""
    files = {str(path.relative_to(CATALOG)): path.read_text() for path in CATALOG.rglob("*.yaml")}
    made = build.compile_catalog(files)
    assert made.catalog is not None
    return made.catalog


def without_sources(text):
    return re.sub(r"@source.*\n", "", text)


def compiled(plan):
    return [policy for feature_id in plan.terms for policy in cedar.policies(plan, feature_id)]


def kinds(policy):
    return [clause.kind for clause in policy.clauses]


# --- the text ------------------------------------------------------------------------------------


def test_a_metered_feature_with_overage_reads_exactly_like_this():
    assert cedar.show_policy(plans.pro(), "ai-tokens") == GOLDEN


def test_the_bundled_plan_reads_so_too_and_its_sources_point_to_the_right_lines():
    pro = bundled().plans["pro"]
    shown = cedar.show_policy(pro, "ai-tokens")
    assert without_sources(shown) == without_sources(GOLDEN)
    lines = (CATALOG / "plans/pro.yaml").read_text().splitlines()
    pointed = [
        [
            lines[int(clause.source.removeprefix("plans/pro.yaml:")) - 1].split("#")[0].strip()
            for clause in clauses
        ]
        for clauses in (policy.clauses for policy in cedar.policies(pro, "ai-tokens"))
    ]
    caps = ["- {limit: 100_000, interval: day}", "- {limit: 20_000, interval: day, per: entity}"]
    assert pointed == [
        ["ai-tokens:", *caps, "included: 1_000_000"],
        ["overage:", "overage:", *caps, "overage:"],
    ]


def test_every_bundled_plan_passes_strict_validation_and_is_canonical():
    for plan in bundled().plans.values():
        assert validation.validate(plan) == ()
        text = cedar.text(compiled(plan))
        assert cedarpy.format_policies(text, cedar.FORMAT_WIDTH, 2) == text


def test_a_boolean_asks_for_billing_and_that_nothing_took_it_away_and_what_is_always_on_asks_for_nothing():
    shown = cedar.show_policy(plans.pro(), "premium-voice-model")
    assert shown.count("when") == 2
    assert "when { principal.entitled }" in shown
    assert "restricted" in shown
    assert "when" not in cedar.show_policy(plans.pro(), "data-region")


def test_a_static_number_bounds_the_quantity_and_a_static_text_does_not():
    (projects,) = cedar.policies(plans.pro(), "max-projects")
    assert projects.clauses[-1].text == "context.drawn + context.requested <= 50 + principal.extra"
    assert projects.clauses[-1].reason == "value_exceeded"
    (region,) = cedar.policies(plans.pro(), "data-region")
    assert (region.reason, region.clauses) == ("value", ())


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (plans.metered(None), [["billing", "limit"]]),
        (plans.metered(10), [["billing", "limit"]]),
        (plans.metered(10, caps=[5, 7]), [["billing", "cap", "cap", "limit"]]),
        (plans.metered(10, overage=True), [["billing", "limit"], ["billing", "trial", "limit"]]),
        (
            plans.metered(10, up_to=5, caps=[3]),
            [["billing", "cap", "limit"], ["billing", "trial", "cap", "limit"]],
        ),
    ],
)
def test_clauses_stand_in_the_order_in_which_their_reasons_count(terms, expected):
    plan = plans.plan((plans.TOKENS,), {"ai-tokens": terms})
    assert [kinds(policy) for policy in cedar.policies(plan, "ai-tokens")] == expected


def test_what_is_always_on_still_has_to_be_paid_for_beyond_what_the_plan_includes():
    always = Feature(id="logs", type="metered", name="Logs", source="features.yaml:1", always=True)
    plan = plans.plan((always,), {"logs": plans.metered(10, up_to=5)})
    assert [kinds(policy) for policy in cedar.policies(plan, "logs")] == [
        ["limit"],
        ["billing", "trial", "limit"],
    ]


@given(metered_terms)
def test_every_clause_points_to_its_own_line_of_the_plan(terms):
    plan = plans.plan((plans.TOKENS,), {"ai-tokens": terms})
    for policy in cedar.policies(plan, "ai-tokens"):
        by_kind = {clause.kind: clause for clause in policy.clauses if clause.kind != "cap"}
        caps = [clause for clause in policy.clauses if clause.kind == "cap"]
        assert [clause.source for clause in caps] == [cap.source for cap in terms.caps]
        assert [clause.cap for clause in caps] == list(range(len(terms.caps)))
        if policy.id.endswith("/included"):
            assert policy.source == terms.source
            assert "limit" not in by_kind or by_kind["limit"].source == terms.included_source
        else:
            assert {clause.source for clause in by_kind.values()} == {policy.source} == {terms.overage.source}


@given(metered_terms)
def test_a_clause_says_which_variables_it_reads(terms):
    plan = plans.plan((plans.TOKENS,), {"ai-tokens": terms})
    for policy in cedar.policies(plan, "ai-tokens"):
        for clause in policy.clauses:
            assert re.findall(r"(?:principal|context)(?:\.\w+)+", clause.text) == list(clause.reads)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("restricted", "payment_required"),
        ("suspended", "payment_required"),
        ("pending", "pending"),
        ("paused", "paused"),
        ("ended", "subscription_ended"),
    ],
)
def test_a_billing_clause_fails_for_the_reason_that_the_status_gives_and_others_for_their_own(status, reason):
    billing, cap, *_ = cedar.policies(plans.pro(), "ai-tokens")[0].clauses
    assert cedar.failure(billing, status) == reason
    assert cedar.failure(cap, status) == "cap_reached"


# --- what Cedar says of it -----------------------------------------------------------------------


@given(st.lists(metered_terms, min_size=1, max_size=4))
def test_the_text_of_any_plan_is_canonical_and_passes_strict_validation(many):
    features = [
        Feature(id=f"f{place}", type="metered", name="F", source="features.yaml:1", context=("region",))
        for place in range(len(many))
    ]
    plan = plans.plan(features, {f"f{place}": terms for place, terms in enumerate(many)})
    assert validation.validate(plan) == ()
    text = cedar.text(compiled(plan))
    assert cedarpy.format_policies(text, cedar.FORMAT_WIDTH, 2) == text


def test_the_text_of_every_type_of_feature_is_canonical_and_valid():
    text = cedar.text(compiled(plans.pro()))
    assert validation.validate(plans.pro()) == ()
    assert cedarpy.format_policies(text, cedar.FORMAT_WIDTH, 2) == text


def test_a_plan_without_features_is_valid():
    assert validation.validate(plans.plan()) == ()


@given(metered_terms)
def test_every_number_of_a_plan_is_a_condition_of_a_permit_and_nothing_forbids(terms):
    """Law 3: Cedar skips a `forbid` that errs, so a limit there would fail open."""
    plan = plans.plan((plans.TOKENS,), {"ai-tokens": terms})
    parsed = json.loads(cedarpy.policies_to_json_str(cedar.show_policy(plan, "ai-tokens")))
    permits = list(parsed["staticPolicies"].values())
    assert {policy["effect"] for policy in permits} == {"permit"}
    for policy in permits:
        conditions = json.dumps(policy["conditions"])
        literals = {int(found) for found in re.findall(r'"Value": (\d+)', conditions)}
        needed = {cap.limit for cap in terms.caps}
        if policy["annotations"]["id"].endswith("/included"):
            needed |= set() if terms.included is None else {terms.included}
        else:
            needed |= {terms.included} | ({terms.overage.up_to} - {None})
        assert literals == needed


@given(any_text, any_text, any_text)
def test_no_name_gets_out_of_its_quotes(plan_id, feature_id, source):
    hostile = Feature(id=feature_id, type="boolean", name="x", source=source, context=(source,))
    plan = plans.plan((hostile,), {feature_id: BooleanTerms(source=source)}, plan_id=plan_id)
    parsed = json.loads(cedarpy.policies_to_json_str(cedar.show_policy(plan, feature_id)))
    (policy,) = parsed["staticPolicies"].values()
    assert policy["annotations"] == {
        "id": f"plan/{plan_id}/{feature_id}",
        "source": source,
        "reason": "included",
    }
    assert policy["resource"]["entity"] == {"type": "Feature", "id": feature_id}
    assert validation.validate(plan) == ()


def test_a_name_that_is_cedar_is_only_a_name():
    hostile = '") permit (principal, action, resource); //'
    plan = plans.plan(
        (Feature(id=hostile, type="boolean", name="x", source="f"),), {hostile: BooleanTerms(source=hostile)}
    )
    assert len(cedarpy.PolicySet.from_str(cedar.show_policy(plan, hostile))) == 1


# --- what the compiler refuses -------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [-1, cedar.LITERAL_MAX + 1, 2**63])
@pytest.mark.parametrize("place", ["included", "overage", "cap", "value"])
def test_a_number_that_could_leave_64_bits_is_a_sentence_and_not_a_policy(wrong, place):
    cap = Cap(source="plans/pro.yaml:9", limit=wrong, interval="day")
    terms = {
        "included": plans.metered(wrong),
        "overage": plans.metered(0, up_to=wrong),
        "cap": plans.MeteredTerms(source="p:1", included=1, included_source="p:1", caps=(cap,)),
        "value": StaticTerms(source="p:1", value=wrong, display="x"),
    }[place]
    feature = plans.PROJECTS if place == "value" else plans.TOKENS
    plan = plans.plan((feature, plans.VOICE), {feature.id: terms, plans.VOICE.id: BooleanTerms(source="p:2")})
    (sentence,) = validation.validate(plan)
    assert "a limit is between 0 and" in sentence
    with pytest.raises(ValueError, match="a limit is between"):
        cedar.policies(plan, feature.id)


def test_included_and_overage_are_bounded_together():
    half = cedar.LITERAL_MAX // 2 + 1
    plan = plans.plan((plans.TOKENS,), {"ai-tokens": plans.metered(half, up_to=half)})
    assert len(validation.validate(plan)) == 1


def test_the_largest_numbers_still_add_up_inside_64_bits():
    terms = plans.metered(cedar.LITERAL_MAX - 5, up_to=5, caps=[cedar.LITERAL_MAX])
    plan = plans.plan((plans.TOKENS,), {"ai-tokens": terms})
    asked = engine.Engine()
    most = cedar.VARIABLE_MAX
    question = engine.Question(drawn=most, requested=limits.REQUESTED_MAX, caps=(most,))
    facts = engine.Facts(billing_status="good", trial=False, extra=most)
    assert asked.evaluate(asked.slice(plan, plan.features["ai-tokens"]), facts, question).outcome == "allowed"


def test_to_show_what_the_plan_does_not_give_is_an_error_with_a_sentence():
    with pytest.raises(NotFoundError, match='"pro" does not give the feature "seats"'):
        cedar.show_policy(plans.pro(), "seats")


# --- the schema ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("good", "broken"),
    [
        ('Feature::"ai-tokens"', 'Feature::"ai-tokenz"'),
        ('BillingStatus::"grace"', 'BillingStatus::"gracious"'),
        ("principal.trial", "principal.trail"),
        ("context.caps.c1", "context.caps.c9"),
        ("context.drawn", 'context.request["region"]'),
        ("context.drawn", "context.request.country"),
        ('Action::"use"', 'Action::"abuse"'),
    ],
)
def test_the_schema_knows_every_word_that_a_policy_may_use(good, broken):
    plan = plans.pro()
    assert good in GOLDEN
    schema = cedar_schema.schema(plan.features.values())
    assert cedarpy.validate_policies(GOLDEN, schema).validation_passed
    assert not cedarpy.validate_policies(GOLDEN.replace(good, broken), schema).validation_passed


def test_declared_context_keys_are_optional_texts_of_the_request():
    guard = GOLDEN.replace("!principal.trial", 'context.request has region && context.request.region == "eu"')
    schema = cedar_schema.schema(plans.pro().features.values())
    assert cedarpy.validate_policies(guard, schema).validation_passed
