"""Building: the same content in any form gives the same ids; any other content gives others."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.compiler.build import compile_catalog, content_hash
from policies.compiler.numbers import shortest
from policies.model import MeteredTerms

NAMES = st.sampled_from(["alpha", "beta", "gamma.1", "delta-x", "source", "omega_2"])
QUANTITIES = st.integers(1, 10**9)
MONEY = st.decimals(0, 999, places=2).map(str)


class Money(str):
    """An amount, which may be written with more zeros."""

    __slots__ = ()


def terms(feature_type):
    if feature_type == "boolean":
        return st.just(True)
    if feature_type == "static":
        return QUANTITIES
    overage = st.fixed_dictionaries(
        {"model": st.just("perUnit"), "unitAmount": MONEY.map(Money)},
        optional={"upTo": QUANTITIES, "minimum": MONEY.map(Money)},
    )
    cap = st.fixed_dictionaries({"limit": QUANTITIES, "interval": st.just("day")})
    return st.fixed_dictionaries(
        {"included": QUANTITIES, "interval": st.sampled_from(["day", "month"])},
        optional={"overage": overage, "caps": st.lists(cap, max_size=1)},
    )


@st.composite
def catalogs(draw):
    """Path → data, of a catalog that is right."""
    types = draw(st.dictionaries(NAMES, st.sampled_from(["boolean", "static", "metered"]), min_size=1))
    features = {}
    for name, kind in types.items():
        extra = {"valueType": "integer"} if kind == "static" else {}
        if kind == "metered":
            extra = {"properties": draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True))}
        features[name] = {"type": kind, "name": f"The {name}", **extra}
    plan_ids = draw(st.lists(st.sampled_from(["free", "pro", "team"]), min_size=1, unique=True))
    files = {"features.yaml": {"features": features, "ladder": plan_ids}}
    for plan_id in plan_ids:
        given_features = draw(st.lists(st.sampled_from(sorted(types)), unique=True))
        files[f"plans/{plan_id}.yaml"] = {
            "plan": plan_id,
            "name": plan_id.title(),
            "currency": "usd",
            "price": Money(draw(MONEY)),
            "interval": "month",
            "features": {name: draw(terms(types[name])) for name in given_features},
        }
    return files


def write(value, random, depth=0):
    """The value as YAML in one of its many forms: order, layout, comments, underscores, quotes, zeros."""
    if isinstance(value, dict) and value:
        entries = list(value.items())
        random.shuffle(entries)
        if random.random() < 0.3:
            return "{" + ", ".join(f"{key}: {flow(item, random)}" for key, item in entries) + "}"
        pad = " " * (random.choice([1, 2, 4]) + depth)
        lines = [f"{pad}{key}: {write(item, random, len(pad))}" for key, item in entries]
        comments = [f"{pad}# a remark {random.random()}" for _ in lines if random.random() < 0.3]
        return "\n" + "\n".join(lines + comments) + "\n" * random.choice([0, 1])
    return flow(value, random)


def flow(value, random):
    if isinstance(value, dict):
        entries = list(value.items())
        random.shuffle(entries)
        return "{" + ", ".join(f"{key}: {flow(item, random)}" for key, item in entries) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item, random) for item in value) + "]"
    if isinstance(value, Money):
        zeros = "0" * random.choice([0, 0, 1]) if "." in value else ""
        return random.choice(["'{}'", '"{}"']).format(value + zeros)
    if isinstance(value, bool):
        return random.choice(["true", "True"]) if value else "false"
    if isinstance(value, int):
        return f"{value:_}" if random.random() < 0.5 else str(value)
    return random.choice([value, json.dumps(value)])


def written(files, random):
    paths = list(files)
    random.shuffle(paths)
    return {path: write(files[path], random).lstrip("\n") for path in paths}


def meaning(catalog):
    """What a catalog says, whatever it is called and wherever it says it."""
    return content_hash(msgspec.structs.replace(catalog, hash=""))


def ids(files, random):
    compiled = compile_catalog(written(files, random))
    assert [found.render() for found in compiled.findings if found.severity == "error"] == []
    return meaning(compiled.catalog), {plan.plan_id: plan.version for plan in compiled.catalog.plans.values()}


def numbers(value, path=()):
    """Where the whole numbers stand."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [found for key, item in items for found in numbers(item, (*path, key))]
    return [path] if isinstance(value, int) and not isinstance(value, bool) else []


