"""What a guard that was accepted can do to a decision: turn an Allow into a Deny, and nothing else.

Conditions are made at random, sound and unsound ones; `guards.read` decides which are guards. Requests are
all that the schema of a guard allows. Cedar is asked directly, so that no code of ours stands between.
"""

import json
from itertools import count

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.compiler import cedar_schema, guard_cedar, guards
from policies.compiler.findings import Findings
from policies.model import Feature

TOKENS = Feature(
    id="ai-tokens", type="metered", name="AI tokens", source="features.yaml:2", context=("region", "team")
)
VOICE = Feature(id="voice", type="boolean", name="Voice", source="features.yaml:4", context=("region",))
FEATURES = {feature.id: feature for feature in (TOKENS, VOICE)}
SCHEMA = cedarpy.Schema.from_str(guard_cedar.guard_schema(FEATURES.values()))
SCOPES = (
    'principal, action, resource == Feature::"ai-tokens"',
    'principal is Tenant, action == Action::"use", resource == Feature::"voice"',
    "principal, action, resource",
)
MANY = max(500, settings.default.max_examples)
"""Examples of a law: a nightly run has more of them, and other ones."""
WORDS = ("", "eu", "us", "signed", "pro", 'a"b', "é*")

texts = st.sampled_from(
    ['""', '"eu"', '"signed"', '"pro"', '"a\\"b"', "context.facts.plan", "context.request.region",
     'context.request["team"]', 'principal.getTag("ai")', 'principal.getTag("region")',
     '(if principal.trial then "eu" else "us")']
)  # fmt: skip
statuses = st.sampled_from(["principal.billingStatus", 'BillingStatus::"good"', 'BillingStatus::"ended"'])
named = st.sampled_from(["resource", 'Feature::"ai-tokens"', 'Feature::"voice"'])
numbers = st.sampled_from(["0", "7", "999999999999999999"])
switches = st.sampled_from(
    ["true", "false", "principal.trial", "context.facts.ai", "context.facts.costly", "context.facts.always",
     "context.request has region", "context has request.team", 'principal.hasTag("ai")',
     'principal.hasTag("region")', "principal is Tenant", 'action == Action::"use"']
)  # fmt: skip
safe = st.sampled_from(
    ['(context.request has region && context.request.region == "eu")',
     '(principal.hasTag("ai") && principal.getTag("ai") like "s*")',
     '(if context.request has team then context.request.team != "" else principal.trial)']
)  # fmt: skip


def pair(of, *signs):
    return st.tuples(of, st.sampled_from(signs), of).map(" ".join)


def listed(of):
    return st.lists(of, min_size=1, max_size=3).map(lambda some: f"[{', '.join(some)}]")


