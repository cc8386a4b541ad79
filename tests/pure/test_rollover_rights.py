"""Which periods a right carries something from: by the terms at the end of each, on one subscription."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import entitlement, rollover
from policies.grant import Grant
from policies.model import AddonVersion, Rollover
from policies.override import Override
from policies.rollover import Counted
from policies.snapshot import Snapshot
from policies.subscription import BillingFact, HeldAddon, Phase, Subscription
from tests.pure import plans


def day(month, number, year=2026, hour=0):
    return datetime(year, month, number, hour, tzinfo=UTC)


def on(plan_id, included, rolls=None, **rest):
    terms = plans.metered(included, **rest)
    if rolls:
        terms = msgspec.structs.replace(
            terms, rollover=Rollover(source=f"plans/{plan_id}.yaml:20", max=rolls[0], intervals=rolls[1])
        )
    return plans.plan((plans.TOKENS,), {"ai-tokens": terms}, plan_id=plan_id)


FREE = on("free", 100)
PRO = on("pro", 1_000, (300, 1))
LONG = on("long", 2_000, (500, 3))
DAILY = on("daily", 10, (5, 2), interval="day")
YEARLY = on("yearly", 12_000, (500, 1), interval="year")
NEVER = on("never", 12_000, interval="never")
BARE = plans.plan(plan_id="bare")
PACK = AddonVersion(
    version="pack@1", addon_id="pack", name="Pack", currency="usd", price="1", interval="month",
    source="addons/pack.yaml:1", plans=("pro",), features={"ai-tokens": plans.TOKENS},
    terms={"ai-tokens": plans.metered(50)},
)  # fmt: skip
BODIES = (FREE, PRO, LONG, DAILY, YEARLY, NEVER, BARE)
VERSIONS = plans.versions(*BODIES, addons=(PACK,))


def subscribed(*phases, **rest):
    return Subscription(
        id=rest.pop("sub_id", "sub_1"), anchored_at=phases[0][1], created_at=phases[0][1],
        phases=tuple(
            Phase(
                plan_id=plan.plan_id, plan_version=plan.version, start=start, end=end,
                addons=tuple(HeldAddon(addon_id="pack", addon_version="pack@1", quantity=n) for n in packs),
            )
            for plan, start, end, *packs in phases
        ),
        **rest,
    )  # fmt: skip


def right(*subscriptions, at, fallback=None, **facts):
    snapshot = Snapshot(tenant_id="acme", version=7, known=True, subscriptions=subscriptions, **facts)
    offer = plans.offer(*BODIES, features=(plans.TOKENS,), fallback_plan=fallback)
    return entitlement.resolve(snapshot, offer=offer, versions=VERSIONS, feature_id="ai-tokens", at=at)


def carried(*subscriptions, at, **facts):
    """Start, included quantity, most and duration of each link."""
    found = right(*subscriptions, at=at, **facts).rollover
    return [(one.window.start, one.included, one.max, one.lasts) for one in found]


def test_a_month_carries_into_the_next_and_the_first_has_nothing_before_it():
    held = subscribed((PRO, day(1, 31), None))
    assert carried(held, at=day(2, 27)) == []
    assert carried(held, at=day(2, 28)) == [(day(1, 31), 1_000, 300, 1)]
    assert carried(held, at=day(5, 1)) == [(day(3, 31), 1_000, 300, 1)]
    assert right(held, at=day(5, 1)).rollover[0].source == "plans/pro.yaml:20"


def test_several_months_carry_as_long_as_each_of_them_says():
    held = subscribed((LONG, day(1, 1), None))
    assert [each[0] for each in carried(held, at=day(12, 5))] == [day(11, 1), day(10, 1), day(9, 1)]
    gone = [one.expires_at for one in right(held, at=day(12, 5)).rollover]
    assert gone == [day(3, 1, 2027), day(2, 1, 2027), day(1, 1, 2027)]


@pytest.mark.parametrize("plan", [FREE, BARE])
def test_the_terms_at_the_end_of_the_old_period_say_what_is_carried(plan):
    up = subscribed((plan, day(1, 1), day(1, 20)), (PRO, day(1, 20), None))
    assert carried(up, at=day(2, 1)) == [(day(1, 1), 1_000, 300, 1)]
    down = subscribed((PRO, day(1, 1), day(1, 20)), (FREE, day(1, 20), None))
    assert carried(down, at=day(2, 1)) == []
    at_the_edge = subscribed((PRO, day(1, 1), day(2, 1)), (FREE, day(2, 1), None))
    assert carried(at_the_edge, at=day(2, 1)) == [(day(1, 1), 1_000, 300, 1)]
    assert carried(at_the_edge, at=day(3, 1)) == []


def test_terms_that_came_in_mid_period_carry_its_rest_for_one_period():
    held = subscribed((FREE, day(1, 1), day(1, 20)), (LONG, day(1, 20), None))
    assert carried(held, at=day(2, 1)) == [(day(1, 1), 2_000, 500, 1)]
    assert [each[0] for each in carried(held, at=day(3, 1))] == [day(2, 1)]
    assert [each[0] for each in carried(held, at=day(5, 1))] == [day(4, 1), day(3, 1), day(2, 1)]


def test_a_change_of_the_interval_ends_the_period_and_carries_its_rest():
    held = subscribed((PRO, day(1, 1), day(1, 20)), (DAILY, day(1, 20), None))
    assert carried(held, at=day(1, 20, hour=5)) == [(day(1, 1), 1_000, 300, 1)]
    assert [each[0] for each in carried(held, at=day(1, 22))] == [day(1, 21), day(1, 20)]


@pytest.mark.parametrize("longer", [YEARLY, NEVER])
def test_nothing_is_carried_into_a_period_that_outlasts_it(longer):
    held = subscribed((PRO, day(1, 1), day(2, 1)), (longer, day(2, 1), None))
    assert carried(held, at=day(2, 2)) == []


def test_a_subscription_that_is_over_carries_nothing_and_neither_does_a_new_one():
    held = subscribed((PRO, day(1, 1), day(2, 10)))
    assert carried(held, at=day(2, 9)) == [(day(1, 1), 1_000, 300, 1)]
    assert carried(held, at=day(2, 10)) == []
    assert carried(held, at=day(2, 10), fallback="pro") == []
    again = subscribed((PRO, day(2, 10), None), sub_id="sub_2")
    assert carried(held, again, at=day(2, 11)) == []


def test_a_subscription_that_billing_called_ended_at_the_edge_carries_nothing():
    billing = (BillingFact(status="ended", since=day(1, 20)), BillingFact(status="good", since=day(2, 5)))
    held = subscribed((PRO, day(1, 1), None), billing=billing)
    assert carried(held, at=day(2, 6)) == []
    assert carried(held, at=day(3, 1)) == [(day(2, 1), 1_000, 300, 1)]


def test_one_that_does_not_pay_keeps_its_rest():
    billing = (BillingFact(status="suspended", since=day(1, 20)),)
    held = subscribed((PRO, day(1, 1), None), billing=billing)
    assert len(carried(held, at=day(2, 6))) == 1


def test_add_ons_and_overrides_count_as_they_stood_at_the_end():
    held = subscribed((PRO, day(1, 1), day(2, 3), 2), (PRO, day(2, 3), None))
    over = Override(
        id="ovr_1", feature_id="ai-tokens", included=5_000, reason="", starts_at=day(2, 10),
        ends_at=day(3, 1),
    )  # fmt: skip
    assert carried(held, at=day(2, 5), overrides=(over,))[0][1] == 1_100
    assert carried(held, at=day(3, 5), overrides=(over,))[0][1] == 5_000
    assert carried(held, at=day(4, 5), overrides=(over,))[0][1] == 1_000
    without_end = msgspec.structs.replace(over, included="unlimited")
    assert carried(held, at=day(3, 5), overrides=(without_end,))[0][1] == 0


def test_generations_stand_among_the_grants_by_priority_and_expiry():
    held = subscribed((LONG, day(1, 1), None))

    def grant(number, **rest):
        return Grant(
            id=f"grt_{number}", feature_id="ai-tokens", quantity=5, effective_at=day(1, 1),
            created_at=day(1, 1), **rest,
        )  # fmt: skip

    given = (
        grant(1, priority=90, expires_at=day(5, 15)),
        grant(2, priority=90),
        grant(3, priority=10),
        grant(4),
    )
    found = right(held, at=day(4, 5), grants=given)
    assert [one.id for one in found.grants] == ["grt_3", "grt_1", "grt_2", "grt_4"]
    assert found.grants_before == 3
    # Generations of March, February and January go on until July, June and May.
    assert [(one.before, one.expires_at) for one in found.rollover] == [
        (2, day(7, 1)),
        (2, day(6, 1)),
        (1, day(5, 1)),
    ]


def test_a_right_says_how_long_the_rest_of_its_period_may_last():
    held = subscribed((FREE, day(1, 1), day(1, 20)), (LONG, day(1, 20), day(2, 15)), (PRO, day(2, 15), None))
    assert [right(held, at=at).lasts for at in (day(1, 2), day(2, 20), day(3, 2))] == [3, 3, 1]
    assert right(subscribed((FREE, day(1, 1), None)), at=day(3, 1)).lasts == 0


def test_a_month_that_is_shorter_outlasts_nothing():
    held = subscribed((PRO, day(1, 31, 2028), None))
    for at in range(1, 400, 3):
        links = right(held, at=day(2, 29, 2028) + timedelta(days=at)).rollover
        assert len(links) == 1


@st.composite
def histories(draw):
    """Phases on any plans, with changes on any day, and maybe an end."""
    starts = sorted(draw(st.sets(st.integers(1, 200), max_size=4)))
    edges = [day(1, 1), *(day(1, 1) + timedelta(days=number) for number in starts)]
    ends = [*edges[1:], edges[-1] + timedelta(days=60) if draw(st.booleans()) else None]
    several = st.sampled_from([FREE, PRO, LONG, DAILY, YEARLY, BARE])
    return subscribed(*((draw(several), start, end) for start, end in zip(edges, ends, strict=True)))


@settings(deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_what_one_period_hands_on_is_what_the_next_one_gets_whatever_plans_come(held, random):
    """Chains of neighbouring periods agree: nothing is lost or invented where they meet."""
    counted, at = {}, held.phases[0].start
    before = None
    for _ in range(60):
        found = right(held, at=at)
        if found.period is None or found.period.end is None or found.valid_until is None:
            break
        if found.absence is not None:  # it is counted nowhere until another plan gives it
            at = found.valid_until
            continue
        links = found.rollover
        got = rollover.sizes(
            links, [shortened(counted[one.window], len(links) - n) for n, one in enumerate(links, 1)]
        )
        if links:
            assert links[0].window == before[0]
            handed = rollover.carried(links[0], counted[before[0]], before[1])
            assert got == handed[: len(got)]
        drawn = tuple(random.randint(0, size) for size in got)
        counted[found.period] = Counted(drawn=random.randint(0, 2_500), generations=drawn)
        before, at = (found.period, got), found.period.end


def shortened(counted, generations):
    return msgspec.structs.replace(counted, generations=counted.generations[:generations])
