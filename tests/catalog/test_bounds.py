"""What a hostile or broken file can cost: work is counted in calls, so that no clock decides a test."""

import datetime as dt
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from policies import limits
from policies.compiler.build import compile_catalog
from policies.compiler.case_fields import ExpectSource, GivenSource, WhenSource
from policies.compiler.records import table
from policies.compiler.scalars import is_text


def slugs(files):
    return [finding.slug for finding in compile_catalog(files).findings]


def calls(files):
    """How many Python calls one compilation makes, and the slugs that it finds."""
    counted = 0

    def count(_frame, event, _argument):
        nonlocal counted
        counted += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        found = compile_catalog(files)
    finally:
        sys.setprofile(before)
    return counted, {finding.slug for finding in found.findings}


def test_a_file_of_ten_megabytes_is_refused_before_it_is_parsed():
    paths = ["features.yaml", "plans/free.yaml", "addons/pack.yaml", "invariants.yaml"]
    cost, found = calls(dict.fromkeys(paths, "[" * 5_000_000) | {"features.yaml": "{" * 10_000_000})
    assert found == {"too-large"}
    assert cost < 1_000


def test_a_guard_is_measured_before_it_is_read():
    text = "// " + "é" * (limits.GUARD_FILE_BYTES // 2)
    found = compile_catalog({"guards/a.cedar": text}).findings
    assert ("guards/a.cedar", "too-large") in {(finding.path, finding.slug) for finding in found}


def test_a_file_within_the_size_counts_its_bytes_not_its_signs():
    text = "# " + "é" * (limits.CATALOG_FILE_BYTES // 2)
    assert "too-large" in slugs({"features.yaml": text})


@pytest.mark.parametrize(
    "deep",
    ["[" * 5_000, "{a: " * 5_000, "{" * 5_000, "- " * 5_000, "? " * 5_000, "[a, " * 5_000, "{[" * 2_500],
    ids=["lists", "groups", "braces", "dashes", "keys", "long lists", "mixed"],
)
def test_nesting_of_five_thousand_costs_no_more_than_nesting_of_forty(deep):
    unit = len(deep) // 5_000
    shallow, _ = calls({"features.yaml": deep[: 40 * unit]})
    cost, found = calls({"features.yaml": deep})
    assert "too-deep" in found
    assert cost < 3 * shallow + 5_000


def test_indentation_of_a_thousand_steps_is_refused_at_the_bound():
    text = "\n".join(" " * depth + "a:" for depth in range(1_000))
    cost, found = calls({"features.yaml": text})
    assert "too-deep" in found
    assert cost < 50_000


def test_nesting_at_the_bound_is_read():
    depth = limits.CATALOG_DEPTH - 1
    assert "too-deep" not in slugs({"features.yaml": "features: " + "[" * depth + "]" * depth})
    assert "too-deep" in slugs({"features.yaml": "features: " + "[" * (depth + 1) + "]" * (depth + 1)})


def test_an_alias_bomb_is_never_expanded():
    """Twenty levels would be 9^20 values; the cost is that of the text."""
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 21)]
    cost, found = calls({"features.yaml": "\n".join(["a0: &a0 [lol]", *levels])})
    assert {"yaml-feature", "unknown-field"} <= found
    assert cost < 200_000


def test_findings_end_at_the_bound_and_say_how_many_are_left():
    text = "features: {}\n" + "".join(f"field{n}: 1\n" for n in range(limits.CATALOG_FINDINGS + 500))
    compiled = compile_catalog({"features.yaml": text})
    assert compiled.catalog is None
    assert len(compiled.findings) == limits.CATALOG_FINDINGS + 1
    assert compiled.findings[-1].slug == "too-many"
    assert compiled.findings[-1].message.startswith("501 more")


def test_an_error_behind_a_thousand_warnings_still_refuses_the_catalog():
    features = "".join(f"  f{n}: {{type: boolean, name: F}}\n" for n in range(limits.FEATURES))
    plan = "plan: p\nname: P\ncurrency: usd\nprice: '1'\ninterval: month\nfeatures: {}\n"
    files = {"features.yaml": f"features:\n{features}", "plans/p.yaml": plan}
    assert compile_catalog(files).catalog is not None
    assert compile_catalog({**files, "zzz.txt": ""}).catalog is None


def test_too_many_files_or_bytes_are_refused_as_a_whole():
    assert slugs({f"plans/p{n}.yaml": "" for n in range(limits.CATALOG_FILES + 1)}) == ["too-large"]
    big = "#" * (limits.CATALOG_FILE_BYTES - 1)
    count = limits.CATALOG_BYTES // len(big) + 1
    assert slugs({f"plans/p{n}.yaml": big for n in range(count)}) == ["too-large"]


def test_a_thousand_misspelt_features_are_not_compared_with_a_thousand_names():
    """Suggestions are bounded: they would cost features times mistakes."""
    features = "".join(f"  feature-{n}: {{type: boolean, name: F}}\n" for n in range(1_000))
    wrong = "".join(f"  featuer-{n}: true\n" for n in range(1_000))
    plan = f"plan: p\nname: P\ncurrency: usd\nprice: '1'\ninterval: month\nfeatures:\n{wrong}"
    found = compile_catalog({"features.yaml": f"features:\n{features}", "plans/p.yaml": plan}).findings
    assert sum("did you mean" in finding.hint for finding in found) == 50


