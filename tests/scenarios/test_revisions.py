"""After any reports, late ones, amendments and voids: counters, sums, balances, reports and the past agree.

Random histories through the product and through a model that is nothing but `policies.balance` and sums; over
month ends and the 29th of February, with grants that come and go, and again after Redis has lost everything.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies import balance, grant, limits
from policies.balance import Draw, Levels, Room
from policies.entitlement import Right
from policies.errors import ConflictError
from policies.usage import Usage
from service.context import Context
from service.usecases import (
    balances,
    check,
    events,
    grants,
    past,
    record,
    report,
    revise,
    subscribe,
    tenants,
)
from service.usecases.changes import Order
from service.usecases.check import Check
from service.usecases.events import EventName
from store import certify, keyspace, postgres
from store.reading import Want
from tests.conftest import ROOT, open_counters

STARTS = (
    datetime(2027, 12, 31, 23, 30, tzinfo=UTC),
    datetime(2028, 1, 31, 10, tzinfo=UTC),
    datetime(2028, 2, 29, tzinfo=UTC),
)
"""In the future: Redis drops by its own clock what is long over."""
FILES = {
    "features.yaml": """
features:
  tokens: {type: metered, name: Tokens, unit: token, decimals: 1, entity: optional, whenUnavailable: deny}
""",
    "plans/pro.yaml": """
plan: pro
name: Pro
currency: usd
price: "49.00"
interval: month
features:
  tokens:
    included: 100
    overage: {upTo: 40, model: perUnit, unitAmount: "0.01"}
    caps:
      - {limit: 90, interval: day}
      - {limit: 60, interval: day, per: entity}
      - {limit: 500, interval: month}
