"""All that happened to a tenant, one thing after the other, and the sums of it.

Every number of the model is a sum over this list. Nothing here is shared with what is tested but the calendar
(`policies.period`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from policies.period import Period
from tests.model.facts import FOREVER, INCLUDED, Facts, Window

ENDLESS = 10**18
OF_PLAN = (INCLUDED, "overage", "excess")


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
    seconds: int | None = None
    """For how long it is reserved, if it is not used at once."""


@dataclass(frozen=True)
class Held:
    """The counter of what is held of a bucket; of kind `all`, of all buckets by reservations of a period."""

    bucket: Bucket


@dataclass(frozen=True)
class Late:
    """The counter of what was late for a generation; of kind `late`, for the period's own buckets."""

    bucket: Bucket


Draws = dict[Bucket, int]
Counter = Bucket | Counted | Held | Late


class Layout(NamedTuple):
    """What may be drawn at an instant: the finite buckets in their order with their sizes, then overage."""

    feature: str
    window: Window
    rooms: tuple[tuple[Bucket, int], ...]
    up_to: int
    ends: datetime | None = None
    """Of the period."""
    rolls_over: bool = False
    links: tuple = ()
    """The periods that left something to this one, the last one first."""

    def last(self, kind: str) -> Bucket:
        """Overage or excess of the period."""
        return Bucket(self.feature, kind, self.window)


@dataclass(frozen=True)
class Entry:
    """Something that happened, and by how much it changed what is used of each bucket."""

    event: Event
    at: datetime
    arrived: datetime
    plan: str
    measured: int
    """By how much it changed what was measured."""
    draws: Draws
    caps: frozenset[Counted]
    window: Window | None
    """None: it moved no bucket, since it came for a period long past."""
    events: int = 1
    """By how much it changed how many events there are."""
    late: int = 0
    """For what its period leaves: 1 after its end, 2 after its seal."""
    held: Draws = field(default_factory=dict)
    """Of the end of a reservation what that had held until then."""


@dataclass(frozen=True)
class Hold:
    """Units that are held for a use to come, with all that its end needs."""

    event: Event
    at: datetime
    expires: datetime
    plan: str
    draws: Draws
    caps: frozenset[Counted]
    layout: Layout


