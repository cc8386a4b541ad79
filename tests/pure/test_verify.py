"""Each invariant holds a catalog to its word, and says by whom a broken one would be noticed."""

from pathlib import Path

import msgspec
import pytest

from policies import proof
from policies.compiler import cedar
from policies.compiler.build import compile_catalog
from policies.model import Guard
from policies.verify import ladder, request_guards, verify
from policies.verify.ladder import Bound

CATALOG = Path(__file__).parents[2] / "policies" / "catalog"
BUNDLED = {
    path.relative_to(CATALOG).as_posix(): path.read_text("utf-8")
    for path in CATALOG.rglob("*.*")
    if path.suffix in {".yaml", ".cedar"} and path.parent.name != "tests"
}
RULES = ("ladder-monotone", "addons-only-add", "unpaid-only-always", "costly-bounded", "never-errors")
FEATURES = """\
features:
  voice: {type: boolean, name: Voice, ai: true, context: [region]}
  seats: {type: static, valueType: integer, name: seats}
  region: {type: static, valueType: string, name: Region, always: true}
  hours: {type: metered, name: Hours, unit: hour, costly: true, decimals: 1, entity: optional}
  calls: {type: metered, name: Calls, unit: call, combine: tightest, always: true}
ladder: [low, high]
"""
PLAN = """\
plan: {id}
name: {name}
currency: usd
price: "9.00"
interval: month
features:
{features}
"""
ADDON = """\
addon: pack
name: Pack
currency: usd
price: "1.00"
interval: month
for: [low]
features: {hours: {included: 1}}
"""
SAME = """\
  voice: true
  seats: 3
  region: us
  hours: {included: 10, overage: {upTo: 5, MODEL}, caps: [{limit: 4, interval: day}]}
  calls: {included: 100}
""".replace("MODEL", 'model: perUnit, unitAmount: "1.00"')


def files(low=SAME, high=SAME, *, rules=RULES, more="", exempt="", **others):
    said = "".join(f"  - {{name: of {rule}, rule: {rule}, severity: error{exempt}}}\n" for rule in rules)
    return {
        "features.yaml": FEATURES,
        "plans/low.yaml": PLAN.format(id="low", name="Low", features=low + more),
        "plans/high.yaml": PLAN.format(id="high", name="High", features=high),
        "invariants.yaml": f"invariants:\n{said}",
    } | others  # fmt: skip


def catalog(**said):
    done = compile_catalog(files(**said))
    assert done.catalog is not None, [finding.render() for finding in done.findings]
    return done.catalog


def told(**said):
    return [(one.source, one.counterexample) for one in verify.verify(catalog(**said))]


def changed(before, after):
    assert before in SAME
    return SAME.replace(before, after)


def test_a_catalog_that_keeps_its_word_has_no_violations():
    assert told(**{"addons/pack.yaml": ADDON}) == []


# --- the ladder ----------------------------------------------------------------------------------

