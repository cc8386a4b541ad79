"""The reference: what counting comes to by the rules, worked out the plainest way.

One list of all that happened is kept, with the buckets that each thing drew from. Every number is a sum over
that list. Nothing here is shared with what is tested but the calendar (`policies.period`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from policies.period import Period
from tests.model.facts import FOREVER, INCLUDED, INCLUDED_PRIORITY, LATE, Facts, Grant, Window

AHEAD = timedelta(minutes=5)
REMEMBERED = timedelta(hours=24)
ENDLESS = 10**18


class Bucket(NamedTuple):
    """What units are drawn from: a grant, for its life, or a bucket of a period."""

    feature: str
    kind: str
    """`included`, `overage`, `excess`, or the id of a grant."""
    window: Window | None = None


class Counted(NamedTuple):
    """A cap's counter: of the tenant, or of an entity."""

    feature: str
    interval: str
    window: Period
    entity: str | None


class Event(NamedTuple):
    """Something used, as a service says it; scaled."""

    key: str
    feature: str
    quantity: int
    entity: str | None = None
    at: datetime | None = None
    """None: now."""


Draws = dict[Bucket, int]


@dataclass(frozen=True)
class Entry:
    """Something that happened, and what it drew."""

    event: Event
    at: datetime
    arrived: datetime
    plan: str
    draws: Draws
    caps: frozenset[Counted]


class Answer(NamedTuple):
    """A decision: whether, why, and the numbers before it (None where nothing is counted)."""

    allowed: bool
    reason: str
    granted: int | None = None
    usage: int | None = None
    reserved: int | None = None
    remaining: int | None = None
    overage: int | None = None
    limit: int | None = None
    caps: tuple[int, ...] = ()


class Books(NamedTuple):
    """One bucket as it is shown."""

    bucket: str
    granted: int | None
    used: int
    reserved: int
    expired: int
    carried: int
    remaining: int | None


