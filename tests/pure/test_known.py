"""What is known need not be read again: the same findings, catalog and cases at a fraction."""

import ast
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from policies.compiler import build, known, outline, source
from policies.compiler.build import compile_catalog
from policies.compiler.findings import Findings
from policies.compiler.known import Known, Taken
from policies.model import Catalog

COMPILER = Path(build.__file__).parent

FEATURES = """\
features:
  sso: {type: boolean, name: Single sign-on}
  seats: {type: static, valueType: integer, name: Seats}
  region: {type: static, valueType: string, name: Region}
  calls: {type: metered, name: Calls, unit: call, entity: optional}
  tokens: {type: metered, name: Tokens, unit: token}
fallbackPlan: free
ladder: [free, pro]
"""
PLAN = """\
plan: {plan}
name: A plan
currency: usd
price: "9.00"
interval: month
features:
{features}
"""
TIERS = "{model: volume, tiers: [{upTo: 5, unitAmount: '1'}, {unitAmount: '2'}]"
RIGHT = [
    "  sso: true",
    "  sso: false",
    "  seats: 5",
    "  region: us",
    "  calls: {included: 10}",
    "  calls: {included: unlimited, interval: day, anchor: calendar}",
    "  calls: {included: 10, caps: [{limit: 5, interval: day}, {limit: 2, interval: hour, per: entity}]}",
    "  calls: {included: 10, thresholds: [80%]}",
    "  tokens: {included: 10, overage: {model: perUnit, unitAmount: '1', upTo: 10}}",
    f"  tokens: {{included: 9, overage: {TIERS}}}}}",
    f"  tokens: {{included: 9, overage: {TIERS}, upTo: 9}}}}",
    f"  tokens: {{included: 9, overage: {TIERS}, upTo: 5}}}}",
]
WRONG = ["  tokens: {included: 1.5}", "  tokns: {included: 1}", "  calls: 5"]
ADDONS = [
    "for: [free]\nfeatures: {calls: {included: 5}}",
    "for: [pro, free]\nfeatures: {calls: {included: 5, interval: day}}",
    "for: [pro]\nfeatures: {tokens: {included: 5}, region: eu}",
    "for: [team]\nfeatures: {seats: 5}",
]
PATHS = ["features.yaml", "plans/free.yaml", "plans/pro.yaml", "plans/team.yaml", "addons/pack.yaml"]
OTHERS = {
    "tests/pro.yaml": """\
cases:
  - name: one
    given: {plan: pro, addons: [pack], capUsage: {calls: {day: 1}}}
    when: {feature: calls}
    expect: {allowed: true, reason: within_limit}
""",
    "invariants.yaml": "invariants: [{name: a, rule: addons-only-add, except: [team, pack]}]",
}


@st.composite
def texts(draw, path, lines):
    """The text of one file, plans of these lines."""
    stem = path.rpartition("/")[2].partition(".")[0]
    if path == "features.yaml":
        return FEATURES
    if path.startswith("addons/"):
        head = f'addon: {stem}\nname: An add-on\ncurrency: usd\nprice: "1.00"\ninterval: month\n'
        return head + draw(st.sampled_from(ADDONS))
    given_features = draw(
        st.lists(st.sampled_from(lines), min_size=1, max_size=4, unique_by=lambda line: line.split(":")[0])
    )
    return PLAN.format(plan=stem, features="\n".join(given_features))


@st.composite
def catalogs(draw):
    """A catalog that compiles, with its files."""
    files = {path: draw(texts(path, RIGHT)) for path in PATHS[: draw(st.integers(3, len(PATHS)))]}
    compiled = compile_catalog(files)
    assume(compiled.catalog is not None)
    return files, compiled.catalog


@st.composite
def edited(draw, files):
    """The files after an edit such as a person makes."""
    path = draw(st.sampled_from([*PATHS, "addons/second.yaml", *OTHERS]))
    text = files.get(path, "")
    changes = {
        "add": OTHERS.get(path, text),
        "rewrite": text if path in OTHERS else draw(texts(path, RIGHT + WRONG)),
        "remark": f"# a remark\n{text}",
        "other currency": text.replace("usd", "eur"),
        "other number": text.replace("5", "6"),
        "other interval": text.replace("day", "hour"),
        "other id": text.replace("plan: pro", "plan: free"),
        "no end": f"{text}\n  broken: [",
    }
    kind = draw(st.sampled_from(["remove", *changes]))
    if kind == "remove":
        return {each: said for each, said in files.items() if each != path}
    return files | {path: changes[kind]}


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_is_known_changes_no_result(data):
    files, catalog = data.draw(catalogs())
    after = data.draw(edited(files))
    after = data.draw(edited(after))
    assert compile_catalog(after, Known(files, catalog)) == compile_catalog(after)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(catalogs())
