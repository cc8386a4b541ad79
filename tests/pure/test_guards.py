"""Hand-written Cedar is read with exact places, and refused wherever it could do more than take away."""

import subprocess
import sys

import msgspec
import pytest

from policies import limits
from policies.compiler import guard_cedar, guards
from policies.compiler.findings import Findings
from policies.model import Feature

TOKENS = Feature(
    id="ai-tokens", type="metered", name="AI tokens", source="features.yaml:2", context=("region", "team")
)
CALLS = Feature(id="api-calls", type="metered", name="Calls", source="features.yaml:3", context=("region",))
VOICE = Feature(id="premium-voice", type="boolean", name="Voice", source="features.yaml:4")
FEATURES = {feature.id: feature for feature in (TOKENS, CALLS, VOICE)}
PATH = "guards/a.cedar"
HEAD = '@id("a")\n@reason("Not now.")\n'
ALL = '@scope("all") '
NAMED = 'forbid (principal, action, resource == Feature::"ai-tokens")'
BARE = "forbid (principal, action, resource)"


def read(text, features=FEATURES):
    files = text if isinstance(text, dict) else {PATH: text}
    findings = Findings(files)
    return guards.read(files, features, findings), findings.sorted()


def accepted(text):
    found, wrong = read(text)
    assert wrong == ()
    return found


def refused(text):
    """`line:column slug text` of each finding; nothing else came of it."""
    found, wrong = read(text)
    assert found == ()
    return [f"{one.line}:{one.column} {one.slug} {one.text}" for one in wrong]


def condition(text):
    """What is found in a condition, by its column inside it."""
    before = f"{NAMED} when {{ "
    found, wrong = read(f"{HEAD}{before}{text} }};")
    assert found == ()
    assert all(one.line == 3 for one in wrong)
    return [(one.column - len(before), one.slug, one.text) for one in wrong]


# --- what is read --------------------------------------------------------------------------------


def test_a_guard_is_kept_as_it_is_written():
    text = f"// why\n\n{HEAD}{NAMED} // here\nwhen {{ principal.trial }};\n// and after\n"
    (guard,) = accepted(text)
    assert guard.id == "a"
    assert guard.reason == "Not now."
    assert guard.source == "guards/a.cedar:3"
    assert guard.text == text[text.index("@id") : text.index(";") + 1]
    assert guard.features == ("ai-tokens",)
    assert (guard.request_keys, guard.tags) == ((), ())


def test_guards_stand_in_the_order_of_path_and_line():
    files = {
        "guards/b.cedar": f'@id("3") @reason("r") {NAMED};',
        "guards/a.cedar": f'@id("2") @reason("r") {NAMED};\n@id("1") @reason("r") {NAMED};',
    }
    found, wrong = read(files)
    assert wrong == ()
    assert [(guard.id, guard.source) for guard in found] == [
        ("2", "guards/a.cedar:1"), ("1", "guards/a.cedar:2"), ("3", "guards/b.cedar:1"),
    ]  # fmt: skip


def test_an_empty_file_is_no_guard_and_no_mistake():
    assert accepted("// later\n") == ()


@pytest.mark.parametrize(
    ("text", "features"),
    [
        (f"{NAMED};", ("ai-tokens",)),
        (f"{ALL}{BARE};", None),
        (f'{BARE} when {{ resource in [Feature::"api-calls", Feature::"ai-tokens",] }};',
         ("ai-tokens", "api-calls")),
        (f'{BARE} when {{ principal.trial }} when {{ resource in [Feature::"api-calls"] }};',
         ("api-calls",)),
        ('forbid (principal is Tenant, action == Action::"use", resource == Feature::"ai-tokens",);',
         ("ai-tokens",)),
    ],
)  # fmt: skip
def test_the_features_of_a_guard_are_said_in_one_of_three_ways(text, features):
    (guard,) = accepted(HEAD + text)
    assert guard.features == features


