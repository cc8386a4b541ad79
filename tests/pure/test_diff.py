"""The diff of two catalogs: every field of every noun is told, and what may be worse is called worse."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from policies import model
from policies.compiler import build
from policies.diff import compare, fields
from policies.diff.change import Bound
from policies.model import Catalog, Noun
from tests.conftest import CATALOG

FILES = {
    path.relative_to(CATALOG).as_posix(): path.read_text()
    for path in CATALOG.rglob("*")
    if path.suffix in (".yaml", ".cedar") and path.parent.name != "tests"
}


def compiled(files: dict[str, str]) -> Catalog:
    done = build.compile_catalog(files)
    assert done.catalog is not None, [finding.render() for finding in done.findings]
    return done.catalog


BEFORE = compiled(FILES)


def edited(*edits: tuple[str, str, str]) -> Catalog:
    files = dict(FILES)
    for path, old, new in edits:
        assert old in files[path], (path, old)
        files[path] = files[path].replace(old, new)
    return compiled(files)


def told(*edits: tuple[str, str, str]) -> list[tuple[str, str]]:
    return [(one.what.effect, one.sentence()) for one in compare.compare(BEFORE, edited(*edits))]


PRO, STARTER, FEATURES, PACK = (
    "plans/pro.yaml",
    "plans/starter.yaml",
    "features.yaml",
    "addons/token-pack.yaml",
)
TRIAL = "trial: {days: 14}"


@pytest.mark.parametrize(
    ("edit", "effect", "sentence"),
    [
        ((PRO, "1_000_000\n", "800_000\n"), "worse", "Pro: ai-tokens included 1,000,000 → 800,000"),
        ((PRO, "1_000_000\n", "1_200_000\n"), "better", "Pro: ai-tokens included 1,000,000 → 1,200,000"),
        ((PRO, "49.00", "59.00"), "worse", "Pro: price 49.00 USD a month → 59.00 USD a month"),
        ((PRO, "49.00", "39.90"), "better", "Pro: price 49.00 USD a month → 39.90 USD a month"),
        ((PRO, TRIAL, "trial: {days: 7}"), "neutral", "Pro: trial of new subscriptions 14 days → 7 days"),
        ((PRO, TRIAL, ""), "neutral", "Pro: trial of new subscriptions 14 days → none"),
        ((PRO, "grace: {days: 7}", "grace: {days: 3}"), "worse", "Pro: grace 7 days → 3 days"),
        (
            (PRO, "restricted: {days: 14}", "restricted: {days: 15}"),
            "better",
            "Pro: restricted use 14 days → 15 days",
        ),
        (
            (PRO, TRIAL, f"{TRIAL}\nattempts: {{days: [0, 3, 8]}}"),
            "neutral",
            "Pro: attempts to collect by default → at once, then after 3, 8 days",
        ),
        ((PRO, "name: Pro", "name: Professional"), "neutral", "Professional: name Pro → Professional"),
        ((PRO, "premium-voice-model: true", ""), "worse", "Pro: premium-voice-model (on) is gone"),
        ((PRO, "max-projects: 50", "max-projects: 40"), "worse", "Pro: max-projects value 50 → 40"),
        ((PRO, "data-region: us", "data-region: eu"), "neutral", "Pro: data-region value us → eu"),
        (
            (PRO, "upTo: 4_000_000", "upTo: 3_000_000"),
            "worse",
            "Pro: ai-tokens overage up to 4,000,000 → 3,000,000",
        ),
        ((PRO, "limit: 100_000", "limit: 90_000"), "worse", "Pro: ai-tokens cap a day 100,000 → 90,000"),
        (
            (PRO, "- {limit: 100_000, interval: day}", ""),
            "better",
            "Pro: ai-tokens cap a day 100,000 is gone",
        ),
        (
            (PRO, "limit: 20_000, interval: day, per: entity", "limit: 30_000, interval: day, per: entity"),
            "better",
            "Pro: ai-tokens cap a day for each entity 20,000 → 30,000",
        ),
        (
            (PRO, 'amount: "0.50"', 'amount: "0.60"'),
            "worse",
            "Pro: api-calls overage price 0.5 for each 1,000 → 0.6 for each 1,000",
        ),
        (
            (PRO, "anchor: subscription ", "anchor: calendar "),
            "neutral",
            "Pro: ai-tokens anchor subscription → calendar",
        ),
        ((PACK, "500_000", "400_000"), "worse", "Token pack: ai-tokens included 500,000 → 400,000"),
        ((PACK, "for: [starter, pro]", "for: [pro]"), "worse", "Token pack: sold with pro, starter → pro"),
        ((FEATURES, "fallbackPlan: free", ""), "worse", "Catalog: plan of who has ended free → none"),
    ],
)
def test_a_change_of_a_field_is_one_sentence_and_says_for_whom_it_is_better(edit, effect, sentence):
    assert told(edit) == [(effect, sentence)]


def test_the_same_catalog_in_other_words_is_no_difference():
    assert told((PRO, "features:", "# what it gives\n\nfeatures:")) == []


def test_plans_that_come_and_go():
    files = dict(FILES)
    del files["plans/pro.yaml"]
    files["plans/team.yaml"] = FILES["plans/starter.yaml"].replace("plan: starter", "plan: team")
    files["features.yaml"] = files["features.yaml"].replace(
        "starter, pro, enterprise", "starter, team, enterprise"
    )
    files["addons/token-pack.yaml"] = files["addons/token-pack.yaml"].replace("starter, pro", "starter, team")
    kinds = {(one.id, one.kind) for one in compare.compare(BEFORE, compiled(files)) if one.subject == "plan"}
    assert kinds == {("pro", "gone"), ("team", "new")}


def test_a_lowered_number_can_be_held_against_usage():
    (change,) = compare.compare(BEFORE, edited((PRO, "upTo: 4_000_000", "upTo: 3_000_000")))
    assert change.what.bound == Bound(
        feature_id="ai-tokens", measure="period", interval="month", anchor="subscription", number=4_000_000
    )
    assert change.plans == ("pro",)


def test_no_overage_any_more_ends_use_at_what_is_included():
    tokens = BEFORE.plans["pro"].terms["ai-tokens"]
    changes = compare.compare(BEFORE, _with_terms(msgspec.structs.replace(tokens, overage=None)))
    (what,) = (one.what for one in changes)
    assert (what.field, what.effect) == ("overage", "worse")
    assert what.bound is not None
    assert what.bound.number == 1_000_000


def test_guards_that_are_new_or_rewritten_may_hit_somebody():
    path = next(path for path in FILES if path.endswith(".cedar"))
    without = {name: text for name, text in FILES.items() if name != path}
    gone = compare.compare(BEFORE, compiled(without))
    back = compare.compare(compiled(without), BEFORE)
    assert [(one.kind, one.what.effect) for one in gone] == [("gone", "better")]
    assert [(one.kind, one.what.effect) for one in back] == [("new", "worse")]
    reason = next(guard.reason for guard in BEFORE.guards if guard.source.startswith(path))
    assert [one[0] for one in told((path, reason, "Ask us."))] == ["neutral"]
    rewritten = told((path, "forbid", "// for whom now?\nforbid"))
    assert [(effect, ": condition " in sentence) for effect, sentence in rewritten] == [("worse", True)]


OTHER: dict[str, object] = {
    "interval": "year",
    "price": "123.45",
    "unit_amount": "123.45",
    "flat_amount": "123.45",
    "minimum": "123.45",
    "amount": "123.45",
    "model": "perUnit",
    "size": 77,
    "attempt_days": (0, 77),
}
"""Where a value has to be one that can be read; else anything that stands not there yet will do."""
NESTED = {
    "features",
    "plans",
    "addons",
    "guards",
    "invariants",
    "terms",
    "overage",
    "rollover",
    "caps",
    "tiers",
}
"""Their own fields are asked for."""
UNSAID = fields.PLACES | NESTED | {"version", "hash", "id", "plan_id", "addon_id"}


def _with_terms(terms: model.MeteredTerms | model.StaticTerms) -> Catalog:
    pro = BEFORE.plans["pro"]
    feature_id = "ai-tokens" if isinstance(terms, model.MeteredTerms) else "max-projects"
    changed = msgspec.structs.replace(pro, terms=dict(pro.terms) | {feature_id: terms})
    return msgspec.structs.replace(BEFORE, plans=BEFORE.plans | {"pro": changed})


def _places() -> list[tuple[Noun, Callable[[Any], Catalog]]]:
    """One noun of each kind that a catalog is made of, and the catalog with another in its place."""
    replace = msgspec.structs.replace
    pro = BEFORE.plans["pro"]
    tokens = pro.terms["ai-tokens"]
    assert isinstance(tokens, model.MeteredTerms)
    assert tokens.overage is not None
    over = tokens.overage
    return [
        (BEFORE, lambda noun: noun),
        (
            BEFORE.features["ai-tokens"],
            lambda noun: replace(BEFORE, features={**BEFORE.features, noun.id: noun}),
        ),
        (pro, lambda noun: replace(BEFORE, plans={**BEFORE.plans, "pro": noun})),
        (BEFORE.addons["token-pack"], lambda noun: replace(BEFORE, addons={"token-pack": noun})),
        (BEFORE.guards[0], lambda noun: replace(BEFORE, guards=(noun, *BEFORE.guards[1:]))),
        (BEFORE.invariants[0], lambda noun: replace(BEFORE, invariants=(noun, *BEFORE.invariants[1:]))),
        (tokens, _with_terms),
        (pro.terms["max-projects"], _with_terms),
        (over, lambda noun: _with_terms(replace(tokens, overage=noun))),
        (over.tiers[0], lambda noun: _with_terms(replace(tokens, overage=replace(over, tiers=(noun,))))),
        (tokens.caps[0], lambda noun: _with_terms(replace(tokens, caps=(noun,)))),
        (
            model.Rollover(source="plans/pro.yaml:20", max=5),
            lambda noun: _with_terms(replace(tokens, rollover=noun)),
        ),
    ]


FIELDS = [
    pytest.param(noun, place, name, id=f"{type(noun).__name__}.{name}")
    for noun, place in _places()
    for name in noun.__struct_fields__
    if name not in UNSAID or (name == "plans" and isinstance(noun, model.AddonVersion))
]


@pytest.mark.parametrize(("noun", "place", "name"), FIELDS)
def test_no_field_changes_in_silence(noun, place, name):
    """A field that a later release adds is told too, without a line of the diff."""
    value = getattr(noun, name)
    by_type: dict[type, object] = {
        str: "another",
        int: 77,
        bool: not value,
        tuple: ("another",),
        type(None): 77,
    }
    changed = msgspec.structs.replace(noun, **{name: OTHER.get(name, by_type[type(value)])})
    assert compare.compare(place(noun), place(changed))