UP = "; after an upgrade to High it may not: "
LESS = "; after an upgrade to High no more than "
BROKEN = {
    "a switch is lost": (
        changed("  voice: true\n", ""),
        "plans/high.yaml:1",
        "a tenant on Low may use Voice" + UP + "feature_not_in_plan, plans/high.yaml:1",
    ),
    "a quantity is lost": (
        changed("  calls: {included: 100}\n", ""),
        "plans/high.yaml:1",
        "a tenant on Low may use 1 call" + UP + "feature_not_in_plan, plans/high.yaml:1",
    ),
    "a value is lower": (
        changed("seats: 3", "seats: 2"),
        "plans/high.yaml:8",
        "a tenant on Low may use 3 seats" + UP + "value_exceeded, plans/high.yaml:8",
    ),
    "a text is lost": (
        changed("  region: us\n", ""),
        "plans/high.yaml:1",
        "a tenant on Low may use Region" + UP + "feature_not_in_plan, plans/high.yaml:1",
    ),
    "the limit is lower": (
        changed("included: 100", "included: 99"),
        "plans/high.yaml:11",
        "a tenant on Low that has used 99 calls may use 1 call more"
        + UP
        + "limit_reached, plans/high.yaml:11",
    ),
    "overage is lower": (
        changed("upTo: 5", "upTo: 4"),
        "plans/high.yaml:10",
        "a tenant on Low that has used 14 hours may use 0.1 hours more"
        + UP
        + "limit_reached, plans/high.yaml:10",
    ),
    "less is included, which only a restricted tenant notices": (
        changed("included: 10, overage: {upTo: 5", "included: 9, overage: {upTo: 6"),
        "plans/high.yaml:10",
        "a tenant on Low on trial that has used 9 hours may use 0.1 hours more"
        + UP
        + "limit_reached, plans/high.yaml:10",
    ),
    "a cap is lower": (
        changed("limit: 4", "limit: 3"),
        "plans/high.yaml:10",
        "a tenant on Low may use 4 hours in one day" + LESS + "3 hours: cap_reached, plans/high.yaml:10",
    ),
    "a cap is new": (
        changed("{included: 100}", "{included: 100, caps: [{limit: 20, interval: hour}]}"),
        "plans/high.yaml:11",
        "a tenant on Low may use 100 calls in one hour" + LESS + "20 calls: cap_reached, plans/high.yaml:11",
    ),
    "a cap of each entity is new": (
        changed("interval: day}]", "interval: day}, {limit: 2, interval: day, per: entity}]"),
        "plans/high.yaml:10",
        "an entity of a tenant on Low may use 4 hours in one day"
        + LESS
        + "2 hours: cap_reached, plans/high.yaml:10",
    ),
    "as much in a longer interval": (
        changed("{included: 100}", "{included: 100, interval: year}"),
        "plans/high.yaml:11",
        "a tenant on Low may use 1,200 calls in one year"
        + LESS
        + "100 calls: limit_reached, plans/high.yaml:11",
    ),
    "less in a shorter interval": (
        changed("{included: 100}", "{included: 99, interval: day}"),
        "plans/high.yaml:11",
        "a tenant on Low may use 100 calls in one day" + LESS + "99 calls: limit_reached, plans/high.yaml:11",
    ),
    "once and for all": (
        changed("{included: 100}", "{included: 1_000_000, interval: never}"),
        "plans/high.yaml:11",
        "a tenant on Low may use Calls without end"
        + LESS
        + "1,000,000 calls: limit_reached, plans/high.yaml:11",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_step_that_takes_away_is_told_with_a_tenant_who_would_notice(name):
    high, source, sentence = BROKEN[name]
    assert told(high=high) == [(source, sentence)]
    assert told(high=high, exempt=", except: [high]") == []


@pytest.mark.parametrize(
    "high",
    [
        changed("included: 100", "included: unlimited"),
        changed("included: 100", "included: 100, interval: day"),
        changed("included: 100", "included: 100, interval: month, anchor: calendar"),
        changed("included: 100", "included: 100, caps: [{limit: 100, interval: hour}]"),
        changed("included: 100", "included: 1_200, interval: year"),
        changed("{limit: 4, interval: day}", "{limit: 4, interval: hour}"),
        changed("{limit: 4, interval: day}", "{limit: 4, interval: day, per: entity}"),
        changed("{limit: 4, interval: day}", "{limit: 124, interval: month}"),
        changed(", caps: [{limit: 4, interval: day}]", ""),
        changed("upTo: 5", "upTo: 50"),
    ],
)
def test_a_step_that_takes_nothing_away_is_none(high):
    assert told(high=high) == []


def test_what_gives_nothing_cannot_be_lost():
    nothing = changed("included: 100", "included: 0")
    assert told(low=nothing, high=changed("  calls: {included: 100}\n", "")) == []


EXEMPT = "{name: x, rule: ladder-monotone, severity: error, except: [mid]}"


def test_an_exempt_plan_is_no_step_so_those_beside_it_are_compared():
    said = files(high=changed("included: 100", "included: 50")) | {
        "features.yaml": FEATURES.replace("[low, high]", "[low, mid, high]"),
        "plans/mid.yaml": PLAN.format(
            id="mid", name="Mid", features=changed("included: 100", "included: 70")
        ),
        "invariants.yaml": f"invariants:\n  - {EXEMPT}\n",
    }
    (found,) = verify.verify(compile_catalog(said).catalog)
    assert found.counterexample.startswith("a tenant on Low that has used 50 calls")


@pytest.mark.parametrize(
    ("had", "bound", "implied"),
    [
        (Bound("day", "tenant", 4, ""), Bound("month", "tenant", 123, ""), False),
        (Bound("day", "tenant", 4, ""), Bound("month", "tenant", 124, ""), True),
        (Bound("week", "tenant", 1, ""), Bound("month", "tenant", 4, ""), False),
        (Bound("week", "tenant", 1, ""), Bound("month", "tenant", 5, ""), True),
        (Bound("month", "tenant", 4, ""), Bound("day", "tenant", 3, ""), False),
        (Bound("month", "tenant", 4, ""), Bound("day", "tenant", 4, ""), True),
        (Bound("day", "entity", 4, ""), Bound("day", "tenant", 400, ""), False),
        (Bound("day", "tenant", 4, ""), Bound("day", "entity", 4, ""), True),
        (Bound("never", "tenant", 4, ""), Bound("hour", "tenant", 4, ""), True),
        (Bound("year", "tenant", 4, ""), Bound("never", "tenant", 4_000, ""), False),
        (Bound("day", "tenant", None, ""), Bound("day", "tenant", 4_000, ""), False),
        (Bound("day", "tenant", None, ""), Bound("day", "tenant", None, ""), True),
    ],
)
def test_limits_of_different_intervals_are_compared_by_the_most_that_fits(had, bound, implied):
    assert ladder._implies(had, bound) is implied


GUARD = '@id("g") @reason("No.") forbid (principal, action, resource == Feature::"voice") when {{ {} }};'


def test_a_guard_that_refuses_only_on_the_higher_plan_takes_away():
    reads = 'context.facts.plan == "high" && context.request has region && context.request.region == "eu"'
    (found,) = told(**{"guards/g.cedar": GUARD.format(reads)})
    source, sentence = found
    assert source == "guards/g.cedar:1"
    assert sentence == (
        'a request for Voice with region "eu" is allowed to a tenant on Low; after an upgrade to High it is '
        "denied: guard, guards/g.cedar:1"
    )
    lower = reads.replace('"high"', '"low"')
    assert told(**{"guards/g.cedar": GUARD.format(lower)}) == []


# --- add-ons -------------------------------------------------------------------------------------


def test_an_addon_that_makes_less_of_a_plan_is_told():
    pack = ADDON.replace("hours: {included: 1}", "calls: {included: 60}")
    ((source, sentence),) = told(**{"addons/pack.yaml": pack})
    assert source == "addons/pack.yaml:7"
    assert sentence == (
        "a tenant on Low may use Calls up to 100 calls; "
        "with Pack only 60 calls: limit_reached, plans/low.yaml:11"
    )
    assert told(exempt=", except: [low]", **{"addons/pack.yaml": pack}) == []


# --- who does not pay ----------------------------------------------------------------------------


def test_a_permit_that_asks_for_no_payment_is_told(monkeypatch):
    made = catalog()
    served = ("good", "grace", "restricted", "paused")
    monkeypatch.setattr(cedar, "_SERVED", served)
    found = [one.counterexample for one in verify.verify(made) if one.rule == "unpaid-only-always"]
    assert len(found) == 6  # voice, seats and hours on two plans; the others are always on
    assert found[-1] == "a tenant on Low that is paused may use Voice: included, plans/low.yaml:7"


def test_overage_of_who_does_not_pay_is_told_even_of_what_is_always_on(monkeypatch):
    overage = changed(
        "calls: {included: 100}", 'calls: {included: 100, overage: {model: perUnit, unitAmount: "1.00"}}'
    )
    made = catalog(low=overage, high=overage)
    assert verify.verify(made) == ()
    monkeypatch.setattr(cedar, "_PAID", ("good", "grace", "ended"))
    found = {
        one.source: one.counterexample for one in verify.verify(made) if one.rule == "unpaid-only-always"
    }
    assert found["plans/low.yaml:11"] == (
        "a tenant on Low whose subscription has ended may use Calls: in_overage, plans/low.yaml:11"
    )


# --- what costs us -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "ends"),
    [
        ("{included: unlimited}", False),
        ('{included: 1, overage: {model: perUnit, unitAmount: "1.00"}}', False),
        ("{included: unlimited, caps: [{limit: 9, interval: day, per: entity}]}", False),
        ("{included: unlimited, caps: [{limit: 9, interval: day}]}", True),
    ],
)
def test_a_costly_feature_without_an_end_is_told(hours, ends):
    plan = "  hours: " + hours + "\n"
    found = told(low=plan, high=plan, rules=("costly-bounded",))
    assert bool(found) is not ends
    for source, sentence in found:
        assert source in ("plans/low.yaml:7", "plans/high.yaml:7")
        assert "that has used 100,000,000,000,000 hours may go on without end: " in sentence
    assert told(low=plan, high=plan, rules=("costly-bounded",), exempt=", except: [low, high]") == []


OWED = (
    "a tenant on Low may come to owe {} for {} past what one month includes; "
    "no more than 5.00 USD was promised"
)
VOLUME = 'model: volume, tiers: [{upTo: 3, unitAmount: "4.00"}, {unitAmount: "1.00"}]'


@pytest.mark.parametrize(
    ("hours", "owed", "amount"),
    [
        ('upTo: 5, model: perUnit, unitAmount: "1.00"', None, None),
        ('upTo: 5, model: perUnit, unitAmount: "1.01"', "5.05 USD", "5 hours"),
        ('upTo: 5, model: package, size: 2, amount: "2.00"', "6.00 USD", "5 hours"),
        ('upTo: 5, model: perUnit, unitAmount: "0.01", minimum: "6.00"', "6.00 USD", "5 hours"),
        (f"upTo: 5, {VOLUME}", "12.00 USD", "3 hours"),  # five of them cost five
        ('model: perUnit, unitAmount: "0.04"', "5.12 USD", "128 hours"),  # 4 a day, of 32 days
        ('model: perUnit, unitAmount: "0.03"', None, None),
    ],
)  # fmt: skip
def test_what_may_be_owed_for_a_costly_feature_is_bounded(hours, owed, amount):
    plan = changed('upTo: 5, model: perUnit, unitAmount: "1.00"', hours)
    found = told(low=plan, rules=("costly-bounded",), exempt=', owed: "5.00"')
    assert found == ([("plans/low.yaml:10", OWED.format(owed, amount))] if owed else [])
    assert told(low=plan, rules=("costly-bounded",)) == []


def test_a_bound_on_what_is_owed_belongs_to_what_is_costly():
    done = compile_catalog(files(rules=("ladder-monotone",), exempt=', owed: "5.00"'))
    (finding,) = done.findings
    assert (finding.slug, finding.path, finding.line) == ("misplaced-field", "invariants.yaml", 2)


def test_an_addon_that_takes_the_end_away_is_told():
    pack = ADDON.replace("included: 1", "included: unlimited")
    found = told(
        low=changed(", caps: [{limit: 4, interval: day}]", ""), rules=("costly-bounded",),
        **{"addons/pack.yaml": pack},
    )  # fmt: skip
    assert found == [("addons/pack.yaml:7", "a tenant on Low with Pack may use Hours without end")]


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ('context.request.region == "eu"', "a request for Voice without context and metadata of a tenant on"),
        (
            'principal.getTag("tier") == "x"',
            "a request for Voice without context and metadata of a tenant on",
        ),
        (
            'context.request has region && context.request.region == "eu" && principal.getTag("tier") == "x"',
            'a request for Voice with region "eu" of a tenant on',
        ),
        ("principal.trial && 9223372036854775807 + 1 > 0", " on trial makes the guard err"),
    ],
)
def test_a_guard_that_could_err_is_told_with_the_request_that_makes_it(condition, words):
    """No guard that was read can; this one was not."""
    guard = Guard(
        id="g", source="guards/g.cedar:1", text=GUARD.format(condition), reason="No.", features=("voice",),
        request_keys=("region",), tags=("tier",),
    )  # fmt: skip
    made = msgspec.structs.replace(catalog(rules=("never-errors",)), guards=(guard,))
    (found,) = verify.verify(made)
    assert words in found.counterexample
    assert found.source == "guards/g.cedar:1"


