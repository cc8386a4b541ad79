"""What would flip a denial is told only where Cedar confirms it; where a right comes from is told whole."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import combine, decide, entitlement, explain
from policies.balance import Levels
from policies.combine import Held
from policies.decide import Request
from policies.engine import Engine
from policies.explain import Sold
from policies.grant import Grant
from policies.model import AddonVersion, BooleanTerms, Cap, Guard, StaticTerms
from policies.override import Override
from policies.subscription import BillingFact
from tests.pure import plans

DAY = timedelta(days=1)
STAMP = {"now": plans.NOW, "decision_id": "dec_1", "catalog_hash": "sha256:0"}


def told(right, quantity=1, levels=None, *, sold=None, entity_id=None, context=None):
    request = Request(
        feature_id=right.feature_id, quantity=quantity, entity_id=entity_id, context=context or {}
    )
    asked, engine = levels or Levels(), Engine()
    decision = decide.decide(engine, right, request, asked, **STAMP, explain=True)
    return explain.complete(decision, engine, right, request, asked, now=plans.NOW, sold=sold or Sold())


def kinds(decision):
    return [change.kind for change in decision.would_allow.changes]


def grant(quantity, grant_id="grt_1", **rest):
    return Grant(
        id=grant_id, feature_id="ai-tokens", quantity=quantity, effective_at=plans.NOW - DAY,
        created_at=plans.NOW - DAY, reason="goodwill", **rest,
    )  # fmt: skip


# --- what would flip it --------------------------------------------------------------------------


def test_a_limit_is_flipped_by_less_by_a_grant_of_what_lacks_by_waiting_and_by_a_higher_plan():
    right = plans.right(plans.metered(1_000))
    bigger = plans.plan((plans.TOKENS,), {"ai-tokens": plans.metered(5_000)}, plan_id="business")
    sold = Sold(plans=[bigger], later=lambda _: right)
    decision = told(right, 150, Levels(included=970), sold=sold)
    fewer, wait, gift, plan = decision.would_allow.changes
    assert (fewer.kind, fewer.quantity) == ("quantity", 30)
    assert (wait.kind, wait.at) == ("wait", plans.MONTH.end)
    assert (gift.kind, gift.quantity) == ("grant", 120)
    assert (plan.kind, plan.id) == ("plan", "business")
    assert decision.would_allow.sentence == (
        "at most 30 tokens would be allowed now; allowed again from 2026-12-01; "
        "a grant of 120 tokens would do"
    )
    assert plan.sentence == "Business has 5,000 tokens"


def test_a_plan_that_would_refuse_it_too_is_not_named_and_the_nearest_that_would_not_is():
    right = plans.right(plans.metered(1_000))
    steps = [
        plans.plan((plans.TOKENS,), {"ai-tokens": plans.metered(size)}, plan_id=f"of-{size}")
        for size in (1_100, 1_120, 9_000)
    ]
    decision = told(right, 150, Levels(included=970), sold=Sold(plans=steps))
    assert [change.id for change in decision.would_allow.changes if change.kind == "plan"] == ["of-1120"]


def test_no_grant_and_no_plan_without_that_cap_lifts_a_cap_but_waiting_for_its_day_does():
    right = plans.right(plans.metered(1_000, caps=[10]))
    decision = told(right, 5, Levels(caps=(8,)), sold=Sold(later=lambda _: right))
    assert kinds(decision) == ["quantity", "wait"]
    assert decision.would_allow.changes[1].at == plans.DAY.end
    assert decision.would_allow.changes[0].quantity == 2


def test_a_cap_that_stays_full_is_found_among_the_caps_of_a_plan_that_comes_later():
    """Of two plans one caps the day and the month, the other the month and the day."""
    day, month = (
        Cap(source="plans/pro.yaml:25", limit=limit, interval=interval)
        for limit, interval in ((5, "day"), (100, "month"))
    )
    terms = msgspec.structs.replace(plans.metered(1_000), caps=(day, month))
    right = msgspec.structs.replace(plans.right(terms), cap_windows=(plans.DAY, plans.MONTH))
    wider = msgspec.structs.replace(day, limit=500)
    swapped = msgspec.structs.replace(terms, caps=(month, wider))
    later = msgspec.structs.replace(plans.right(swapped), cap_windows=(plans.MONTH, plans.DAY))
    decision = told(right, 1, Levels(included=100, caps=(5, 100)), sold=Sold(later=lambda _: later))
    (wait,) = (change for change in decision.would_allow.changes if change.kind == "wait")
    assert wait.at == plans.MONTH.end


def test_waiting_for_a_cap_does_not_help_while_the_limit_is_reached_too():
    right = plans.right(plans.metered(1_000, caps=[10]))
    decision = told(right, 5, Levels(included=1_000, caps=(8,)), sold=Sold(later=lambda _: right))
    (wait,) = (change for change in decision.would_allow.changes if change.kind == "wait")
    assert wait.at == plans.MONTH.end


def test_another_plan_that_takes_less_context_is_asked_without_what_it_does_not_take():
    """The tenant's older version takes a key that the catalog has dropped."""
    right = plans.right(plans.metered(1_000))
    plain = msgspec.structs.replace(plans.TOKENS, context=())
    bigger = plans.plan((plain,), {"ai-tokens": plans.metered(5_000)}, plan_id="business")
    renewed = msgspec.structs.replace(right, feature=plain, plan=bigger)
    decision = told(
        right, 150, Levels(included=970), context={"region": "eu"},
        sold=Sold(plans=[bigger], later=lambda _: renewed),
    )  # fmt: skip
    assert kinds(decision) == ["quantity", "wait", "grant", "plan"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("suspended", "allowed once it is paid"),
        ("pending", "allowed once the first payment has come"),
        ("paused", "allowed once it is resumed"),
        ("ended", "allowed with a subscription that runs"),
    ],
)
def test_who_does_not_pay_is_told_that_paying_would_do(status, words):
    decision = told(plans.right(BooleanTerms(source="p:1"), plans.VOICE, status=status))
    assert kinds(decision) == ["payment"]
    assert decision.would_allow.sentence == words


