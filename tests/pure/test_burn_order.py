"""What a tenant has is used up in the order that the cases of burn-order.yaml say, by the rules alone."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec
import pytest

from policies import balance, buckets, grant, period, rollover
from policies.balance import Levels
from policies.grant import Grant
from policies.model import MeteredTerms, Rollover
from policies.period import Period
from policies.rollover import Counted, Ended, Link
from tests.pure import plans
from tests.pure.burn_order import BEGINNING, Case, Gift, Plan, Step, cases, day, moment

CASES = cases()


def terms(plan: Plan) -> MeteredTerms:
    endless, carried = plan.overage == "unlimited", plan.rollover
    return plans.metered(
        None if plan.included == "unlimited" else plan.included,
        overage=endless,
        up_to=None if endless or not plan.overage else plan.overage,
        rollover=carried and Rollover(source="plan", max=carried.max, intervals=carried.intervals),
    )


def month(at: datetime) -> Period:
    return period.containing(at, interval="month", anchor="calendar", anchored_at=at)


def following(span: Period) -> Period:
    assert span.end is not None
    return month(span.end)


class Story:
    """A tenant's month as the pure rules have it."""

    def __init__(self, case: Case) -> None:
        self.plans = [(BEGINNING, terms(case.plan))]
        self.grants: dict[str, Grant] = {}
        self.used: Counter[tuple[Period | None, str]] = Counter()

    def happens(self, step: Step, now: datetime, number: int) -> None:
        if step.use is not None:
            drawn = self.drawn(step.use, day(step.of) if step.of else now, now)
            assert drawn == step.draws, f"{step} drew {drawn}"
        elif step.give is not None:
            self.grants[step.give.id] = given(step.give, now, number)
        elif step.void is not None:
            self.grants[step.void] = grant.void(self.grants[step.void], now)
        elif step.plan is not None:
            self.plans.append((now, terms(step.plan)))
        for bucket, numbers in step.shows.items():
            shown = self.shown(bucket, now)
            said = msgspec.to_builtins(numbers).items()
            assert {name: number for name, number in said if number is not None}.items() <= shown.items(), (
                shown
            )

    def shown(self, bucket: str, now: datetime) -> dict[str, int | None]:
        """The books of a bucket, by the words of the story."""
        bucket_id = self.grants[bucket].id if bucket in self.grants else bucket
        (found,) = [one for one in self.books(now) if one.bucket == bucket_id]
        return {
            "granted": found.granted,
            "used": found.used,
            "expired": found.expired,
            "left": found.remaining,
        }

    def drawn(self, quantity: int, at: datetime, now: datetime) -> dict[str, int]:
        """Draws a quantity; what each bucket gave, by the names of the story."""
        span, held, levels = self.levels(at)
        before = grant.before_included(held, span)
        carried = [
            (size, link.before) for size, link in zip(levels.carried, self.links(span, held), strict=True)
        ]
        room = balance.capacity(self.at(at), overage=True, grants=held, before=before, carried=carried)
        after = self.links(month(now), ()) if month(now) == following(span) else ()
        if after:
            late = rollover.lateness(span, now) == rollover.SEALED
            used = [self.used[month(now), rollover.name(k + 1)] for k in range(len(after))]
            counted = self.counted(span, len(levels.carried))
            room = rollover.without(
                room, after[0], rollover.kept(after[0], counted, levels.carried, used, fixed=late)
            )
        taken = balance.draw(room, levels, quantity)
        names = {one.id: name for name, one in self.grants.items()}
        amounts = {"included": taken.included, "overage": taken.overage, "excess": taken.excess}
        amounts |= {names[one.id]: amount for one, amount in zip(held, taken.grants, strict=True)}
        amounts |= {rollover.name(k): amount for k, amount in enumerate(taken.rollover, start=1)}
        for name, amount in amounts.items():
            self.used[None if name in self.grants else span, name] += amount
        lateness = rollover.lateness(span, now)
        self.used[span, "late"] += taken.overage if lateness else 0
        self.used[span, "late"] += taken.included if lateness == rollover.SEALED else 0
        return {name: amount for name, amount in amounts.items() if amount}

    def at(self, instant: datetime) -> MeteredTerms:
        """The terms of an instant; those of a plan hold from its step on."""
        return next(one for since, one in reversed(self.plans) if since <= instant)

    def links(self, span: Period, held: Sequence[Grant]) -> tuple[Link, ...]:
        return rollover.chain(span, self._ended, following, held)

    def _ended(self, at: datetime) -> Ended | None:
        if at < BEGINNING or self.at(at).rollover is None:
            return None
        lasts = rollover.lasting(self.at(month(at).start), self.at(at))
        return Ended(window=month(at), terms=self.at(at), lasts=lasts, plan_version="plan")

    def counted(self, span: Period, generations: int) -> Counted:
        """Nothing of a generation comes back in these stories, so what is late for one needs no count."""
        drawn = self.used[span, "included"] + self.used[span, "overage"] - self.used[span, "late"]
        names = [rollover.name(number) for number in range(1, generations + 1)]
        return Counted(drawn=drawn, generations=tuple(self.used[span, name] for name in names))

    def levels(self, at: datetime) -> tuple[Period, tuple[Grant, ...], Levels]:
        span = month(at)
        held = grant.in_draw_order(one for one in self.grants.values() if grant.holds(one, at))
        links = self.links(span, held)
        sizes = rollover.sizes(
            links, [self.counted(one.window, len(links) - place) for place, one in enumerate(links, 1)]
        )
        names = {one.id: name for name, one in self.grants.items()}
        own = {kind: self.used[span, kind] for kind in ("included", "overage", "excess")}
        used = tuple(self.used[None, names[one.id]] for one in held)
        drawn = tuple(self.used[span, rollover.name(k)] for k in range(1, len(links) + 1))
        return span, held, Levels(**own, grants=used, carried=sizes, rollover=drawn)

    def books(self, at: datetime) -> tuple[buckets.Bucket, ...]:
        span, _, levels = self.levels(at)
        held = grant.in_draw_order(self.grants.values())
        used = {one.id: self.used[None, name] for name, one in self.grants.items()}
        right = msgspec.structs.replace(plans.right(self.at(at)), period=span, rollover=self.links(span, ()))
        return buckets.of(right, levels, held, used, at)


def given(gift: Gift, now: datetime, number: int) -> Grant:
    """The ids of grants sort by the time at which they were given."""
    return Grant(
        id=f"grt_{number:03}",
        feature_id=plans.TOKENS.id,
        quantity=gift.quantity,
        priority=gift.priority,
        effective_at=day(gift.since) if gift.since else now,
        expires_at=day(gift.until) if gift.until else None,
        created_at=now,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_by_the_rules(case: Case):
    story = Story(case)
    for place, step in enumerate(case.story):
        now = moment(step, place)
        assert now >= BEGINNING
        story.happens(step, now, place)
        for one in story.books(now):
            parts = (one.used, one.reserved, one.expired, one.carried, one.remaining)
            assert one.granted is None or one.granted == sum(parts)


def test_the_file_tells_no_case_twice():
    assert len({case.name for case in CASES}) == len(CASES) >= 25
