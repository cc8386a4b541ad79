"""How do counters change when a reservation ends?

The rule that store/lua/settle.lua is tested against. The counters of buckets have what is used and what open
reservations hold, together.
"""

from itertools import zip_longest

from policies import balance
from policies.balance import Capacity, Draw, Levels


def ended(room: Capacity, levels: Levels, reserved: Draw, own: Draw, quantity: int) -> Draw:
    """The change of the counters when a reservation that held `own` ends, and `quantity` was really used.

    All that it held comes back as what was used would (R18), then what was used is drawn: so the buckets are
    as if nothing had been held. `reserved` is what all open reservations hold of each bucket, this one too.
    """
    others = plus(reserved, own, sign=-1)
    used = moved(levels, others, sign=-1)
    total = own.included + own.overage + own.excess + sum(own.grants) + sum(own.rollover)
    back = balance.give_back(room, used, own, total)
    return plus(back, balance.draw(room, moved(levels, back), quantity))


def plus(first: Draw, second: Draw, *, sign: int = 1) -> Draw:
    """Both changes together; with `sign` -1 the first without the second."""
    return Draw(
        included=first.included + sign * second.included,
        overage=first.overage + sign * second.overage,
        excess=first.excess + sign * second.excess,
        grants=_each(first.grants, second.grants, sign),
        rollover=_each(first.rollover, second.rollover, sign),
    )


def moved(levels: Levels, change: Draw, *, sign: int = 1) -> Levels:
    """The levels after a change, or before it with `sign` -1; caps and reserved are left out."""
    return Levels(
        included=levels.included + sign * change.included,
        overage=levels.overage + sign * change.overage,
        excess=levels.excess + sign * change.excess,
        grants=_each(levels.grants, change.grants, sign),
        rollover=_each(levels.rollover, change.rollover, sign),
    )


def _each(first: tuple[int, ...], second: tuple[int, ...], sign: int) -> tuple[int, ...]:
    return tuple(one + sign * other for one, other in zip_longest(first, second, fillvalue=0))
