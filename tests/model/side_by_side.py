"""Drives the real thing and the model side by side, and looks after each act whether they still agree."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import permutations

from store import keyspace
from tests.model import real as adapter
from tests.model.account import AHEAD, Account, Bucket, Counted, Entry, Event
from tests.model.acts import (
    Again,
    Ask,
    Cancel,
    Change,
    Edge,
    Fill,
    Flush,
    Give,
    Resume,
    Several,
    Together,
    Use,
    Void,
    Wait,
    Wipe,
)
from tests.model.facts import LATE, Grant, RefusedError
from tests.model.real import Real
from tests.model.terms import DECIMALS

MARKED_DAYS = 2
"""How many days back Redis looks for an id; past that, and after a wipe, the flush finds what is known."""

Outcome = object


class SideBySide:
    """One tenant, twice."""

    def __init__(self, real: Real, account: Account) -> None:
        self.real, self.account = real, account
        self.sent: list[tuple[str, Event]] = []
        self._marked_since = self.now
        self._looked_at = 0

    @property
    def now(self) -> datetime:
        return self.real.clock.now()

    async def perform(self, act: object) -> None:
        """The act on both sides; then everything that can be seen is compared."""
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
            if [told[place] for place in range(len(calls))] == found and _drawn(
                other, self._looked_at
            ) == lines:
                self.account, self._looked_at = other, len(other.entries)
                return
        raise AssertionError(f"no order of {act.acts} gives {found} and {lines}")

    def _call(self, act: Use | Ask) -> tuple[Callable[[], object], Callable[[Account], Outcome]]:
        now = self.now
        if isinstance(act, Ask):
            asked = (act.feature, act.quantity, act.entity)
            return lambda: self.real.check(*asked), lambda account: account.check(*asked, now)
        event = self._event(act)
        self.sent.append((act.how, event))
        if act.how == "consume":
            return lambda: self.real.consume(event), lambda account: account.consume(event, now)
        return lambda: self._recorded(event), lambda account: account.record(event, now)

    async def _recorded(self, event: Event) -> str:
        (status,) = await self.real.record(event)
        return status

    def _event(self, use: Use) -> Event:
        at = None if use.late is None else self.now - use.late
        quantity = max(1, use.quantity) if use.how == "consume" else use.quantity
        return Event(f"e{len(self.sent)}-{use.how[0]}{quantity}", use.feature, quantity, use.entity, at)

    async def _send(self, how: str, event: Event) -> None:
        self.sent.append((how, event))
        if how == "consume":
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
        else:
            at = self.now - act.ago
            _same(await self.real.past(*asked, at), self.account.past(*asked, at))

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

    async def _change(self, act: Change) -> None:
        try:
            self.account.copy().start(act.plan, self.now)
        except RefusedError:
            await self._both(
                lambda: self.real.change(act.plan, at_renewal=act.at_renewal),
                lambda: self.account.change(act.plan, at_renewal=act.at_renewal, now=self.now),
            )
        else:
            self.real.clock.at += timedelta(seconds=1)  # no two subscriptions begin at one instant
            await self.real.start(act.plan)
            self.account.start(act.plan, self.now)

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
        _same(lines, _drawn(self.account, self._looked_at))
        self._looked_at = len(self.account.entries)
        expected = {feature: self.account.books(feature, self.now) for feature in DECIMALS}
        _same(await self.real.books(), {feature: books for feature, books in expected.items() if books})
        await self._counters_agree()

    async def _counters_agree(self) -> None:
        """Whatever stands in Redis is right, and all that may still be looked at stands there."""
        counted = self.account.counters()
        found, expected = await self.real.counters(), adapter.names(self.account, counted)
        _same(found, {name: expected.get(name, 0) for name in found})
        living = {counter: amount for counter, amount in counted.items() if self._is_alive(counter)}
        _same(set(adapter.names(self.account, living)) - set(found), set())

    def _is_alive(self, counter: Bucket | Counted) -> bool:
        if isinstance(counter, Counted):
            return counter.window.end is None or self.now < counter.window.end
        return counter.window is None or counter.window.start > self.now - LATE

    async def _is_kept(self) -> None:
        """Postgres has the sums of all counters, every event with its draws, and the hours."""
        sums = await self.real.stored(
            b"select time_window, field, used from usage_counters where tenant_id = %s and used <> 0"
        )
        found = {(window, field): used for window, field, used in sums}
        _same(found, adapter.names(self.account, self.account.counters()))
        events = await self.real.stored(
            b"select event_id, event_at, drawn_included, drawn_overage, drawn_excess, drawn_grants "
            b"from usage_events where tenant_id = %s"
        )
        _same({row[0]: row[1:] for row in events}, {one.event.key: _row(one) for one in self.account.entries})
        hours = await self.real.stored(
            b"select feature_id, hour_at, entity_id, plan_id, quantity::bigint, events "
            b"from usage_hourly where tenant_id = %s"
        )
        _same({row[:4]: row[4:] for row in hours}, self.account.totals(_hour))


def _same(found: object, expected: object) -> None:
    assert found == expected, f"it is\n{found}\nbut by the rules\n{expected}"


def _drawn(account: Account, since: int) -> list[tuple[str, dict[str, int]]]:
    """What each thing that happened since drew, as the journal tells it."""
    return [
        (one.event.key, {bucket.kind: amount for bucket, amount in one.draws.items()})
        for one in account.entries[since:]
    ]


def _row(one: Entry) -> tuple:
    drawn = {bucket.kind: amount for bucket, amount in one.draws.items()}
    own = [drawn.pop(kind, 0) for kind in ("included", "overage", "excess")]
    return (one.at, *own, drawn or None)


def _hour(one: Entry) -> tuple:
    hour = one.at.replace(minute=0, second=0, microsecond=0)
    return (one.event.feature, hour, one.event.entity or "", one.plan)
