"""The reference: what counting comes to by the rules, worked out the plainest way."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from policies import period
from tests.model.carried import PRIORITY, Carried, generation
from tests.model.facts import FOREVER, INCLUDED, INCLUDED_PRIORITY, LATE
from tests.model.ledger import ENDLESS, Bucket, Counted, Draws, Entry, Event, Hold, Layout, plus

AHEAD = timedelta(minutes=5)
REMEMBERED = timedelta(hours=24)
KEPT = timedelta(days=40)
"""How long the counters of a window are kept past its end."""


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


class Ended(NamedTuple):
    """What became of a reservation: its state, and what of it was used."""

    state: str
    used: int | None = None


@dataclass
class Account(Carried):
    """One tenant: what it has, what it used, what it was answered."""

    answers: dict[str, tuple[object, datetime, object]] = field(default_factory=dict)
    """By the id of an event: what was said, when, and the answer."""
    ended: dict[str, tuple[Ended, Hold]] = field(default_factory=dict)
    """Reservations that have ended."""
    voided: set[str] = field(default_factory=set)

    def copy(self) -> "Account":
        """Another one that may go another way from here."""
        return replace(
            self,
            subscriptions=list(self.subscriptions),
            grants=dict(self.grants),
            overrides=list(self.overrides),
            entries=list(self.entries),
            holds=dict(self.holds),
            told=list(self.told),
            answers=dict(self.answers),
            ended=dict(self.ended),
            voided=set(self.voided),
        )

    # --- what may be drawn -----------------------------------------------------------------------

    def layout(self, feature: str, at: datetime) -> Layout:
        """The buckets of an instant by what is known now (R13); how much is carried is still to be fitted."""
        place, terms, span = self.standing(at), self.terms(feature, at), self.period(feature, at)
        window = self.window(feature, at)
        size = 0 if terms is None else ENDLESS if terms.included is None else terms.included
        own = (INCLUDED_PRIORITY, span.end or FOREVER, span.start, INCLUDED)
        rooms = [(own, Bucket(feature, INCLUDED, window), size)]
        rooms += [(one.place, Bucket(feature, one.id), one.quantity) for one in self.eligible(feature, at)]
        links = self.links(feature, at)
        for number, link in enumerate(links, start=1):
            bucket = generation(feature, number, window)
            rooms.append(((PRIORITY, link.until, span.start, bucket.kind), bucket, 0))
        bought = 0 if place is None or place.ended or place.trial or terms is None else terms.up_to
        return Layout(
            feature,
            window,
            tuple((bucket, most) for _, bucket, most in sorted(rooms)),
            ENDLESS if bought is None else bought,
            span.end,
            self.lasts(feature, at) > 0,
            tuple(links),
        )

    def _moves_counters(self, feature: str, at: datetime, now: datetime) -> bool:
        """Only the current and the previous period are moved, and what still contains now (R20)."""
        end = self.period(feature, at).end
        return end is None or end >= self.period(feature, now).start

    # --- using -----------------------------------------------------------------------------------

    def record(self, event: Event, now: datetime) -> str:
        """What became of a report: it has happened, so it counts."""
        at = event.at or now
        if at > now + AHEAD or at < now - LATE:
            return "invalid"
        known = self.answers.get(event.key)
        if known is not None:
            return "duplicate" if known[0] == ("record", event) else "mismatch"
        self.answers[event.key] = (("record", event), now, None)
        self._book(event, at, now, of=now)
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
        answer = self._fitting(event, at, now)
        if answer.allowed:
            self.answers[event.key] = (("consume", event), now, answer)
            if event.seconds is None:
                self._book(event, at, now, of=at)  # it counts where it was decided
            else:
                self._hold(event, at, now)
        return answer

    def _fitting(self, event: Event, at: datetime, now: datetime) -> Answer:
        """The decision; before anything that could fit is refused, what has expired comes back (R31)."""
        answer = self.decide(event.feature, event.quantity, event.entity, at, now)
        if answer.reason in ("limit_reached", "cap_reached") and self._could_fit(event, at, answer):
            self.expire(now)
            answer = self.decide(event.feature, event.quantity, event.entity, at, now)
        return answer

    def _could_fit(self, event: Event, at: datetime, answer: Answer) -> bool:
        """A use without an entity never fits under a cap per entity that is smaller."""
        caps = [cap for cap, _ in self.cap_windows(event.feature, at)]
        unnamed = [cap for cap in caps if cap.per == "entity" and event.entity is None]
        return answer.limit is None or all(event.quantity <= cap.limit for cap in unnamed)

    def _book(self, event: Event, at: datetime, now: datetime, *, of: datetime) -> None:
        """Draws, and counts in caps; `of` is the instant whose windows are moved."""
        moves = self._moves_counters(event.feature, at, of)
        layout = self.layout(event.feature, at)
        draws = self.draw(self.fitted(layout, now), event.quantity) if moves else {}
        self._put(
            event, at, now, self.plan_at(at), draws,
            caps=self.caps_of(event, at, of), window=layout.window if moves else None,
            late=self.lateness(layout, now) if moves else 0,
        )  # fmt: skip

    def _put(
        self, event: Event, at: datetime, now: datetime, plan: str, draws: Draws, *, caps, window, **more
    ) -> None:
        said = {"measured": event.quantity} | more
        self.entries.append(Entry(event, at, now, plan, draws=draws, caps=caps, window=window, **said))
        self.tell(event.key, draws)

    # --- holding ---------------------------------------------------------------------------------

    def _hold(self, event: Event, at: datetime, now: datetime) -> None:
        layout = self.layout(event.feature, at)
        layout = layout._replace(rolls_over=True)  # by the plan of its end, which nobody knows yet
        assert event.seconds is not None
        self.holds[event.key] = Hold(
            event, at, now + timedelta(seconds=event.seconds), self.plan_at(at),
            self.draw(self.fitted(layout, now), event.quantity), self.caps_of(event, at, at), layout,
        )  # fmt: skip
        self.tell(event.key, self.holds[event.key].draws)

    def settle(self, key: str, used: int, now: datetime) -> Ended | str:
        """What was held comes back, and what was really used is drawn; once it has expired it is recorded."""
        if key in self.holds:
            self._end(key, now, Ended("settled", used))
            return Ended("settled", used)
        ended, hold = self.ended[key]
        if ended.state == "settled":
            return ended if ended.used == used else "conflict"
        if ended.state == "released" or hold.at < now - LATE:
            return "conflict"
        caps = frozenset(cap for cap in hold.caps if now < (cap.window.end or FOREVER))
        event, layout = hold.event._replace(quantity=used), self._settled_in(hold)
        self._put(
            event, hold.at, now, hold.plan, self.draw(self.fitted(layout, now), used),
            caps=caps, window=layout.window, late=self.lateness(layout, now),
        )  # fmt: skip
        self.ended[key] = (Ended("settled", used), hold)
        return Ended("settled", used)

    def release(self, key: str, now: datetime) -> Ended | str:
        if key in self.holds:
            self._end(key, now, Ended("released"))
        ended, _ = self.ended[key]
        return "conflict" if ended.state == "settled" else ended

    def expire(self, now: datetime) -> None:
        """What nobody settled in time comes back, the first that was due first."""
        due = [(one.expires, key) for key, one in self.holds.items() if one.expires <= now]
        for _, key in sorted(due):
            self._end(key, now, Ended("expired"))

    def _end(self, key: str, now: datetime, ended: Ended) -> None:
        """As if it had never been held; then a settle draws (R18, R31)."""
        hold = self.holds.pop(key)
        total, settled = sum(hold.draws.values()), int(ended.state == "settled")
        layout = self._settled_in(hold) if settled else hold.layout
        change = plus(hold.draws, self.give_back(layout, hold.draws, total, held=True))
        event = hold.event._replace(quantity=ended.used or 0)
        self._put(
            event, hold.at, now, hold.plan, change, caps=hold.caps, window=layout.window,
            events=settled, late=self.lateness(layout, now), held=hold.draws,
        )  # fmt: skip
        if ended.used:
            drawn = self.draw(self.fitted(layout, now), ended.used)
            self.entries[-1] = replace(self.entries[-1], draws=plus(change, drawn))
            self.told.pop()
            self.tell(key, plus(change, drawn))
        self.ended[key] = (ended, hold)

    def _settled_in(self, hold: Hold) -> Layout:
        """What the reserve knew, but for when its period has ended and whether its rest goes on."""
        known = self.layout(hold.event.feature, hold.at)
        return hold.layout._replace(ends=known.ends, rolls_over=known.rolls_over)

    # --- correcting ------------------------------------------------------------------------------

    def revise(self, key: str, quantity: int | None, now: datetime) -> str:
        """An event gets another quantity, or with None counts nothing any more; no limit is asked (R32)."""
        booked = [one for one in self.entries if one.event.key == key]
        events = [one for one in booked if one.events > 0]
        if not events and key not in self.answers:
            return "unknown"
        if not events or key in self.voided:  # what is held or was given up is no event
            return "conflict"
        first, stands = events[0], sum(one.measured for one in booked)
        growth = (quantity or 0) - stands
        if quantity is None:
            self.voided.add(key)
        elif growth == 0:
            return "same"
        own: Draws = {}
        for one in booked:
            own = plus(own, one.draws)
        layout = self._layout_of(first, own, now)
        draws: Draws = {}
        if layout is not None and growth < 0:
            known = {bucket for bucket, _ in layout.rooms} | {layout.last("overage"), layout.last("excess")}
            counted = sum(amount for bucket, amount in own.items() if bucket in known)
            draws = self.give_back(layout, own, max(0, min(-growth, counted)))
        elif layout is not None:
            draws = self.draw(self.fitted(layout, now), growth)
        same_plan = self.plan_at(first.at) == first.plan
        caps = self.caps_of(first.event, first.at, now) if same_plan else frozenset()
        self._put(
            first.event, first.at, now, first.plan, draws,
            caps=caps, window=first.window, measured=growth, events=-int(quantity is None),
            late=0 if layout is None else self.lateness(layout, now),
        )  # fmt: skip
        return "revised"

    def _layout_of(self, first: Entry, own: Draws, now: datetime) -> Layout | None:
        """Where an event of before is counted: in its window, as long as that is kept; None: nowhere."""
        window, feature = first.window, first.event.feature
        if window is None:
            return None
        longest, lasts = period.LONGEST.get(window.interval), self.lasts(feature, first.at)
        if window.interval == "year":
            lasts = max(lasts, 1)
        if longest is not None and window.start + (1 + lasts) * longest + KEPT <= now:
            return None
        layout = self.layout(feature, first.at)
        if layout.window != window:  # its periods lie otherwise by now: nothing more is given there
            layout = Layout(feature, window, ((Bucket(feature, INCLUDED, window), 0),), 0)
        known = {bucket for bucket, _ in layout.rooms}
        over = [bucket for bucket in own if bucket.window is None and bucket not in known]
        closed = [(bucket, 0) for bucket in over if self._is_kept(bucket, now)]
        return layout._replace(rooms=(*closed, *layout.rooms))

    def _is_kept(self, grant: Bucket, now: datetime) -> bool:
        expires = self.grants[grant.kind].expires
        return expires is None or now < expires + KEPT

    # --- answers ---------------------------------------------------------------------------------

    def check(self, feature: str, quantity: int, entity: str | None, now: datetime) -> Answer:
        return self.decide(feature, quantity, entity, now, now)

    def past(self, feature: str, quantity: int, entity: str | None, at: datetime) -> Answer:
        """What would have been decided at an instant, with the events up to it (R11)."""
        if at < self.since:
            return Answer(allowed=False, reason="unknown_tenant")
        return self.decide(feature, quantity, entity, at, at, by=at)

    def decide(
        self,
        feature: str,
        quantity: int,
        entity: str | None,
        at: datetime,
        now: datetime,
        *,
        by: datetime = FOREVER,
    ) -> Answer:
        place, terms = self.standing(at), self.terms(feature, at)
        if place is None or terms is None:
            return Answer(allowed=False, reason="feature_not_in_plan" if place else "no_subscription")
        layout = self.fitted(self.layout(feature, at), now, by)
        drawn = self.level(layout.last("overage"), by) + sum(self.level(one, by) for one, _ in layout.rooms)
        granted = None if terms.included is None else self._granted(layout, by)
        bought = 0 if place.ended or place.trial else terms.up_to
        limit = None if granted is None or bought is None else granted + bought
        caps = tuple(self._cap_levels(feature, entity, at, by))
        fits = [
            level + quantity <= cap.limit
            for level, (cap, _) in zip(caps, self.cap_windows(feature, at), strict=True)
        ]
        within = granted is None or drawn + quantity <= granted
        allowed = not place.ended and all(fits) and (limit is None or drawn + quantity <= limit)
        sold = self.plans[place.plan].get(feature)  # a denial names what would be bought: not in a trial
        unsold = place.trial and sold is not None and sold.up_to != 0
        why = "limit_reached" if all(fits) or unsold else "cap_reached"
        if place.ended:
            why = "trial_ended" if place.over_with_trial else "subscription_ended"
        elif allowed:
            why = "within_limit" if within else "in_overage"
        reserved = self.reserved(feature, at) if by == FOREVER else 0
        return Answer(
            allowed,
            why,
            granted=granted,
            usage=drawn - reserved,
            reserved=reserved,
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
        if end is None or stands.usage is None or stands.reserved is None:
            return None
        return end - stands.usage - stands.reserved

    def _granted(self, layout: Layout, by: datetime) -> int:
        """What all eligible buckets give, none of them less than was drawn from it (R15)."""
        return sum(max(size, self.level(bucket, by)) for bucket, size in layout.rooms)

    def _cap_levels(self, feature: str, entity: str | None, at: datetime, by: datetime) -> Iterator[int]:
        for cap, window in self.cap_windows(feature, at):
            counted = Counted(feature, cap.interval, window, entity if cap.per == "entity" else None)
            if cap.per == "entity" and entity is None:
                yield 0
            else:
                yield self.capped(counted) if by == FOREVER else self.capped_by(counted, by)