@pytest.mark.parametrize(
    ("text", "keys", "tags"),
    [
        ("context.request has region", ("region",), ()),
        ('context has request.region && context.request["region"] == "eu"', ("region",), ()),
        ('context["request"] has "team" && context.request.team like "a*"', ("team",), ()),
        ("context.request has region && context.request has team", ("region", "team"), ()),
        ('principal.hasTag("b c") && principal["trial"]', (), ("b c",)),
        ('principal.hasTag("a") && principal.getTag("a") == "x"', (), ("a",)),
        ('if principal.hasTag("a") then principal.getTag("a") == "" else true', (), ("a",)),
        ('["pro"].contains(context.facts.plan) || context.facts.ai != context.facts.always', (), ()),
        ('[BillingStatus::"good"].contains(principal.billingStatus) && !(1 < 2)', (), ()),
        ('principal is Tenant && resource == Feature::"ai-tokens" && action == Action::"use"', (), ()),
    ],
)  # fmt: skip
def test_what_a_guard_reads_is_known_from_its_words(text, keys, tags):
    (guard,) = accepted(f"{HEAD}{NAMED} when {{ {text} }};")
    assert (guard.request_keys, guard.tags) == (keys, tags)


def test_words_in_texts_and_comments_are_not_read():
    text = (
        f'{NAMED} when {{ // principal.getTag("b") + 1\n "context.drawn; }} permit" != context.facts.plan }};'
    )
    (guard,) = accepted(HEAD + text)
    assert guard.tags == ()


# --- what is refused, and where ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("context.drawn < 5", [(9, "guard", "drawn")]),
        ("context has caps", [(13, "guard", "caps")]),
        ('context["requested"] == 1', [(9, "guard", '"requested"')]),
        ("principal.extra < 1", [(11, "guard", "extra")]),
        ("principal has unlimited", [(15, "guard", "unlimited")]),
        ("1 + 1 == 2", [(3, "guard", "+")]),
        ("-1 < 2", [(1, "guard", "-")]),
        ("context == context", [(1, "guard", "context"), (12, "guard", "context")]),
        ("{a: context.request}.a == 1", [(1, "guard", "{")]),
        ('(context).request.region == "x"', [(2, "guard", "context")]),
        ("context.request has regoin", [(21, "guard", "regoin")]),
        ('context.facts.plann == "pro"', [(15, "guard", "plann")]),
        ('context.request[context.facts.plan] == "x"', [(17, "guard", "context")]),
        ("principal.hasTag(context.facts.plan)", [(18, "guard", "context")]),
        ('principal.hasTag("a\\u{62}")', [(18, "guard", '"a\\u{62}"')]),
        ('resource.hasTag("a")', [(10, "guard", "hasTag")]),
        ("resource.ai", [(10, "guard", "ai")]),
        ('principal == Tenant::"acme"', [(1, "guard", "principal"), (14, "guard", "Tenant")]),
        ('Tenant::"acme".trial', [(1, "guard", "Tenant")]),
        ('resource == Feature::"ai-token"', [(22, "unknown-feature", '"ai-token"')]),
        ('principal.billingStatus == BillingStatus::"goud"', [(43, "guard", '"goud"')]),
        ('A::Feature::"ai-tokens" == resource', [(1, "guard", "A")]),
        ('ip("127.0.0.1") == ip("::1")', [(1, "guard", "ip"), (20, "guard", "ip")]),
        ('context.facts.plan.startsWith("p")', [(20, "guard", "startsWith")]),
        ("resource == ?resource", [(13, "guard", "?resource")]),
        ("treu", [(1, "guard", "treu")]),
        # Cedar's own objections, found again in the text.
        ('context.request.region == "x"', [(17, "cedar", "region")]),
        ('principal.getTag("a") == "x"', [(18, "cedar", '"a"')]),
        ("principal.trial && context.facts.plan == 3 && true", [(20, "cedar", "context")]),
        ('principal.trial && [] == ["a"]', [(20, "cedar", "[")]),
        ("principal.trial &&", [(20, "syntax", "}")]),
        ("principal.trial principal.trial", [(17, "syntax", "principal")]),
        ("true && 1 < 2 < 3", [(9, "syntax", "1")]),
        ('true && ["a"].contains()', [(15, "syntax", "contains")]),
        ("(if true then principal.trial)", [(30, "syntax", ")")]),
        ("principal.trial = true", [(17, "syntax", "=")]),
        ('"a\\q" == "a"', [(3, "syntax", "\\q")]),
        ("1000000000000000000 == 1", [(1, "out-of-bounds", "1000000000000000000")]),
        ("999999999999999999 == 1 && 1_000 > 1", [(28, "syntax", "1_000")]),
    ],
)  # fmt: skip
def test_a_condition_is_refused_at_the_very_place(text, found):
    assert condition(text) == found


