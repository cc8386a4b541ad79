"""What a tenant has, over time: its subscriptions, its grants, and what follows from them at an instant."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from policies import period
from policies.period import Period
from tests.model.terms import TRIAL_DAYS, Cap, Plans, Terms, offered, plan_of, versions

FOREVER = datetime.max.replace(tzinfo=UTC)
INCLUDED = "included"
INCLUDED_PRIORITY = 100
LATE = timedelta(days=35)
"""How late an event may come."""
TRIAL = timedelta(days=TRIAL_DAYS)


class RefusedError(Exception):
    """The act is not possible; nothing has changed."""


@dataclass(frozen=True)
class Grant:
    """Extra units; `ends` is its expiry, or the instant at which it was voided."""

    id: str
    feature: str
    quantity: int
    priority: int
    starts: datetime
    expires: datetime | None
    voided: datetime | None = None

    @property
    def ends(self) -> datetime | None:
        return min((at for at in (self.expires, self.voided) if at is not None), default=None)

    def holds(self, at: datetime) -> bool:
        return self.starts <= at and (self.ends is None or at < self.ends)

    @property
    def place(self) -> tuple[int, datetime, datetime, str]:
        """Where it is drawn (R13)."""
        return self.priority, self.ends or FOREVER, self.starts, self.id


class Stretch(NamedTuple):
    """A plan version for a half-open span."""

    start: datetime
    end: datetime
    plan: str


class Override(NamedTuple):
    """What is replaced of the terms of a feature for a half-open span; None: the plan's holds."""

    feature: str
    included: int | None
    up_to: int | None
    starts: datetime
    ends: datetime


@dataclass(frozen=True)
class Subscription:
    """A tenant on one plan after the other; the last one ends with it, or is without end."""

    anchor: datetime
    stretches: tuple[Stretch, ...]
    trial_ends: datetime | None = None

    @property
    def begins(self) -> datetime:
        return self.stretches[0].start

    @property
    def ends(self) -> datetime:
        return self.stretches[-1].end

    def until(self, at: datetime) -> tuple[Stretch, ...]:
        """What has begun before an instant, ended there."""
        kept = [one for one in self.stretches if one.start < at]
        return (*kept[:-1], kept[-1]._replace(end=min(at, kept[-1].end, self.ends))) if kept else ()


class Standing(NamedTuple):
    """Where a tenant stands: on a plan version, and whether only as one whose subscription is over."""

    subscription: Subscription
    plan: str
    ended: bool
    trial: bool = False
    """Then nothing is bought."""

    @property
    def over_with_trial(self) -> bool:
        """Has it ended with its trial, never paid for?"""
        return self.ended and self.subscription.ends == self.subscription.trial_ends


class Window(NamedTuple):
    """What usage adds up in: an interval from an instant on."""

    interval: str
    start: datetime


