"""Drives the real thing and the model side by side, and looks after each act whether they still agree."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import permutations

from store import keyspace
from tests.model import books, facts
from tests.model import real as adapter
from tests.model.account import AHEAD, Account
from tests.model.acts import (
    Again,
    Ask,
    Cancel,
    Change,
    Edge,
    Expire,
    Fill,
    Flush,
    Give,
    Lift,
    Override,
    Publish,
    Release,
    Resume,
    Revise,
    Settle,
    Several,
    Start,
    Together,
    Use,
    Void,
    Wait,
    Wipe,
)
from tests.model.carried import number_of
from tests.model.facts import FOREVER, LATE, Grant, RefusedError
from tests.model.ledger import OF_PLAN, Counted, Counter, Entry, Event, Held, Late
from tests.model.real import Real
from tests.model.terms import DECIMALS

MARKED_DAYS = 2
"""How many days back Redis looks for an id; past that, and after a wipe, the flush finds what is known."""

LASTS = (60, 4_000, 80_000)
"""Seconds for which units are held; each time a little longer, so that no two expire at one instant."""

Outcome = object


class SideBySide:
    """One tenant, twice."""

    def __init__(self, real: Real, account: Account) -> None:
        self.real, self.account = real, account
        self.sent: list[tuple[str, Event]] = []
        self._marked_since = self.now
        self._looked_at = 0
        self._events = 0

    @property
    def now(self) -> datetime:
        return self.real.clock.now()

    async def perform(self, act: object) -> None:
        """The act on both sides; then everything that can be seen is compared.

        A right changes a second after what was before: what is taken back in its own instant has never been.
        """
        if isinstance(act, Give | Void | Override | Lift | Change | Publish | Cancel | Resume | Start):
            self.real.clock.at += timedelta(seconds=1)
        await getattr(self, f"_{type(act).__name__.lower()}")(act)
        await self._agree()

    # --- usage -----------------------------------------------------------------------------------

    async def _use(self, act: Use) -> None:
        await self._send(act.how, self._event(act))

    async def _fill(self, act: Fill) -> None:
        left = self.account.left(act.feature, act.to, act.entity, self.now)
        if left is not None:
            await self._use(Use(act.how, act.feature, max(0, left + act.beside), act.entity, None))

    async def _several(self, act: Several) -> None:
        events = [self._event(use) for use in act.uses]
        self.sent += [("record", one) for one in events]
        expected = [self.account.record(one, self.now) for one in events]
        _same(await self.real.record(*events), expected)

    async def _together(self, act: Together) -> None:
        """Several at once come to what some order of them comes to, each bucket included."""
        calls = [self._call(one) for one in act.acts]
        found = await asyncio.gather(*(real() for real, _ in calls))
        lines = await self.real.journaled()
        for order in permutations(range(len(calls))):
            other = self.account.copy()
            told = {place: calls[place][1](other) for place in order}
            if [told[place] for place in range(len(calls))] == found and other.told[
                self._looked_at :
            ] == lines:
                self.account, self._looked_at = other, len(other.told)
                return
        raise AssertionError(f"no order of {act.acts} gives {found} and {lines}")

    def _call(self, act: object) -> tuple[Callable[[], object], Callable[[Account], Outcome]]:
        """What is done to the real thing, and what to a model."""
        now = self.now
        if isinstance(act, Expire):
            return self.real.expire, lambda account: account.expire(now)
        if isinstance(act, Settle | Release):
            return self._ending(act)
        if isinstance(act, Ask):
            asked = (act.feature, act.quantity, act.entity)
            return lambda: self.real.check(*asked), lambda account: account.check(*asked, now)
        event = self._event(act)
        self.sent.append((act.how, event))
        if act.how != "record":
            return lambda: self.real.consume(event), lambda account: account.consume(event, now)
        return lambda: self._recorded(event), lambda account: account.record(event, now)

    async def _recorded(self, event: Event) -> str:
        (status,) = await self.real.record(event)
        return status

    def _event(self, use: Use) -> Event:
        at = None if use.late is None or use.how == "reserve" else self.now - use.late
        quantity = use.quantity if use.how == "record" else max(1, use.quantity)
        self._events += 1
        seconds = LASTS[self._events % len(LASTS)] + self._events if use.how == "reserve" else None
        return Event(f"e{self._events}", use.feature, quantity, use.entity, at, seconds)

    async def _send(self, how: str, event: Event) -> None:
        self.sent.append((how, event))
        if how != "record":
            _same(await self.real.consume(event), self.account.consume(event, self.now))
        else:
            _same(await self._recorded(event), self.account.record(event, self.now))

    async def _again(self, act: Again) -> None:
        """The same once more, or its id with another quantity: counted once, and refused."""
        if not self.sent:
            return
        how, event = self.sent[act.which % len(self.sent)]
        known = self.account.answers.get(event.key)
        if not act.same:
            event = event._replace(quantity=event.quantity + 1)
        if known is None or self._is_marked(known[1]):
            await self._send(how, event)
        elif how == "record":
            await self._found_by_flush(event)

    def _is_marked(self, arrived: datetime) -> bool:
        days = keyspace.day_of(self.now) - keyspace.day_of(arrived)
        return arrived >= self._marked_since and days <= MARKED_DAYS

    async def _found_by_flush(self, event: Event) -> None:
        """Redis has forgotten the id: it is counted for a moment, until the flush tells."""
        if event.at is not None and not self.now - LATE <= event.at <= self.now + AHEAD:
            return
        assert await self._recorded(event) in ("accepted", "duplicate", "mismatch")
        await self.real.flush()
        await self.real.journaled()

    async def _ask(self, act: Ask) -> None:
        asked = (act.feature, act.quantity, act.entity)
        if act.ago is None:
            _same(await self.real.check(*asked), self.account.check(*asked, self.now))
        elif not self._is_held_over(act.feature):
            at = self.now - act.ago
            _same(await self.real.past(*asked, at), self.account.past(*asked, at))

    def _is_held_over(self, feature: str) -> bool:
        """What is held past the end of a period is known to Redis alone until it ends, within a day."""
        late = [one for one in self.account.holds.values() if self.account.lateness(one.layout, self.now)]
        return any(one.event.feature == feature for one in late)

    # --- reservations and corrections ------------------------------------------------------------

    async def _settle(self, act: Settle) -> None:
        await self._one(act)

    async def _release(self, act: Release) -> None:
        await self._one(act)

    async def _expire(self, act: Expire) -> None:
        await self._one(act)

    async def _one(self, act: object) -> None:
        real, model = self._call(act)
        _same(await real(), model(self.account))

    def _ending(self, act: Settle | Release) -> tuple[Callable[[], object], Callable[[Account], Outcome]]:
        """Of one of the reservations; of none nothing."""
        made = list(self.real.reservations)
        if not made:
            return _nothing, lambda _account: None
        key, now = made[act.which % len(made)], self.now
        if isinstance(act, Release):
            return lambda: self.real.release(key), lambda account: account.release(key, now)
        hold = self.account.holds.get(key) or self.account.ended[key][1]
        feature, held = hold.event.feature, hold.event.quantity
        used = 0 if act.nothing else max(0, held + act.more)
        return lambda: self.real.settle(key, feature, used), lambda account: account.settle(key, used, now)

    async def _revise(self, act: Revise) -> None:
        if not self.sent:
            return
        _, event = self.sent[act.which % len(self.sent)]
        quantity = None
        if act.more is not None:
            own = [one.measured for one in self.account.entries if one.event.key == event.key]
            quantity = max(0, sum(own) + act.more)
        _same(
            await self.real.revise(event.key, event.feature, quantity),
            self.account.revise(event.key, quantity, self.now),
        )

    # --- rights ----------------------------------------------------------------------------------

    async def _give(self, act: Give) -> None:
        starts = self.now + act.since
        expires = None if act.life is None else starts + act.life
        if expires is not None and expires <= self.now:
            return
        grant_id = await self.real.give(act.feature, act.quantity, act.priority, starts, expires)
        self.account.give(Grant(grant_id, act.feature, act.quantity, act.priority, starts, expires))

    async def _void(self, act: Void) -> None:
        held = sorted(self.account.grants)
        if held:
            grant_id = held[act.which % len(held)]
            await self._both(lambda: self.real.void(grant_id), lambda: self.account.void(grant_id, self.now))

    async def _override(self, act: Override) -> None:
        up_to = act.up_to if self.account.sells_overage(act.feature, self.now) else None
        if act.included is None and up_to is None:
            return
        ends = None if act.life is None else self.now + act.life
        await self.real.override(act.feature, act.included, up_to, ends)
        self.account.override(facts.Override(act.feature, act.included, up_to, self.now, ends or FOREVER))

    async def _lift(self, act: Lift) -> None:
        if self.account.override_of(act.feature, self.now) is not None:
            await self.real.lift(act.feature)
            self.account.lift(act.feature, self.now)

    async def _change(self, act: Change) -> None:
        try:
            self.account.copy().start(act.plan, self.now)
        except RefusedError:
            await self._both(
                lambda: self.real.change(act.plan, at_renewal=act.at_renewal),
                lambda: self.account.change(act.plan, at_renewal=act.at_renewal, now=self.now),
            )
        else:
            await self._start(Start(act.plan, trial=False))

    async def _start(self, act: Start) -> None:
        await self._both(
            lambda: self.real.start(act.plan, trial=act.trial),
            lambda: self.account.start(act.plan, self.now, trial=act.trial),
        )

    async def _publish(self, act: Publish) -> None:
        await self.real.publish(act.edition, act.plan, at_renewal=act.at_renewal)
        self.account.publish(act.edition, act.plan, at_renewal=act.at_renewal, now=self.now)

    async def _cancel(self, act: Cancel) -> None:
        await self._both(
            lambda: self.real.cancel(at_renewal=act.at_renewal),
            lambda: self.account.cancel(at_renewal=act.at_renewal, now=self.now),
        )

    async def _resume(self, _act: Resume) -> None:
        await self._both(self.real.resume, lambda: self.account.resume(self.now))

    async def _both(self, real: Callable, model: Callable[[], None]) -> None:
        """Both do it, or both refuse."""
        refused = []
        try:
            await real()
        except RefusedError:
            refused.append("real")
        try:
            model()
        except RefusedError:
            refused.append("model")
        assert refused in ([], ["real", "model"]), refused

    # --- time ------------------------------------------------------------------------------------

    async def _wait(self, act: Wait) -> None:
        self.real.clock.at += act.length

    async def _edge(self, act: Edge) -> None:
        ahead = self.account.edges(act.feature, self.now)
        if ahead:
            at = ahead[min(act.which, len(ahead) - 1)] + act.beside
            self.real.clock.at = max(self.now, min(at, self.now + timedelta(days=400)))

    # --- work in the background ------------------------------------------------------------------

    async def _flush(self, _act: Flush) -> None:
        await self.real.flush()
        await self._is_kept()

    async def _wipe(self, _act: Wipe) -> None:
        await self.real.flush()
        await self.real.wipe()
        self._marked_since = self.now + timedelta(microseconds=1)

    # --- comparing -------------------------------------------------------------------------------

    async def _agree(self) -> None:
        lines = await self.real.journaled()
        _same(lines, self.account.told[self._looked_at :])
        self._looked_at = len(self.account.told)
        expected = {feature: books.of(self.account, feature, self.now) for feature in DECIMALS}
        _same(await self.real.books(), {feature: found for feature, found in expected.items() if found})
        await self._counters_agree()

    async def _counters_agree(self) -> None:
        """All that may still be looked at stands in Redis; what is over may be gone, or half of it."""
        counted = self.account.counters()
        living = {counter: amount for counter, amount in counted.items() if self._is_alive(counter)}
        over = adapter.names(self.account, {one: 0 for one in counted if one not in living})
        found, expected = await self.real.counters(), adapter.names(self.account, living)
        _same({name: amount for name, amount in found.items() if name not in over}, _some(expected))

    def _is_alive(self, counter: Counter) -> bool:
        if isinstance(counter, Held | Late):
            return self._is_alive(counter.bucket)
        if isinstance(counter, Counted):
            return counter.window.end is None or self.now < counter.window.end
        if counter.window is None:
            ends = self.account.grants[counter.kind].expires
            return ends is None or ends > self.now - LATE
        return counter.window.interval == "never" or counter.window.start > self.now - LATE

    async def _is_kept(self) -> None:
        """Postgres has the sums of all counters, every event with its draws, the hours and the days."""
        sums = await self.real.stored(
            b"select time_window, field, used from usage_counters where tenant_id = %s and used <> 0"
        )
        found = {(window, field): used for window, field, used in sums}
        _same(found, _some(adapter.names(self.account, self.account.counters())))
        events = await self.real.stored(
            b"select event_id, event_at, drawn_included, drawn_overage, drawn_excess, drawn_grants, "
            b"drawn_rollover "
            b"from usage_events where tenant_id = %s"
        )
        _same(
            {row[0]: row[1:] for row in events},
            {one.event.key: _row(one) for one in self.account.entries if one.events > 0},
        )
        hours = await self.real.stored(
            b"select feature_id, hour_at, entity_id, plan_id, quantity::bigint, events "
            b"from usage_hourly where tenant_id = %s and (quantity, events) <> (0, 0)"
        )
        _same({row[:4]: row[4:] for row in hours}, self.account.totals(_hour))
        days = await self.real.stored(
            b"select feature_id, day, entity_id, plan_id, quantity::bigint, events "
            b"from usage_daily where tenant_id = %s and (quantity, events) <> (0, 0)"
        )
        _same({row[:4]: row[4:] for row in days}, self.account.totals(_day))
        _same(await self.real.differences(), ())


def _same(found: object, expected: object) -> None:
    assert found == expected, f"it is\n{found}\nbut by the rules\n{expected}"


def _some(counters: dict) -> dict:
    return {name: amount for name, amount in counters.items() if amount}


async def _nothing() -> None:
    """Where there is nothing to end."""


def _row(one: Entry) -> tuple:
    drawn = {bucket.kind: amount for bucket, amount in one.draws.items()}
    own = [drawn.pop(kind, 0) for kind in OF_PLAN]
    generations = [kind for kind in drawn if kind.startswith("rollover")]
    carried = {str(number_of(kind)): drawn.pop(kind) for kind in generations}
    return (one.at, *own, drawn or None, carried or None)


def _hour(one: Entry) -> tuple:
    hour = one.at.replace(minute=0, second=0, microsecond=0)
    return (one.event.feature, hour, one.event.entity or "", one.plan)


def _day(one: Entry) -> tuple:
    return (one.event.feature, one.at.date(), one.event.entity or "", one.plan)
