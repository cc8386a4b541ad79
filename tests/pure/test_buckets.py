"""The books of every bucket close at every instant, and agree with the account that decisions show."""

from datetime import timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from policies import balance, buckets, grant, period, rollover
from policies.balance import Levels
from policies.grant import Grant
from policies.period import Period
from policies.rollover import Counted, Link
from policies.snapshot import Snapshot
from tests.pure import plans

NOW, DAY = plans.NOW, timedelta(days=1)
small = st.integers(0, 60)
days = st.integers(-20, 20)


@st.composite
def granted(draw, number):
    """A grant that has begun, and what was drawn from it."""
    quantity = draw(small)
    starts = NOW - draw(st.integers(0, 20)) * DAY
    expires = draw(st.none() | days)
    voided = draw(st.none() | st.integers(-20, 0))
    one = Grant(
        id=f"grt_{number}", feature_id="ai-tokens", quantity=quantity,
        priority=draw(st.sampled_from([50, 100])), effective_at=starts, created_at=starts,
        expires_at=None if expires is None else NOW + expires * DAY,
        voided_at=None if voided is None else NOW + voided * DAY,
    )  # fmt: skip
    return one, draw(st.integers(0, quantity))


held = st.integers(0, 3).flatmap(lambda count: st.tuples(*(granted(n) for n in range(count))))
levels = st.builds(lambda i, o, x: Levels(included=i, overage=o, excess=x), small, st.just(0) | small, small)


def snapshot(*grants):
    return Snapshot(tenant_id="acme", version=1, known=True, grants=grants)


def shown(included, at, pairs):
    grants = buckets.grants_of(snapshot(*(one for one, _ in pairs)), "ai-tokens", NOW)
    right = plans.right(terms=plans.metered(included, overage=True))
    used = {one.id: amount for one, amount in pairs}
    return right, grants, buckets.of(right, at, grants, used, NOW)


@given(st.none() | small, levels, held)
def test_the_books_of_every_bucket_close(included, at, pairs):
    _, grants, found = shown(included, at, pairs)
    assert len(found) == len(grants) + 3
    for one in found:
        parts = (one.used, one.reserved, one.expired, one.carried, one.remaining)
        if one.granted is None:
            assert (one.bucket, one.remaining) == ("included", None)
        else:
            assert one.granted == sum(parts)
            assert min(parts) >= 0


@given(st.none() | small, levels, held)
def test_every_unit_that_was_reported_is_in_one_bucket(included, at, pairs):
    _, grants, found = shown(included, at, pairs)
    ids = {one.id for one in grants}
    drawn = at.included + at.overage + at.excess + sum(used for one, used in pairs if one.id in ids)
    assert sum(one.used for one in found) == drawn


@given(small, levels, held)
def test_without_overage_from_before_what_remains_is_what_decisions_say(included, at, pairs):
    at = msgspec.structs.replace(at, overage=0)
    right, grants, found = shown(included, at, pairs)
    used = {one.id: amount for one, amount in pairs}
    holding = [one for one in grants if grant.holds(one, NOW)]
    full = msgspec.structs.replace(at, grants=tuple(used[one.id] for one in holding))
    account = balance.of(right.terms, full, overage=True, grants=holding)
    assert account.remaining == sum(one.remaining for one in found)
    assert account.granted == sum(
        one.granted for one in found if one.bucket in {"included", *(own.id for own in holding)}
    )


@given(small, st.none() | small, levels, held, small)
def test_what_decisions_call_granted_is_never_billed(included, up_to, at, pairs, quantity):
    """Within what remains a draw takes no overage; within the limit nothing is excess."""
    holding = grant.in_draw_order(one for one, _ in pairs if grant.holds(one, NOW))
    used = {one.id: amount for one, amount in pairs}
    full = msgspec.structs.replace(at, grants=tuple(used[one.id] for one in holding))
    terms = plans.metered(included, overage=True, up_to=up_to)
    account = balance.of(terms, full, overage=True, grants=holding)
    before = grant.before_included(holding, plans.MONTH)
    room = balance.capacity(terms, overage=True, grants=holding, before=before)
    taken = balance.draw(room, full, quantity)
    assert taken.included + taken.overage + taken.excess + sum(taken.grants) == quantity
    if quantity <= account.remaining:
        assert taken.overage == taken.excess == 0
    if account.limit is None or account.drawn + quantity <= account.limit:
        assert taken.excess == 0


def one_grant(**fields):
    return Grant(
        id="grt_1", feature_id="ai-tokens", quantity=100, effective_at=NOW - DAY, created_at=NOW, **fields
    )


def books(held, used):
    _, _, found = shown(10, Levels(), [(held, used)])
    return next(one for one in found if one.bucket == "grt_1")


def test_what_is_left_of_a_grant_expires_at_its_instant():
    before, at = (
        books(one_grant(expires_at=NOW + timedelta(microseconds=1)), 30),
        books(one_grant(expires_at=NOW), 30),
    )
    assert (before.granted, before.used, before.expired, before.remaining) == (100, 30, 0, 70)
    assert (at.granted, at.used, at.expired, at.remaining) == (100, 30, 70, 0)


def test_a_voided_grant_closes_at_what_was_drawn_from_it():
    voided = books(one_grant(expires_at=NOW + DAY, voided_at=NOW), 30)
    assert (voided.granted, voided.used, voided.expired, voided.remaining) == (30, 30, 0, 0)
    assert voided.expires_at == NOW