@dataclass
class Facts:
    """What is known of a tenant."""

    fallback: str | None
    since: datetime
    """When it was made known."""
    plans: Plans = field(default_factory=versions)
    """All versions."""
    offered: dict[str, str] = field(default_factory=lambda: offered(0))
    """The version that each plan is sold in."""
    subscriptions: list[Subscription] = field(default_factory=list)
    grants: dict[str, Grant] = field(default_factory=dict)
    overrides: list[Override] = field(default_factory=list)

    # --- subscriptions ---------------------------------------------------------------------------

    def start(self, plan: str, now: datetime, *, trial: bool = False) -> None:
        if self.subscriptions and now < self.subscriptions[-1].ends:
            raise RefusedError
        stretch, trial_ends = Stretch(now, FOREVER, self.offered[plan]), now + TRIAL if trial else None
        self.subscriptions.append(Subscription(now, (stretch,), trial_ends))

    def change(self, plan: str, *, at_renewal: bool, now: datetime) -> None:
        """On another plan from now or from the renewal on; what was scheduled is replaced, an end stays."""
        held, version = self._running(now), self.offered[plan]
        at = self._renewal(held, now) if at_renewal else now
        if at >= held.ends:
            raise RefusedError
        end = held.ends
        begun = replace(held, stretches=tuple(one for one in held.stretches if one.start <= now))
        if begun.stretches[-1].plan == version:
            self._replace(held, (*begun.stretches[:-1], begun.stretches[-1]._replace(end=end)))
        else:
            last = begun.stretches[-1]._replace(end=end)
            kept = replace(begun, stretches=(*begun.stretches[:-1], last)).until(at)
            self._replace(held, (*kept, Stretch(at, end, version)))

    def publish(self, edition: int, plan: str, *, at_renewal: bool, now: datetime) -> None:
        """Other versions are sold; who is on this plan, or will be, moves to its new one. All else stays."""
        self.offered = offered(edition)
        try:
            held = self._running(now)
        except RefusedError:
            return
        at, version = self._renewal(held, now) if at_renewal else now, self.offered[plan]
        moved: list[Stretch] = []
        for one in held.stretches:
            if plan_of(one.plan) != plan or one.end <= at:
                moved.append(one)
                continue
            if one.start < at:
                moved.append(one._replace(end=at))
            moved.append(Stretch(max(one.start, at), one.end, version))
        self._replace(held, tuple(moved))

    def cancel(self, *, at_renewal: bool, now: datetime) -> None:
        held, at = self._running(now), now
        if at_renewal and held.trial_ends is not None and now < held.trial_ends:
            at = held.trial_ends
        elif at_renewal:
            at = self._renewal(held, now)
        if at < held.ends:
            self._replace(held, held.until(at))

    def resume(self, now: datetime) -> None:
        held = self._running(now)
        if held.ends == FOREVER:
            raise RefusedError
        self._replace(held, (*held.stretches[:-1], held.stretches[-1]._replace(end=FOREVER)))

    def _running(self, now: datetime) -> Subscription:
        if not self.subscriptions or now >= self.subscriptions[-1].ends:
            raise RefusedError
        return self.subscriptions[-1]

    def _renewal(self, held: Subscription, now: datetime) -> datetime:
        month = period.containing(now, interval="month", anchor="subscription", anchored_at=held.anchor)
        return month.end or FOREVER

    def _replace(self, held: Subscription, stretches: tuple[Stretch, ...]) -> None:
        self.subscriptions.pop()
        if stretches:  # else it never began
            self.subscriptions.append(replace(held, stretches=stretches))

    # --- grants ----------------------------------------------------------------------------------

    def give(self, grant: Grant) -> None:
        self.grants[grant.id] = grant

    def void(self, grant_id: str, now: datetime) -> None:
        held = self.grants[grant_id]
        if held.voided is not None:
            return
        if held.expires is not None and held.expires <= now:
            raise RefusedError
        self.grants[grant_id] = replace(held, voided=now)

    # --- overrides -------------------------------------------------------------------------------

    def override(self, over: Override) -> None:
        """From now on, in the place of what was overridden of the feature before."""
        self.lift(over.feature, over.starts)
        self.overrides.append(over)

    def lift(self, feature: str, now: datetime) -> None:
        """The terms of the plan hold again; nothing happens where they do."""
        held = self.override_of(feature, now)
        if held is not None:
            self.overrides[self.overrides.index(held)] = held._replace(ends=now)

    def override_of(self, feature: str, at: datetime) -> Override | None:
        """What is overridden of a feature at an instant."""
        holding = [one for one in self.overrides if one.feature == feature and one.starts <= at < one.ends]
        return holding[0] if holding else None

    def sells_overage(self, feature: str, now: datetime) -> bool:
        """Has the plan of a running subscription a bound on overage that could be replaced?"""
        try:
            self._running(now)
        except RefusedError:
            return False
        place = self.standing(now)
        said = self.plans[place.plan].get(feature) if place else None
        return said is not None and said.up_to != 0

    # --- what follows ----------------------------------------------------------------------------

    def standing(self, at: datetime) -> Standing | None:
        """On the subscription that has begun last: on its plan, or when it is over on the fallback plan."""
        begun = [one for one in self.subscriptions if one.begins <= at]
        if not begun:
            return None
        held = begun[-1]
        for one in held.stretches:
            if one.start <= at < one.end:
                trial = held.trial_ends is not None and at < held.trial_ends
                return Standing(held, one.plan, ended=False, trial=trial)
        if self.fallback is not None:
            return Standing(held, self.offered[self.fallback], ended=False)
        return Standing(held, held.stretches[-1].plan, ended=True)

    def terms(self, feature: str, at: datetime) -> Terms | None:
        """What the plan gives, or a month of nothing where only a grant does."""
        place = self.standing(at)
        if place is None:
            return None
        said = self.given(place.plan, feature, at)
        granted = any(one.feature == feature and one.holds(at) for one in self.grants.values())
        return Terms(0, "month") if said is None and granted else said

    def given(self, plan: str, feature: str, at: datetime) -> Terms | None:
        """What a plan version gives with what is overridden: of overage only the bound, where it is sold."""
        said, over = self.plans[plan].get(feature), self.override_of(feature, at)
        if over is not None and over.included is not None:
            said = (said or Terms(0, "month"))._replace(included=over.included)
        if said is not None and over is not None and over.up_to is not None and said.up_to != 0:
            said = said._replace(up_to=over.up_to)
        return said

    def period(self, feature: str, at: datetime) -> Period:
        """Where usage of an instant adds up; where another interval holds before or after, cut (R16)."""
        place, terms = self.standing(at), self.terms(feature, at)
        if place is None or terms is None:
            return period.containing(at, interval="month", anchor="calendar", anchored_at=at)
        anchored_at = place.subscription.anchor
        whole = period.containing(at, interval=terms.interval, anchor=terms.anchor, anchored_at=anchored_at)
        start, end = whole.start, whole.end or FOREVER
        for stretch in self._stretches(place.subscription):
            other = self.plans[stretch.plan].get(feature)
            if other is None or other[1:3] == terms[1:3]:  # interval and anchor
                continue
            if stretch.end <= at:
                start = max(start, stretch.end)
            elif stretch.start > at:
                end = min(end, stretch.start)
        return Period(start, None if end == FOREVER else end)

    def _stretches(self, held: Subscription) -> Iterator[Stretch]:
        yield from held.stretches
        if self.fallback is not None and held.ends < FOREVER:
            yield Stretch(held.ends, FOREVER, self.offered[self.fallback])

    def window(self, feature: str, at: datetime) -> Window:
        terms = self.terms(feature, at)
        return Window(terms.interval if terms else "month", self.period(feature, at).start)

    def plan_at(self, at: datetime) -> str:
        """The plan as events name it; empty without one."""
        place = self.standing(at)
        return plan_of(place.plan) if place else ""

    def cap_windows(self, feature: str, at: datetime) -> list[tuple[Cap, Period]]:
        """The caps of the plan with the calendar windows that hold an instant."""
        terms = self.terms(feature, at)
        return [
            (cap, period.containing(at, interval=cap.interval, anchor="calendar", anchored_at=at))
            for cap in (terms.caps if terms else ())
        ]

    def eligible(self, feature: str, at: datetime) -> list[Grant]:
        """The grants that an event of an instant may draw from; nothing is drawn where nothing is given."""
        if self.terms(feature, at) is None:
            return []
        return [one for one in self.grants.values() if one.feature == feature and one.holds(at)]

    def edges(self, feature: str, now: datetime) -> list[datetime]:
        """The instants ahead at which something changes by itself."""
        found = [self.period(feature, now).end]
        found += [window.end for _, window in self.cap_windows(feature, now)]
        found += [at for one in self.grants.values() for at in (one.starts, one.ends)]
        found += [at for one in self.overrides for at in (one.starts, one.ends)]
        found += [one.trial_ends for one in self.subscriptions]
        found += [at for one in self.subscriptions for stretch in one.stretches for at in stretch[:2]]
        return sorted({at for at in found if at is not None and now < at < FOREVER})