@dataclass
class Account(Facts):
    """One tenant: what it has, what it used, what it was answered."""

    entries: list[Entry] = field(default_factory=list)
    answers: dict[str, tuple[object, datetime, object]] = field(default_factory=dict)
    """By the id of an event: what was said, when, and the answer."""

    def copy(self) -> "Account":
        """Another one that may go another way from here."""
        return replace(
            self,
            subscriptions=list(self.subscriptions),
            grants=dict(self.grants),
            entries=list(self.entries),
            answers=dict(self.answers),
        )

    # --- levels ----------------------------------------------------------------------------------

    def level(self, bucket: Bucket, by: datetime = FOREVER) -> int:
        """What was drawn from it by events up to an instant."""
        return sum(one.draws.get(bucket, 0) for one in self.entries if one.at <= by)

    def of_period(self, feature: str, kind: str, at: datetime, by: datetime = FOREVER) -> int:
        return self.level(Bucket(feature, kind, self.window(feature, at)), by)

    def capped(self, cap: Counted) -> int:
        """What a cap's window has counted."""
        return sum(one.event.quantity for one in self.entries if cap in one.caps)

    def capped_by(self, cap: Counted, by: datetime) -> int:
        """The same for the past: all events of the window up to an instant, whenever they came."""
        return sum(
            one.event.quantity
            for one in self.entries
            if one.at <= by and cap in self._caps_of(one.event, one.at, one.at)
        )

    def _caps_of(self, event: Event, at: datetime, now: datetime) -> frozenset[Counted]:
        """The caps that an event counts in: those of its plan whose windows hold now (R20)."""
        return frozenset(
            Counted(event.feature, cap.interval, window, event.entity if cap.per == "entity" else None)
            for cap, window in self.cap_windows(event.feature, at)
            if now < (window.end or FOREVER) and (cap.per == "tenant" or event.entity is not None)
        )

    # --- drawing ---------------------------------------------------------------------------------

    def _rooms(self, feature: str, at: datetime) -> Iterator[tuple[Bucket, int]]:
        """The finite buckets of an instant in the order in which they are drawn, and what is left in each."""
        terms, span = self.terms(feature, at), self.period(feature, at)
        window = self.window(feature, at)
        used = sum(self.level(Bucket(feature, kind, window)) for kind in (INCLUDED, "overage"))
        size = 0 if terms is None else ENDLESS if terms.included is None else terms.included
        places = [
            (one.place, Bucket(feature, one.id), one.quantity - self.level(Bucket(feature, one.id)))
            for one in self.eligible(feature, at)
        ]
        own = (INCLUDED_PRIORITY, span.end or FOREVER, span.start, INCLUDED)
        places.append((own, Bucket(feature, INCLUDED, window), size - used))
        yield from ((bucket, max(0, left)) for _, bucket, left in sorted(places))

    def _open_overage(self, feature: str, at: datetime) -> int:
        """The overage that is left: bought past what is granted, but not by who has ended."""
        place, terms = self.standing(at), self.terms(feature, at)
        if place is None or place.ended or terms is None:
            return 0
        if terms.up_to is None or terms.included is None:
            return ENDLESS
        included, overage = (self.of_period(feature, kind, at) for kind in (INCLUDED, "overage"))
        past = max(0, included + overage - max(terms.included, included))
        return max(0, terms.up_to - past)

    def _draw(self, event: Event, at: datetime) -> Draws:
        """By priority, then overage, and the rest is excess."""
        rest, draws, window = event.quantity, {}, self.window(event.feature, at)
        rooms = [
            *self._rooms(event.feature, at),
            (Bucket(event.feature, "overage", window), self._open_overage(event.feature, at)),
            (Bucket(event.feature, "excess", window), ENDLESS),
        ]
        for bucket, left in rooms:
            taken = min(rest, left)
            if taken:
                draws[bucket] = taken
            rest -= taken
        return draws

    def _moves_counters(self, feature: str, at: datetime, now: datetime) -> bool:
        """Only the current and the previous period are moved, and what still contains now (R20)."""
        end = self.period(feature, at).end
        return end is None or end >= self.period(feature, now).start

    def _book(self, event: Event, at: datetime, now: datetime, *, of: datetime | None = None) -> None:
        """Draws, and counts in caps; `of` is the instant whose windows are moved, now unless it is given."""
        place, of = self.standing(at), of or now
        draws = self._draw(event, at) if self._moves_counters(event.feature, at, of) else {}
        caps = self._caps_of(event, at, of)
        self.entries.append(Entry(event, at, now, place.plan if place else "", draws, caps))

    # --- acts ------------------------------------------------------------------------------------

    def record(self, event: Event, now: datetime) -> str:
        """What became of a report: it has happened, so it counts."""
        at = event.at or now
        if at > now + AHEAD or at < now - LATE:
            return "invalid"
        known = self.answers.get(event.key)
        if known is not None:
            return "duplicate" if known[0] == ("record", event) else "mismatch"
        self.answers[event.key] = (("record", event), now, None)
        self._book(event, at, now)
        return "accepted"

    def consume(self, event: Event, now: datetime) -> Answer | str:
        """Counted if all of it fits; the same again is answered the same."""
        at = event.at or now
        if abs(at - now) > AHEAD:
            return "invalid"
        known = self.answers.get(event.key)
        if known is not None and known[0] != ("consume", event):
            return "mismatch"
        if known is not None:
            return known[2] if now <= known[1] + REMEMBERED else "expired"
        answer = self.decide(event.feature, event.quantity, event.entity, at)
        if answer.allowed:
            self.answers[event.key] = (("consume", event), now, answer)
            self._book(event, at, now, of=at)  # it counts where it was decided
        return answer

    # --- answers ---------------------------------------------------------------------------------

    def check(self, feature: str, quantity: int, entity: str | None, now: datetime) -> Answer:
        return self.decide(feature, quantity, entity, now)

    def past(self, feature: str, quantity: int, entity: str | None, at: datetime) -> Answer:
        """What would have been decided at an instant, with the events up to it (R11)."""
        if at < self.since:
            return Answer(allowed=False, reason="unknown_tenant")
        return self.decide(feature, quantity, entity, at, by=at)

    def decide(
        self, feature: str, quantity: int, entity: str | None, at: datetime, by: datetime = FOREVER
    ) -> Answer:
        place, terms = self.standing(at), self.terms(feature, at)
        if place is None or terms is None:
            return Answer(allowed=False, reason="feature_not_in_plan" if place else "no_subscription")
        granted, drawn = self._granted(feature, at, by), self._drawn(feature, at, by)
        bought = 0 if place.ended else terms.up_to
        limit = None if granted is None or bought is None else granted + bought
        caps = tuple(self._cap_levels(feature, entity, at, by))
        fits = [
            level + quantity <= cap.limit
            for level, (cap, _) in zip(caps, self.cap_windows(feature, at), strict=True)
        ]
        within = granted is None or drawn + quantity <= granted
        allowed = not place.ended and all(fits) and (limit is None or drawn + quantity <= limit)
        why = "limit_reached" if all(fits) else "cap_reached"
        if place.ended:
            why = "subscription_ended"
        elif allowed:
            why = "within_limit" if within else "in_overage"
        return Answer(
            allowed,
            why,
            granted=granted,
            usage=drawn,
            reserved=0,
            remaining=None if granted is None else max(0, granted - drawn),
            overage=0 if granted is None else max(0, drawn - granted),
            limit=limit,
            caps=caps,
        )

    def left(self, feature: str, to: str, entity: str | None, now: datetime) -> int | None:
        """How much fits still: into what is `granted`, up to the `limit`, or under the tightest `cap`."""
        stands = self.check(feature, 0, entity, now)
        if to == "cap":
            limits = [cap.limit for cap, _ in self.cap_windows(feature, now)]
            return min((most - used for most, used in zip(limits, stands.caps, strict=False)), default=None)
        end = stands.granted if to == "granted" else stands.limit
        return None if end is None or stands.usage is None else end - stands.usage

    def _granted(self, feature: str, at: datetime, by: datetime) -> int | None:
        """What all eligible buckets give, none of them less than was drawn from it (R15)."""
        terms = self.terms(feature, at)
        if terms is None or terms.included is None:
            return None
        included = max(terms.included, self.of_period(feature, INCLUDED, at, by))
        return included + sum(one.quantity for one in self.eligible(feature, at))

    def _drawn(self, feature: str, at: datetime, by: datetime) -> int:
        """From the eligible buckets, and as overage; what was past every right is none of it."""
        own = sum(self.of_period(feature, kind, at, by) for kind in (INCLUDED, "overage"))
        return own + sum(self.level(Bucket(feature, one.id), by) for one in self.eligible(feature, at))

    def _cap_levels(self, feature: str, entity: str | None, at: datetime, by: datetime) -> Iterator[int]:
        for cap, window in self.cap_windows(feature, at):
            counted = Counted(feature, cap.interval, window, entity if cap.per == "entity" else None)
            if cap.per == "entity" and entity is None:
                yield 0
            else:
                yield self.capped(counted) if by == FOREVER else self.capped_by(counted, by)

    # --- books -----------------------------------------------------------------------------------

    def books(self, feature: str, now: datetime) -> list[Books]:
        """Every bucket of a feature, in the order in which they are drawn; none where nothing is given."""
        terms = self.terms(feature, now)
        if terms is None:
            return []
        span = self.period(feature, now)
        own = (INCLUDED_PRIORITY, span.end or FOREVER, span.start, INCLUDED)
        places = [(one.place, self._books_of_grant(one, now)) for one in self._shown(feature, now)]
        included, overage = self._books_of_plan(feature, now)
        places.append((own, included))
        excess = self.of_period(feature, "excess", now)
        last = Books("excess", excess, excess, 0, 0, 0, 0)
        return [*(books for _, books in sorted(places, key=lambda one: one[0])), overage, last]

    def _books_of_plan(self, feature: str, now: datetime) -> tuple[Books, Books]:
        """Included and overage; overage of before the plan grew is used of what it includes now (R15)."""
        terms = self.terms(feature, now)
        assert terms is not None
        included, overage = (self.of_period(feature, kind, now) for kind in (INCLUDED, "overage"))
        if terms.included is None:
            endless = Books(INCLUDED, None, included + overage, 0, 0, 0, None)
            return endless, Books("overage", 0, 0, 0, 0, 0, 0)
        granted = max(terms.included, included)
        used = min(granted, included + overage)
        past = included + overage - used
        return (
            Books(INCLUDED, granted, used, 0, 0, 0, granted - used),
            Books("overage", past, past, 0, 0, 0, 0),
        )

    def _books_of_grant(self, held: Grant, now: datetime) -> Books:
        """Of an ended one what was left has expired; a voided one gave what was drawn from it (R15)."""
        used = self.level(Bucket(held.feature, held.id))
        left, over = held.quantity - used, held.ends is not None and held.ends <= now
        if over and held.voided == held.ends:
            return Books(held.id, used, used, 0, 0, 0, 0)
        return Books(held.id, held.quantity, used, 0, left if over else 0, 0, 0 if over else left)

    def _shown(self, feature: str, now: datetime) -> list[Grant]:
        """Those that have begun, and once ended as long as late events may come."""
        return [
            one
            for one in self.grants.values()
            if one.feature == feature
            and one.starts <= now
            and (one.ends is None or (one.ends > now - LATE and one.ends > one.starts))
        ]

    # --- totals ----------------------------------------------------------------------------------

    def totals(self, key: Callable[[Entry], object]) -> dict[object, tuple[int, int]]:
        """What was measured, and in how many events, in groups."""
        found: dict[object, tuple[int, int]] = {}
        for one in self.entries:
            quantity, events = found.get(key(one), (0, 0))
            found[key(one)] = (quantity + one.event.quantity, events + 1)
        return found

    def counters(self) -> dict[Bucket | Counted, int]:
        """Every counter that is not 0."""
        found: dict[Bucket | Counted, int] = {}
        for one in self.entries:
            for bucket, amount in one.draws.items():
                found[bucket] = found.get(bucket, 0) + amount
            for cap in one.caps:
                found[cap] = found.get(cap, 0) + one.event.quantity
        return {counter: amount for counter, amount in found.items() if amount}