compared = st.one_of(
    pair(texts, "==", "!="),
    pair(statuses, "==", "!="),
    pair(named, "==", "!=", "in"),
    pair(numbers, "<", "<=", "==", "!="),
    texts.map(lambda text: f'{text} like "*e*u"'),
    st.tuples(listed(texts), texts).map(lambda some: f"{some[0]}.contains({some[1]})"),
    st.tuples(listed(texts), listed(texts)).map(lambda some: f"{some[0]}.containsAny({some[1]})"),
    listed(statuses).map(lambda some: f"{some}.contains(principal.billingStatus)"),
    listed(named).map(lambda some: f"resource in {some}"),
    # What must never get through.
    st.sampled_from(
        ["999999999999999999 * 99 > 0", "-999999999999999999 * 99 < 0", 'Tenant::"other".trial',
         'Tenant::"other".hasTag("ai")', 'decimal("1.0") == decimal("2.0")', "context.request == context",
         'datetime("9999-12-31").offset(duration("99999999d")) == datetime("1970-01-01")']
    ),
)  # fmt: skip
conditions = st.recursive(
    st.one_of(switches, safe, safe, compared),
    lambda inner: st.one_of(
        pair(inner, "&&", "||").map(lambda text: f"({text})"),
        inner.map(lambda text: f"!({text})"),
        st.tuples(inner, inner, inner).map(lambda some: "(if {} then {} else {})".format(*some)),
    ),
    max_leaves=6,
)
blocks = st.lists(st.tuples(st.sampled_from(["when", "unless"]), conditions), max_size=3)
written = st.tuples(st.sampled_from(SCOPES), blocks).map(
    lambda some: f"forbid ({some[0]})" + "".join(f"\n{kind} {{ {text} }}" for kind, text in some[1]) + ";"
)
permits = st.tuples(st.sampled_from(SCOPES), st.lists(switches, max_size=2)).map(
    lambda some: f"permit ({some[0]})" + "".join(f" when {{ {text} }}" for text in some[1]) + ";"
)
words = st.sampled_from(WORDS)
requests = st.fixed_dictionaries(
    {
        "feature": st.sampled_from(sorted(FEATURES)),
        "status": st.sampled_from(["good", "ended", "pending"]),
        "trial": st.booleans(),
        "tags": st.dictionaries(st.sampled_from(["ai", "region", "else"]), words, max_size=3),
        "facts": st.fixed_dictionaries(
            {"plan": words, "ai": st.booleans(), "costly": st.booleans(), "always": st.booleans()}
        ),
        "request": st.dictionaries(st.sampled_from(["region", "team"]), words, max_size=2),
    }
)


def read(text):
    """The guard, or None with at least one finding."""
    scope = '@scope("all") ' if "resource)" in text and "resource in [Feature" not in text else ""
    files = {"guards/a.cedar": f'@id("a") @reason("r") {scope}{text}'}
    findings = Findings(files)
    found = guards.read(files, FEATURES, findings)
    assert bool(found) != bool(findings.errors)
    return found[0] if found else None


def ask(policies, said):
    """Cedar's decision and errors, on a request that fits the schema."""
    status = {"__entity": {"type": "BillingStatus", "id": said["status"]}}
    attributes = {"billingStatus": status, "trial": said["trial"]}
    principal = {"type": "Tenant", "id": "tenant"}
    entities = cedarpy.Entities.from_json_str(
        json.dumps([{"uid": principal, "attrs": attributes, "parents": [], "tags": said["tags"]}]),
        SCHEMA,
    )
    request = {
        "principal": principal,
        "action": {"type": "Action", "id": "use"},
        "resource": {"type": "Feature", "id": said["feature"]},
        "context": {"facts": said["facts"], "request": said["request"]},
    }
    answer = cedarpy.is_authorized(request, policies, entities, schema=SCHEMA)
    return answer.decision, answer.diagnostics.errors


@settings(max_examples=MANY)
@given(written, st.lists(permits, min_size=1, max_size=3), st.lists(requests, min_size=1, max_size=4))
def test_an_accepted_guard_never_opens_anything_and_never_errs(text, allowing, asked):
    guard = read(text)
    if guard is None:
        return
    for said in asked:
        before, _ = ask("\n".join(allowing), said)
        after, errors = ask("\n".join([*allowing, guard.text]), said)
        assert errors == []
        assert after in (before, cedarpy.Decision.Deny)
        if guard.features is not None and said["feature"] not in guard.features:
            assert after == before


@settings(max_examples=MANY, deadline=None)
@given(written, requests, st.data())
def test_what_a_guard_reads_is_all_that_its_answer_depends_on(text, said, data):
    """Answers may be kept by the keys and tags that a guard names: all others may change under them."""
    guard = read(text)
    if guard is None:
        return
    other = data.draw(requests)
    request = {key: said["request"].get(key) for key in guard.request_keys} | {
        key: value for key, value in other["request"].items() if key not in guard.request_keys
    }
    tags = {key: said["tags"].get(key) for key in guard.tags} | {
        key: value for key, value in other["tags"].items() if key not in guard.tags
    }
    changed = said | {
        "request": {key: value for key, value in request.items() if value is not None},
        "tags": {key: value for key, value in tags.items() if value is not None},
    }
    policies = f"permit (principal, action, resource);\n{guard.text}"
    assert ask(policies, changed) == ask(policies, said)