def raised(value, path):
    """The same, with the number at that place one higher."""
    if not path:
        return value + 1
    if isinstance(value, list):
        return [raised(item, path[1:]) if n == path[0] else item for n, item in enumerate(value)]
    return {key: raised(item, path[1:]) if key == path[0] else item for key, item in value.items()}


@settings(max_examples=120, deadline=None)
@given(catalogs(), st.randoms(use_true_random=False), st.randoms(use_true_random=False))
def test_file_order_key_order_comments_and_layout_change_no_meaning(files, first, second):
    assert ids(files, first) == ids(files, second)


@settings(max_examples=80, deadline=None)
@given(catalogs(), st.randoms(use_true_random=False), st.data())
def test_one_changed_number_changes_its_plan_and_the_catalog_and_no_other_plan(files, random, data):
    places = [(path, place) for path in files if path != "features.yaml" for place in numbers(files[path])]
    if not places:
        return
    path, place = data.draw(st.sampled_from(places))
    plan_id = files[path]["plan"]
    before_hash, before = ids(files, random)
    after_hash, after = ids({**files, path: raised(files[path], place)}, random)
    assert after_hash != before_hash
    assert {each for each in before if before[each] != after[each]} == {plan_id}


@settings(max_examples=60, deadline=None)
@given(catalogs(), st.randoms(use_true_random=False))
def test_one_changed_price_changes_its_plan_and_the_catalog(files, random):
    path = next(path for path in files if path != "features.yaml")
    other = {**files[path], "price": Money("999.99" if files[path]["price"] != "999.99" else "999.98")}
    before_hash, before = ids(files, random)
    after_hash, after = ids({**files, path: other}, random)
    assert after_hash != before_hash
    assert before[other["plan"]] != after[other["plan"]]


PLAN = """plan: pro
name: Pro
currency: usd
price: "49.00"
interval: month
features:
  {terms}
"""


def catalog_of(features, terms):
    files = {"features.yaml": f"features:\n  {features}\n", "plans/pro.yaml": PLAN.format(terms=terms)}
    compiled = compile_catalog(files)
    assert compiled.findings == ()
    return compiled.catalog


@given(st.integers(0, 9), st.integers(0, 999_999), st.integers(0, 999_999_999))
def test_quantities_are_scaled_exactly_by_the_decimals_of_their_feature(decimals, whole, fraction):
    digits = f"{fraction:09d}"[:decimals]
    number = f'"{whole}.{digits}"' if decimals else str(whole)
    feature = f"gpu-hours: {{type: metered, name: GPU hours, decimals: {decimals}}}"
    terms = catalog_of(feature, f"gpu-hours: {{included: {number}}}").plans["pro"].terms["gpu-hours"]
    assert isinstance(terms, MeteredTerms)
    assert terms.included == int(f"{whole}{digits}")


def test_every_quantity_of_metered_terms_is_scaled_and_no_amount_of_money_is():
    feature = "gpu-hours: {type: metered, name: GPU hours, decimals: 2}"
    tiers = '[{upTo: "0.5", unitAmount: "2.50"}, {unitAmount: "1", flatAmount: "3.00"}]'
    overage = f'{{upTo: 7, model: graduated, tiers: {tiers}, minimum: "0.10"}}'
    said = f'gpu-hours: {{included: "1.5", overage: {overage}, caps: [{{limit: "0.25", interval: day}}]}}'
    terms = catalog_of(feature, said).plans["pro"].terms["gpu-hours"]
    assert (terms.included, terms.overage.up_to, terms.caps[0].limit) == (150, 700, 25)
    assert [(tier.up_to, tier.unit_amount, tier.flat_amount) for tier in terms.overage.tiers] == [
        (50, "2.5", "0"),
        (None, "1", "3"),
    ]
    assert terms.overage.minimum == "0.1"