""",
}
ROLLING = FILES | {
    "plans/pro.yaml": FILES["plans/pro.yaml"].replace(
        "included: 100", "included: 100\n    rollover: {max: 80, intervals: 2}"
    )
}
"""The same with something that earlier months carry; overage and caps stay."""
ORDER = Order(caller=ROOT)
COUNTER_LIFE = certify.COUNTER_LIFE


class Counted(msgspec.Struct):
    """An event as the model has it; quantities are scaled, that is tenths."""

    name: str
    at: datetime
    entity: str | None
    quantity: int
    window: str
    draws: Counter[str] = msgspec.field(default_factory=Counter)
    """By bucket: `i`, `o`, `x`, or the id of a grant."""
    revision: int = 1
    voided: bool = False


class Model:
    """What must be counted."""

    def __init__(self) -> None:
        self.events: list[Counted] = []
        self.buckets: dict[str, Counter[str]] = defaultdict(Counter)
        self.granted: Counter[str] = Counter()
        self.caps: Counter[tuple[str, str]] = Counter()

    def levels(self, window: str, grants: tuple[grant.Grant, ...]) -> Levels:
        used = self.buckets[window]
        return Levels(
            included=used["i"],
            overage=used["o"],
            excess=used["x"],
            grants=tuple(self.granted[one.id] for one in grants),
        )

    def book(self, event: Counted, drawn: Draw, grants: tuple[grant.Grant, ...]) -> None:
        amounts = Counter({"i": drawn.included, "o": drawn.overage, "x": drawn.excess})
        self.buckets[event.window].update(amounts)
        given = Counter({one.id: amount for one, amount in zip(grants, drawn.grants, strict=True)})
        self.granted.update(given)
        event.draws.update(amounts)
        event.draws.update(given)


class Story:
    """One tenant through the product and through the model."""

    def __init__(self, context: Context, tenant_id: str, start: datetime) -> None:
        self.context, self.tenant_id, self.start = context, tenant_id, start
        self.model = Model()
        self.grants: dict[str, grant.Grant] = {}
        self.numbers = count()

    @property
    def now(self) -> datetime:
        return self.context.clock.now()

    async def begin(self) -> None:
        self.context.clock.at = self.start
        await tenants.put(self.context, ORDER, self.tenant_id, tenants.Wish(name="Acme"))
        wish = subscribe.Wish(plan_id="pro", start_at=self.start)
        await subscribe.start(self.context, ORDER, self.tenant_id, wish)

    async def right(self, at: datetime) -> Right:
        offer = check.active_offer(self.context)
        snapshot = await self.context.snapshots.get(self.tenant_id)
        return await check.resolve(self.context, offer, snapshot, "tokens", at)

    async def passes(self, hours: int) -> None:
        self.context.clock.at += timedelta(hours=hours)

    async def uses(self, tenths: int, back: int, entity: str | None) -> None:
        at = max(self.start, self.now - timedelta(hours=back))
        name = f"e{next(self.numbers)}"
        said = Usage(
            tenant_id=self.tenant_id,
            service_id="s",
            event_id=name,
            feature_id="tokens",
            quantity=tenth(tenths),
            timestamp=at,
            entity_id=entity,
        )
        right, current = await self.right(at), await self.right(self.now)
        results, _ = await record.record(self.context, [said])
        assert results[0].status == "accepted"
        span = right.period
        too_old = span != current.period and span.end < current.period.start
        event = Counted(name, at, entity, tenths, "" if too_old else keyspace.window("month", span))
        self.model.events.append(event)
        self._move_caps(event, right, tenths)
        if event.window:
            room = room_of(right)
            levels = self.model.levels(event.window, right.grants)
            self.model.book(event, balance.draw(room, levels, tenths), right.grants)

    def _move_caps(self, event: Counted, right: Right, amount: int) -> None:
        for cap, span in zip(right.terms.caps, right.cap_windows, strict=True):
            if self.now < span.end and (cap.per == "tenant" or event.entity):
                field = keyspace.cap_field("tokens", cap.per, event.entity)
                self.model.caps[keyspace.window(cap.interval, span), field] += amount

    async def gives(self, units: int, priority: int, days: int) -> None:
        wish = grants.Wish(
            feature_id="tokens",
            quantity=units,
            priority=priority,
            expires_at=self.now + timedelta(days=days) if days else None,
            reason="sorry",
        )
        reply = await grants.issue(self.context, ORDER, self.tenant_id, wish)
        made = msgspec.json.decode(reply.body)["grantId"]
        snapshot = await self.context.snapshots.get(self.tenant_id)
        self.grants |= {one.id: one for one in snapshot.grants if one.id == made}

    async def takes_back(self, pick: int) -> None:
        held = [one for one in self.grants.values() if grant.holds(one, self.now)]
        if held:
            await grants.void(self.context, ORDER, self.tenant_id, held[pick % len(held)].id, reason="over")

    async def revises(self, pick: int, tenths: int | None) -> None:
        if not self.model.events:
            return
        event = self.model.events[pick % len(self.model.events)]
        name = EventName(self.tenant_id, "s", event.name)
        wish = revise.Wish(quantity=None if tenths is None else tenth(tenths), reason="wrong")
        if event.voided:
            with pytest.raises(ConflictError):
                await revise.revise(self.context, ORDER, name, wish)
            return
        await revise.revise(self.context, ORDER, name, wish)
        if tenths != event.quantity:
            await self._revise(event, tenths)

    async def _revise(self, event: Counted, tenths: int | None) -> None:
        right, growth = await self.right(event.at), (tenths or 0) - event.quantity
        event.quantity, event.voided = tenths or 0, tenths is None
        event.revision += 1
        self._move_caps(event, right, growth)
        if not event.window or right.period.end + COUNTER_LIFE + self._slack(right) <= self.now:
            return
        known = {one.id for one in right.grants}
        over = tuple(
            self.grants[name]
            for name in sorted(event.draws)
            if event.draws[name]
            and name in self.grants
            and name not in known
            and (end := self.grants[name].expires_at, end is None or self.now < end + COUNTER_LIFE)[1]
        )
        held = (*over, *right.grants)
        room = room_of(right)
        room = msgspec.structs.replace(room, finite=(*(Room("grant", 0) for _ in over), *room.finite))
        levels = self.model.levels(event.window, held)
        if growth > 0:
            self.model.book(event, balance.draw(room, levels, growth), held)
        else:
            own = Draw(
                included=event.draws["i"],
                overage=event.draws["o"],
                excess=event.draws["x"],
                grants=tuple(event.draws[one.id] for one in held),
            )
            kept = own.included + own.overage + own.excess + sum(own.grants)
            self.model.book(event, balance.give_back(room, levels, own, min(-growth, max(0, kept))), held)

    @staticmethod
    def _slack(right: Right) -> timedelta:
        """Counters live as if every month had 31 days."""
        return right.period.start + timedelta(days=31) - right.period.end

    async def agrees(self) -> None:
        """Every place that says what was used says the same as the model."""
        while not await past.bring_over(self.context, self.tenant_id):
            pass
        await self._counters_agree()
        await self._sums_agree()
        await self._events_agree()
        await self._reports_agree()
        await self._decisions_agree()
        await self._books_close()

    def expected(self) -> dict[tuple[str, str], int]:
        """All counters of the model that decisions or events of now may still touch."""
        found = dict(self._buckets())
        for (window, field), amount in self.model.caps.items():
            interval, start = keyspace.parse_window(window)
            days = {"day": 1, "month": 31}[interval]
            if datetime.fromtimestamp(start, UTC) + timedelta(days=days) > self.now:
                found[window, field] = found.get((window, field), 0) + amount
        return found

    def _buckets(self) -> Iterator[tuple[tuple[str, str], int]]:
        for window, used in self.model.buckets.items():
            _, start = keyspace.parse_window(window)
            if datetime.fromtimestamp(start, UTC) + timedelta(days=31) + COUNTER_LIFE > self.now:
                for bucket in "iox":
                    yield (window, keyspace.bucket_field("tokens", bucket)), used[bucket]
        for one in self.grants.values():
            if one.expires_at is None or self.now < one.expires_at + COUNTER_LIFE:
                key = (keyspace.grant_window(one.expires_at), keyspace.grant_field("tokens", one.id))
                yield key, self.model.granted[one.id]

    async def _counters_agree(self) -> None:
        expected = self.expected()
        (found,) = await self.context.counters.read([Want(self.tenant_id, tuple(expected))])
        assert dict(zip(expected, found.values, strict=True)) == expected
        assert min(expected.values(), default=0) >= 0

    async def _sums_agree(self) -> None:
        query = b"select time_window, field, used from usage_counters where tenant_id = %(tenant_id)s"
        async with postgres.transaction(self.context.pool) as connection:
            cursor = await connection.execute(query, {"tenant_id": self.tenant_id})
            found = {(window, field): used for window, field, used in await cursor.fetchall()}
        expected = self.expected()
        assert {key: found.get(key, 0) for key in expected} == expected

    async def _events_agree(self) -> None:
        page = await events.counted(self.context, self.tenant_id, feature_id=None, after="", limit=1000)
        found = {one.id: (one.quantity, one.revision, one.voided) for one in page.items}
        assert found == {
            one.name: (tenth(one.quantity), one.revision, one.voided) for one in self.model.events
        }

    async def _reports_agree(self) -> None:
        first = self.start.replace(minute=0) - timedelta(days=1)
        question = report.Question(
            tenant_id=self.tenant_id,
            feature_id="tokens",
            start=first,
            end=self.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1),
            step="hour",
            group_by="feature",
        )
        told = await report.usage(self.context, question)
        by_hour: Counter[datetime] = Counter()
        for one in self.model.events:
            by_hour[one.at.replace(minute=0, second=0, microsecond=0)] += one.quantity
        points = [point for series in told.series for point in series.points]
        assert {at: said for at, said in points if said not in ("0", 0)} == {
            at: tenth(amount) for at, amount in by_hour.items() if amount
        }
        assert told.total == tenth(sum(by_hour.values()))
        assert told.events == sum(not one.voided for one in self.model.events)

    async def _decisions_agree(self) -> None:
        for entity in (None, "u1"):
            question = Check(tenant_id=self.tenant_id, feature_id="tokens", entity_id=entity)
            (plain,) = await check.check(self.context, [question])
            then = await past.decided(self.context, question, self.now)
            assert msgspec.structs.replace(then, decision_id=plain.decision_id) == plain

    async def _books_close(self) -> None:
        told = await balances.of_tenant(self.context, self.tenant_id)
        current = await self.right(self.now)
        used = self.model.buckets[keyspace.window("month", current.period)]
        for bucket in (bucket for feature in told.balances for bucket in feature.buckets):
            parts = (bucket.used, bucket.reserved, bucket.expired, bucket.carried, bucket.remaining)
            assert scaled(bucket.granted) == sum(map(scaled, parts))
            if bucket.bucket in self.grants:
                assert scaled(bucket.used) == self.model.granted[bucket.bucket]
            elif bucket.bucket == "excess":
                assert scaled(bucket.used) == used["x"]
        pair = [scaled(one.used) for one in told.balances[0].buckets if one.bucket in ("included", "overage")]
        assert sum(pair) == used["i"] + used["o"]

    async def loses_redis(self) -> None:
        """All keys are gone; certifying puts back what counts."""
        await past.bring_over(self.context, self.tenant_id)
        await self.context.counters.link.send([("FLUSHALL",)])
        await certify.certify(self.context.pool, self.context.counters.link, now=self.now)


class Uncounted(Model):
    """Leaves the buckets to the product: tests of its own hold the rule."""

    def book(self, event: Counted, drawn: Draw, grants: tuple[grant.Grant, ...]) -> None:
        del event, drawn, grants


class RollingStory(Story):
    """Where something rolls over: all places agree with each other, and add up to what was used."""

    def __init__(self, context: Context, tenant_id: str, start: datetime) -> None:
        super().__init__(context, tenant_id, start)
        self.model = Uncounted()

    async def passes(self, hours: int) -> None:
        """So slowly that no counter's life ends."""
        await super().passes(hours // 8)

    async def _counters_agree(self) -> None:
        sums = await self._sums()
        (found,) = await self.context.counters.read([Want(self.tenant_id, tuple(sums))])
        assert dict(zip(sums, found.values, strict=True)) == sums
        used = {key: amount for key, amount in sums.items() if self._is_bucket(key[1])}
        assert min(used.values(), default=0) >= 0
        assert sum(used.values()) == sum(one.quantity for one in self.model.events if one.window)

    async def _sums(self) -> dict[tuple[str, str], int]:
        """The counters of Postgres, without caps whose window is over."""
        query = (
            b"select time_window, field, used from usage_counters where tenant_id = %(tenant_id)s "
            b"and (ends_at > %(now)s or field !~ '^[^:]+:(c$|e:)')"
        )
        async with postgres.transaction(self.context.pool) as connection:
            cursor = await connection.execute(query, {"tenant_id": self.tenant_id, "now": self.now})
            return {(window, field): used for window, field, used in await cursor.fetchall()}

    @staticmethod
    def _is_bucket(field: str) -> bool:
        kind = field.split(":")[1]
        return kind in "iox" or kind == "g" or (kind.startswith("v") and not field.endswith(":l"))

    async def _sums_agree(self) -> None:
        """They were looked at with the counters."""

    async def _books_close(self) -> None:
        told = await balances.of_tenant(self.context, self.tenant_id)
        for bucket in (bucket for feature in told.balances for bucket in feature.buckets):
            parts = (bucket.used, bucket.reserved, bucket.expired, bucket.carried, bucket.remaining)
            assert scaled(bucket.granted) == sum(map(scaled, parts)), bucket


def room_of(right: Right) -> balance.Capacity:
    return balance.capacity(right.terms, overage=True, grants=right.grants, before=right.grants_before)


def tenth(tenths: int) -> str:
    whole, rest = divmod(tenths, 10)
    return f"{whole}.{rest}" if rest else f"{whole}"


def scaled(said: int | str) -> int:
    whole, _, rest = str(said).partition(".")
    return int(whole) * 10 + int(rest or 0)


tenths = st.integers(0, 900)
turns = st.one_of(
    st.tuples(st.just("passes"), st.integers(1, 400)),
    st.tuples(st.just("uses"), tenths, st.just(0), st.sampled_from([None, "u1", "u2"])),
    st.tuples(
        st.just("uses"), tenths, st.integers(0, limits.EVENT_AGE_DAYS * 24), st.sampled_from([None, "u1"])
    ),
    st.tuples(st.just("revises"), st.integers(0, 50), tenths),
    st.tuples(st.just("revises"), st.integers(0, 50), st.none()),
    st.tuples(st.just("gives"), st.integers(1, 60), st.sampled_from([50, 100, 150]), st.integers(0, 40)),
    st.tuples(st.just("takes_back"), st.integers(0, 5)),
)
tenant_numbers = count()


@pytest.fixture
async def rolling(context, publish):
    await publish(ROLLING)
    await open_counters(context)
    return context


@pytest.fixture
async def selling(context, publish):
    await publish(FILES)
    await open_counters(context)
    return context


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(start=st.sampled_from(STARTS), history=st.lists(turns, min_size=5, max_size=30))
async def test_everything_agrees_after_any_history(selling, start, history):
    story = Story(selling, f"tenant-{next(tenant_numbers)}", start)
    await story.begin()
    for act, *said in history:
        await getattr(story, act)(*said)
    await story.agrees()
    await story.loses_redis()
    await story.agrees()


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(start=st.sampled_from(STARTS), history=st.lists(turns, min_size=10, max_size=40))
async def test_everything_agrees_where_something_rolls_over(rolling, start, history):
    story = RollingStory(rolling, f"rolling-{next(tenant_numbers)}", start)
    await story.begin()
    for act, *said in history:
        await getattr(story, act)(*said)
    await story.agrees()
    await story.loses_redis()
    await story.agrees()