def test_of_several_readings_the_unsafe_one_is_pointed_at():
    safe = 'principal.hasTag("a") && principal.getTag("a") == "x"'
    assert condition(f'({safe}) || principal.getTag("a") == "y"') == [(len(safe) + 24, "cedar", '"a"')]
    text = 'context.request.region == "a" || (context.request has region && context.request.region == "b")'
    assert condition(text) == [(17, "cedar", "region")]


def test_a_reading_that_ends_a_list_is_pointed_at_too():
    text = 'if true then context.request.region == "" else [context.request.region].contains("")'
    assert condition(text) == [(30, "cedar", "region")]
    text = '["a"].contains(context.request["region"]) && [principal.getTag("a")].contains("")'
    assert condition(text) == [(32, "cedar", '"region"'), (64, "cedar", '"a"')]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f'{HEAD}permit (principal, action, resource == Feature::"ai-tokens");', ["3:1 guard permit"]),
        (f"{HEAD}forbd (principal, action, resource);", ["3:1 syntax forbd"]),
        (f'@reason("r")\n{NAMED};', ["2:1 guard forbid"]),
        (f'@id("a")\n{NAMED};', ["2:1 guard forbid"]),
        (f'@id("A b")\n@reason("r")\n{NAMED};', ['1:5 guard "A b"']),
        (f'@id\n@reason("r")\n{NAMED};', ["1:2 guard id"]),
        (f'@id("a")\n@reason(" ")\n{NAMED};', ['2:9 guard " "']),
        (f'@id("a")\n@reason("a\\nb")\n{NAMED};', ['2:9 guard "a\\nb"']),
        (f'{HEAD}@advice("x")\n{NAMED};', ["3:2 guard advice"]),
        (f'{HEAD}@id("b")\n{NAMED};', ["3:2 duplicate-key id"]),
        (f'{HEAD}@scope("some")\n{BARE};', ['3:8 guard "some"']),
        (f'{HEAD}@scope("all")\n{NAMED};', ['3:8 guard "all"']),
        (f"{HEAD}{BARE};", ["3:28 guard resource"]),
        (f'{HEAD}{BARE} when {{ resource in [Feature::"ai-tokens"] || true }};', ["3:28 guard resource"]),
        (f'{HEAD}{BARE} when {{ resource in Feature::"ai-tokens" }};', ["3:28 guard resource"]),
        (f'{HEAD}{BARE} unless {{ resource in [Feature::"ai-tokens"] }};', ["3:28 guard resource"]),
        (f'{HEAD}{ALL}{BARE} when {{ resource in [Feature::"ai-tokens"] }};', ['3:8 guard "all"']),
        (f'{HEAD}forbid (principal, action, resource in Feature::"ai-tokens");', ["3:37 guard in"]),
        (f"{HEAD}forbid (principal, action, resource == ?resource);", ["3:40 guard ?resource"]),
        (f'{HEAD}forbid (principal == Tenant::"a", action, resource == Feature::"ai-tokens");',
         ["3:19 guard =="]),
        (f'{HEAD}forbid (principal, action == Action::"see", resource == Feature::"ai-tokens");',
         ["3:27 guard =="]),
        (f'{HEAD}forbid (principal, action, resource == Feature::"nope");', ['3:49 unknown-feature "nope"']),
        (f"{HEAD}forbid (principal, resource);", ["3:20 syntax resource"]),
        (f"{HEAD}{NAMED}\nwhen {{ principal.trial ;", ["4:6 syntax {"]),
        (f"{HEAD}{NAMED}\nwhen {{ (principal.trial] }};", ["4:24 syntax ]"]),
        (f"{HEAD}{NAMED}\nwhen {{ }};", ["4:8 syntax }"]),
        (f"{HEAD}{NAMED}\nwehn {{ true }};", ["4:1 syntax wehn"]),
        (f"{HEAD}{NAMED}", ["3:60 syntax )"]),
        (f'{HEAD}{NAMED}\n@id("b")\n{NAMED};', ["4:1 syntax @"]),
        (f'{HEAD}{NAMED}\nwhen {{ "abc }};', ['4:8 syntax "abc };']),
        (f"{HEAD}{NAMED}; /* no */", ["3:63 syntax /", "3:70 syntax /"]),
        (f"{HEAD}{NAMED} // a\rwhen {{ false }};", ["3:66 control-character �"]),
        (f'{HEAD}{NAMED} when {{ "\u202e" == context.facts.plan }};', ["3:70 control-character �"]),
        (f"{HEAD}{NAMED}\u00a0;", ["3:61 syntax �"]),
    ],
)  # fmt: skip
def test_a_frame_is_refused_at_the_very_place(text, found):
    assert refused(text) == found