def test_a_package_has_its_size_scaled():
    feature = "gpu-hours: {type: metered, name: GPU hours, decimals: 1}"
    overage = '{model: package, size: "2.5", amount: "9.00"}'
    terms = (
        catalog_of(feature, f"gpu-hours: {{included: 0, overage: {overage}}}").plans["pro"].terms["gpu-hours"]
    )
    assert (terms.included, terms.overage.size, terms.overage.amount) == (0, 25, "9")


@pytest.mark.parametrize(
    ("value_type", "extra", "said", "value", "display"),
    [
        ("integer", "", "1_000", 1_000, "1000"),
        ("decimal", ", decimals: 2", '"1.50"', 150, "1.5"),
        ("string", "", "us", "us", "us"),
        ("object", "", "{b: [1, yes, true], a: {c: ~}}", '{"a":{"c":null},"b":[1,"yes",true]}', None),
    ],
)
def test_a_static_value_is_kept_in_the_form_of_its_type(value_type, extra, said, value, display):
    feature = f"limit: {{type: static, valueType: {value_type}, name: Limit{extra}}}"
    terms = catalog_of(feature, f"limit: {said}").plans["pro"].terms["limit"]
    assert (terms.value, terms.display) == (value, display or value)


def test_a_boolean_feature_that_is_false_is_one_that_is_not_given():
    feature = "sso: {type: boolean, name: SSO}\n  seats: {type: static, valueType: integer, name: Seats}"
    files = {"features.yaml": f"features:\n  {feature}\n"}
    refused = compile_catalog(
        {**files, "plans/pro.yaml": PLAN.format(terms="{sso: false, seats: 1}")}
    ).catalog
    silent = compile_catalog({**files, "plans/pro.yaml": PLAN.format(terms="{seats: 1}")}).catalog
    assert meaning(refused) == meaning(silent)
    assert refused.plans["pro"].terms.keys() == {"seats"}


def test_a_default_that_is_written_out_is_the_same_as_one_that_is_not():
    short = catalog_of("calls: {type: metered, name: Calls}", "calls: {included: 5}")
    long = catalog_of(
        "calls: {type: metered, name: Calls, combine: sum, decimals: 0, aggregation: sum, entity: none}",
        "calls: {included: 5, interval: month, anchor: subscription, caps: []}",
    )
    assert meaning(short) == meaning(long)
    assert short.plans["pro"].version == long.plans["pro"].version


def test_a_comment_moves_sources_and_nothing_else():
    feature, terms = "calls: {type: metered, name: Calls}", "calls: {included: 5}"
    plain, remarked = catalog_of(feature, terms), catalog_of(feature, f"# a remark\n  {terms}")
    assert plain.plans["pro"].terms["calls"].source == "plans/pro.yaml:7"
    assert remarked.plans["pro"].terms["calls"].source == "plans/pro.yaml:8"
    assert meaning(plain) == meaning(remarked)
    assert plain.plans["pro"].version == remarked.plans["pro"].version
    assert plain.hash != remarked.hash, "a catalog is named by its text, so that its lines are found"


def test_line_ends_of_windows_and_a_byte_order_mark_change_no_id():
    feature, terms = "calls: {type: metered, name: Calls}", "calls: {included: 5}"
    files = {"features.yaml": f"features:\n  {feature}\n", "plans/pro.yaml": PLAN.format(terms=terms)}
    windows = {path: "\ufeff" + text.replace("\n", "\r\n") for path, text in files.items()}
    there, here = compile_catalog(windows).catalog, compile_catalog(files).catalog
    assert msgspec.structs.replace(there, hash=here.hash) == here