def test_a_plan_that_is_taken_over_looks_to_other_files_as_it_did(known_catalog):
    files, catalog = known_catalog
    findings = Findings(files)
    afresh = source.read(files, findings, Taken())
    taken = source.read(files, findings, known.take(files, Known(files, catalog)))
    for one, other in zip((*afresh.plans, *afresh.addons), (*taken.plans, *taken.addons), strict=True):
        assert outline.of(one) == outline.of(other)


def plans(count):
    """A catalog whose plans are all alike."""
    calls = "  calls: {included: 10, overage: {model: perUnit, unitAmount: '1'}}"
    return {"features.yaml": FEATURES} | {
        f"plans/{stem}.yaml": PLAN.format(plan=stem, features=f"  sso: true\n  seats: 1\n{calls}")
        for stem in ["free", "pro", *(f"p{number}" for number in range(count))]
    }


def test_only_what_was_edited_is_read_again(monkeypatch):
    files = plans(20)
    before = compile_catalog(files).catalog
    read = []
    honest = source.document.read
    monkeypatch.setattr(
        source.document, "read", lambda path, *rest: (read.append(path), honest(path, *rest))[1]
    )
    after = files | {"plans/p7.yaml": files["plans/p7.yaml"].replace("10", "11")}
    made = compile_catalog(after, Known(files, before)).catalog
    assert read == ["features.yaml", "plans/p7.yaml"]
    assert made.plans["p7"].version != before.plans["p7"].version
    assert made.plans["p8"].terms is before.plans["p8"].terms


ADDON = """\
addon: {addon}
name: An add-on
currency: usd
price: "1.00"
interval: month
for: [pro, free]
features: {{region: eu}}
"""


@pytest.mark.parametrize(
    ("path", "text", "sentence"),
    [
        ("addons/second.yaml", ADDON.format(addon="second"), 'has a value in add-on "pack"'),
        (
            "tests/p0.yaml",
            OTHERS["tests/pro.yaml"].replace("plan: pro", "plan: p0"),
            "it is for free, pro",
        ),
    ],
    ids=["another add-on", "a table test"],
)
def test_a_new_file_is_judged_beside_what_is_taken_over(path, text, sentence):
    files = plans(1) | {"addons/pack.yaml": ADDON.format(addon="pack")}
    before = compile_catalog(files).catalog
    after = files | {path: text}
    made = compile_catalog(after, Known(files, before))
    assert made == compile_catalog(after)
    assert any(sentence in found.sentence() for found in made.findings)


def test_after_a_change_of_the_features_everything_is_read_again():
    files = plans(1)
    before = compile_catalog(files).catalog
    after = files | {"features.yaml": FEATURES.replace("unit: call,", "unit: call, decimals: 2,")}
    taken = known.take(after, Known(files, before))
    assert taken == Taken()
    assert compile_catalog(after, Known(files, before)).catalog.plans["pro"].terms["calls"].included == 1_000


@pytest.mark.parametrize("again", [False, True], ids=["afresh", "taken over"])
def test_versions_of_one_catalog_share_their_features(again):
    files = plans(3)
    before = compile_catalog(files).catalog
    stored = msgspec.json.decode(msgspec.json.encode(before), type=Catalog)
    made = compile_catalog(files, Known(files, stored)).catalog if again else before
    assert made == before
    shared = {id(plan.features["calls"]) for plan in made.plans.values()}
    assert shared == {id(made.features["calls"])}


def test_every_warning_is_one_that_a_plan_which_is_taken_over_cannot_have():
    """`known.is_quiet` has to know each warning about a plan's file: a new one belongs there, then here."""
    warned = set()
    for path in COMPILER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "warning":
                warned.add((path.name, ast.literal_eval(node.args[1])))
    assert warned == {
        ("check_terms.py", "no-effect-yet"),  # thresholds: is_quiet
        ("check_prices.py", "tiers"),  # a tier past the end of overage: is_quiet
        ("check.py", "unused-feature"),  # told of features.yaml
        ("check_invariants.py", "no-effect"),  # told of invariants.yaml
    }
