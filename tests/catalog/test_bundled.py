"""The bundled catalog: the example that a company copies, and the fixture of all other tests."""

import re
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

from policies.compiler.build import compile_catalog
from policies.model import BooleanTerms, InvariantRule, MeteredTerms, StaticTerms

CATALOG = Path(__file__).parents[2] / "policies" / "catalog"


FILES = {path.relative_to(CATALOG).as_posix(): path.read_text("utf-8") for path in CATALOG.rglob("*.*")}
YAML_BLOCKS = re.findall(r"```yaml\n(.*?)```", FILES["README.md"], re.DOTALL)


@pytest.fixture(scope="module")
def compiled():
    return compile_catalog(FILES)


def test_it_has_no_findings_not_even_a_warning(compiled):
    assert compiled.findings == ()


def test_its_folder_holds_data_and_one_guide(compiled):
    kinds = {path.suffix for path in CATALOG.rglob("*") if path.is_file()}
    assert kinds == {".yaml", ".cedar", ".md"}


def test_its_plans_are_a_ladder_from_free_to_enterprise(compiled):
    catalog = compiled.catalog
    assert catalog.ladder == ("free", "starter", "pro", "enterprise")
    assert set(catalog.plans) == set(catalog.ladder)
    assert catalog.fallback_plan == "free"


def test_each_step_of_the_ladder_gives_at_least_what_the_one_before_gave(compiled):
    plans = [compiled.catalog.plans[plan_id] for plan_id in compiled.catalog.ladder]
    for lower, upper in pairwise(plans):
        assert lower.terms.keys() <= upper.terms.keys()
        for feature_id, below in lower.terms.items():
            above = upper.terms[feature_id]
            if isinstance(below, MeteredTerms):
                assert above.included is None or above.included >= below.included
            if isinstance(below, StaticTerms) and isinstance(below.value, int):
                assert above.value >= below.value


def test_free_ends_hard_at_ten_thousand_tokens_and_has_no_premium_voice(compiled):
    free = compiled.catalog.plans["free"]
    assert "premium-voice-model" not in free.terms
    tokens = free.terms["ai-tokens"]
    assert (tokens.included, tokens.interval, tokens.overage, tokens.caps) == (10_000, "month", None, ())


def test_pro_is_the_plan_of_the_documentation(compiled):
    pro = compiled.catalog.plans["pro"]
    assert isinstance(pro.terms["premium-voice-model"], BooleanTerms)
    assert (pro.terms["max-projects"].value, pro.terms["data-region"].value) == (50, "us")
    tokens = pro.terms["ai-tokens"]
    assert (tokens.included, tokens.overage.up_to, tokens.overage.model) == (
        1_000_000,
        4_000_000,
        "graduated",
    )
    assert [(tier.up_to, tier.unit_amount, tier.flat_amount) for tier in tokens.overage.tiers] == [
        (1_000_000, "0.00001", "0"),
        (None, "0.000008", "5"),
    ]
    assert [(cap.limit, cap.interval, cap.per) for cap in tokens.caps] == [
        (100_000, "day", "tenant"),
        (20_000, "day", "entity"),
    ]
    assert (pro.price, pro.currency, pro.trial_days, pro.grace_days, pro.restricted_days) == (
        "49",
        "usd",
        14,
        7,
        14,
    )


def test_the_token_pack_adds_half_a_million_tokens_to_starter_and_pro(compiled):
    pack = compiled.catalog.addons["token-pack"]
    assert (pack.plans, pack.price, pack.terms["ai-tokens"].included) == (("pro", "starter"), "9", 500_000)


def test_every_kind_of_invariant_is_shown(compiled):
    invariants = compiled.catalog.invariants
    assert [invariant.rule for invariant in invariants] == list(get_args(InvariantRule))
    assert [invariant.exempt for invariant in invariants if invariant.exempt] == [("enterprise",)]


def example(first):
    """The block of the guide that begins so."""
    (block,) = [block for block in YAML_BLOCKS if block.startswith(first)]
    return block


def test_the_add_on_of_the_guide_is_the_bundled_one(compiled):
    guide = compile_catalog(FILES | {"addons/token-pack.yaml": example("addon:")})
    assert guide.findings == ()
    versions = [each.catalog.addons["token-pack"].version for each in (guide, compiled)]
    assert versions[0] == versions[1]


def test_the_table_test_of_the_guide_is_one():
    guide = compile_catalog(FILES | {"tests/guide.yaml": example("cases:")})
    assert guide.findings == ()
    assert "tests/guide.yaml:2" in {case.source for case in guide.cases}


def test_enterprise_has_tokens_without_limit(compiled):
    assert compiled.catalog.plans["enterprise"].terms["ai-tokens"].included is None


def test_sources_lead_to_the_line_that_says_it(compiled):
    pro = compiled.catalog.plans["pro"]
    said = {
        pro.source: "plan: pro",
        pro.terms["ai-tokens"].source: "ai-tokens:",
        pro.terms["ai-tokens"].included_source: "included: 1_000_000",
        pro.terms["ai-tokens"].overage.source: "overage:",
        pro.terms["ai-tokens"].caps[1].source: "limit: 20_000",
        compiled.catalog.features["api-calls"].source: "api-calls:",
        compiled.catalog.addons["token-pack"].terms["ai-tokens"].included_source: "included: 500_000",
        compiled.catalog.invariants[4].source: "never-errors",
    }
    for source, text in said.items():
        path, line = source.rsplit(":", 1)
        assert text in (CATALOG / path).read_text("utf-8").split("\n")[int(line) - 1]
