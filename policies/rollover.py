"""What of an unused rest goes on into the next period, and what of it is there no more for late events?

When a period ends, what is left of the included quantity becomes generation 1 of the next period, and what is
left of generation k becomes generation k + 1, as the terms in force at the end say: each unit lasts so many
periods, and all generations together are at most `max`; those that expire later are kept.

No job writes it (R19). What is carried follows from the counters of the periods that ended, and those count
apart what came after the seal, an hour after the end: so it is recomputed until the seal and fixed after it.
Overage is counted apart from the end on: what a late event finds no room for takes nothing from it.
All quantities are scaled.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Final, Literal

import msgspec

from policies import grant, limits
from policies import period as periods
from policies.balance import Capacity, Room
from policies.grant import Grant
from policies.model import Interval, MeteredTerms
from policies.period import Period

PRIORITY: Final = 90
Late = Literal[0, 1, 2]
"""0 in its time, 1 after the period's end, 2 after the seal."""
SEALED: Final = 2
_INSTANT: Final = timedelta(microseconds=1)


class Link(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A period that ended, and what its terms said at its end of what goes on.

    A right has its links newest first: generation k of the present period is left of the one at place k - 1.
    """

    window: Period
    interval: Interval
    included: int
    """0 where it was unlimited: nothing is left of that."""
    max: int
    lasts: int
    """For how many periods after this one."""
    plan_version: str
    source: str
    """File and line of the plan that lets it roll over."""
    before: int
    """How many of the right's grants are drawn before the generation."""
    expires_at: datetime | None
    """When the last of the generation is gone, if the terms stay as they are."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What held at the end of a period."""

    window: Period
    terms: MeteredTerms
    lasts: int
    plan_version: str


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What was used in a period that ended, apart from what is counted as late."""

    drawn: int = 0
    """Included units and overage together: an upgrade in mid-period makes the one of the other (R15)."""
    generations: tuple[int, ...] = ()


# --- which periods go on into which -----------------------------------------------------------------


def lasting(at_start: MeteredTerms | None, at_end: MeteredTerms) -> int:
    """For how many periods a rest lasts, by the terms at both ends of its own; 0 if it does not roll over.

    Terms that came in mid-period carry it for one: counters are kept so long in any case.
    """
    if at_end.rollover is None:
        return 0
    begun = at_start.rollover.intervals if at_start is not None and at_start.rollover is not None else 1
    return min(begun, at_end.rollover.intervals)


def chain(
    span: Period,
    ended: Callable[[datetime], Ended | None],
    following: Callable[[Period], Period | None],
    grants: Sequence[Grant],
) -> tuple[Link, ...]:
    """The periods of which something may be left in this one, newest first.

    `ended` says what held at the last instant of a period. A rest goes only into periods that end within the
    time that it lasts, so a move to a longer interval carries nothing.
    """
    links: list[Link] = []
    begins, number, reach, stays = span.start, 1, limits.ROLLOVER_INTERVALS, limits.ROLLOVER_INTERVALS
    while span.end is not None and number <= reach:
        one = ended(begins - _INSTANT)
        if one is None or one.lasts < number:
            break
        if span.end > begins + one.lasts * periods.LONGEST[one.terms.interval]:
            break
        stays = min(stays, one.lasts - number)
        links.append(_link(one, number, _lives(span, stays, following), grants))
        begins, number, reach = one.window.start, number + 1, min(reach, one.lasts + number - 1)
    return tuple(links)


def _lives(span: Period, stays: int, following: Callable[[Period], Period | None]) -> Period:
    """The span of a generation that stays for so many periods more."""
    last = span
    for _ in range(stays):
        last = following(last) or last
    return Period(span.start, last.end)


def _link(one: Ended, number: int, lives: Period, grants: Sequence[Grant]) -> Link:
    assert one.terms.rollover is not None, "what lasts rolls over"
    return Link(
        window=one.window,
        interval=one.terms.interval,
        included=one.terms.included or 0,
        max=one.terms.rollover.max,
        lasts=one.lasts,
        plan_version=one.plan_version,
        source=one.terms.rollover.source,
        before=grant.before(grants, PRIORITY, lives, name(number)),
        expires_at=lives.end,
    )


def name(number: int) -> str:
    """What a generation's bucket is called."""
    return "rollover" if number == 1 else f"rollover-{number}"


# --- how much goes on -------------------------------------------------------------------------------


def lateness(window: Period, now: datetime) -> Late:
    """How late is an act of now that belongs into this period?"""
    if window.end is None or now < window.end:
        return 0
    return 1 if now < window.end + timedelta(seconds=limits.ROLLOVER_GRACE_S) else SEALED


def lateness_of(ends: int, now: int) -> Late:
    """The same of a period that ends then, both in microseconds; 0: it never does."""
    if not ends or now < ends:
        return 0
    return 1 if now < ends + limits.ROLLOVER_GRACE_S * 1_000_000 else SEALED


def sizes(links: Sequence[Link], counted: Sequence[Counted]) -> tuple[int, ...]:
    """How much each generation of the present period got, generation 1 first."""
    found: tuple[int, ...] = ()
    for link, one in zip(reversed(links), reversed(counted), strict=True):
        found = carried(link, one, found)
    return found


def carried(link: Link, counted: Counted, had: Sequence[int]) -> tuple[int, ...]:
    """What a period hands on: of its included quantity, then of its generations, which `had` so much."""
    rests = [max(0, link.included - counted.drawn)]
    rests += [max(0, size - used) for size, used in zip_longest(had, counted.generations, fillvalue=0)]
    left, found = link.max, []
    for rest in rests[: link.lasts]:
        found.append(min(left, rest))
        left -= found[-1]
    return tuple(found)


def kept(
    link: Link, counted: Counted, had: Sequence[int], used_after: Sequence[int], *, fixed: bool
) -> tuple[int, ...]:
    """What later periods have of one that ended: of its included quantity first, then of its generations.

    Before the seal it is what the next period has used already, after it (`fixed`) all that was carried.
    """
    handed = carried(link, counted, had) if fixed else ()
    return tuple(max(one, used) for one, used in zip_longest(handed, used_after, fillvalue=0))


def without(room: Capacity, link: Link, kept: Sequence[int]) -> Capacity:
    """What late events may draw in a period that ended, with what later periods have of it left alone."""
    own, *generations = kept or (0,)
    finite = list(room.finite)
    number = sum(bucket.kind == "rollover" for bucket in finite)
    for place, bucket in enumerate(finite):
        size = bucket.size
        if bucket.kind == "included" and own:
            most = max(0, link.included - own)
            size = most if size is None else min(size, most)
        elif bucket.kind == "rollover" and size is not None:
            size = max(0, size - (generations[number - 1] if number <= len(generations) else 0))
            number -= 1
        finite[place] = Room(bucket.kind, size)
    return Capacity(finite=tuple(finite), up_to=room.up_to)