def test_a_sum_that_could_overflow_is_told(monkeypatch):
    made = catalog(rules=("never-errors",))
    monkeypatch.setattr(cedar, "_sum", lambda *_, source: str(2**63 - 1))  # noqa: ARG005 - its name is called
    found = verify.verify(made)
    assert len(found) == 6  # seats, hours and calls on two plans
    assert "makes this err: context.drawn + context.requested <= 9223372036854775807 + principal.extra" in (
        found[0].counterexample + found[-1].counterexample
    )


def test_a_plan_that_cannot_be_compiled_is_told(monkeypatch):
    made = catalog(rules=("never-errors",))
    monkeypatch.setattr(cedar, "LITERAL_MAX", 50)
    assert any("can be decided: " in one.counterexample for one in verify.verify(made))


def test_situations_are_all_that_guards_can_tell_apart_and_bounded():
    guards = compile_catalog(BUNDLED).catalog.guards
    found = list(request_guards.situations(guards))
    assert {one.request.get("region") for one in found} >= {None, "ir", "kp", "another"}
    assert {one.tags.get("ai-agreement") for one in found} >= {None, "signed", "another"}
    keys = tuple(f"k{number}" for number in range(16))
    wide = msgspec.structs.replace(guards[0], request_keys=keys)
    many = list(request_guards.situations([wide]))
    assert {} in [one.request for one in many]
    assert len(many) < request_guards.SITUATIONS


