"""A move swaps versions and nothing else: what is scheduled stays, the past stays, twice is once."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import moving, subscription
from policies.errors import ConflictError
from policies.model import AddonVersion, PlanVersion, Versions
from policies.moving import Targets
from policies.subscription import HeldAddon, Phase, Subscription
from tests.pure.test_subscription import T0, perform, plan, started, to

DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
NOW = T0 + 3 * DAY
RENEWAL = datetime(2026, 2, 28, 9, 30, tzinfo=UTC)
NEW = msgspec.structs.replace(plan("pro"), version="pro@00000002")
ON_NEW = Targets(plans={"pro": NEW})


def pack(version="1", *, plans=("pro", "free")) -> AddonVersion:
    return AddonVersion(
        version=f"pack@{version}", addon_id="pack", name="Pack", currency="usd", price="9", interval="month",
        source="addons/pack.yaml:1", plans=plans, features={}, terms={},
    )  # fmt: skip


HELD = HeldAddon(addon_id="pack", addon_version="pack@1", quantity=3)
VERSIONS = Versions(plans={}, addons={"pack@1": pack()})


def moved(held: Subscription, targets=ON_NEW, *, at=NOW, now=NOW) -> Subscription:
    return moving.move(held, targets, VERSIONS, at_effective=at, now=now)


def versions(held: Subscription) -> list[tuple[str, datetime, datetime | None]]:
    return [(phase.plan_version, phase.start, phase.end) for phase in held.phases]


def test_now_the_past_stays_and_the_new_version_holds_from_this_instant():
    assert versions(moved(started())) == [("pro@00000001", T0, NOW), ("pro@00000002", NOW, None)]


def test_in_the_very_instant_of_the_start_nothing_else_was():
    assert versions(moved(started(), at=T0, now=T0)) == [("pro@00000002", T0, None)]


def test_at_renewal_it_holds_until_the_period_is_over():
    assert versions(moved(started(), at=RENEWAL)) == [
        ("pro@00000001", T0, RENEWAL),
        ("pro@00000002", RENEWAL, None),
    ]


def test_a_move_at_renewal_can_be_hastened_and_leaves_no_edge():
    later = moved(started(), at=RENEWAL)
    assert versions(moved(later)) == [("pro@00000001", T0, NOW), ("pro@00000002", NOW, None)]


def test_a_scheduled_change_to_another_plan_stays():
    leaving = to(started(), "free", RENEWAL, NOW)
    assert versions(moved(leaving)) == [
        ("pro@00000001", T0, NOW),
        ("pro@00000002", NOW, RENEWAL),
        ("free@00000001", RENEWAL, None),
    ]


def test_a_scheduled_change_to_the_plan_that_moves_leads_to_the_new_version():
    coming = to(started("free"), "pro", RENEWAL, NOW)
    assert versions(moved(coming))[-1] == ("pro@00000002", RENEWAL, None)


def test_a_scheduled_end_stays():
    ending = subscription.cancel(started(), at_effective=RENEWAL, now=NOW)
    assert versions(moved(ending))[-1] == ("pro@00000002", NOW, RENEWAL)


def test_who_ends_before_the_renewal_is_not_moved_and_it_is_said_why():
    ending = subscription.cancel(started(), at_effective=RENEWAL, now=NOW)
    with pytest.raises(ConflictError, match="ends on 2026-02-28 09:30:00 UTC, before its renewal"):
        moved(ending, at=RENEWAL)
    with pytest.raises(ConflictError, match="A change to free is scheduled on 2026-02-28"):
        moved(to(started(), "free", RENEWAL, NOW), at=RENEWAL)


def test_one_that_has_not_begun_begins_on_the_new_version():
    pending = started(start_at=T0 + 30 * DAY)
    assert versions(moved(pending)) == [("pro@00000002", T0 + 30 * DAY, None)]


def test_one_that_has_ended_is_refused():
    ended = subscription.cancel(started(), at_effective=NOW, now=NOW)
    with pytest.raises(ConflictError, match="has ended"):
        moved(ended, now=NOW + DAY, at=NOW + DAY)


def test_an_add_on_moves_with_its_quantity():
    holding = started(addons=(HELD,))
    after = moved(holding, Targets(addons={"pack": pack("2")}))
    assert after.phases[-1].addons == (HeldAddon(addon_id="pack", addon_version="pack@2", quantity=3),)
    assert after.phases[-1].plan_version == "pro@00000001"


def test_an_add_on_that_is_not_sold_with_the_plan_any_more_is_not_moved():
    holding = started(addons=(HELD,))
    with pytest.raises(ConflictError, match=r'The plan "pro" is not sold with "pack" any more\.'):
        moved(holding, Targets(addons={"pack": pack("2", plans=("free",))}))
    with pytest.raises(ConflictError, match="not sold with"):
        moved(holding, Targets(plans={"pro": NEW}, addons={"pack": pack("2", plans=("free",))}))


LIVES = st.lists(
    st.tuples(
        st.sampled_from(["change-now", "change-renewal", "cancel-now", "cancel-end", "resume"]),
        st.sampled_from(["free", "pro", "team"]),
        st.timedeltas(timedelta(0), timedelta(days=45)),
    ),
    max_size=6,
)


def lived(acts) -> tuple[Subscription, datetime]:
    held, now = started(), T0
    for act, plan_id, later in acts:
        now += later
        try:
            held = perform(held, act, plan_id, now)
        except ConflictError:
            continue
    return held, now


def outline(phase: Phase) -> tuple[str, datetime, datetime | None]:
    return phase.plan_id, phase.start, phase.end


@given(LIVES, st.sampled_from(["now", "renewal"]), st.sets(st.sampled_from(["free", "pro", "team"])))
def test_whatever_the_life_a_move_changes_versions_from_its_instant_on_and_nothing_else(acts, when, ids):
    held, now = lived(acts)
    targets = Targets(plans={one: _second(one) for one in ids})
    at = now if when == "now" else subscription.renewal(held, "month", now)
    try:
        after = moving.move(held, targets, VERSIONS, at_effective=at, now=now)
    except ConflictError:
        return
    assert (after.anchored_at, after.trial_ends_at, after.billing) == (
        held.anchored_at, held.trial_ends_at, held.billing,
    )  # fmt: skip
    assert all(one.end == other.start for one, other in pairwise(after.phases))
    assert subscription.ends_at(after) == subscription.ends_at(held)
    edges = {at, now, *(edge for one in after.phases for edge in (one.start, one.end or one.start))}
    for instant in sorted(edge + off for edge in edges for off in (-DAY, -TICK, 0 * DAY, TICK, DAY)):
        was, is_ = subscription.phase_at(held, instant), subscription.phase_at(after, instant)
        if was is None:
            assert is_ is None
            continue
        assert is_ is not None
        assert is_.plan_id == was.plan_id
        due = instant >= at and was.plan_id in ids
        assert is_.plan_version == (f"{was.plan_id}@00000002" if due else was.plan_version)
    assert moving.move(after, targets, VERSIONS, at_effective=at, now=now) == after


def _second(plan_id: str) -> PlanVersion:
    return msgspec.structs.replace(plan(plan_id), version=f"{plan_id}@00000002")
