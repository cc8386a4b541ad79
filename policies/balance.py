"""What is left in the buckets of one period, and which of them does a reported quantity draw from?

A metered feature's buckets are what earlier periods carried into it, what its terms include in it, the grants
that hold, overage, and excess (what was reported past every right). They draw in the order of their priority
(R13). `draw` is the specification of the script that counts; Cedar answers whether, this how much.

granted + overage = drawn + reserved + remaining holds whenever reserved fits what is granted, and the parts
of a draw add up to the quantity. All numbers are scaled integers, never negative.
"""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Literal

import msgspec

from policies.grant import Grant
from policies.model import MeteredTerms, Terms


class Levels(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The counters of one period as they were read: in each bucket what is used and what is held together."""

    included: int = 0
    overage: int = 0
    excess: int = 0
    reserved: int = 0
    """What open reservations hold in the buckets of the period, all together."""
    caps: tuple[int, ...] = ()
    """What each cap's window has counted, in the order of the plan's caps."""
    grants: tuple[int, ...] = ()
    """What was drawn from each grant over its whole life, in the order of the right's grants."""
    rollover: tuple[int, ...] = ()
    """What was drawn from each generation of what earlier periods carried, the latest of them first."""
    carried: tuple[int, ...] = ()
    """How much each generation got; it follows from the counters of those periods (policies.rollover)."""
    seen: int = 0
    """Of a unique meter: how many events of the period had the value that is used now."""
    kept: int = 0
    """Of a period that is over: what the next one has of the included quantity."""


class Room(msgspec.Struct, frozen=True):
    """A bucket with an end, or the included one without: how much it holds; None is without end."""

    kind: Literal["grant", "included", "rollover"]
    size: int | None


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What may be drawn in a period."""

    finite: tuple[Room, ...]
    """In the order in which they are drawn; exactly one is the included one."""
    up_to: int | None
    """Overage past what is granted; 0 is none, None is without end."""


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """How a quantity is spread over the buckets; negative where it came back."""

    included: int = 0
    overage: int = 0
    excess: int = 0
    grants: tuple[int, ...] = ()
    """In the order of the right's grants."""
    rollover: tuple[int, ...] = ()
    """By generation."""


class Balance(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One period's account."""

    granted: int | None
    """None is without end. Never below what was drawn from it: a right that shrank keeps that (R15)."""
    drawn: int
    """From included, grants and overage, without what is held; excess was never a right."""
    reserved: int
    remaining: int | None
    """Of what is granted; None is without end."""
    overage: int
    """The part of drawn that lies past what is granted."""
    limit: int | None
    """Where refusal begins; None is nowhere."""

    @property
    def unlimited(self) -> bool:
        """No quantity is too large for the plan; a cap may still refuse it."""
        return self.limit is None


def capacity(
    terms: Terms | None,
    *,
    overage: bool,
    grants: Sequence[Grant] = (),
    before: int = 0,
    carried: Sequence[tuple[int, int]] = (),
) -> Capacity:
    """What a right lets a period draw; nothing if there are no terms.

    Without `overage` (`Right.has_overage`) what is reported past what is granted is excess and costs nothing.
    `grants` are in draw order, and the first `before` of them come before what is included. `carried` has the
    size of each generation, the latest first, and how many of the grants come before it.
    """
    if not isinstance(terms, MeteredTerms):
        return Capacity(finite=(Room("included", 0),), up_to=0)
    included, up_to = _bounds(terms, overage=overage)
    rooms = [Room("grant", grant.quantity) for grant in grants]
    rooms.insert(before, Room("included", included))
    for size, ahead in carried:  # an earlier one expires no later, so it stands no further back
        rooms.insert(ahead, Room("rollover", size))
    return Capacity(finite=tuple(rooms), up_to=up_to)


def _bounds(terms: Terms | None, *, overage: bool) -> tuple[int | None, int | None]:
    """What terms include, and how much overage they allow; None is without end."""
    if not isinstance(terms, MeteredTerms):
        return 0, 0
    sold = terms.overage if overage else None
    return terms.included, 0 if sold is None else sold.up_to


def draw(room: Capacity, levels: Levels, quantity: int) -> Draw:
    """The buckets of a quantity that has happened: by priority, then overage, and the rest is excess."""
    rest, taken = quantity, []
    for bucket, level in zip(room.finite, _finite(room, levels), strict=True):
        counted = level + levels.overage if bucket.kind == "included" else level
        taken.append(rest if bucket.size is None else min(rest, max(0, bucket.size - counted)))
        rest -= taken[-1]
    overage = _overage(room, levels, taken, rest)
    return _drawn(room, taken, overage=overage, excess=rest - overage)


def _overage(room: Capacity, levels: Levels, taken: Sequence[int], rest: int) -> int:
    """Overage is what goes past the included quantity, up to its bound; grants were drawn before."""
    place = next(place for place, bucket in enumerate(room.finite) if bucket.kind == "included")
    included = room.finite[place].size
    if room.up_to is None or included is None:
        return rest
    limit = max(included, levels.included) + room.up_to
    return min(rest, max(0, limit - levels.included - levels.overage - taken[place]))


def give_back(room: Capacity, levels: Levels, own: Draw, quantity: int) -> Draw:
    """The buckets that used units go back to (R18), as amounts below zero; `levels` hold no reserved ones.

    First excess and overage of the period, then the buckets that the event drew from (`own`), the last of
    them first. Where others' returns have cancelled its own overage, what is left of it lies in the other
    buckets: the last of them first. Units that no bucket has are nowhere to be taken from, and stay.
    """
    excess = min(quantity, levels.excess)
    overage = min(quantity - excess, levels.overage)
    rest = quantity - excess - overage
    used = list(_finite(room, levels))
    back = [0] * len(used)
    for bounds in (_finite(room, own), used):
        for place in reversed(range(len(used))):
            amount = min(rest, bounds[place] - back[place], used[place] - back[place])
            back[place] += max(0, amount)
            rest -= max(0, amount)
    return _drawn(room, [-amount for amount in back], overage=-overage, excess=-excess)


def _finite(room: Capacity, levels: Levels | Draw) -> tuple[int, ...]:
    """The amounts of the finite buckets in the order in which they are drawn; what is not told is 0."""
    told: dict[str, Iterator[int]] = {
        "included": iter((levels.included,)),
        "grant": iter(levels.grants),
        "rollover": reversed(levels.rollover),
    }
    return tuple(next(told[bucket.kind], 0) for bucket in room.finite)


def _drawn(room: Capacity, amounts: Sequence[int], *, overage: int, excess: int) -> Draw:
    """The finite buckets' amounts, each where a Draw has it."""
    by_kind: dict[str, list[int]] = {"included": [], "grant": [], "rollover": []}
    for bucket, amount in zip(room.finite, amounts, strict=True):
        by_kind[bucket.kind].append(amount)
    return Draw(
        included=sum(by_kind["included"]),
        overage=overage,
        excess=excess,
        grants=tuple(by_kind["grant"]),
        rollover=tuple(reversed(by_kind["rollover"])),
    )


def of(terms: Terms | None, levels: Levels, *, overage: bool, grants: Sequence[Grant] = ()) -> Balance:
    """The account of a period whose counters stand at these levels."""
    included, up_to = _bounds(terms, overage=overage)
    counted = levels.included + levels.overage + sum(levels.grants) + sum(levels.rollover)
    drawn = counted - levels.reserved
    if included is None:
        return Balance(
            granted=None, drawn=drawn, reserved=levels.reserved, remaining=None, overage=0, limit=None
        )
    granted = max(included - levels.kept, levels.included) + granted_extra(levels, grants)
    return Balance(
        granted=granted,
        drawn=drawn,
        reserved=levels.reserved,
        remaining=max(0, granted - counted),
        overage=max(0, counted - granted),
        limit=None if up_to is None else granted + up_to,
    )


def granted_extra(levels: Levels, grants: Sequence[Grant]) -> int:
    """What grants that hold and earlier periods give, none of them less than was drawn from it."""
    if not grants and not levels.grants and not levels.carried and not levels.rollover:
        return 0
    given = sum(grant.quantity for grant in grants)
    if levels.grants:
        given = sum(max(grant.quantity, used) for grant, used in zip(grants, levels.grants, strict=True))
    if not levels.carried and not levels.rollover:
        return given
    generations = zip_longest(levels.carried, levels.rollover, fillvalue=0)
    return given + sum(max(size, used) for size, used in generations)
