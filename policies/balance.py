"""What is left in the buckets of one period, and which of them does a reported quantity draw from?

A metered feature has three buckets in a period: `included`, `overage` and `excess` (what was reported past
every right). `draw` is the specification of the script that counts; Cedar answers whether, this how much.

granted + overage = drawn + reserved + remaining holds whenever reserved fits what is granted, and the three
parts of a draw add up to the quantity. All numbers are scaled integers, never negative.
"""

import msgspec

from policies.model import MeteredTerms, Terms


class Levels(msgspec.Struct, frozen=True, kw_only=True):
    """The counters of one period as they were read."""

    included: int = 0
    overage: int = 0
    excess: int = 0
    reserved: int = 0
    caps: tuple[int, ...] = ()
    """What each cap's window has counted, in the order of the plan's caps."""


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What may be drawn in a period."""

    included: int | None
    """None is without end."""
    up_to: int | None
    """Overage past what is granted; 0 is none, None is without end."""


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """How a quantity is spread over the buckets."""

    included: int
    overage: int
    excess: int


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """One period's account."""

    granted: int | None
    """None is without end. Never below what was drawn from it: a right that shrank keeps that (R15)."""
    drawn: int
    """From included and overage; excess was never a right."""
    reserved: int
    remaining: int | None
    """Of what is granted; None is without end."""
    overage: int
    """The part of drawn that lies past what is granted."""
    limit: int | None
    """Where refusal begins; None is nowhere."""
    extra: int
    """The part of granted above what the plan includes now."""

    @property
    def unlimited(self) -> bool:
        """No quantity is too large for the plan; a cap may still refuse it."""
        return self.limit is None


def capacity(terms: Terms | None, *, trial: bool) -> Capacity:
    """What a plan lets a period draw; nothing if it does not give the feature.

    A trial has no overage, so what is reported past the included quantity is excess and costs nothing.
    Billing status plays no part: it bears on what may happen, not on how to book what has happened.
    """
    if not isinstance(terms, MeteredTerms):
        return Capacity(included=0, up_to=0)
    overage = None if trial else terms.overage
    return Capacity(included=terms.included, up_to=0 if overage is None else overage.up_to)


def draw(room: Capacity, levels: Levels, quantity: int) -> Draw:
    """The buckets of a quantity that has happened: included first, then overage, and the rest is excess."""
    if room.included is None:
        return Draw(included=quantity, overage=0, excess=0)
    drawn = levels.included + levels.overage
    included = min(quantity, max(0, room.included - drawn))
    rest = quantity - included
    if room.up_to is None:
        return Draw(included=included, overage=rest, excess=0)
    limit = max(room.included, levels.included) + room.up_to
    overage = min(rest, max(0, limit - drawn - included))
    return Draw(included=included, overage=overage, excess=rest - overage)


def of(terms: Terms | None, levels: Levels, *, trial: bool) -> Balance:
    """The account of a period whose counters stand at these levels."""
    room = capacity(terms, trial=trial)
    drawn = levels.included + levels.overage
    if room.included is None:
        return Balance(
            granted=None,
            drawn=drawn,
            reserved=levels.reserved,
            remaining=None,
            overage=0,
            limit=None,
            extra=0,
        )
    granted = max(room.included, levels.included)
    return Balance(
        granted=granted,
        drawn=drawn,
        reserved=levels.reserved,
        remaining=max(0, granted - drawn - levels.reserved),
        overage=max(0, drawn - granted),
        limit=None if room.up_to is None else granted + room.up_to,
        extra=granted - room.included,
    )