def test_buckets_stand_in_the_order_in_which_they_are_drawn():
    early = one_grant(expires_at=plans.MONTH.end - DAY)
    late = msgspec.structs.replace(early, id="grt_2", expires_at=plans.MONTH.end + DAY)
    first = msgspec.structs.replace(late, id="grt_3", priority=1)
    _, _, found = shown(10, Levels(), [(late, 0), (early, 0), (first, 0)])
    assert [one.bucket for one in found] == ["grt_3", "grt_1", "included", "grt_2", "overage", "excess"]
    assert [one.priority for one in found] == [1, 100, 100, 100, None, None]


def test_overage_from_before_an_upgrade_is_shown_as_used_of_what_the_plan_includes_now():
    _, _, found = shown(200, Levels(included=100, overage=30, excess=7), [])
    assert [(one.bucket, one.granted, one.used, one.remaining) for one in found] == [
        ("included", 200, 130, 70),
        ("overage", 0, 0, 0),
        ("excess", 7, 7, 0),
    ]


def test_grants_of_other_features_of_the_future_and_long_past_are_no_buckets():
    kept = one_grant(expires_at=NOW - 34 * DAY)
    kept = msgspec.structs.replace(kept, effective_at=NOW - 50 * DAY)
    others = (
        msgspec.structs.replace(kept, id="grt_2", feature_id="api-calls"),
        msgspec.structs.replace(kept, id="grt_3", effective_at=NOW + DAY, expires_at=None),
        msgspec.structs.replace(kept, id="grt_4", expires_at=NOW - 35 * DAY),
        msgspec.structs.replace(kept, id="grt_5", expires_at=None, voided_at=NOW - 51 * DAY),
        msgspec.structs.replace(kept, id="grt_6", effective_at=NOW, expires_at=None, voided_at=NOW - DAY),
    )
    assert buckets.grants_of(snapshot(kept, *others), "ai-tokens", NOW) == (kept,)


@given(small, levels, held, st.integers(0, 60), st.integers(0, 60))
def test_what_is_held_is_told_apart_and_the_books_still_close(included, at, pairs, share, over):
    """Held overage that counts against what is included now is held there."""
    _, _, found = shown(included, at, pairs)
    holds = {one.id: used * share // 60 for one, used in pairs}
    holds |= {"included": at.included * share // 60, "overage": at.overage * over // 60}
    split = buckets.with_reserved(found, holds)
    for before, after in zip(found, split, strict=True):
        assert before.used == after.used + after.reserved
        assert min(after.used, after.reserved) >= 0
    shown_ids = {one.bucket for one in found}
    assert sum(one.reserved for one in split) == sum(n for name, n in holds.items() if name in shown_ids)


# --- what rolls over ---------------------------------------------------------------------------------


def link(number, **fields):
    ended = Period(MONTHS[number].start, MONTHS[number].end)
    return Link(
        window=ended, interval="month", included=100, max=300, lasts=3, plan_version="pro@1",
        source="plans/pro.yaml:20", before=0, expires_at=MONTHS[0].end, **fields,
    )  # fmt: skip


MONTHS = [
    period.containing(plans.NOW - number * 30 * DAY, interval="month", anchor="calendar", anchored_at=NOW)
    for number in range(3)
]
generations = st.lists(st.tuples(small, small), max_size=2)


def with_rollover(at, several):
    """Levels and a right with generations of these sizes, of which so much was drawn."""
    right = plans.right(
        terms=plans.metered(100, overage=True),
        rollover=tuple(link(number) for number in range(1, len(several) + 1)),
    )
    carried = tuple(size for size, _ in several)
    drawn = tuple(min(pair) for pair in several)
    return right, msgspec.structs.replace(at, carried=carried, rollover=drawn)


@given(levels, generations)
def test_the_books_of_generations_close_and_agree_with_decisions(at, several):
    right, at = with_rollover(msgspec.structs.replace(at, overage=0), several)
    found = buckets.of(right, at, (), {}, NOW)
    for one in found:
        parts = (one.used, one.reserved, one.expired, one.carried, one.remaining)
        assert one.granted == sum(parts)
        assert min(parts) >= 0
    account = balance.of(right.terms, at, overage=True)
    assert account.remaining == sum(one.remaining for one in found)
    names = [one.bucket for one in found[: len(several)]]
    assert names == ["rollover-2", "rollover"][2 - len(several) :]


@given(small, small, generations, st.data())
def test_the_books_of_a_period_that_ended_close(included, overage, several, data):
    right, at = with_rollover(Levels(included=included, overage=overage), several)
    said = link(1)
    handed = rollover.carried(said, Counted(drawn=included + overage, generations=at.rollover), at.carried)
    found = buckets.of_ended(right, at, said, handed)
    for one in found:
        parts = (one.used, one.reserved, one.expired, one.carried, one.remaining)
        assert one.granted == sum(parts)
        assert min(parts) >= 0
    assert sum(one.used for one in found) == included + overage + sum(at.rollover)
    assert sum(one.carried for one in found) == sum(handed)


def test_generations_stand_among_grants_by_priority_and_then_by_expiry():
    right, at = with_rollover(Levels(), [(10, 0), (10, 0)])
    soon = one_grant(priority=90, expires_at=MONTHS[0].end - DAY)
    later = msgspec.structs.replace(soon, id="grt_2", expires_at=None)
    first = msgspec.structs.replace(soon, id="grt_3", priority=10, expires_at=None)
    held = grant.in_draw_order((soon, later, first))
    found = buckets.of(right, at, held, {one.id: 0 for one in held}, NOW)
    assert [one.bucket for one in found] == [
        "grt_3", "grt_1", "rollover-2", "rollover", "grt_2", "included", "overage", "excess",
    ]  # fmt: skip
