"""What another catalog would have answered: every kind of change, and what cannot be known."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import decide, entitlement, limits, logged, model, replay
from policies.balance import Levels
from policies.decide import Request
from policies.engine import Engine
from policies.logged import Logged
from policies.model import AddonVersion, BooleanTerms, Cap, Guard
from policies.replay import Replay
from policies.snapshot import Snapshot
from policies.subscription import BillingFact, HeldAddon, Phase, Subscription
from tests.pure import plans
from tests.pure.plans import NOW

TOKENS, VOICE = plans.TOKENS, plans.VOICE
START = NOW - timedelta(days=10)
SWITCH = {"premium-voice-model": BooleanTerms(source="plans/pro.yaml:10")}


def pro(included=1_000, *, voice=True, version="pro@00000001", **terms):
    gives = {"ai-tokens": plans.metered(included, **terms)} | (SWITCH if voice else {})
    return plans.plan((TOKENS, VOICE), gives, version=version)


def catalog(*bodies, addons=(), guards=(), fallback=None):
    made = plans.catalog(*bodies, features=(TOKENS, VOICE), fallback_plan=fallback)
    return msgspec.structs.replace(made, addons={one.addon_id: one for one in addons}, guards=guards)


BEFORE = catalog(pro())


def life(plan_id="pro", *, end=None, addons=(), version="pro@00000001"):
    phase = Phase(plan_id=plan_id, plan_version=version, start=START, end=end, addons=addons)
    return Subscription(id="sub", anchored_at=START, created_at=START, phases=(phase,))


def asked(quantity=100, *, used=0, feature_id="ai-tokens", tenant_id="acme", weight=1, held=None, was=BEFORE,
          caps=(), levels=True, away=False, **rest):  # fmt: skip
    """A decision of the log, as it was answered with the catalog before."""
    snapshot = Snapshot(
        tenant_id=tenant_id, version=1, known=True, subscriptions=(held or life(),), metadata={"home": "eu"}
    )
    offer = model.offer(was)
    right = entitlement.resolve(
        snapshot, offer=offer, versions=model.versions(was), feature_id=feature_id, at=NOW
    )
    read = Levels(included=used, caps=caps) if levels and decide.needs_levels(right) else None
    decision = decide.decide(
        Engine(), right, Request(feature_id=feature_id, quantity=quantity, **rest), read,
        now=NOW, decision_id=f"dec_{tenant_id}", catalog_hash=offer.hash,
    )  # fmt: skip
    return Logged(
        decision_id=decision.decision_id, as_of=NOW, release="test", weight=weight, tenant_id=tenant_id,
        feature_id=feature_id, quantity=quantity, levels=read,
        facts=logged.facts(snapshot, offer, right, NOW),
        answer=logged.answered(decision), away=away, **rest,
    )  # fmt: skip


def replayed(after, *decisions):
    run = Replay(after)
    for one in decisions:
        run.add(one)
    return run.report()


def only(report):
    assert len(report.changes) == 1, report
    return report.changes[0]


def test_the_same_catalog_changes_nothing():
    found = replayed(
        BEFORE, asked(), asked(5_000), asked(used=1_000), asked(feature_id="premium-voice-model")
    )
    assert (found.run, found.same, found.changes, found.unsure) == (4, 4, (), ())


def test_less_included_turns_allows_to_denied_weighted_and_named():
    after = catalog(pro(800, version="pro@00000002"))
    found = replayed(after, asked(100, used=750, weight=100), asked(100, used=650), asked(300, used=750))
    change = only(found)
    assert (change.direction, change.plan_id, change.feature_id) == ("denied", "pro", "ai-tokens")
    assert (change.before, change.after, change.decisions, change.logged) == (
        "within_limit", "limit_reached", 100, 1,
    )  # fmt: skip
    assert change.examples[0].decision_id == "dec_acme"
    assert change.examples[0].message.startswith(
        "acme asked for 100 of ai-tokens at 2026-11-22 10:00:00 UTC: allowed then (within_limit), "
        "denied with these plans: "
    )
    assert (found.run, found.decisions, found.same, found.to_denied) == (3, 102, 2, 100)
    assert [(one.tenant_id, one.denied) for one in found.tenants] == [("acme", 100)]


def test_more_included_turns_denials_to_allowed():
    found = replayed(catalog(pro(5_000, version="pro@00000002")), asked(2_000))
    assert (only(found).direction, found.to_allowed) == ("allowed", 1)


def test_the_same_answer_for_another_reason_is_told_apart():
    after = catalog(pro(800, up_to=500, version="pro@00000002"))
    found = replayed(after, asked(100, used=750, weight=7))
    assert (only(found).direction, only(found).after, found.other_reason) == ("reason", "in_overage", 7)
    assert (found.to_denied, found.tenants) == (0, ())


def test_a_feature_that_the_plan_loses_or_gains():
    lost = replayed(
        catalog(pro(voice=False, version="pro@00000002")), asked(feature_id="premium-voice-model")
    )
    assert (only(lost).direction, only(lost).after) == ("denied", "feature_not_in_plan")
    poor = catalog(plans.plan((TOKENS, VOICE), SWITCH, version="pro@00000001"))
    gained = replayed(BEFORE, asked(was=poor))
    assert (only(gained).direction, only(gained).before) == ("allowed", "feature_not_in_plan")


def test_a_tenant_whose_plan_is_gone_is_on_none():
    found = replayed(catalog(plans.plan((TOKENS,), {}, plan_id="team")), asked())
    change = only(found)
    assert (change.direction, change.after) == ("denied", "no_subscription")
    assert change.examples[0].message.endswith('The plan "pro" is not in this catalog.')


def test_an_ended_tenant_whose_plan_is_gone_stands_on_the_fallback_plan():
    free = plans.plan((TOKENS,), {"ai-tokens": plans.metered(500)}, plan_id="free")
    before = catalog(pro(), free, fallback="free")
    one = asked(was=before, held=life(end=NOW - timedelta(days=1)))
    assert one.facts.plan_id == "free"
    assert replayed(catalog(free, fallback="free"), one).same == 1
    assert only(replayed(catalog(pro()), one)).after == "subscription_ended"


def test_an_addon_that_is_gone_gives_nothing():
    pack = AddonVersion(
        version="pack@00000001", addon_id="pack", name="Pack", currency="usd", price="1", interval="month",
        source="addons/pack.yaml:1", plans=("pro",), features={"ai-tokens": TOKENS},
        terms={"ai-tokens": plans.metered(4_000)},
    )  # fmt: skip
    before = catalog(pro(), addons=(pack,))
    held = life(addons=(HeldAddon(addon_id="pack", addon_version="pack@00000001", quantity=2),))
    one = asked(8_000, was=before, held=held)
    assert one.answer.allowed is True
    assert only(replayed(catalog(pro(version="pro@00000002")), one)).direction == "denied"
    larger = msgspec.structs.replace(pack, version="pack@00000002", terms={"ai-tokens": plans.metered(3_000)})
    assert only(replayed(catalog(pro(), addons=(larger,)), one)).after == "limit_reached"


GUARD = Guard(
    id="home", source="guards/home.cedar:1", reason="At home alone.", tags=("home",),
    text='@id("home") @reason("At home alone.") forbid (principal, action, resource) '
    'when { principal.hasTag("home") && principal.getTag("home") == "eu" };',
)  # fmt: skip


def test_a_guard_that_reads_what_was_logged_decides_and_else_nobody_knows():
    unsure = replayed(catalog(pro(), guards=(GUARD,)), asked(weight=3))
    assert [(one.message, one.decisions) for one in unsure.unsure] == [
        ('the guard "home" reads the metadata "home", which was not logged', 3)
    ]
    other = msgspec.structs.replace(GUARD, text=GUARD.text.replace('"eu"', '"us"'))
    known = replayed(catalog(pro(), guards=(GUARD,)), asked(was=catalog(pro(), guards=(other,))))
    assert (only(known).after, only(known).direction) == ("guard", "denied")


def test_usage_that_was_never_counted_is_not_guessed():
    daily = replayed(catalog(pro(interval="day", version="pro@00000002")), asked())
    assert daily.unsure[0].message == "its usage would be counted in another period than it was"
    capped = pro(version="pro@00000002")
    terms = msgspec.structs.replace(
        capped.terms["ai-tokens"], caps=(Cap(source="plans/pro.yaml:25", limit=5, interval="hour"),)
    )
    capped = msgspec.structs.replace(capped, terms={**capped.terms, "ai-tokens": terms})
    assert "per hour" in replayed(catalog(capped), asked()).unsure[0].message
    assert (
        replayed(BEFORE, asked(levels=False, away=True))
        .unsure[0]
        .message.startswith("it was answered without counters")
    )


def test_without_counters_what_facts_alone_decided_is_run_and_nothing_else():
    """A tenant who does not pay was denied without them; on a plan that asks no pay nobody knows."""
    unpaid = msgspec.structs.replace(life(), billing=(BillingFact(status="suspended", since=START),))
    one = asked(held=unpaid, levels=False, away=True)
    assert one.answer.reason == "payment_required"
    assert replayed(BEFORE, one).same == 1
    kept = msgspec.structs.replace(TOKENS, always=True)
    after = plans.plan((kept,), {"ai-tokens": plans.metered(1_000)}, version="pro@00000002")
    sold = msgspec.structs.replace(catalog(after), features={"ai-tokens": kept})
    found = replayed(sold, one)
    assert (found.changes, found.unsure[0].decisions) == ((), 1)


def test_what_cedar_could_not_decide_then_is_no_flip_now():
    one = asked()
    doubt = msgspec.structs.replace(one.answer, allowed=False, outcome="indeterminate", reason="fallback")
    found = replayed(BEFORE, msgspec.structs.replace(one, answer=doubt))
    assert (found.changes, found.unsure[0].decisions) == ((), 1)


def test_context_that_a_feature_takes_no_more_is_not_run():
    dumb = msgspec.structs.replace(TOKENS, context=())
    after = plans.plan((dumb,), {"ai-tokens": plans.metered(1_000)}, version="pro@00000002")
    sold = msgspec.structs.replace(catalog(after), features={"ai-tokens": dumb})
    found = replayed(sold, asked(context={"region": "eu"}))
    assert found.unsure[0].message == "its context has a key that ai-tokens does not take"


def test_what_a_report_names_is_bounded():
    after = catalog(pro(50, version="pro@00000002"))
    found = replayed(after, *(asked(tenant_id=f"t{number:02}") for number in range(30)))
    assert (found.tenants_touched, len(found.tenants)) == (30, limits.REPLAY_TENANTS)
    assert len(only(found).examples) == limits.REPLAY_EXAMPLES


@given(st.integers(0, 2_000), st.integers(0, 2_000), st.integers(0, 1_000), st.sampled_from([None, 0, 500]))
def test_a_replay_says_what_a_decision_on_those_plans_says(included, used, quantity, up_to):
    """Whatever the plan becomes: the flip is that of asking anew with the new plan."""
    after = catalog(pro(included, up_to=up_to, version="pro@00000002"))
    used = min(used, 1_000)
    old = asked(quantity, used=used)
    new = asked(quantity, used=used, was=after, held=life(version="pro@00000002"))
    found = replayed(after, old)
    assert found.to_denied == (old.answer.allowed and not new.answer.allowed)
    assert found.to_allowed == (new.answer.allowed and not old.answer.allowed)
    assert found.same == ((old.answer.allowed, old.answer.reason) == (new.answer.allowed, new.answer.reason))
    assert replay.moved(old.facts.snapshot, model.offer(after), NOW).subscriptions[0].phases[
        0
    ].plan_version == ("pro@00000002")


@pytest.mark.parametrize("weight", [1, 100])
def test_nothing_is_counted_twice(weight):
    after = catalog(pro(800, version="pro@00000002"))
    found = replayed(after, *(asked(100, used=used, weight=weight) for used in (0, 750, 950)))
    assert (
        found.decisions == found.same + found.to_denied + found.to_allowed + found.other_reason == 3 * weight
    )