def test_who_does_not_pay_and_has_nothing_left_is_not_told_that_paying_would_do():
    decision = told(plans.right(plans.metered(10), status="suspended"), 5, Levels(included=10))
    assert decision.would_allow is None


def test_overage_is_closed_by_a_trial_and_opened_after_it():
    decision = told(plans.right(plans.metered(10, overage=True), trial=True), 5, Levels(included=10))
    assert "trial" in kinds(decision)


def test_a_guard_is_named_only_if_it_alone_refuses():
    guards = tuple(
        Guard(
            id=name, source=f"guards/{name}.cedar:1", reason=f"No {name}.", request_keys=("region",),
            text=f'@id("{name}") @reason("No {name}.")\nforbid (principal, action, resource)\n'
            f'when {{ context.request has region && context.request.region == "{region}" }};',
        )
        for name, region in (("embargo", "kp"), ("freeze", "kp"), ("other", "de"))
    )  # fmt: skip
    right = plans.right(plans.metered(10), guards=guards[::2])
    decision = told(right, context={"region": "kp"})
    assert (decision.reason, decision.reasons[0].policy_id) == ("guard", "embargo")
    assert decision.message == "No embargo."
    assert [change.id for change in decision.would_allow.changes] == ["embargo"]
    assert [(line.holds, line.values) for line in decision.clauses[-2:]] == [
        (False, {"context.request.region": "kp"}),
        (True, {"context.request.region": "kp"}),
    ]
    both = told(plans.right(plans.metered(10), guards=guards[:2]), context={"region": "kp"})
    assert both.would_allow is None


def test_a_feature_that_the_plan_lacks_is_found_in_a_higher_plan_and_in_an_add_on():
    voice = plans.right(None, plans.VOICE, absence="feature_not_in_plan")
    with_it = plans.plan((plans.VOICE,), {plans.VOICE.id: BooleanTerms(source="p:1")}, plan_id="team")
    addon = AddonVersion(
        version="voice@1", addon_id="voice", name="Voice", currency="usd", price="1", interval="month",
        source="addons/voice.yaml:1", plans=("pro",), features={plans.VOICE.id: plans.VOICE},
        terms={plans.VOICE.id: BooleanTerms(source="addons/voice.yaml:8")},
    )  # fmt: skip
    decision = told(voice, sold=Sold(plans=[with_it], addons=[addon]))
    assert decision.would_allow.sentence == "Team includes it; the add-on Voice would do"
    assert kinds(decision) == ["plan", "addon"]


