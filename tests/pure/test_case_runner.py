"""Table tests are decided by the rules that decide about tenants, and what differs is said in words."""

import pytest
from click.testing import CliRunner

from policies import case_runner, proof
from policies.compiler.build import compile_catalog
from service.cli.catalog_test_command import test_catalog as command

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
    context: [region]
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
  limits: {a: 1, b: "x"}
  hours:
    included: 5
    interval: month
    overage: {upTo: 2, model: perUnit, unitAmount: "1.00"}
    caps: [{limit: 4, interval: day}, {limit: 1, interval: hour, per: entity}]
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
GUARD = """\
@id("region")
@reason("Not there.")
forbid (principal, action, resource == Feature::"hours")
when { context.request has region && context.request.region == "kp" };
"""
FILES = {
    "features.yaml": FEATURES, "plans/pro.yaml": PLAN, "addons/pack.yaml": ADDON, "guards/g.cedar": GUARD,
}  # fmt: skip


EXPIRED = (
    "{plan: pro, at: 2026-03-01T00:00:00Z, usage: {hours: 5}, "
    "grants: [{feature: hours, quantity: 3, expiresAt: 2026-03-01T00:00:00Z}]}"
)


def written(*cases):
    lines = "".join(
        f"  - name: case {number}\n    given: {given}\n    when: {when}\n    expect: {expect}\n"
        for number, (given, when, expect) in enumerate(cases)
    )
    return FILES | ({"tests/pro.yaml": f"cases:\n{lines}"} if cases else {})


def run(*cases):
    done = compile_catalog(written(*cases))
    assert done.catalog is not None, [finding.render() for finding in done.findings]
    return case_runner.run(done.catalog, done.cases)


def test_what_a_case_gives_is_what_is_decided_on():
    tested = run(
        ("{plan: pro, usage: {hours: '4.99'}}", "{feature: hours, quantity: '0.01'}",
         "{allowed: true, reason: within_limit, remaining: '0.01', granted: 5, limit: 7}"),
        ("{plan: pro, addons: {pack: 2}, usage: {hours: 7}}", "{feature: hours, quantity: 1}",
         "{allowed: true, reason: in_overage, granted: 7, limit: 9}"),
        ("{plan: pro, usage: {hours: 5}, billingStatus: restricted}", "{feature: hours, quantity: 1}",
         "{allowed: false, reason: payment_required}"),
        ("{plan: pro, usage: {hours: 5}, trial: true}", "{feature: hours, quantity: 1}",
         "{allowed: false, reason: limit_reached, message: after the trial}"),
        ("{plan: pro, capUsage: {hours: {day: 4}}}", "{feature: hours, quantity: 1}",
         "{allowed: false, reason: cap_reached, message: Daily cap}"),
        ("{plan: pro, entityUsage: {ada: {hours: {hour: 1}}}}", "{feature: hours, quantity: 1, entity: ada}",
         "{allowed: false, reason: cap_reached, message: per entity}"),
        ("{plan: pro, entityUsage: {ada: {hours: {hour: 1}}}}", "{feature: hours, quantity: 1, entity: bob}",
         "{allowed: true, reason: within_limit}"),
        ("{plan: pro, usage: {hours: 5}, grants: [{feature: hours, quantity: 3}]}",
         "{feature: hours, quantity: 1}", "{allowed: true, reason: within_limit, remaining: 3, granted: 8}"),
        (EXPIRED, "{feature: hours, quantity: 1}", "{allowed: true, reason: in_overage, granted: 5}"),
        ("{plan: pro, overrides: {hours: {included: unlimited}}}", "{feature: hours, quantity: 1}",
         "{allowed: true, reason: within_limit, limit: unlimited, remaining: unlimited}"),
        ("{plan: pro, overrides: {sso: {value: false}}}", "{feature: sso}",
         "{allowed: false, reason: feature_not_in_plan}"),
        ("{plan: pro}", "{feature: weight, quantity: '1.5'}",
         "{allowed: true, reason: value, value: '1.5', limit: '1.5'}"),
        ("{plan: pro}", "{feature: limits}", "{allowed: true, reason: value, value: {b: x, a: 1}}"),
        ("{plan: pro, context: {region: kp}}", "{feature: hours, quantity: 1}",
         "{allowed: false, reason: guard, policyId: region, outcome: denied}"),
        ("{}", "{feature: hours, quantity: 1}", "{allowed: false, reason: no_subscription}"),
    )  # fmt: skip
    assert [(one.name, one.sentence()) for one in tested.failed] == []
    assert len(tested.results) == 15