def test_an_id_is_unique_over_all_files():
    text = f"{HEAD}{NAMED};"
    found, wrong = read({"guards/a.cedar": text, "guards/b.cedar": text})
    assert [guard.source for guard in found] == ["guards/a.cedar:1"]
    assert [(one.path, one.line, one.column, one.slug) for one in wrong] == [
        ("guards/b.cedar", 1, 5, "duplicate-guard")
    ]
    assert "guards/a.cedar:1" in wrong[0].message


def test_a_reason_may_hold_quotes_and_is_as_long_as_a_line():
    (guard,) = accepted(f'@id("a") @reason("Say \\"yes\\" first.") {NAMED};')
    assert guard.reason == 'Say "yes" first.'
    fits = "r" * limits.GUARD_REASON_LENGTH
    assert accepted(f'@id("a") @reason("{fits}") {NAMED};')[0].reason == fits
    assert refused(f'@id("a") @reason("{fits}r") {NAMED};')[0].startswith("1:18 out-of-bounds")


def test_a_key_that_no_check_of_the_feature_carries_is_refused():
    """The guard would never hold, and nobody would see it."""
    scope = 'forbid (principal, action, resource == Feature::"premium-voice")'
    assert refused(f"{HEAD}{scope}\nwhen {{ context.request has region }};") == ["4:28 guard region"]
    (guard,) = accepted(f"{HEAD}{ALL}{BARE} when {{ context.request has region }};")
    assert guard.request_keys == ("region",)


def test_without_features_only_the_frame_is_looked_at():
    found, wrong = read(f"{HEAD}{NAMED} when {{ treu }};\nforbd (principal, action, resource);", None)
    assert found == ()
    assert [(one.line, one.slug) for one in wrong] == [(4, "syntax")]


def test_one_broken_guard_does_not_hide_another():
    text = f'{HEAD}{NAMED} when {{ a }};\n@id("b") @reason("r") {BARE};\n@id("c") @reason("r") {NAMED};'
    found, wrong = read(text)
    assert [guard.id for guard in found] == ["c"]
    assert [one.line for one in wrong] == [3, 4]


@pytest.mark.parametrize(
    "other",
    [
        {"id": "b"},
        {"reason": "Never."},
        {"features": ("api-calls",)},
        {"features": None},
        {"text": HEAD + NAMED.replace("forbid", "permit") + ";"},
        {"text": f"{HEAD}{NAMED};{HEAD}{NAMED};"},
        {"text": f"{HEAD}forbid (principal, action, resource == ?resource);"},
    ],
)
def test_a_guard_is_what_cedar_finds_in_its_text(other):
    """A net under our own reading: should it ever differ from Cedar's, the guard is refused."""
    (guard,) = accepted(f"{HEAD}{NAMED};")
    assert guard_cedar.agrees(guard)
    assert not guard_cedar.agrees(msgspec.structs.replace(guard, **other))