# --- the whole -----------------------------------------------------------------------------------


def test_what_cannot_be_verified_is_told_and_no_exception():
    made = catalog(rules=("ladder-monotone",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("policies.table.ceilings", _refuse)
        (found,) = verify.verify(made)
    assert found.counterexample == "it could not be verified: no box"
    assert found.source == found.invariant_source


def _refuse(*_):
    raise ValueError("no box")


def test_violations_are_findings_with_the_name_and_the_severity_of_their_invariant():
    said = files(high=changed("seats: 3", "seats: 2"))
    said["invariants.yaml"] = said["invariants.yaml"].replace("severity: error", "severity: warning", 1)
    (found,) = proof.prove(compile_catalog(said), said).findings
    assert (found.path, found.line, found.column) == ("plans/high.yaml", 8, 3)
    assert (found.slug, found.severity, found.name) == ("invariant", "warning", "of ladder-monotone")
    assert found.message.startswith(
        'breaks "of ladder-monotone" (invariants.yaml:2): a tenant on Low may use'
    )


def test_what_a_known_catalog_has_the_same_is_not_told_again():
    pack = ADDON.replace("hours: {included: 1}", "calls: {included: 60}")
    unlimited = changed("upTo: 5, ", "").replace(", caps: [{limit: 4, interval: day}]", "")
    bad = {"high": changed("included: 100", "included: 99"), "low": unlimited, "addons/pack.yaml": pack}
    before = catalog(**bad)
    assert len(verify.verify(before)) >= 3
    assert verify.verify(before, known=before) == ()
    worse = catalog(**bad | {"high": changed("included: 100", "included: 98")})
    again = verify.verify(worse, known=before)
    assert [one.rule for one in again] == ["ladder-monotone"] * len(again)
    assert "98 calls" in " ".join(one.counterexample for one in again)
    other = msgspec.structs.replace(before, invariants=())
    assert verify.verify(before, known=other) == verify.verify(before)


def test_the_bundled_catalog_keeps_its_word_and_its_invariants_are_not_idle():
    made = compile_catalog(BUNDLED).catalog
    assert verify.verify(made) == ()
    bound = [msgspec.structs.replace(one, exempt=()) for one in made.invariants]
    (found,) = verify.verify(msgspec.structs.replace(made, invariants=tuple(bound)))
    assert (found.rule, found.severity) == ("costly-bounded", "warning")
    assert found.counterexample.startswith(
        "a tenant on Enterprise that has used 1,000,000,000,000,000 tokens"
    )
