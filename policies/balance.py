"""What is left in the buckets of one period, and which of them does a reported quantity draw from?

A metered feature's buckets are what its terms include in a period, the grants that hold, overage, and excess
(what was reported past every right). They draw in the order of their priority (R13). `draw` is the
specification of the script that counts; Cedar answers whether, this how much.

granted + overage = drawn + reserved + remaining holds whenever reserved fits what is granted, and the parts
of a draw add up to the quantity. All numbers are scaled integers, never negative.
"""

from collections.abc import Sequence

import msgspec

from policies.grant import Grant
from policies.model import MeteredTerms, Terms


class Levels(msgspec.Struct, frozen=True, kw_only=True):
    """The counters of one period as they were read."""

    included: int = 0
    overage: int = 0
    excess: int = 0
    reserved: int = 0
    caps: tuple[int, ...] = ()
    """What each cap's window has counted, in the order of the plan's caps."""
    grants: tuple[int, ...] = ()
    """What was drawn from each grant over its whole life, in the order of the right's grants."""


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What may be drawn in a period."""

    included: int | None
    """None is without end."""
    up_to: int | None
    """Overage past what is granted; 0 is none, None is without end."""
    before: tuple[int, ...] = ()
    """Quantities of the grants that draw before the included one, in order."""
    after: tuple[int, ...] = ()
    """Those that draw after it."""


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """How a quantity is spread over the buckets."""

    included: int
    overage: int
    excess: int
    grants: tuple[int, ...] = ()
    """In the order of the right's grants."""


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """One period's account."""

    granted: int | None
    """None is without end. Never below what was drawn from it: a right that shrank keeps that (R15)."""
    drawn: int
    """From included, grants and overage; excess was never a right."""
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
    terms: Terms | None, *, overage: bool, grants: Sequence[Grant] = (), before: int = 0
) -> Capacity:
    """What a right lets a period draw; nothing if there are no terms.

    Without `overage` (`Right.has_overage`) what is reported past what is granted is excess and costs nothing.
    `grants` are in draw order, and the first `before` of them come before what is included.
    """
    if not isinstance(terms, MeteredTerms):
        return Capacity(included=0, up_to=0)
    included, up_to = _bounds(terms, overage=overage)
    return Capacity(
        included=included,
        up_to=up_to,
        before=tuple(grant.quantity for grant in grants[:before]),
        after=tuple(grant.quantity for grant in grants[before:]),
    )


def _bounds(terms: Terms | None, *, overage: bool) -> tuple[int | None, int | None]:
    """What terms include, and how much overage they allow; None is without end."""
    if not isinstance(terms, MeteredTerms):
        return 0, 0
    sold = terms.overage if overage else None
    return terms.included, 0 if sold is None else sold.up_to


def draw(room: Capacity, levels: Levels, quantity: int) -> Draw:
    """The buckets of a quantity that has happened: by priority, then overage, and the rest is excess."""
    used = levels.grants or (0,) * (len(room.before) + len(room.after))
    rest, taken = quantity, []
    for size, level in zip(room.before, used, strict=False):
        taken.append(min(rest, max(0, size - level)))
        rest -= taken[-1]
    included = (
        rest if room.included is None else min(rest, max(0, room.included - levels.included - levels.overage))
    )
    rest -= included
    for size, level in zip(room.after, used[len(room.before) :], strict=True):
        taken.append(min(rest, max(0, size - level)))
        rest -= taken[-1]
    overage = _overage(room, levels, included, rest)
    return Draw(included=included, overage=overage, excess=rest - overage, grants=tuple(taken))


def _overage(room: Capacity, levels: Levels, included: int, rest: int) -> int:
    """Overage is what goes past the included quantity, up to its bound; grants were drawn before."""
    if room.up_to is None or room.included is None:
        return rest
    limit = max(room.included, levels.included) + room.up_to
    return min(rest, max(0, limit - levels.included - levels.overage - included))


def of(terms: Terms | None, levels: Levels, *, overage: bool, grants: Sequence[Grant] = ()) -> Balance:
    """The account of a period whose counters stand at these levels."""
    included, up_to = _bounds(terms, overage=overage)
    drawn = levels.included + levels.overage + sum(levels.grants)
    if included is None:
        return Balance(
            granted=None, drawn=drawn, reserved=levels.reserved, remaining=None, overage=0, limit=None
        )
    granted = max(included, levels.included) + granted_extra(levels, grants)
    return Balance(
        granted=granted,
        drawn=drawn,
        reserved=levels.reserved,
        remaining=max(0, granted - drawn - levels.reserved),
        overage=max(0, drawn - granted),
        limit=None if up_to is None else granted + up_to,
    )


def granted_extra(levels: Levels, grants: Sequence[Grant]) -> int:
    """What the grants that hold give, none of them less than was drawn from it."""
    if not levels.grants:
        return sum(grant.quantity for grant in grants)
    return sum(max(grant.quantity, used) for grant, used in zip(grants, levels.grants, strict=True))
