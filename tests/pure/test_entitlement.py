"""A right is what held at an instant, says why it is absent, and says until when it holds."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import entitlement
from policies.grant import Grant
from policies.model import AddonVersion, Cap, Feature, StaticTerms
from policies.override import Override
from policies.period import Period
from policies.snapshot import Snapshot
from policies.subscription import BillingFact, HeldAddon, Phase, Subscription
from tests.pure import plans

T0 = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)

CALLS = Feature(id="calls", type="metered", name="Calls", source="features.yaml:9", unit="call")
PRO = plans.pro()
FREE = plans.plan(
    (plans.TOKENS,), {"ai-tokens": plans.metered(10_000)}, plan_id="free"
)  # the same interval and anchor as pro
DAILY = plans.plan(
    (plans.TOKENS,), {"ai-tokens": plans.metered(100, interval="day", anchor="calendar")}, plan_id="daily"
)
HOURLY = plans.plan((plans.TOKENS,), {"ai-tokens": plans.metered(5, interval="hour")}, plan_id="hourly")
BODIES = (PRO, FREE, DAILY, HOURLY)
VERSIONS = plans.versions(*BODIES)


def day(month, number, hour=0, minute=0):
    return datetime(2026, month, number, hour, minute, tzinfo=UTC)


def subscribed(*phases, sub_id="sub_1", **rest):
    """Phases as (plan, start, end); `billing_status` from the very beginning."""
    status = rest.pop("billing_status", None)
    return Subscription(
        id=sub_id, anchored_at=rest.pop("anchored_at", phases[0][1] if phases else T0), created_at=T0,
        phases=tuple(
            Phase(plan_id=plan.plan_id, plan_version=plan.version, start=start, end=end)
            for plan, start, end in phases
        ),
        billing=(BillingFact(status=status, since=T0),) if status else (),
        **rest,
    )  # fmt: skip


def right(
    *subscriptions, feature_id="ai-tokens", at=T0, known=True, fallback=None, catalog_features=(CALLS,)
):
    snapshot = Snapshot(tenant_id="acme", version=7, known=known, subscriptions=subscriptions)
    offer = plans.offer(*BODIES, features=(*PRO.features.values(), *catalog_features), fallback_plan=fallback)
    return entitlement.resolve(snapshot, offer=offer, versions=VERSIONS, feature_id=feature_id, at=at)


# --- where a tenant stands -----------------------------------------------------------------------


def test_the_right_is_that_of_the_phase_that_holds_at_the_instant():
    held = subscribed((FREE, T0, T0 + 40 * DAY), (PRO, T0 + 40 * DAY, None))
    assert right(held, at=T0).plan is FREE
    assert right(held, at=T0 + 40 * DAY - SECOND).plan is FREE
    assert right(held, at=T0 + 40 * DAY).plan is PRO
    assert right(held, at=T0 + 40 * DAY).terms is plans.PRO_TOKENS


def test_from_its_end_on_a_tenant_stands_as_ended_on_the_last_plan():
    held = subscribed((FREE, T0, T0 + DAY), (PRO, T0 + DAY, T0 + 2 * DAY), billing_status="grace")
    assert right(held, at=T0 + 2 * DAY - SECOND).billing_status == "grace"
    ended = right(held, at=T0 + 2 * DAY)
    assert (ended.plan, ended.billing_status, ended.trial, ended.absence) == (PRO, "ended", False, None)


def test_from_its_end_on_a_tenant_falls_back_where_the_catalog_says_so():
    held = subscribed((PRO, T0, T0 + DAY), billing_status="suspended", trial_ends_at=T0 + 9 * DAY)
    fallen = right(held, at=T0 + DAY, fallback="free")
    assert (fallen.plan, fallen.billing_status, fallen.trial) == (FREE, "good", False)
    assert fallen.period.start == T0  # the old subscription's anchor


@pytest.mark.parametrize("fallback", [None, "free"])
def test_what_payments_said_of_a_subscription_is_over_with_it(fallback):
    """Else a tenant on the fallback plan is told that its access ends, though it has what it has for good."""
    held = subscribed((PRO, T0, T0 + DAY))
    facts = (BillingFact(status="grace", since=T0), BillingFact(status="restricted", since=T0 + 9 * DAY))
    held = msgspec.structs.replace(held, billing=facts)
    assert right(held, at=T0, fallback=fallback).billing == facts
    assert right(held, at=T0 + DAY, fallback=fallback).billing == ()


def test_a_subscription_that_billing_calls_ended_is_over_before_its_last_phase_is():
    held = subscribed((PRO, T0, None), billing_status="ended")
    assert right(held).billing_status == "ended"
    assert right(held, fallback="free").plan is FREE


@pytest.mark.parametrize("status", ["suspended", "paused", "pending", "restricted", "grace"])
def test_other_billing_statuses_do_not_fall_back(status):
    fallen = right(subscribed((PRO, T0, None), billing_status=status), fallback="free")
    assert (fallen.plan, fallen.billing_status) == (PRO, status)


def test_the_subscription_that_is_alive_wins_over_those_that_ended_and_the_last_ended_over_the_rest():
    first = subscribed((PRO, T0, T0 + 5 * DAY))
    never_began = subscribed(sub_id="sub_2")
    second = subscribed((FREE, T0 + 9 * DAY, T0 + 12 * DAY), sub_id="sub_3")
    third = subscribed((PRO, T0 + 20 * DAY, None), sub_id="sub_4")
    at = {n: right(first, never_began, second, third, at=T0 + n * DAY) for n in (0, 5, 9, 12, 20)}
    assert [(n, one.plan.plan_id, one.billing_status) for n, one in at.items()] == [
        (0, "pro", "good"),
        (5, "pro", "ended"),
        (9, "free", "good"),
        (12, "free", "ended"),
        (20, "pro", "good"),
    ]


def test_a_trial_runs_until_its_end():
    held = subscribed((PRO, T0, None), trial_ends_at=T0 + 14 * DAY)
    assert right(held, at=T0 + 14 * DAY - SECOND).trial
    assert not right(held, at=T0 + 14 * DAY).trial


@pytest.mark.parametrize(("ended", "with_trial"), [(14 * DAY, True), (9 * DAY, False), (20 * DAY, False)])
def test_what_ended_at_the_end_of_its_trial_was_never_paid_for(ended, with_trial):
    held = subscribed((PRO, T0, T0 + ended), trial_ends_at=T0 + 14 * DAY)
    assert right(held, at=T0 + ended).ended_with_trial is with_trial
    assert right(held, at=T0).ended_with_trial is False
    without = subscribed((PRO, T0, T0 + ended))
    assert right(without, at=T0 + ended).ended_with_trial is False


# --- absence -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "absence"),
    [
        ({"known": False}, "unknown_tenant"),
        ({"known": False, "feature_id": "nope"}, "unknown_tenant"),
        ({"feature_id": "nope"}, "unknown_feature"),
        ({"feature_id": "calls"}, "feature_not_in_plan"),
        ({"at": T0 - SECOND}, "no_subscription"),
        ({"at": T0 - SECOND, "feature_id": "nope"}, "unknown_feature"),
        ({}, None),
    ],
)
def test_absence_says_the_first_thing_that_is_missing(case, absence):
    found = right(subscribed((PRO, T0, None)), **case)
    assert found.absence == absence
    assert (found.terms is None) == (absence is not None)


@pytest.mark.parametrize("held", [(), (subscribed(),)])
def test_a_tenant_that_never_had_a_running_subscription_has_none(held):
    found = right(*held, fallback="free")
    assert (found.absence, found.plan, found.billing_status) == ("no_subscription", None, "ended")


def test_a_feature_that_the_catalog_dropped_is_still_known_to_the_plan_version_that_gives_it():
    snapshot = Snapshot(tenant_id="acme", version=1, known=True, subscriptions=(subscribed((PRO, T0, None)),))
    found = entitlement.resolve(
        snapshot, offer=plans.offer(), versions=VERSIONS, feature_id="ai-tokens", at=T0
    )
    assert (found.feature, found.absence) == (plans.TOKENS, None)


def test_a_feature_means_what_the_plan_version_says_of_it_and_not_what_the_catalog_says_today():
    renamed = msgspec.structs.replace(plans.TOKENS, name="Tokens, new")
    found = right(subscribed((PRO, T0, None)), catalog_features=(renamed,))
    assert found.feature is plans.TOKENS


def test_what_guards_go_by_is_the_catalogs_of_today_also_on_an_older_plan_version():
    marked = msgspec.structs.replace(plans.TOKENS, ai=True, costly=True, context=("device", "region"))
    found = right(subscribed((PRO, T0, None)), catalog_features=(marked,))
    assert (found.feature.ai, found.feature.costly) == (True, True)
    assert found.feature.context == ("device", "region")
    assert right(subscribed((PRO, T0, None)), catalog_features=(marked,)).feature is found.feature


def test_callers_speak_the_catalog_of_today_also_to_tenants_on_older_plan_versions():
    """A service learns a new property from a publish and cannot know who is still on which version."""
    pinned = msgspec.structs.replace(plans.TOKENS, properties=("model",))
    plan = plans.plan((pinned,), {"ai-tokens": plans.metered(10)}, version="pro@0000000a")
    snapshot = Snapshot(
        tenant_id="acme", version=1, known=True, subscriptions=(subscribed((plan, T0, None)),)
    )
    today = msgspec.structs.replace(pinned, properties=("voice",), entity="required", context=())
    found = entitlement.resolve(
        snapshot, offer=plans.offer(features=(today,)), versions=plans.versions(plan),
        feature_id="ai-tokens", at=T0,
    ).feature  # fmt: skip
    assert (found.properties, found.context) == (("model", "voice"), ("region",))
    assert found.entity == "optional"  # one of them does without, the other insists


def test_a_feature_that_the_catalog_dropped_is_still_known_to_the_add_on_that_gives_it():
    seats = Feature(id="seats", type="static", value_type="integer", name="Seats", source="features.yaml:9")
    pack = AddonVersion(
        version="seats@00000001", addon_id="seats", name="Seats", currency="usd", price="1", interval="month",
        source="addons/seats.yaml:1", plans=("pro",), features={"seats": seats},
        terms={"seats": StaticTerms(source="addons/seats.yaml:8", value=5, display="5")},
    )  # fmt: skip
    held = subscribed((PRO, T0, None))
    addons = (HeldAddon(addon_id="seats", addon_version=pack.version),)
    held = msgspec.structs.replace(held, phases=(msgspec.structs.replace(held.phases[0], addons=addons),))
    found = entitlement.resolve(
        Snapshot(tenant_id="acme", version=1, known=True, subscriptions=(held,)),
        offer=plans.offer(), versions=plans.versions(PRO, addons=(pack,)), feature_id="seats", at=T0,
    )  # fmt: skip
    assert (found.feature, found.absence, found.terms.value) == (seats, None, 5)


def test_a_plan_version_that_was_not_read_is_an_error_and_not_a_lost_right():
    snapshot = Snapshot(tenant_id="acme", version=1, known=True, subscriptions=(subscribed((PRO, T0, None)),))
    with pytest.raises(KeyError):
        entitlement.resolve(
            snapshot, offer=plans.offer(), versions=plans.versions(), feature_id="ai-tokens", at=T0
        )


# --- periods -------------------------------------------------------------------------------------


def test_usage_periods_follow_the_anchor_of_the_subscription_through_short_months():
    held = subscribed((PRO, T0, None))
    assert right(held, at=day(2, 10)).period == Period(T0, day(2, 28, 9, 30))
    assert right(held, at=day(3, 10)).period == Period(day(2, 28, 9, 30), day(3, 31, 9, 30))


def test_windows_of_caps_are_calendar_ones_in_the_order_of_the_caps():
    caps = (
        Cap(source="p:1", limit=1, interval="month"),
        Cap(source="p:2", limit=1, interval="hour"),
    )
    terms = msgspec.structs.replace(plans.PRO_TOKENS, caps=caps)
    capped = plans.plan((plans.TOKENS,), {"ai-tokens": terms}, plan_id="capped")
    snapshot = Snapshot(tenant_id="a", version=1, known=True, subscriptions=(subscribed((capped, T0, None)),))
    found = entitlement.resolve(
        snapshot,
        offer=plans.offer(),
        versions=plans.versions(capped),
        feature_id="ai-tokens",
        at=day(2, 3, 4, 5),
    )
    assert found.cap_windows == (Period(day(2, 1), day(3, 1)), Period(day(2, 3, 4), day(2, 3, 5)))
    assert found.valid_until == day(2, 3, 5)


def test_only_metered_features_have_a_period():
    held = subscribed((PRO, T0, None))
    for feature_id in ("premium-voice-model", "max-projects", "data-region"):
        found = right(held, feature_id=feature_id)
        assert (found.period, found.cap_windows, found.valid_until) == (None, (), None)


def test_usage_of_a_feature_that_is_not_given_is_counted_in_the_calendar_month():
    assert right(subscribed((PRO, T0, None)), feature_id="calls").period == Period(day(1, 1), day(2, 1))
    assert right(at=day(3, 5), feature_id="calls").period == Period(day(3, 1), day(4, 1))
    assert right(known=False, feature_id="nope").period is None


def test_a_change_of_plan_leaves_period_and_anchor_alone():
    change = day(2, 10)
    held = subscribed((FREE, T0, change), (PRO, change, None))
    assert (
        right(held, at=change - SECOND).period
        == right(held, at=change).period
        == Period(T0, day(2, 28, 9, 30))
    )


def test_a_change_of_the_interval_ends_the_old_period_and_begins_a_new_one():
    change, back = day(2, 10, 12), day(2, 12, 15)
    held = subscribed((PRO, T0, change), (DAILY, change, back), (PRO, back, None))
    spans = [
        right(held, at=at).period
        for at in (change - SECOND, change, day(2, 11, 3), back - SECOND, back, day(3, 5))
    ]
    assert spans == [
        Period(T0, change),
        Period(change, day(2, 11)),
        Period(day(2, 11), day(2, 12)),
        Period(day(2, 12), back),
        Period(back, day(2, 28, 9, 30)),
        Period(day(2, 28, 9, 30), day(3, 31, 9, 30)),
    ]


def test_falling_back_to_another_interval_begins_a_new_period_too():
    end = day(2, 10, 12)
    held = subscribed((PRO, T0, end))
    assert right(held, at=end - SECOND, fallback="daily").period == Period(T0, end)
    assert right(held, at=end, fallback="daily").period == Period(end, day(2, 11))


lives = st.lists(
    st.tuples(
        st.sampled_from([PRO, FREE, DAILY, HOURLY]), st.timedeltas(timedelta(hours=1), timedelta(days=50))
    ),
    min_size=1,
    max_size=5,
)


def lived(stays, *, open_end):
    phases, start = [], T0
    for place, (plan, lasting) in enumerate(stays):
        end = None if open_end and place == len(stays) - 1 else start + lasting
        phases.append((plan, start, end))
        start += lasting
    return subscribed(*phases, trial_ends_at=T0 + 3 * DAY)


@given(lives, st.booleans(), st.none() | st.sampled_from(["free", "daily"]))
def test_the_periods_of_a_life_are_laid_end_to_end(stays, open_end, fallback):
    """Every instant is in its period, and the next period begins where it ends: nothing is counted twice."""
    held, at = lived(stays, open_end=open_end), T0
    for _ in range(30):
        span = right(held, at=at, fallback=fallback).period
        assert span.start <= at < span.end
        assert right(held, at=span.start, fallback=fallback).period == span or span.start < T0
        assert right(held, at=span.end - timedelta(microseconds=1), fallback=fallback).period == span
        assert right(held, at=span.end, fallback=fallback).period.start == span.end
        at = span.end


# --- validity ------------------------------------------------------------------------------------


@given(
    lives,
    st.booleans(),
    st.none() | st.just("free"),
    st.timedeltas(timedelta(0), timedelta(days=200)),
    st.floats(0, 1, exclude_max=True),
)
def test_a_right_holds_unchanged_until_it_says_so(stays, open_end, fallback, later, share):
    held = lived(stays, open_end=open_end)
    at = T0 - 5 * DAY + later
    found = right(held, at=at, fallback=fallback)
    assert found.valid_until is None or found.valid_until > at
    until = found.valid_until or at + 400 * DAY
    meanwhile = min(at + (until - at) * share, until - timedelta(microseconds=1))
    assert right(held, at=meanwhile, fallback=fallback) == found


spans = st.lists(
    st.tuples(st.integers(-40, 200), st.none() | st.integers(1, 60)), min_size=1, max_size=4
)  # begin and length in hours


@given(spans, spans, st.integers(0, 7))
def test_every_begin_and_end_of_grants_and_overrides_is_an_edge(given_spans, overridden, place):
    def begins(start):
        return T0 + timedelta(hours=start)

    def ends(start, length):
        return None if length is None else begins(start + length)

    gifts = tuple(
        Grant(
            id=f"grt_{number}", feature_id="ai-tokens", quantity=10, effective_at=begins(start),
            created_at=T0, **{("expires_at", "voided_at")[number % 2]: ends(start, length)},
        )
        for number, (start, length) in enumerate(given_spans)
    )  # fmt: skip
    replaced = tuple(
        Override(
            id=f"ovr_{number}", feature_id="ai-tokens", included=5, reason="x", starts_at=begins(start),
            ends_at=ends(start, length),
        )
        for number, (start, length) in enumerate(overridden)
    )  # fmt: skip
    snapshot = Snapshot(
        tenant_id="acme", version=1, known=True, subscriptions=(subscribed((FREE, T0 - 9 * DAY, None)),),
        grants=gifts, overrides=replaced,
    )  # fmt: skip

    def at(instant):
        return entitlement.resolve(
            snapshot, offer=plans.offer(*BODIES), versions=VERSIONS, feature_id="ai-tokens", at=instant
        )

    starts = [start for start, _ in (*given_spans, *overridden)]
    instant = begins(starts[place % len(starts)])
    found = at(instant)
    assert found.valid_until > instant
    assert at(found.valid_until - SECOND) == found


def test_the_start_of_a_subscription_yet_to_begin_is_an_edge():
    held = subscribed((PRO, T0 + DAY, None))
    assert right(held, at=T0, feature_id="max-projects").valid_until == T0 + DAY
