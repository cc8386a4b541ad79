"""Table tests become cases: every field lands where it belongs, quantities in the unit that counters have."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from policies.cases import Expect, Given, GivenGrant, GivenOverride, TableCase, When
from policies.compiler import build, cedar

CATALOG = Path(build.__file__).parents[1] / "catalog"

FEATURES = """\
features:
  sso: {type: boolean, name: Single sign-on}
  weight: {type: static, valueType: decimal, decimals: 1, name: Weight}
  limits: {type: static, valueType: object, name: Limits}
  hours:
    type: metered
    name: Hours
    unit: hour
    decimals: 2
    entity: optional
    context: [region, device]
"""
PLAN = """\
plan: pro
name: Pro
currency: usd
price: "9.00"
interval: month
features:
  sso: true
  weight: "1.5"
  limits: {a: 1}
  hours: {included: 5, caps: [{limit: 2, interval: day}, {limit: 1, interval: hour, per: entity}]}
"""
ADDON = """\
addon: pack
name: Pack
currency: usd
price: "1.00"
interval: month
for: [pro]
features: {hours: {included: 1}}
"""


def compiled(cases):
    files = {"features.yaml": FEATURES, "plans/pro.yaml": PLAN, "addons/pack.yaml": ADDON}
    return build.compile_catalog(files | {"tests/pro.yaml": "cases:\n" + cases})


def test_a_case_has_everything_that_its_file_says():
    made = compiled("""\
  - name: all of it
    given:
      plan: pro
      addons: {pack: 2}
      billingStatus: grace
      trial: true
      usage: {hours: "1.25"}
      capUsage: {hours: {day: "0.5"}}
      entityUsage: {ada: {hours: {hour: 1}}}
      grants:
        - {feature: hours, quantity: 3, priority: 50, effectiveAt: 2026-11-22T10:00:00+01:00}
        - {feature: hours, quantity: "0.01", expiresAt: 2026-12-01T00:00:00Z}
      overrides:
        hours: {included: unlimited, upTo: 7}
        sso: {value: false}
        weight: {value: "2.5"}
        limits: {value: {b: 2, a: 1}}
      metadata: {agreement.ai: signed}
      at: 2026-11-22T10:00:00Z
      context: {device: phone}
    when: {feature: hours, quantity: "0.75", entity: ada, context: {region: eu}}
    expect:
      allowed: false
      reason: cap_reached
      outcome: denied
      remaining: "3.75"
      limit: unlimited
      granted: 5
      policyId: plan/pro/hours/included
      message: an hour
""")
    assert made.findings == ()
    assert made.cases[0].given.grants[0].effective_at.tzinfo is UTC
    assert made.cases == (
        TableCase(
            name="all of it",
            source="tests/pro.yaml:2",
            given=Given(
                plan_id="pro",
                addons={"pack": 2},
                billing_status="grace",
                trial=True,
                usage={"hours": 125},
                cap_usage={"hours": {"day": 50}},
                entity_usage={"ada": {"hours": {"hour": 100}}},
                grants=(
                    GivenGrant(
                        feature_id="hours",
                        quantity=300,
                        priority=50,
                        effective_at=datetime(2026, 11, 22, 9, tzinfo=UTC),
                    ),
                    GivenGrant(feature_id="hours", quantity=1, expires_at=datetime(2026, 12, 1, tzinfo=UTC)),
                ),
                overrides={
                    "hours": GivenOverride(included="unlimited", up_to=700),
                    "sso": GivenOverride(value=False),
                    "weight": GivenOverride(value=25),
                    "limits": GivenOverride(value='{"a":1,"b":2}'),
                },
                metadata={"agreement.ai": "signed"},
                at=datetime(2026, 11, 22, 10, tzinfo=UTC),
            ),
            when=When(
                feature_id="hours",
                quantity=75,
                entity_id="ada",
                context={"device": "phone", "region": "eu"},
            ),
            expect=Expect(
                allowed=False,
                reason="cap_reached",
                outcome="denied",
                remaining=375,
                limit="unlimited",
                granted=500,
                policy_id="plan/pro/hours/included",
                message="an hour",
            ),
        ),
    )


def test_what_is_left_out_is_as_usual_and_one_unit_is_asked_for():
    (case,) = compiled("""\
  - name: little
    given: {}
    when: {feature: hours}
    expect: {allowed: false, reason: no_subscription}
""").cases
    assert case.given == Given()
    assert case.when == When(feature_id="hours", quantity=100)
    assert case.expect == Expect(allowed=False, reason="no_subscription")


@pytest.mark.parametrize(
    ("feature", "said", "value"),
    [("weight", '"1.5"', 15), ("limits", "{b: 2, a: yes}", '{"a":"yes","b":2}')],
)
def test_an_expected_value_has_the_form_that_terms_have(feature, said, value):
    (case,) = compiled(f"""\
  - name: a value
    given: {{plan: pro}}
    when: {{feature: {feature}}}
    expect: {{allowed: true, reason: value, value: {said}}}
""").cases
    assert case.expect.value == value


def test_add_ons_in_a_list_are_held_once():
    (case,) = compiled("""\
  - name: a list
    given: {plan: pro, addons: [pack]}
    when: {feature: hours}
    expect: {allowed: true, reason: within_limit}
""").cases
    assert case.given.addons == {"pack": 1}


def test_cases_are_no_part_of_the_catalog_and_of_its_meaning():
    case = """\
  - name: any
    given: {plan: pro}
    when: {feature: hours}
    expect: {allowed: true, reason: within_limit}
"""
    one, two = compiled(case), compiled(case.replace("any", "another"))
    assert one.catalog.plans == two.catalog.plans
    assert one.catalog.hash != two.catalog.hash, "a catalog is named by its text, and so are its tests"


def test_a_case_that_is_wrong_refuses_the_catalog_and_leaves_no_cases():
    made = compiled("  - name: nothing else\n")
    assert made.catalog is None
    assert made.cases == ()


def test_the_bundled_cases_allow_each_permit_of_each_plan_and_deny_where_a_clause_can_fail():
    files = {path.relative_to(CATALOG).as_posix(): path.read_text() for path in CATALOG.rglob("*.yaml")}
    made = build.compile_catalog(files)
    allowed = {
        (case.given.plan_id, case.when.feature_id, case.expect.reason)
        for case in made.cases
        if case.expect.allowed
    }
    denied = {(case.given.plan_id, case.when.feature_id) for case in made.cases if not case.expect.allowed}
    for plan in made.catalog.plans.values():
        for feature_id in plan.terms:
            permits = cedar.policies(plan, feature_id)
            assert {(plan.plan_id, feature_id, permit.reason) for permit in permits} <= allowed
            assert not permits[-1].clauses or (plan.plan_id, feature_id) in denied