@pytest.mark.parametrize(
    ("expect", "field", "expected", "got"),
    [
        ("{allowed: false, reason: within_limit}", "allowed", "false", "true"),
        ("{allowed: true, reason: in_overage}", "reason", "in_overage", "within_limit"),
        ("{allowed: true, reason: within_limit, outcome: denied}", "outcome", "denied", "allowed"),
        ("{allowed: true, reason: within_limit, remaining: 2}", "remaining", "2", "1,234.5"),
        ("{allowed: true, reason: within_limit, limit: 1}", "limit", "1", "unlimited"),
        ("{allowed: true, reason: within_limit, granted: 1}", "granted", "1", "1,235"),
        ("{allowed: true, reason: within_limit, policyId: x}", "policyId", "x", "plan/pro/hours/included"),
        ("{allowed: true, reason: within_limit, message: no such}", "message", 'with "no such"', None),
    ],
)
def test_each_expectation_that_is_not_met_is_told_with_what_came_instead(expect, field, expected, got):
    given = "{plan: pro, overrides: {hours: {included: 1_235, upTo: unlimited}}, usage: {hours: '0.5'}}"
    tested = run((given, "{feature: hours, quantity: 1}", expect))
    (result,) = tested.failed
    (difference,) = result.differences
    assert (difference.field, difference.expected) == (field, expected)
    assert got is None or difference.got == got
    assert result.sentence().startswith(f"expected {field} {expected}, got ")
    assert "decided by plan/pro/hours/included, plans/pro.yaml:10" in result.sentence()


def test_a_value_that_is_another_is_told():
    tested = run(("{plan: pro}", "{feature: weight}", "{allowed: true, reason: value, value: '1.6'}"))
    assert tested.failed[0].sentence().startswith("expected value 1.6, got 1.5 ")


# --- coverage ------------------------------------------------------------------------------------


def uncovered(*cases):
    return [(rule.policy_id, rule.kind) for rule in run(*cases).coverage.uncovered]


ALL = [
    ("plan/pro/hours/included", None), ("plan/pro/hours/included", "billing"),
    ("plan/pro/hours/included", "cap"), ("plan/pro/hours/included", "cap"),
    ("plan/pro/hours/included", "limit"),
    ("plan/pro/hours/overage", None), ("plan/pro/hours/overage", "billing"),
    ("plan/pro/hours/overage", "trial"), ("plan/pro/hours/overage", "cap"), ("plan/pro/hours/overage", "cap"),
    ("plan/pro/hours/overage", "limit"),
    ("plan/pro/limits", None), ("plan/pro/limits", "billing"),
    ("plan/pro/sso", None), ("plan/pro/sso", "billing"), ("plan/pro/sso", "entitled"),
    ("plan/pro/weight", None), ("plan/pro/weight", "billing"), ("plan/pro/weight", "value"),
    ("region", None),
]  # fmt: skip
HOURS = "{feature: hours, quantity: 1}"
DENIED = "{allowed: false, reason: limit_reached}"


def test_without_tests_nothing_is_covered_and_a_catalog_without_rules_is():
    assert uncovered() == ALL
    assert run().coverage.percent == 0
    assert case_runner.Coverage(rules=0).percent == 100


