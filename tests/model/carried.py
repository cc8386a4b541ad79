"""What periods leave to those that follow (R19), by the model: a rest goes on for so many periods."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import NamedTuple

from policies import period
from policies.period import Period
from tests.model.facts import FOREVER, INCLUDED, Subscription, Window
from tests.model.ledger import Bucket, Layout, Ledger

PRIORITY = 90
SEAL = timedelta(hours=1)
MOST = 12
INSTANT = timedelta(microseconds=1)


class Link(NamedTuple):
    """A period that has ended, and what it leaves: at most so much, for so many periods."""

    window: Window
    included: int
    most: int
    lasts: int
    until: datetime
    """When the last of what it left is gone from the present period's point of view."""


def generation(feature: str, number: int, window: Window) -> Bucket:
    """What is left of the period that ended so many periods ago."""
    return Bucket(feature, "rollover" if number == 1 else f"rollover-{number}", window)


def number_of(kind: str) -> int:
    return 1 if kind == "rollover" else int(kind.removeprefix("rollover-"))


@dataclass
class Carried(Ledger):
    """What happened, with what periods leave to each other."""

    def links(self, feature: str, at: datetime) -> list[Link]:
        """The periods of which something is left at an instant, the last one first."""
        place, terms, span = self.standing(at), self.terms(feature, at), self.period(feature, at)
        if place is None or terms is None or at >= place.subscription.ends:
            return []
        found: list[Link] = []
        begins, reach, stays = span.start, MOST, MOST
        while span.end is not None and len(found) < reach:
            number = len(found) + 1
            left = self._left_by(feature, place.subscription, begins - INSTANT)
            if left is None or left[1].lasts < number:
                break
            before, link = left
            if span.end > begins + link.lasts * period.LONGEST[link.window.interval]:
                break  # it would outlast what it was left for
            reach, stays = min(reach, link.lasts + number - 1), min(stays, link.lasts - number)
            until = span
            for _ in range(stays):
                until = (
                    period.following(
                        until,
                        interval=terms.interval,
                        anchor=terms.anchor,
                        anchored_at=place.subscription.anchor,
                    )
                    or until
                )
            found.append(link._replace(until=until.end or FOREVER))
            begins = before.start
        return found

    def _left_by(self, feature: str, held: Subscription, at: datetime) -> tuple[Period, Link] | None:
        """What the period that ends with this instant leaves, by the plan of its end."""
        place = self.standing(at)
        if place is None or place.subscription is not held or at >= held.ends:
            return None
        terms = self.given(place.plan, feature, at)
        if terms is None or terms.rollover is None:
            return None
        span = self.period(feature, at)
        first = next(one for one in place.subscription.stretches if one.end > span.start)
        began = self.plans[first.plan].get(feature)
        most, lasts = terms.rollover
        begun = began.rollover[1] if began is not None and began.rollover is not None else 1
        window = Window(terms.interval, span.start)
        return span, Link(window, terms.included or 0, most, min(begun, lasts), FOREVER)

    # --- how much --------------------------------------------------------------------------------

    def sizes(self, feature: str, links: Sequence[Link], by: datetime = FOREVER) -> list[int]:
        """What each generation has, the youngest first."""
        found: list[int] = []
        for link in reversed(links):
            found = self.handed_on(feature, link, found, by)
        return found

    def handed_on(self, feature: str, link: Link, had: Sequence[int], by: datetime = FOREVER) -> list[int]:
        """What a period leaves: of what it included first, then of its own generations."""
        own = [Bucket(feature, kind, link.window) for kind in (INCLUDED, "overage")]
        rests = [link.included - sum(self.in_time(bucket, by) for bucket in own)]
        for number, size in enumerate(had, start=1):
            rests.append(size - self.in_time(generation(feature, number, link.window), by))
        left, found = link.most, []
        for rest in rests[: link.lasts]:
            found.append(max(0, min(left, rest)))
            left -= found[-1]
        return found

    def in_time(self, bucket: Bucket, by: datetime = FOREVER) -> int:
        """What was drawn from a bucket but for what was late: overage from the end on, all from the seal."""
        return self.level(bucket, by) - self.late(bucket, by)

    def late(self, bucket: Bucket, by: datetime = FOREVER) -> int:
        least = 1 if bucket.kind == "overage" else 2
        return sum(
            one.draws.get(bucket, 0) - one.held.get(bucket, 0)
            for one in self.entries
            if one.late >= least and one.at <= by
        )

    def lasts(self, feature: str, at: datetime) -> int:
        """For how many periods a rest of the period may last, by a plan that holds in it; 0: it is gone."""
        place, span = self.standing(at), self.period(feature, at)
        if place is None or at >= place.subscription.ends:
            return 0
        found = [0]
        for stretch in place.subscription.stretches:
            terms = self.plans[stretch.plan].get(feature)
            rolls = terms is not None and terms.rollover is not None
            if rolls and stretch.end > span.start and (span.end is None or stretch.start < span.end):
                found.append(terms.rollover[1])
        return max(found)

    def lateness(self, layout: Layout, now: datetime) -> int:
        """0 in its time, 1 after the end of the period, 2 after its seal; 0 where nothing rolls over."""
        if not layout.rolls_over or layout.ends is None or now < layout.ends:
            return 0
        return 1 if now < layout.ends + SEAL else 2

    # --- what may be drawn -----------------------------------------------------------------------

    def fitted(self, layout: Layout, now: datetime, by: datetime = FOREVER) -> Layout:
        """The layout with what is carried into it, and without what the next period has of it by now."""
        feature, begun = layout.feature, layout.window.start <= now
        sizes = self.sizes(feature, layout.links, by) if begun else [0] * len(layout.links)
        kept = self._kept(layout, sizes, now)
        rooms = []
        for bucket, size in layout.rooms:
            left = size
            if bucket.kind == INCLUDED and kept and kept[0][1]:
                left = min(size, kept[0][0] - kept[0][1])
            elif bucket.window is not None and bucket.kind != INCLUDED:
                number = number_of(bucket.kind)
                left = sizes[number - 1] - (kept[number][1] if number < len(kept) else 0)
            rooms.append((bucket, max(0, left)))
        return layout._replace(rooms=tuple(rooms))

    def _kept(self, layout: Layout, sizes: Sequence[int], now: datetime) -> list[tuple[int, int]]:
        """What was included at the end, and what the next period has of that and of each generation."""
        late = self.lateness(layout, now)
        if not late or layout.ends is None:
            return []
        following = self.links(layout.feature, layout.ends)
        if not following or following[0].window != layout.window:
            return []
        link = following[0]._replace(lasts=len(following))
        handed = self.handed_on(layout.feature, link, sizes) if late > 1 else []
        window = self.window(layout.feature, layout.ends)
        used = [self.level(generation(layout.feature, n, window)) for n in range(1, len(following) + 1)]
        return [(link.included, max(one, two)) for one, two in zip_longest(handed, used, fillvalue=0)]