def test_an_allow_and_an_answer_without_a_verdict_have_nothing_to_flip():
    assert told(plans.right(plans.metered(10))).would_allow is None
    denied = told(plans.right(absence="unknown_tenant"))
    assert (denied.outcome, denied.would_allow) == ("denied", None)


some = st.integers(0, 3_000)


@given(some, st.none() | st.integers(0, 500), st.integers(1, 3_000), st.lists(some, max_size=2), st.data())
def test_every_change_that_is_told_really_flips_the_answer(included, up_to, quantity, caps, data):
    right = plans.right(plans.metered(included, up_to=up_to, caps=caps))
    levels = Levels(included=data.draw(some), caps=tuple(data.draw(some) for _ in caps))
    decision = told(right, quantity, levels, sold=Sold(later=lambda _: right))
    if decision.allowed or decision.would_allow is None:
        return
    for change in decision.would_allow.changes:
        if change.kind == "quantity":
            assert told(right, change.quantity, levels).allowed
            assert not told(right, change.quantity + 1, levels).allowed
        elif change.kind == "grant":
            given_ = msgspec.structs.replace(right, grants=(grant(change.quantity),))
            used = msgspec.structs.replace(levels, grants=(0,))
            assert told(given_, quantity, used).allowed
            less = msgspec.structs.replace(right, grants=(grant(change.quantity - 1),))
            assert not told(less, quantity, used).allowed
        else:
            assert change.kind == "wait"
            fresh = Levels(caps=tuple(0 for _ in caps))
            after = (
                fresh if change.at == plans.MONTH.end else msgspec.structs.replace(levels, caps=fresh.caps)
            )
            assert told(right, quantity, after).allowed


# --- where a right comes from --------------------------------------------------------------------


def addon_of(included, addon_id="token-pack"):
    return AddonVersion(
        version=f"{addon_id}@1", addon_id=addon_id, name="Pack", currency="usd", price="9", interval="month",
        source=f"addons/{addon_id}.yaml:1", plans=("pro",), features={"ai-tokens": plans.TOKENS},
        terms={"ai-tokens": plans.metered(included)},
    )  # fmt: skip


def override(**fields):
    return Override(
        id="ovr_1", feature_id="ai-tokens", reason="contract", starts_at=plans.NOW - DAY, **fields
    )


def combined(plan_terms=None, addons=(), grants=(), over=None, feature=plans.TOKENS):
    gives = {} if plan_terms is None else {feature.id: plan_terms}
    return combine.combine(feature, plans.plan((feature,), gives), addons, grants, over)


def test_plan_add_ons_and_override_add_up_and_grants_stand_beside():
    packs = [Held(addon_of(500), 3), Held(addon_of(50, "mini"), 1)]
    found = combined(plans.metered(1_000, up_to=100), packs, [grant(70)], override(up_to=7))
    assert found.terms.included == 1_000 + 3 * 500 + 50
    assert found.terms.overage.up_to == 7
    assert [(one.kind, one.term, one.value, one.times, one.replaced) for one in found.sources] == [
        ("plan", "included", 1_000, 1, False),
        ("plan", "upTo", 100, 1, True),
        ("override", "upTo", 7, 1, False),
        ("addon", "included", 500, 3, False),
        ("addon", "included", 50, 1, False),
        ("grant", "included", 70, 1, False),
    ]


def test_what_plans_say_alike_still_names_each_plan():
    said = plans.metered(1_000)
    for version in ("pro@1", "pro@2"):
        plan = plans.plan((plans.TOKENS,), {"ai-tokens": said}, version=version)
        assert [one.id for one in combine.combine(plans.TOKENS, plan, (), (), None).sources] == [version]
        (fallen,) = combine.combine(plans.TOKENS, plan, (), (), None, fallback=True).sources
        assert (fallen.kind, fallen.id) == ("fallbackPlan", version)


def test_an_override_that_omits_a_field_never_resets_it():
    said = plans.metered(1_000, up_to=100)
    assert combined(said, over=override(up_to=5)).terms.included == 1_000
    assert combined(said, over=override(included=5)).terms.overage.up_to == 100
    assert combined(said, over=override()).terms is said