# --- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        ("(" * 10_000 + "true" + ")" * 10_000, "too-large"),
        ("[" * 10_000, "too-large"),
        ("!(" * 10_000, "too-large"),
        ("(" * 100 + "true" + ")" * 100, "too-deep"),
        ("[" * 100 + "true" + "]" * 100, "too-deep"),
        ("{" * 100 + "}" * 100, "too-deep"),
        (" && ".join(["true"] * 3_000), "too-large"),
        ("context" + ".a" * 3_000, "too-large"),
        ("x" * 1_000_000, "too-large"),
        ("true &&\n" * 20_000, "too-large"),
        ('"' * 20_001, "syntax"),
        ("@" * 60_000, "too-large"),
        (";" * 60_000, "syntax"),
        ("%" * 60_000, "syntax"),
    ],
)  # fmt: skip
def test_what_would_kill_the_parser_never_reaches_it(body, slug):
    _, wrong = read(f"{HEAD}{NAMED} when {{ {body} }};")
    assert {one.slug for one in wrong} >= {slug}


def test_brackets_and_words_at_the_bound_are_read_and_one_more_is_not():
    depth = limits.GUARD_DEPTH - 1  # the braces of the condition are one
    inside = "(" * depth + "true" + ")" * depth
    assert len(accepted(f"{HEAD}{NAMED} when {{ {inside} }};")) == 1
    assert refused(f"{HEAD}{NAMED} when {{ ({inside}) }};") == ["3:100 too-deep ("]
    frame = 2 * 5 + 12 + 4  # annotations, scope, braces and semicolon
    words = ["true", "&&"] * ((limits.GUARD_TOKENS - frame - 1) // 2) + ["true"]
    assert len(accepted(f"{HEAD}{NAMED} when {{ {' '.join(words)} }};")) == 1
    assert refused(f"{HEAD}{NAMED} when {{ {' '.join(words)} && true }};")[0].endswith("too-large ;")


def test_what_is_within_the_bounds_leaves_the_engine_alive_on_a_small_stack():
    """In a thread with 512 kB: a quarter of what threads have where stacks are smallest."""
    bodies = [
        "!(" * 30 + "true" + ")" * 30,
        "(" * 30 + "true" + ")" * 30,
        " && ".join(["true"] * 130),
        " || ".join(["true"] * 130),
        "if true then true else " * 45 + "true",
        "[" * 30 + "true" + "]" * 30 + ".isEmpty()",
        "context.facts" + ".plan" * 120 + " == true",
    ]
    program = f"""
import sys, threading
sys.path.insert(0, {str(sys.path[0])!r})
from policies.compiler import guard_cedar, guards
from policies.compiler.findings import Findings
from policies.model import Feature
FEATURES = {{"ai-tokens": Feature(id="ai-tokens", type="boolean", name="A", source="f:1")}}
def go():
    for body in {bodies!r}:
        files = {{"guards/a.cedar": {HEAD + NAMED!r} + " when {{ " + body + " }};"}}
        findings = Findings(files)
        print(len(guards.read(files, FEATURES, findings)) + findings.errors)
threading.stack_size(512 * 1024)
thread = threading.Thread(target=go)
thread.start()
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1"] * len(bodies)


def test_the_number_of_guards_is_bounded_in_a_catalog_and_for_a_feature():
    def many(count, scope):
        return "\n".join(f'@id("g{n}") @reason("r") {scope};' for n in range(count))

    assert len(accepted(many(limits.GUARDS_OF_FEATURE, NAMED))) == limits.GUARDS_OF_FEATURE
    _, wrong = read(many(limits.GUARDS_OF_FEATURE + 1, NAMED))
    assert [(one.line, one.slug) for one in wrong] == [(limits.GUARDS_OF_FEATURE + 1, "too-large")]
    found, wrong = read(many(limits.GUARDS + 1, NAMED))
    assert found == ()
    assert [(one.line, one.slug) for one in wrong] == [(limits.GUARDS + 1, "too-large")]
