"""Whatever becomes of a tenant's plan, nothing that it used or was given is lost or made up (R15, R16).

Random lives: usage, grants, other plans, ends, and publishes that move it now or at its renewal. The books of
every bucket are held before and after each turn, and each difference must have its reason.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from policies import balance, buckets, entitlement, grant, moving, subscription
from policies.balance import Levels
from policies.buckets import Bucket
from policies.entitlement import Right
from policies.errors import ConflictError
from policies.grant import Grant
from policies.model import MeteredTerms, PlanVersion
from policies.moving import Targets
from policies.snapshot import Snapshot
from tests.pure import plans

T0 = datetime(2028, 1, 31, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
TOKENS = plans.TOKENS.id
OF_PLAN = ("included", "overage", "excess")

amounts = st.integers(1, 60)
whens = st.sampled_from(["now", "now", "renewal"])
terms = st.builds(
    lambda included, up_to, interval: plans.metered(included, up_to=up_to, interval=interval),
    st.integers(0, 80),
    st.none() | st.integers(1, 40),
    st.sampled_from(["month", "month", "month", "week", "day"]),
)
turns = st.one_of(
    st.tuples(st.just("use"), amounts),
    st.tuples(st.just("use"), amounts),
    st.tuples(st.just("publish"), st.sampled_from(["team", "pro"]), terms, whens),
    st.tuples(st.just("change"), st.sampled_from(["free", "team", "pro"]), whens),
    st.tuples(st.just("cancel"), whens),
    st.tuples(st.just("resume")),
    st.tuples(st.just("give"), amounts, st.sampled_from([50, 100, 150]), st.none() | st.integers(1, 60)),
    st.tuples(st.just("void"), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([DAY / 8, DAY, 9 * DAY, 31 * DAY])),
)


def version(plan_id: str, number: int, given: MeteredTerms) -> PlanVersion:
    return plans.plan((plans.TOKENS,), {TOKENS: given}, plan_id=plan_id, version=f"{plan_id}@{number:08}")


class Life:
    """A tenant, the versions of plans that were ever sold, and every unit that it used."""

    def __init__(self) -> None:
        sold = {"free": plans.metered(10), "team": plans.metered(25, up_to=25), "pro": plans.metered(70)}
        self.offered = {plan_id: version(plan_id, 0, given) for plan_id, given in sold.items()}
        self.ever = {one.version: one for one in self.offered.values()}
        self.now = T0
        self.held = subscription.start("sub_1", self.offered["team"], start_at=T0, now=T0)
        self.grants: list[Grant] = []
        self.used: Counter[tuple] = Counter()
        """By the beginning and interval of a period and the bucket; of a grant by its id."""
        self.total = 0

    # --- what holds ------------------------------------------------------------------------------

    @property
    def right(self) -> Right:
        snapshot = Snapshot(
            tenant_id="acme", version=1, known=True, subscriptions=(self.held,), grants=tuple(self.grants)
        )
        offer = plans.offer(*self.offered.values(), features=(plans.TOKENS,))
        versions = plans.versions(*self.ever.values())
        return entitlement.resolve(snapshot, offer=offer, versions=versions, feature_id=TOKENS, at=self.now)

    def levels(self, right: Right) -> Levels:
        own = {bucket: self.used[place(right, bucket)] for bucket in OF_PLAN}
        return Levels(**own, grants=tuple(self.used[(one.id,)] for one in right.grants))

    def books(self) -> dict[str, Bucket]:
        right, held = self.right, grant.in_draw_order(self.grants)
        used = {one.id: self.used[(one.id,)] for one in held}
        return {one.bucket: one for one in buckets.of(right, self.levels(right), held, used, self.now)}

    # --- turns -----------------------------------------------------------------------------------

    def use(self, quantity: int) -> None:
        right = self.right
        room = balance.capacity(
            right.terms, overage=right.has_overage, grants=right.grants, before=right.grants_before
        )
        drawn = balance.draw(room, self.levels(right), quantity)
        for bucket in OF_PLAN:
            self.used[place(right, bucket)] += getattr(drawn, bucket)
        for one, amount in zip(right.grants, drawn.grants, strict=True):
            self.used[(one.id,)] += amount
        self.total += quantity

    def publish(self, plan_id: str, given: MeteredTerms, when: str) -> None:
        new = version(plan_id, len(self.ever), given)
        self.offered[plan_id] = self.ever[new.version] = new
        versions = plans.versions(*self.ever.values())
        targets = Targets(plans={plan_id: new})
        self.held = moving.move(self.held, targets, versions, at_effective=self._at(when), now=self.now)

    def change(self, plan_id: str, when: str) -> None:
        new = self.offered[plan_id].version
        self.held = subscription.change(
            self.held, plan_id, new, addons=(), at_effective=self._at(when), now=self.now
        )

    def cancel(self, when: str) -> None:
        self.held = subscription.cancel(self.held, at_effective=self._at(when), now=self.now)

    def resume(self) -> None:
        self.held = subscription.resume(self.held, now=self.now)

    def give(self, quantity: int, priority: int, days: int | None) -> None:
        self.grants.append(
            Grant(
                id=f"grt_{len(self.grants)}",
                feature_id=TOKENS,
                quantity=quantity,
                priority=priority,
                effective_at=self.now,
                expires_at=None if days is None else self.now + days * DAY,
                created_at=self.now,
            )
        )

    def void(self, which: int) -> None:
        if which < len(self.grants):
            self.grants[which] = grant.void(self.grants[which], self.now)

    def wait(self, length: timedelta) -> None:
        self.now += length

    def _at(self, when: str) -> datetime:
        return self.now if when == "now" else subscription.renewal(self.held, "month", self.now)


def place(right: Right, bucket: str) -> tuple:
    assert right.period is not None
    assert isinstance(right.terms, MeteredTerms)
    return right.period.start, right.terms.interval, bucket


def happens(life: Life, turn: tuple) -> None:
    """A second after the one before it: what is taken back in its own instant has never been."""
    life.now += timedelta(seconds=1)
    before, counted_in = life.books(), place(life.right, "included")
    try:
        getattr(life, turn[0])(*turn[1:])
    except ConflictError:
        assert life.books() == before
        return
    after = life.books()
    conserved(life, after)
    grants_are_explained(life, before, after)
    if turn[0] in ("use", "wait"):
        return
    if place(life.right, "included") == counted_in:
        the_plan_is_explained(life, before, after)
    else:
        assert life.right.period.start == life.now  # another interval: a new period, nothing used (R16)
        assert [after[bucket].used for bucket in OF_PLAN] == [0, 0, 0]


def conserved(life: Life, books: dict[str, Bucket]) -> None:
    """Every unit lies in one bucket of one period, and all books close (R14)."""
    assert sum(life.used.values()) == life.total
    for one in books.values():
        parts = (one.used, one.reserved, one.expired, one.carried, one.remaining)
        assert None not in parts
        assert one.granted == sum(parts)
        assert min(parts) >= 0
    levels = life.levels(life.right)
    shown = sum(books[bucket].used for bucket in OF_PLAN)
    assert shown == levels.included + levels.overage + levels.excess


def grants_are_explained(life: Life, before: dict[str, Bucket], after: dict[str, Bucket]) -> None:
    """A grant gives what it was given for, until it is voided: then what was drawn from it."""
    for one in life.grants:
        books = after[one.id]
        assert books.used == life.used[(one.id,)]
        if one.voided_at is not None:
            assert (books.granted, books.remaining, books.expired) == (books.used, 0, 0)
        else:
            assert books.granted == one.quantity
            assert books.expired == (0 if grant.holds(one, life.now) else one.quantity - books.used)
        if one.id in before:
            assert books.used >= before[one.id].used


def the_plan_is_explained(life: Life, before: dict[str, Bucket], after: dict[str, Bucket]) -> None:
    """In the same period usage stays; what is included now is less what was used, or what was (R15)."""
    right = life.right
    assert isinstance(right.terms, MeteredTerms)
    assert right.terms.included is not None
    levels = life.levels(right)
    taken = levels.included + levels.overage
    assert after["included"].granted == max(right.terms.included, levels.included)
    assert after["included"].remaining == max(0, right.terms.included - taken)
    regraded = after["included"].used - before["included"].used
    assert after["overage"].used == before["overage"].used - regraded
    assert after["excess"] == msgspec.structs.replace(before["excess"], expires_at=after["excess"].expires_at)
    if regraded > 0:  # overage of before, since the plan includes more now
        assert after["included"].granted > before["included"].granted
    if regraded < 0:  # and back, since it includes less
        assert after["included"].granted < before["included"].granted


@given(st.lists(turns, min_size=1, max_size=25))
def test_no_move_loses_or_invents_usage_or_grants(life):
    lived = Life()
    for turn in life:
        happens(lived, turn)


@given(st.lists(turns, max_size=12), whens)
def test_there_and_back_again_leaves_every_bucket_as_it_was(life, when):
    """A change, and the change back in the same instant: as if nothing had been."""
    lived = Life()
    for turn in life:
        happens(lived, turn)
    present = subscription.phase_at(lived.held, lived.now)
    if present is None or len(lived.held.phases) > 1 or subscription.ends_at(lived.held) is not None:
        return
    before = lived.books()
    other = "free" if present.plan_id != "free" else "pro"
    lived.change(other, when)
    lived.held = subscription.change(
        lived.held, present.plan_id, present.plan_version, addons=(), at_effective=lived.now, now=lived.now
    )
    assert lived.books() == before


def test_a_publish_that_moves_now_and_one_at_renewal_by_example():
    life = Life()
    life.use(40)  # 25 included, 15 overage
    life.publish("team", plans.metered(30, up_to=5), "now")
    assert numbers(life) == {"included": (30, 30, 0), "overage": (10, 10, 0), "excess": (0, 0, 0)}
    life.publish("team", plans.metered(5), "renewal")
    assert life.books()["included"].granted == 30
    life.wait(29 * DAY)
    assert numbers(life) == {"included": (5, 0, 5), "overage": (0, 0, 0), "excess": (0, 0, 0)}


def numbers(life: Life) -> dict[str, tuple]:
    return {bucket: (one.granted, one.used, one.remaining) for bucket, one in life.books().items()}
