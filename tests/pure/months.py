"""One feature of one tenant month by month: counters as dictionaries, moved by the pure rules alone."""

from collections import Counter
from datetime import datetime, timedelta

import msgspec

from policies import balance, period, rollover
from policies.balance import Capacity, Draw, Levels
from policies.model import MeteredTerms, Rollover
from policies.period import Period
from policies.rollover import Counted, Ended, Link
from tests.pure import plans

FIRST = datetime(2027, 11, 1, tzinfo=plans.NOW.tzinfo)
"""Four months later lies the February of a leap year."""
HOUR = timedelta(hours=1)


def month(at: datetime) -> Period:
    return period.containing(at, interval="month", anchor="calendar", anchored_at=FIRST)


def following(one: Period) -> Period | None:
    assert one.end is not None
    return month(one.end)


def said(included: int | None, rollover: tuple[int, int] | None, *, up_to: int | None = 0) -> MeteredTerms:
    """Terms that carry at most so much for so many months."""
    carries = rollover and Rollover(source="plans/pro.yaml:20", max=rollover[0], intervals=rollover[1])
    return msgspec.structs.replace(plans.metered(included, overage=True, up_to=up_to), rollover=carries)


class Months:
    """The terms of each month from FIRST on hold all month."""

    def __init__(self, *terms: MeteredTerms) -> None:
        self.terms: dict[Period, MeteredTerms] = {}
        self.counters: Counter[tuple[Period, str]] = Counter()
        at = FIRST
        for one in terms:
            span = month(at)
            self.terms[span] = one
            assert span.end is not None
            at = span.end

    @property
    def spans(self) -> list[Period]:
        return list(self.terms)

    def links(self, span: Period) -> tuple[Link, ...]:
        return rollover.chain(span, self._ended, following, ())

    def _ended(self, at: datetime) -> Ended | None:
        span = month(at)
        if span not in self.terms or self.terms[span].rollover is None:
            return None
        terms = self.terms[span]
        return Ended(
            window=span, terms=terms, lasts=rollover.lasting(terms, terms), plan_version="pro@00000001"
        )

    def counted(self, span: Period, generations: int) -> Counted:
        read = self.counters
        return Counted(
            drawn=read[span, "i"] + read[span, "o"] - read[span, "l"],
            generations=tuple(read[span, f"v{k}"] - read[span, f"v{k}:l"] for k in range(1, generations + 1)),
        )

    def sizes(self, span: Period) -> tuple[int, ...]:
        links = self.links(span)
        return rollover.sizes(
            links,
            [self.counted(link.window, len(links) - place) for place, link in enumerate(links, start=1)],
        )

    def levels(self, span: Period) -> Levels:
        read, sizes = self.counters, self.sizes(span)
        return Levels(
            included=read[span, "i"], overage=read[span, "o"], excess=read[span, "x"], carried=sizes,
            rollover=tuple(read[span, f"v{k}"] for k in range(1, len(sizes) + 1)),
        )  # fmt: skip

    def room(self, span: Period, now: datetime, terms: MeteredTerms | None = None) -> Capacity:
        """What an event of this month may draw, on the terms of its instant."""
        sizes, present = self.sizes(span), month(now)
        room = balance.capacity(
            terms or self.terms[span], overage=True, carried=[(size, 0) for size in sizes]
        )
        after = self.links(present) if present == following(span) else ()
        if not after:
            return room
        link = msgspec.structs.replace(after[0], lasts=len(after))
        used = [self.counters[present, f"v{k}"] for k in range(1, len(after) + 1)]
        counted = self.counted(span, len(sizes))
        return rollover.without(
            room, link, rollover.kept(link, counted, sizes, used, fixed=rollover.lateness(span, now) == 2)
        )

    def draw(self, span: Period, quantity: int, now: datetime, terms: MeteredTerms | None = None) -> Draw:
        taken = balance.draw(self.room(span, now, terms), self.levels(span), quantity)
        self.book(span, taken, now)
        return taken

    def give_back(self, span: Period, own: Draw, now: datetime) -> Draw:
        """Voids what was drawn so."""
        total = own.included + own.overage + own.excess + sum(own.rollover)
        back = balance.give_back(self.room(span, now), self.levels(span), own, total)
        self.book(span, back, now)
        return back

    def book(self, span: Period, moved: Draw, now: datetime) -> None:
        late = rollover.lateness(span, now)
        moves = {"i": moved.included, "o": moved.overage, "x": moved.excess}
        moves["l"] = (moved.included if late == 2 else 0) + (moved.overage if late else 0)
        for number, amount in enumerate(moved.rollover, start=1):
            moves |= {f"v{number}": amount, f"v{number}:l": amount if late == 2 else 0}
        for field, amount in moves.items():
            self.counters[span, field] += amount