def test_paths_are_bounded_and_shown_without_their_tricks():
    """A path comes from a request; it stands in every finding, and findings go out as JSON."""
    paths = [
        "plans/" + "a" * 10_000 + ".yaml",
        "plans/\ud800.yaml",
        "plans/\x1b[2J.yaml",
        "../features.yaml",
        "/etc/x",
        "plans/.yaml",
    ]
    found = compile_catalog(dict.fromkeys(paths, "plan: x")).findings
    assert msgspec.json.encode(found)
    assert max(len(finding.path) for finding in found) <= limits.CATALOG_PATH_LENGTH
    assert all(finding.path.isprintable() for finding in found)
    assert {finding.slug for finding in found} == {"unknown-file", "missing-file"}


@settings(max_examples=150, deadline=None)
@given(
    st.text(
        alphabet=st.sampled_from("ab1_0.:-?[]{},&*!|>'\"%@`#~< \n\t\\éxUuN\x00\r\ufeff\uffff"), max_size=60
    )
)
def test_no_text_makes_the_reader_raise(text):
    """Whatever the file says, the answer is findings."""
    paths = ["features.yaml", "plans/p.yaml", "addons/p.yaml", "invariants.yaml", "tests/p.yaml"]
    assert compile_catalog(dict.fromkeys(paths, text)).findings


VALUES = st.recursive(
    st.sampled_from(
        ["pro", "pack", "tokens", "seats", "sso", "day", "5", '"1.5"', "unlimited", "true", "~", "good",
         "2026-11-22T10:00:00Z", "within_limit"]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(
            st.sampled_from(["tokens", "seats", "sso", "pack", "day", "feature", "quantity", "value"]),
            inner,
            max_size=2,
        ).map(lambda items: "{" + ", ".join(f"{key}: {item}" for key, item in items.items()) + "}"),
    ),
    max_leaves=4,
)  # fmt: skip


RIGHT = {
    "plan": ["pro"],
    "feature": ["tokens"],
    "allowed": ["false"],
    "reason": ["limit_reached"],
    "remaining": ["1", "unlimited"],
    "granted": ["1"],
    "addons": ["{pack: 2}", "[pack]"],
    "billingStatus": ["grace"],
    "trial": ["true"],
    "usage": ["{tokens: 5}"],
    "grants": ["[{feature: tokens, quantity: 5}]"],
    "overrides": ["{tokens: {included: unlimited}, sso: {value: false}, seats: {value: 5}}"],
    "metadata": ["{a: b}"],
    "at": ["2026-11-22T10:00:00Z"],
    "quantity": ["5"],
    "outcome": ["denied"],
    "limit": ["5", "unlimited"],
    "policyId": ["plan/pro/tokens"],
    "message": ["sentence"],
}


def fields(record, **usual):
    """Fields of a record, mostly right, on top of what is usual, as YAML."""
    said = {name: st.sampled_from([*RIGHT.get(name, ["{}"]) * 9, None]) for name in sorted(table(record))}
    drawn = st.tuples(st.fixed_dictionaries({}, optional=said), VALUES)
    return drawn.map(
        lambda pair: (
            "{" + ", ".join(f"{name}: {text or pair[1]}" for name, text in (usual | pair[0]).items()) + "}"
        )
    )


SHOP = {
    "features.yaml": "features:\n"
    "  sso: {type: boolean, name: SSO}\n"
    "  seats: {type: static, valueType: integer, name: Seats}\n"
    "  tokens: {type: metered, name: Tokens}\n",
    "plans/pro.yaml": "plan: pro\nname: P\ncurrency: usd\nprice: '1'\ninterval: month\n"
    "features: {sso: true, seats: 1, tokens: {included: 1}}\n",
    "addons/pack.yaml": "addon: pack\nname: P\ncurrency: usd\nprice: '1'\ninterval: month\nfor: [pro]\n"
    "features: {tokens: {included: 1}}\n",
}


@settings(max_examples=400, deadline=None)
@given(
    fields(GivenSource, plan="pro"),
    fields(WhenSource, feature="tokens"),
    fields(ExpectSource, allowed="true", reason="value"),
)
def test_no_table_test_makes_the_reader_raise(given_fields, when, expect):
    """Whatever stands in its fields, the answer is a case or findings."""
    case = f"cases: [{{name: a, given: {given_fields}, when: {when}, expect: {expect}}}]"
    compiled = compile_catalog(SHOP | {"tests/a.yaml": case})
    assert bool(compiled.cases) != any(found.severity == "error" for found in compiled.findings)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_no_value_and_no_path_makes_the_reader_raise(value, path):
    files = {
        "features.yaml": f"features:\n  a: {{type: {value}, name: {value}}}\nladder: {value}",
        path: value,
    }
    assert all(
        finding.render().isprintable() for finding in compile_catalog(files).findings if not finding.excerpt
    )


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="0179_.eE+-xobaflrtuINnsT~", min_size=1, max_size=7))
def test_a_plain_value_is_a_text_exactly_when_yaml_says_so(word):
    """Our reading of unquoted values is the one of YAML 1.2, where dates are texts."""
    try:
        loaded = YAML(typ="safe", pure=True).load(f"a: {word}")
    except (YAMLError, ValueError):
        return
    if isinstance(loaded, dict):
        assert is_text(word) == isinstance(loaded["a"], str | dt.date)
