"""What a tenant has is used up in the order that the cases of burn-order.yaml say, by the rules alone."""

from datetime import datetime

import msgspec
import pytest

from policies import balance, buckets, grant, period
from policies.balance import Levels
from policies.grant import Grant
from policies.model import MeteredTerms
from policies.period import Period
from tests.pure import plans
from tests.pure.burn_order import BEGINNING, Case, Gift, Plan, Step, cases, day, moment

CASES = cases()


def terms(plan: Plan) -> MeteredTerms:
    endless = plan.overage == "unlimited"
    return plans.metered(
        None if plan.included == "unlimited" else plan.included,
        overage=endless,
        up_to=None if endless or not plan.overage else plan.overage,
    )


class Story:
    """A tenant's month as the pure rules have it."""

    def __init__(self, case: Case) -> None:
        self.terms = terms(case.plan)
        self.grants: dict[str, Grant] = {}
        self.used: dict[tuple[Period | None, str], int] = {}

    def happens(self, step: Step, now: datetime, number: int) -> None:
        if step.use is not None:
            drawn = self.drawn(step.use, day(step.of) if step.of else now)
            assert drawn == step.draws, f"{step} drew {drawn}"
        elif step.give is not None:
            self.grants[step.give.id] = given(step.give, now, number)
        elif step.void is not None:
            self.grants[step.void] = grant.void(self.grants[step.void], now)
        elif step.plan is not None:
            self.terms = terms(step.plan)
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

    def drawn(self, quantity: int, at: datetime) -> dict[str, int]:
        """Draws a quantity; what each bucket gave, by the names of the story."""
        span, held, levels = self.levels(at)
        before = grant.before_included(held, span)
        room = balance.capacity(self.terms, overage=True, grants=held, before=before)
        taken = balance.draw(room, levels, quantity)
        names = {one.id: name for name, one in self.grants.items()}
        amounts = {"included": taken.included, "overage": taken.overage, "excess": taken.excess}
        amounts |= {names[one.id]: amount for one, amount in zip(held, taken.grants, strict=True)}
        for name, amount in amounts.items():
            key = (None if name in self.grants else span, name)
            self.used[key] = self.used.get(key, 0) + amount
        return {name: amount for name, amount in amounts.items() if amount}

    def levels(self, at: datetime) -> tuple[Period, tuple[Grant, ...], Levels]:
        span = period.containing(at, interval="month", anchor="calendar", anchored_at=at)
        held = grant.in_draw_order(one for one in self.grants.values() if grant.holds(one, at))
        names = {one.id: name for name, one in self.grants.items()}
        own = {kind: self.used.get((span, kind), 0) for kind in ("included", "overage", "excess")}
        used = tuple(self.used.get((None, names[one.id]), 0) for one in held)
        return span, held, Levels(**own, grants=used)

    def books(self, at: datetime) -> tuple[buckets.Bucket, ...]:
        span, _, levels = self.levels(at)
        held = grant.in_draw_order(self.grants.values())
        used = {one.id: self.used.get((None, name), 0) for name, one in self.grants.items()}
        right = msgspec.structs.replace(plans.right(self.terms), period=span)
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
