"""What is kept of a decision is enough to make the same right of it, and no more than that."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import decide, entitlement, logged
from policies.balance import Levels
from policies.decide import Request
from policies.engine import Engine
from policies.grant import Grant
from policies.logged import Logged, Unlike
from policies.model import Guard
from policies.override import Override
from policies.snapshot import Snapshot
from policies.subscription import BillingFact, Phase, Subscription
from tests.pure import plans

T0 = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
PRO = plans.pro()
FREE = plans.plan((plans.TOKENS,), {"ai-tokens": plans.metered(10_000, caps=(50,))}, plan_id="free")
DAILY = plans.plan((plans.TOKENS,), {"ai-tokens": plans.metered(100, interval="day")}, plan_id="daily")
VOICE = plans.plan((plans.TOKENS, plans.VOICE), {}, plan_id="voice")
BODIES = (PRO, FREE, DAILY, VOICE)
VERSIONS = plans.versions(*BODIES)
HOME = Guard(
    id="home", source="guards/home.cedar:1", reason="At home alone.", tags=("home",),
    text='forbid (principal, action, resource) when { principal.hasTag("home") };',
)  # fmt: skip
HELD = ("tenant_id", "feature", "plan", "plan_terms", "terms", "grants", "entitled", "absence",
        "billing_status", "trial", "guards", "rule", "period", "cap_windows")  # fmt: skip


def offer(fallback=None, guards=()):
    made = plans.offer(*BODIES, features=tuple(PRO.features.values()), fallback_plan=fallback)
    return msgspec.structs.replace(made, guards=guards)


@st.composite
def snapshots(draw):
    """A life on several plans, paid or not, with grants and an override, told with reasons."""
    start, phases = T0, []
    for plan in draw(st.lists(st.sampled_from(BODIES), min_size=1, max_size=5)):
        end = start + draw(st.timedeltas(timedelta(hours=1), timedelta(days=50)))
        phases.append(Phase(plan_id=plan.plan_id, plan_version=plan.version, start=start, end=end))
        start = end
    if draw(st.booleans()):
        phases[-1] = msgspec.structs.replace(phases[-1], end=None)
    spans = st.timedeltas(timedelta(0), timedelta(days=150))
    billing = sorted(
        draw(st.lists(st.tuples(spans, st.sampled_from(["good", "grace", "suspended"])), max_size=3))
    )
    held = Subscription(
        id="sub", anchored_at=T0, created_at=T0, phases=tuple(phases),
        trial_ends_at=draw(st.none() | st.just(T0 + 14 * DAY)),
        billing=tuple(BillingFact(status=status, since=T0 + span, reason="said") for span, status in billing),
    )  # fmt: skip
    grants = tuple(
        Grant(id=f"g{place}", feature_id=draw(st.sampled_from(["ai-tokens", "other"])), quantity=1_000,
              effective_at=T0 + draw(spans), expires_at=draw(st.none() | st.just(T0 + 100 * DAY)),
              created_at=T0, reason="a present")
        for place in range(draw(st.integers(0, 3)))
    )  # fmt: skip
    over = Override(id="o", feature_id="ai-tokens", included=5, reason="a favour", starts_at=T0 + 30 * DAY)
    return Snapshot(
        tenant_id="acme", version=3, known=draw(st.sampled_from([True, True, True, False])),
        closed=draw(st.sampled_from([False, False, True])), subscriptions=(held,), grants=grants,
        overrides=(over,) if draw(st.booleans()) else (), metadata={"home": "eu", "note": "secret"},
    )  # fmt: skip


def kept(snapshot, offer, right, at, *, levels=None, quantity=1, **rest) -> Logged:
    """As it is read back from the log."""
    request = Request(feature_id=right.feature_id, quantity=quantity)
    decision = decide.decide(
        Engine(), right, request, levels, now=at, decision_id="dec_1", catalog_hash=offer.hash
    )
    whole = Logged(
        decision_id="dec_1", as_of=at, release="test", weight=1, tenant_id="acme",
        feature_id=right.feature_id, quantity=quantity, levels=levels,
        facts=logged.facts(snapshot, offer, right, at),
        answer=logged.answered(decision), **rest,
    )  # fmt: skip
    return msgspec.json.decode(msgspec.json.encode(whole), type=Logged)


@given(
    snapshots(), st.sampled_from(["ai-tokens", "premium-voice-model", "nothing"]),
    st.timedeltas(timedelta(0), timedelta(days=200)), st.none() | st.just("free"),
    st.sampled_from([(), (HOME,)]),
)  # fmt: skip
def test_the_right_that_is_made_again_is_the_same(snapshot, feature_id, since, fallback, guards):
    """Whatever plans, grants, overrides, statuses there were before and after."""
    at, sold = T0 + since, offer(fallback, guards)
    right = entitlement.resolve(snapshot, offer=sold, versions=VERSIONS, feature_id=feature_id, at=at)
    levels = Levels(caps=(0,) * len(right.cap_windows)) if decide.needs_levels(right) else None
    found = kept(snapshot, sold, right, at, levels=levels)
    again = logged.right(found, sold, VERSIONS)
    for name in HELD:
        before, after = getattr(right, name), getattr(again, name)
        if name == "grants":
            before = tuple(msgspec.structs.replace(grant, reason="") for grant in before)
        assert after == before, name
    decision = logged.run(Engine(), found, again, catalog_hash=sold.hash)
    assert logged.answered(decision) == found.answer
    said = msgspec.json.encode(found).decode()
    assert not any(word in said for word in ("secret", "a present", "a favour", "said"))
    assert ("eu" in found.facts.snapshot.metadata.values()) == bool(guards)


def on(plan, at=T0 + DAY):
    held = Subscription(
        id="sub", anchored_at=T0, created_at=T0,
        phases=(Phase(plan_id=plan.plan_id, plan_version=plan.version, start=T0),),
    )  # fmt: skip
    snapshot = Snapshot(tenant_id="acme", version=3, known=True, subscriptions=(held,))
    return snapshot, entitlement.resolve(
        snapshot, offer=offer(), versions=VERSIONS, feature_id="ai-tokens", at=at
    )


@pytest.mark.parametrize(
    ("other", "sentence"),
    [(DAILY, "its usage would be counted in another period than it was"),
     (PRO, "usage per day of one entity was not counted for a cap")],
)  # fmt: skip
def test_usage_that_was_counted_otherwise_is_not_taken_for_another(other, sentence):
    snapshot, right = on(FREE)
    found = kept(snapshot, offer(), right, T0 + DAY, levels=Levels(included=9_000, caps=(40,)))
    assert logged.run(Engine(), found, on(other)[1], catalog_hash="") == Unlike(sentence)


def test_caps_are_told_apart_by_what_they_count_not_by_their_place():
    snapshot, right = on(PRO)
    levels = Levels(included=10, caps=(60, 5))  # of the day: the tenant's, the entity's
    found = kept(snapshot, offer(), right, T0 + DAY, levels=levels)
    answer = logged.run(Engine(), found, on(FREE)[1], catalog_hash="")
    assert (answer.reason, answer.caps[0].used) == ("cap_reached", 60)


def test_of_what_the_plan_did_not_give_nothing_is_used():
    """A plan that gives it shows it unused; usage without a right was never drawn from one."""
    snapshot, right = on(VOICE)
    found = kept(snapshot, offer(), right, T0 + DAY)
    assert found.answer.reason == "feature_not_in_plan"
    assert logged.run(Engine(), found, on(FREE)[1], catalog_hash="").usage == 0
    assert logged.run(Engine(), found, on(FREE)[1], catalog_hash="").allowed is True