def test_an_override_stands_in_the_plans_place_and_add_ons_come_on_top():
    found = combined(plans.metered(1_000), [Held(addon_of(500), 1)], over=override(included=10))
    assert found.terms.included == 510
    assert combined(plans.metered(1_000), over=override(included="unlimited")).terms.included is None


def test_an_override_cannot_make_overage_where_the_plan_sells_none():
    assert combined(plans.metered(1_000), over=override(up_to=50)).terms.overage is None


@pytest.mark.parametrize(
    ("rule", "expected"), [("sum", 1_500), ("max", 1_000), ("tightest", 500), (None, 1_500)]
)
def test_amounts_are_combined_as_the_feature_declares(rule, expected):
    feature = msgspec.structs.replace(plans.TOKENS, combine=rule)
    found = combined(plans.metered(1_000), [Held(addon_of(500), 1)], feature=feature)
    assert found.terms.included == expected


def test_a_number_takes_the_highest_and_an_override_of_its_value_is_the_last_word():
    fifty = StaticTerms(source="plans/pro.yaml:11", value=50, display="50")
    more = AddonVersion(
        version="seats@1", addon_id="seats", name="Seats", currency="usd", price="1", interval="month",
        source="addons/seats.yaml:1", plans=("pro",), features={plans.PROJECTS.id: plans.PROJECTS},
        terms={plans.PROJECTS.id: StaticTerms(source="addons/seats.yaml:9", value=80, display="80")},
    )  # fmt: skip
    assert combined(fifty, [Held(more, 1)], feature=plans.PROJECTS).terms.value == 80
    found = combined(fifty, [Held(more, 1)], over=override(value=3), feature=plans.PROJECTS)
    assert found.terms.value == 3
    assert [one.replaced for one in found.sources] == [True, True, False]


def test_a_switch_can_be_overridden_both_ways_and_the_denial_names_the_plans_line():
    on = BooleanTerms(source="plans/pro.yaml:10")
    switched_on = combined(None, over=override(value=True), feature=plans.VOICE)
    assert (switched_on.entitled, switched_on.terms is not None) == (True, True)
    off = combined(on, over=override(value=False), feature=plans.VOICE)
    right = plans.right(on, plans.VOICE, entitled=off.entitled)
    decision = told(right)
    assert (decision.allowed, decision.reason) == (False, "feature_not_in_plan")
    assert decision.reasons[0].source == "plans/pro.yaml:10"
    assert combined(None, over=override(value=False), feature=plans.VOICE).terms is None


def test_a_feature_that_only_a_grant_gives_is_allowed_up_to_the_grant_by_the_off_plan_permit():
    found = combined(None, grants=[grant(70)])
    right = plans.right(None, now_terms=found.terms, grants=(grant(70),), sources=found.sources)
    decision = told(right, 70, Levels(grants=(0,)))
    assert (decision.allowed, decision.reasons[0].policy_id) == (True, "off-plan/ai-tokens/included")
    assert (decision.granted, decision.limit) == (70, 70)
    assert told(right, 71, Levels(grants=(0,))).reason == "limit_reached"
    assert told(right, 1, Levels(grants=(70,))).reason == "limit_reached"
    (line,) = decision.derivation.sources
    assert (line.kind, line.value, line.reason) == ("grant", 70, "goodwill")


def test_payment_facts_are_told_with_what_comes_next():
    billing = (
        BillingFact(status="grace", since=plans.DAY.start, reason="payment failed"),
        BillingFact(status="suspended", since=plans.MONTH.end),
    )
    right = plans.right(plans.metered(10), status="grace", billing=billing)
    assert told(right).message.endswith("; payment failed since 2026-11-22, access ends on 2026-12-01")


def test_what_a_plan_moved_to_gives_keeps_add_ons_and_grants():
    right = plans.right(plans.metered(10), addons=(Held(addon_of(500), 2),), grants=(grant(7),))
    target = plans.plan((plans.TOKENS,), {"ai-tokens": plans.metered(100)}, plan_id="business")
    moved = entitlement.moved(right, target, plans.NOW)
    assert (moved.terms.included, moved.plan_terms.included) == (1_100, 100)