@pytest.mark.parametrize(
    ("given", "when", "covers"),
    [
        ("{plan: pro}", HOURS, [("plan/pro/hours/included", None)]),
        ("{plan: pro, usage: {hours: 5}}", HOURS,
         [("plan/pro/hours/included", "limit"), ("plan/pro/hours/overage", None)]),
        ("{plan: pro, usage: {hours: 7}}", HOURS,
         [("plan/pro/hours/included", "limit"), ("plan/pro/hours/overage", "limit")]),
        ("{plan: pro, usage: {hours: 5}, trial: true}", HOURS,
         [("plan/pro/hours/included", "limit"), ("plan/pro/hours/overage", "trial")]),
        ("{plan: pro, capUsage: {hours: {day: 4}}}", HOURS,
         [("plan/pro/hours/included", "cap"), ("plan/pro/hours/overage", "cap")]),
        ("{plan: pro, billingStatus: paused}", HOURS,
         [("plan/pro/hours/included", "billing"), ("plan/pro/hours/overage", "billing")]),
        ("{plan: pro, context: {region: kp}, usage: {hours: 7}}", HOURS, [("region", None)]),
        ("{plan: pro, overrides: {sso: {value: false}}}", "{feature: sso}", [("plan/pro/sso", "entitled")]),
        ("{plan: pro}", "{feature: weight, quantity: 2}", [("plan/pro/weight", "value")]),
        ("{}", HOURS, []),
    ],
)  # fmt: skip
def test_a_rule_is_covered_by_a_case_that_it_decides(given, when, covers):
    left = uncovered((given, when, DENIED))
    assert len(ALL) - len(left) == len(covers)
    assert [rule for rule in ALL if rule not in left or ALL.count(rule) > left.count(rule)] == [
        rule for rule in ALL if rule in covers
    ]


def test_a_rule_is_told_with_its_line():
    sentences = [rule.sentence() for rule in run().coverage.uncovered]
    assert "plans/pro.yaml:13: plan/pro/hours/overage: no test is refused by a trial" in sentences
    assert "guards/g.cedar:1: region: decides no test" in sentences


# --- findings and the command --------------------------------------------------------------------

FAILS = ("{plan: pro}", HOURS, DENIED)
PASSES = ("{plan: pro}", HOURS, "{allowed: true, reason: within_limit}")


def test_a_test_that_fails_is_an_error_at_its_place():
    files = written(PASSES, FAILS)
    (finding,) = proof.prove(compile_catalog(files), files).findings
    assert (finding.path, finding.line, finding.column) == ("tests/pro.yaml", 6, 3)
    assert (finding.severity, finding.slug, finding.name) == ("error", "test-failed", "case 1")
    assert finding.render().splitlines()[1:] == ["    6 |   - name: case 1", "      |   ^~~~~~~~~~~~~~"]


def invoke(tmp_path, files, *words):
    for path, text in files.items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    return CliRunner().invoke(command, [str(tmp_path), *words])


def test_the_command_says_what_passed_and_what_is_covered(tmp_path):
    done = invoke(tmp_path, written(PASSES))
    assert done.exit_code == 0
    assert done.output.endswith("1 of 1 test passed; 1 of 20 rules covered, 5 %.\n")


def test_the_command_fails_with_a_test_and_says_why(tmp_path):
    done = invoke(tmp_path, written(PASSES, FAILS))
    assert done.exit_code == 1
    assert done.output.startswith(
        "tests/pro.yaml:6: failed: case 1\n"
        "    allowed: expected false, got true\n"
        "    reason: expected limit_reached, got within_limit\n"
        "    decided by plan/pro/hours/included, plans/pro.yaml:10: 5 of 5 hours left until 2026-02-01\n"
    )


def test_the_command_fails_below_the_coverage_that_is_asked_for(tmp_path):
    assert invoke(tmp_path, written(PASSES), "--min-coverage", "5").exit_code == 0
    done = invoke(tmp_path, written(PASSES), "--min-coverage", "6")
    assert done.exit_code == 1
    assert done.output.endswith("At least 6 % have to be.\n")


def test_the_command_runs_nothing_where_the_files_have_errors(tmp_path):
    done = invoke(tmp_path, written(PASSES) | {"plans/pro.yaml": "plan: pro\n"})
    assert done.exit_code == 1
    assert done.output.endswith("The plan files have errors; no test was run.\n")
    assert '"passed": 0' in invoke(tmp_path, {}, "--json").output
