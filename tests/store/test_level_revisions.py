"""Levels whose events are amended and voided: each is what the events make it that are left."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies import errors
from policies.usage import Usage
from service.context import Context
from service.usecases import past, publish, record, revise
from service.usecases.check import Check
from service.usecases.events import EventName
from store import certify, keyspace, postgres
from store.reading import Want
from tests.conftest import NOW, ROOT
from tests.store import ledger
from tests.store.test_meters import SEATS, USERS, acme, counted, events_of, hours, leveled, seats, user

__all__ = ["acme"]  # a fixture


async def change(context: Context, event_id: str, quantity: int | None, tenant_id: str = "acme") -> dict:
    """Amends an event, or voids it."""
    name = EventName(tenant_id, "tests", event_id)
    wish = revise.Wish(quantity=quantity, reason="wrong")
    return msgspec.json.decode((await revise.revise(context, ledger.ORDER, name, wish)).body)


async def kept(context: Context, field: str, tenant_id: str = "acme") -> int:
    """A counter of the month as Postgres has it."""
    query = b"select used from usage_counters where tenant_id = %(tenant_id)s and time_window = %(window)s "
    query += b"and field = %(field)s"
    params = {"tenant_id": tenant_id, "window": ledger.month(), "field": field}
    async with postgres.transaction(context.pool) as connection:
        return (await postgres.scalars(connection, query, params) or [0])[0]


async def restart(context: Context) -> None:
    await context.counters.link.send([("FLUSHALL",)])
    await certify.certify(context.pool, context.counters.link, now=context.clock.now())


async def test_without_its_highest_event_a_level_is_that_of_the_others(acme: Context):
    at = [NOW - timedelta(hours=age) for age in (3, 2, 1)]
    told = [seats(1, 4, timestamp=at[0]), seats(2, 15, timestamp=at[1]), seats(3, 8, timestamp=at[2])]
    await ledger.statuses(acme, *told)
    assert await counted(acme, SEATS) == (100, 0, 50)
    assert (await change(acme, "s2", None))["voided"]
    assert await counted(acme, SEATS) == (80, 0, 0)
    assert sum((await hours(acme, SEATS)).values()) == 80
    await restart(acme)
    assert await counted(acme, SEATS) == (80, 0, 0)
    await change(acme, "s3", None)
    assert await counted(acme, SEATS) == (40, 0, 0)
    await change(acme, "s1", None)
    assert await counted(acme, SEATS) == (0, 0, 0)
    assert sum((await hours(acme, SEATS)).values()) == 0


async def test_an_amended_event_raises_a_level_or_lets_it_fall(acme: Context):
    await ledger.statuses(acme, seats(1, 4), seats(2, 7))
    for quantity, level in ((12, (100, 0, 20)), (9, (90, 0, 0)), (1, (40, 0, 0)), (4, (40, 0, 0))):
        assert (await change(acme, "s2", quantity))["quantity"] == str(quantity)
        assert await counted(acme, SEATS) == level
    assert await kept(acme, f"{SEATS}:i") == 40
    assert await ledger.stored(acme) == (2, 40)


async def test_a_value_goes_with_its_last_event(acme: Context):
    await ledger.statuses(acme, user(1, "ada"), user(2, "ada"), user(3, "bob"))
    await change(acme, "v1", None)
    assert (await counted(acme, USERS), await events_of(acme, "ada")) == ((2, 0, 0), 1)
    await change(acme, "v2", None)
    assert (await counted(acme, USERS), await events_of(acme, "ada")) == ((1, 0, 0), 0)
    await restart(acme)
    assert (await counted(acme, USERS), await events_of(acme, "ada")) == ((1, 0, 0), 0)
    await ledger.statuses(acme, user(4, "ada"))
    assert await counted(acme, USERS) == (2, 0, 0)


async def test_an_event_of_values_is_voided_and_not_amended(acme: Context):
    await ledger.statuses(acme, user(1, "ada"))
    with pytest.raises(errors.InvalidError):
        await change(acme, "v1", 2)
    assert await counted(acme, USERS) == (1, 0, 0)


async def test_what_comes_meanwhile_is_looked_at_too(acme: Context, monkeypatch):
    """An event between the look and the script does not raise the level, and would have to hold it up."""
    await ledger.statuses(acme, seats(1, 4), seats(2, 10))
    original = revise._outcome

    async def late(context, sent):
        monkeypatch.setattr(revise, "_outcome", original)
        await ledger.statuses(context, seats(3, 8))
        return await original(context, sent)

    monkeypatch.setattr(revise, "_outcome", late)
    await change(acme, "s2", None)
    assert await counted(acme, SEATS) == (80, 0, 0)


async def test_the_past_forgets_what_was_voided(acme: Context):
    at = [NOW + timedelta(hours=after) for after in (1, 2)]
    acme.clock.at = at[1]
    await ledger.statuses(acme, seats(1, 9, timestamp=at[0]), seats(2, 5, timestamp=at[1]))
    await ledger.statuses(acme, user(1, "ada", timestamp=at[0]), user(2, "bob", timestamp=at[1]))
    await change(acme, "s1", None)
    await change(acme, "v1", None)
    for instant, level, users in ((at[0], "0", 0), (at[1], "5", 1)):
        for feature_id, known in ((SEATS, level), (USERS, users)):
            asked = Check(tenant_id="acme", feature_id=feature_id)
            assert (await past.decided(acme, asked, instant)).usage == known


async def test_a_period_whose_counters_are_gone_changes_in_reports_only(acme: Context):
    await ledger.statuses(acme, seats(1, 4), seats(2, 9), user(1, "ada"), user(2, "ada"))
    await ledger.flush_all(acme)
    acme.clock.at = NOW + timedelta(days=65)
    await change(acme, "s2", None)
    await change(acme, "v1", None)
    assert sum((await hours(acme, SEATS)).values()) == 40
    assert sum((await hours(acme, USERS)).values()) == 1
    await change(acme, "s1", 6)
    await change(acme, "v2", None)
    assert sum((await hours(acme, SEATS)).values()) == 60
    assert sum((await hours(acme, USERS)).values()) == 0
    assert await kept(acme, f"{SEATS}:i") == 90


class Numbers:
    """Never the same tenant twice, so that examples do not meet."""

    last = 0

    @classmethod
    def next(cls) -> int:
        cls.last += 1
        return cls.last


turns = st.lists(
    st.one_of(
        st.tuples(st.just("report"), st.integers(0, 20)),
        st.tuples(st.just("meet"), st.sampled_from("abcd")),
        st.tuples(st.just("amend"), st.integers(0, 9), st.integers(0, 20)),
        st.tuples(st.just("void"), st.integers(0, 9)),
        st.tuples(st.just("restart")),
    ),
    min_size=3,
    max_size=14,
)


class Told(msgspec.Struct):
    """An event of a history, as it stands."""

    event: Usage
    name: str | None
    quantity: int
    voided: bool = False


class History:
    """One tenant, and what its events must come to."""

    def __init__(self, context: Context) -> None:
        self.context, self.tenant_id = context, f"levels-{Numbers.next()}"
        self.told: list[Told] = []

    async def take(self, kind: str, *rest) -> None:
        number = len(self.told)
        if kind == "restart":
            await ledger.flush_all(self.context)
            await self._lose()
        elif kind in ("report", "meet"):
            (what,) = rest
            event = seats(number, what) if kind == "report" else user(number, what)
            event = msgspec.structs.replace(event, tenant_id=self.tenant_id, event_id=f"e{number}")
            await record.record(self.context, [event])
            self.told.append(Told(event, *((None, what) if kind == "report" else (what, 1))))
        elif self.told:
            await self._change(kind, *rest)

    async def _change(self, kind: str, pick: int, quantity: int = 0) -> None:
        told = self.told[pick % len(self.told)]
        if told.voided or (kind == "amend" and told.name is not None):
            return
        wanted = None if kind == "void" else quantity
        await change(self.context, told.event.event_id, wanted, self.tenant_id)
        told.quantity, told.voided = quantity, kind == "void"

    async def _lose(self) -> None:
        """Redis loses the tenant's shard, which is rebuilt: no other is looked at, as `restart` would."""
        link = self.context.counters.link
        keys = (await link.send([("KEYS", f"*{keyspace.tag(keyspace.shard_of(self.tenant_id))}*")])).values[0]
        await link.send([("DEL", *keys)])
        await certify.certify(self.context.pool, link, now=self.context.clock.now())

    def levels(self) -> tuple[int, int]:
        live = [one for one in self.told if not one.voided]
        highest = max((one.quantity for one in live if one.name is None), default=0)
        return 10 * highest, len({one.name for one in live if one.name is not None})

    async def read(self) -> tuple[int, int]:
        found = []
        for feature_id in (SEATS, USERS):
            fields = tuple((ledger.month(), keyspace.bucket_field(feature_id, bucket)) for bucket in "iox")
            (read,) = await self.context.counters.read([Want(self.tenant_id, fields)])
            assert min(read.values) >= 0
            found.append(sum(read.values))
        return found[0], found[1]

    async def kept(self) -> tuple[int, int]:
        await ledger.flush_all(self.context)
        found = [
            [await kept(self.context, f"{feature_id}:{bucket}", self.tenant_id) for bucket in "iox"]
            for feature_id in (SEATS, USERS)
        ]
        return sum(found[0]), sum(found[1])

    async def reported(self) -> tuple[int, int]:
        query = b"select feature_id, sum(quantity)::int from usage_hourly where tenant_id = %s group by 1"
        async with postgres.transaction(self.context.pool) as connection:
            found = dict(await (await connection.execute(query, (self.tenant_id,))).fetchall())
        return found.get(SEATS, 0), found.get(USERS, 0)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=turns)
async def test_a_level_is_that_of_the_events_that_are_left(acme: Context, history):
    story = History(acme)
    await ledger.subscribed(acme, story.tenant_id, "free")
    for turn in history:
        await story.take(*turn)
        assert await story.read() == story.levels()
    assert await story.kept() == story.levels()
    assert await story.reported() == story.levels()


async def test_whose_values_are_counted_is_for_life(acme: Context, example_files):
    files = leveled(example_files)
    other = files["features.yaml"].replace("property: user_id", "property: email")
    with pytest.raises(errors.ConflictError, match="property"):
        await publish.publish(
            acme, ROOT, files | {"features.yaml": other}, publish.Wish(message="why", acknowledge=())
        )