def test_a_feature_called_source_is_content_and_not_a_place():
    """Positions are blanked by field, so that no id can hide from the hash."""
    with_it = catalog_of("source: {type: static, valueType: integer, name: S}", "source: 5")
    other = catalog_of("source: {type: static, valueType: integer, name: S}", "source: 6")
    assert meaning(with_it) != meaning(other)


def test_a_plan_version_carries_only_the_features_that_it_speaks_of():
    feature = "calls: {type: metered, name: Calls}\n  sso: {type: boolean, name: SSO}"
    files = {
        "features.yaml": f"features:\n  {feature}\n",
        "plans/pro.yaml": PLAN.format(terms="calls: {included: 5}"),
    }
    catalog = compile_catalog(files).catalog
    assert catalog.features.keys() == {"calls", "sso"}
    assert catalog.plans["pro"].features.keys() == {"calls"}


ADDON = """addon: pack
name: Pack
currency: usd
price: "9.00"
interval: year
for: [pro, free]
features:
  {terms}
"""


def addon_of(terms, features="calls: {type: metered, name: Calls, decimals: 1}"):
    seats = "\n  seats: {type: static, valueType: integer, name: Seats}"
    files = {
        "features.yaml": f"features:\n  {features}{seats}\n",
        "addons/pack.yaml": ADDON.format(terms=terms),
        "plans/pro.yaml": PLAN.format(terms="seats: 1"),
        "plans/free.yaml": PLAN.format(terms="seats: 1").replace("plan: pro", "plan: free"),
    }
    compiled = compile_catalog(files)
    assert compiled.findings == ()
    return compiled.catalog.addons["pack"]


def test_an_add_on_is_built_as_its_file_says_it():
    addon = addon_of('calls: {included: "1.5", interval: day}')
    assert (addon.addon_id, addon.price, addon.interval, addon.plans) == (
        "pack",
        "9",
        "year",
        ("free", "pro"),
    )
    assert addon.features.keys() == addon.terms.keys() == {"calls"}
    terms = addon.terms["calls"]
    assert (terms.included, terms.interval, terms.anchor) == (15, "day", "subscription")
    assert (terms.source, terms.included_source, addon.source) == (
        "addons/pack.yaml:8",
        "addons/pack.yaml:8",
        "addons/pack.yaml:1",
    )
    assert addon_of("calls: {included: unlimited}").terms["calls"].included is None


def test_an_add_on_version_is_named_by_its_meaning():
    first = addon_of("calls: {included: 5}")
    same = addon_of('# a remark\n  calls: {anchor: subscription, included: "5"}')
    other = addon_of("calls: {included: 6}")
    unnamed = msgspec.structs.replace(first, version="")
    assert first.version == same.version == f"pack@{content_hash(unnamed)[:8]}"
    assert first.version != other.version


def test_a_feature_that_only_an_add_on_gives_is_no_unused_one():
    assert addon_of("{calls: {included: 5}, seats: 3}").terms["seats"].value == 3


def test_invariants_are_kept_in_their_order_with_their_exceptions():
    files = {
        "features.yaml": "features: {sso: {type: boolean, name: SSO}}\nladder: [pro]\n",
        "plans/pro.yaml": PLAN.format(terms="sso: true"),
        "invariants.yaml": "invariants:\n"
        "  - {name: no loss, rule: ladder-monotone, severity: warning}\n"
        "  - {name: an end, rule: costly-bounded, except: [pro]}\n",
    }
    catalog = compile_catalog(files).catalog
    assert [(each.name, each.rule, each.severity, each.exempt) for each in catalog.invariants] == [
        ("no loss", "ladder-monotone", "warning", ()),
        ("an end", "costly-bounded", "error", ("pro",)),
    ]
    assert [each.source for each in catalog.invariants] == ["invariants.yaml:2", "invariants.yaml:3"]


@given(st.decimals(0, 10**6, places=6))
def test_the_shortest_text_of_an_amount_is_the_same_number(amount):
    text = shortest(f"{amount:f}")
    assert type(amount)(text) == amount
    assert "." not in text or text[-1] not in "0."