@settings(max_examples=MANY, deadline=None)
@given(written)
def test_what_the_words_of_guards_allow_the_words_of_the_engine_allow_too(text):
    """A guard is checked against the little that it may see, and asked among all that permits see."""
    guard = read(text)
    if guard is not None:
        assert cedarpy.validate_policies(guard.text, cedar_schema.schema(FEATURES.values())).errors == []


def test_the_random_guards_are_a_fair_mix():
    """The laws above say nothing if hardly anything is accepted, or hardly anything refused."""
    seen = {True: 0, False: 0}

    @settings(max_examples=300, deadline=None, database=None)
    @given(written)
    def look(text):
        seen[read(text) is not None] += 1

    look()
    assert min(seen.values()) > 60, seen


SOUND = (
    '@id("a") @reason("r") forbid (principal, action, resource == Feature::"voice")\n'
    'when { principal.hasTag("ai") && ["a", "b"].contains(principal.getTag("ai")) } // why\n'
    'unless { if context.request has region then context.request.region like "e*" else !principal.trial };\n'
)  # fmt: skip
SNIPPETS = ("@", "(", ")", "{", "}", "[", "]", ";", ",", ".", "::", '"', "\\", "//", "\n", "\r", "+", "has",
            "permit", "forbid", "when", "unless", "principal", "context", "?resource", " ", "\u2028", "é",
            '@id("b")', 'Tenant::"x"', "in", "1")  # fmt: skip


@settings(max_examples=MANY, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(SOUND)), st.integers(0, 9), st.sampled_from(SNIPPETS)), max_size=4)
)
def test_no_text_makes_the_reader_raise_and_cedar_reads_what_it_accepts_alike(edits):
    text = SOUND
    for place, drop, snippet in edits:
        text = text[:place] + snippet + text[place + drop :]
    files = {"guards/a.cedar": text}
    findings = Findings(files)
    found = guards.read(files, FEATURES, findings)
    for one in findings.sorted():
        line = text.split("\n")[one.line - 1]
        assert one.column <= len(line) + 1
    if not findings.errors:
        whole = json.loads(cedarpy.policies_to_json_str(text))
        assert whole["templates"] == {}
        effects = [one["effect"] for one in whole["staticPolicies"].values()]
        assert effects == ["forbid"] * len(found)


def test_all_guards_of_a_catalog_stand_in_one_text():
    """As a slice holds them: one after the other, none swallowing the next by a comment at its end."""
    numbers = count()
    text = "".join(SOUND.replace('"a")', f'"g{next(numbers)}")', 1) + "// end" + "\n" for _ in range(5))
    files = {"guards/a.cedar": text}
    findings = Findings(files)
    found = guards.read(files, FEATURES, findings)
    assert findings.errors == 0
    joined = cedarpy.PolicySet.from_str("\n".join(guard.text for guard in found))
    said = {"feature": "voice", "status": "good", "trial": True, "tags": {"ai": "a"}, "request": {},
            "facts": {"plan": "pro", "ai": True, "costly": False, "always": False}}  # fmt: skip
    decision, errors = ask(joined, said)
    assert (decision, errors) == (cedarpy.Decision.Deny, [])
    assert len(found) == 5


@pytest.mark.parametrize("wrong", [{"trial": "yes"}, {"tags": {"a": 1}}])
def test_the_schema_of_guards_holds_tenants_to_their_types(wrong):
    said = {"feature": "voice", "status": "good", "trial": True, "tags": {}, "request": {},
            "facts": {"plan": "pro", "ai": True, "costly": False, "always": False}}  # fmt: skip
    with pytest.raises(ValueError, match=r"schema|type|conform"):
        ask("", said | wrong)