@dataclass
class Ledger(Facts):
    """What happened, and what is held."""

    entries: list[Entry] = field(default_factory=list)
    holds: dict[str, Hold] = field(default_factory=dict)
    told: list[tuple[str, dict[str, int]]] = field(default_factory=list)
    """Of each act the id of its event, and what it drew (or held) of each kind of bucket."""

    # --- levels ----------------------------------------------------------------------------------

    def used(self, bucket: Bucket, by: datetime = FOREVER) -> int:
        """By events up to an instant."""
        return sum(one.draws.get(bucket, 0) for one in self.entries if one.at <= by)

    def held(self, bucket: Bucket) -> int:
        return sum(one.draws.get(bucket, 0) for one in self.holds.values())

    def level(self, bucket: Bucket, by: datetime = FOREVER) -> int:
        """What is used and what is held; the past knows no holds, since nothing was used of them yet."""
        return self.used(bucket, by) + (self.held(bucket) if by == FOREVER else 0)

    def of_period(self, feature: str, kind: str, at: datetime, by: datetime = FOREVER) -> int:
        return self.level(Bucket(feature, kind, self.window(feature, at)), by)

    def reserved(self, feature: str, at: datetime) -> int:
        """All that is held by reservations of a period."""
        window = self.window(feature, at)
        ours = [one for one in self.holds.values() if one.layout[:2] == (feature, window)]
        return sum(sum(one.draws.values()) for one in ours)

    def capped(self, cap: Counted) -> int:
        """What a cap's window has counted, what is held included."""
        used = sum(one.measured for one in self.entries if cap in one.caps)
        return used + sum(one.event.quantity for one in self.holds.values() if cap in one.caps)

    def capped_by(self, cap: Counted, by: datetime) -> int:
        """The same for the past: all events of the window up to an instant, whenever they came."""
        return sum(
            one.measured
            for one in self.entries
            if one.at <= by and cap in self.caps_of(one.event, one.at, one.at)
        )

    def caps_of(self, event: Event, at: datetime, now: datetime) -> frozenset[Counted]:
        """The caps that an event counts in: those of its plan whose windows hold now (R20)."""
        return frozenset(
            Counted(event.feature, cap.interval, window, event.entity if cap.per == "entity" else None)
            for cap, window in self.cap_windows(event.feature, at)
            if now < (window.end or FOREVER) and (cap.per == "tenant" or event.entity is not None)
        )

    # --- drawing and giving back -----------------------------------------------------------------

    def draw(self, layout: Layout, quantity: int) -> Draws:
        """By priority, then overage, and the rest is excess."""
        included, overage = (self.level(layout.last(kind)) for kind in (INCLUDED, "overage"))
        rest, drawn = quantity, {}
        open_overage = layout.up_to
        for bucket, size in layout.rooms:
            left = size - self.level(bucket)
            if bucket.kind == INCLUDED:
                left -= (
                    overage  # what was bought before the plan gave more is used of what it gives now (R15)
                )
                open_overage -= max(0, included + overage - max(size, included))
            drawn[bucket] = min(rest, max(0, left))
            rest -= drawn[bucket]
        drawn[layout.last("overage")] = min(rest, max(0, open_overage))
        drawn[layout.last("excess")] = rest - drawn[layout.last("overage")]
        return _some(drawn)

    def give_back(self, layout: Layout, own: Draws, quantity: int, *, held: bool = False) -> Draws:
        """Units return (R18): first excess and overage, then their own buckets, then the others, last first.

        With `held` they were held till now, and count as used while they return.
        """
        had = {bucket: self.used(bucket) + (own.get(bucket, 0) if held else 0) for bucket, _ in layout.rooms}
        for kind in ("excess", "overage"):
            last = layout.last(kind)
            had[last] = self.used(last) + (own.get(last, 0) if held else 0)
        backward = [bucket for bucket, _ in reversed(layout.rooms)]
        turns = [(layout.last("excess"), ENDLESS), (layout.last("overage"), ENDLESS)]
        turns += [(bucket, own.get(bucket, 0)) for bucket in backward]
        turns += [(bucket, ENDLESS) for bucket in backward]
        rest, back = quantity, dict.fromkeys(had, 0)
        for bucket, most in turns:
            amount = max(0, min(rest, most + back[bucket], had[bucket] + back[bucket]))
            back[bucket] -= amount
            rest -= amount
        return _some(back)

    # --- totals ----------------------------------------------------------------------------------

    def totals(self, key: Callable[[Entry], object]) -> dict[object, tuple[int, int]]:
        """What was measured, and in how many events, in groups; those of nothing are left out."""
        found: dict[object, tuple[int, int]] = {}
        for one in self.entries:
            quantity, events = found.get(key(one), (0, 0))
            found[key(one)] = (quantity + one.measured, events + one.events)
        return {name: sums for name, sums in found.items() if any(sums)}

    def counters(self) -> dict[Counter, int]:
        """Every counter that was ever moved; those of buckets and caps have what is held, too."""
        found: dict[Counter, int] = {}

        def count(counter: Counter, amount: int) -> None:
            found[counter] = found.get(counter, 0) + amount

        for one in self.holds.values():
            for bucket, amount in one.draws.items():
                count(Held(bucket), amount)
                count(Held(one.layout.last("all")), amount)
        for one in self.entries:
            for bucket in one.held:  # what came back may have been counted and is not any more
                last = Bucket(bucket.feature, "all", one.window)
                found |= {counter: found.get(counter, 0) for counter in (bucket, Held(bucket), Held(last))}
            for bucket in {*one.draws, *one.held}:
                of_plan = bucket.kind in OF_PLAN
                if (
                    bucket.kind == "excess"
                    or bucket.window is None
                    or one.late < 1 + (bucket.kind != "overage")
                ):
                    continue
                counter = Late(Bucket(bucket.feature, "late", bucket.window) if of_plan else bucket)
                count(counter, one.draws.get(bucket, 0) - one.held.get(bucket, 0))
        for one in (*self.entries, *self.holds.values()):
            measured = one.measured if isinstance(one, Entry) else one.event.quantity
            for counter, amount in (*one.draws.items(), *((cap, measured) for cap in one.caps)):
                count(counter, amount)
        return found

    def tell(self, key: str, draws: Draws) -> None:
        self.told.append((key, {bucket.kind: amount for bucket, amount in draws.items()}))


def plus(first: Draws, second: Draws) -> Draws:
    """Both changes together."""
    return _some({bucket: first.get(bucket, 0) + second.get(bucket, 0) for bucket in (*first, *second)})


def _some(amounts: dict) -> dict:
    return {name: amount for name, amount in amounts.items() if amount}
