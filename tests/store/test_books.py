"""Do the books find every kind of drift, say which it is, and say nothing where there is none?"""

import asyncio
import random
from datetime import timedelta
from functools import partial

import httpx
import msgspec
import pytest

from jobs import books as job
from jobs import expire, flush, housekeep
from policies import limits
from service import wiring
from service.api.app import make_app
from service.context import Context
from service.usecases import books, reservations, reserve
from service.usecases.fitting import Wanted
from service.usecases.reservations import Told
from store import corrections, keyspace, postgres, rounds
from tests.conftest import NOW, PATIENT
from tests.store import giving, ledger, test_meters
from tests.store.ledger import TOKENS, event, flush_all, statuses, worker
from tests.store.test_consume import use
from tests.store.test_keys_of_scripts import hold

SHARD = keyspace.shard_of("acme")
SECOND = timedelta(seconds=limits.BOOKS_AGAIN_S)


@pytest.fixture
async def busy(counting: Context) -> Context:
    """What acme has used is flushed but for the last: grants, caps, a settled and an open reservation."""
    await giving.give(counting, giving.grant(1, 50, starts=NOW, ends=NOW + timedelta(days=3)))
    await ledger.subscribed(counting, "capped", "pro")
    await statuses(counting, event(1, 60), event(2, 9_000))
    await statuses(counting, event(4, 5, tenant_id="capped", entity_id="one"))
    await reservations.settle(counting, Told(await hold(counting, 5, 20), None), 30)
    for number in (6, 9):
        await hold(counting, number, 40)
    await statuses(counting, event(3, 2_000))
    await flush_all(counting)
    await statuses(counting, event(7, 11), event(8, 3, tenant_id="capped", entity_id="one"))
    return counting


async def looked(context: Context, *tenants: str, now=NOW) -> list[tuple]:
    """What two looks find of tenants: class, what differs, and both sides."""
    await books.look(context, tenants or ("acme", "capped"), now=now)
    _, kept = await books.look(context, tenants or ("acme", "capped"), now=now + SECOND)
    assert not kept.suspected
    return [(one.kind, one.subject, one.expected, one.actual) for one in kept.open]


def counter(window: str | None = None, tenant_id: str = "acme") -> str:
    return keyspace.counters(keyspace.shard_of(tenant_id), tenant_id, window or ledger.month())


async def sent(context: Context, *command) -> None:
    await context.counters.send_all([command])


async def sql(context: Context, query: str) -> None:
    async with postgres.transaction(context.pool) as connection:
        await connection.execute(query.encode())


async def test_nothing_differs_where_nothing_was_touched(busy: Context):
    assert await looked(busy) == []
    found, _ = await books.look(busy, ["acme", "capped"], now=NOW)
    assert (set(found.looked), found.unsure) == ({"acme", "capped"}, {})


async def test_each_kind_of_wrong_counter_is_told_apart(busy: Context):
    """All at once, each in a counter of its own; beside each is by how much it differs."""
    today = f"d.{int(NOW.replace(hour=0).timestamp())}"
    pack = keyspace.grant_window(NOW + timedelta(days=3))
    included = "where tenant_id = 'capped' and time_window like 'm.%' and field = 'ai-tokens:i'"
    await sent(busy, "HINCRBY", counter(), f"{TOKENS}:i", 5)
    await sent(busy, "HINCRBY", counter(), f"{TOKENS}:r", -1)
    await sent(busy, "HDEL", counter(), f"{TOKENS}:x")
    await sent(busy, "HSET", counter(), "ghost:i", 4)
    await sent(busy, "HINCRBY", counter(today, "capped"), f"{TOKENS}:c", 2)
    await sent(busy, "HDEL", counter(today, "capped"), f"{TOKENS}:e:one")
    await sql(busy, f"update usage_counters set used = used + 8 {included}")
    await sql(busy, "delete from usage_counters where field = 'ai-tokens:g:grt_1'")
    found = {one[:2]: one[3] - one[2] for one in await looked(busy) if one[0] != "books_open"}
    month = ledger.month()
    assert found == {
        ("counter_altered", f"{month} ai-tokens:i"): 5,
        ("counter_altered", f"{month} ai-tokens:r"): -1,
        ("counter_missing", f"{month} ai-tokens:x"): -1_131,
        ("counter_foreign", f"{month} ghost:i"): 4,
        ("counter_altered", f"{today} ai-tokens:c"): 2,
        ("counter_missing", f"{today} ai-tokens:e:one"): -8,
        ("rollup_altered", f"{month} ai-tokens:i"): -8,
        ("rollup_altered", f"{pack} ai-tokens:g:grt_1"): 50,
    }


async def test_an_entry_that_the_journal_lost_is_found_once_nobody_can_flush_it(busy: Context):
    ((entry_id, _), *_) = (
        await busy.counters.link.send([("XREVRANGE", keyspace.journal(SHARD), "+", "-", "COUNT", 1)])
    ).values[0]
    await sent(busy, "XDEL", keyspace.journal(SHARD), entry_id)
    await flush_all(busy)
    (found,) = await looked(busy, "acme")
    assert found == ("entry_missing", f"{ledger.month()} ai-tokens:x", 1_120, 1_131)
    (known,) = (await books.listed(busy)).items
    assert known.evidence["lostEntries"] == [f"{entry_id.decode()} (deleted)"]
    assert (known.evidence["rollup"], known.evidence["draws"], known.evidence["counter"]) == (
        1_120,
        1_120,
        1_131,
    )
    assert known.why_safe == ""


async def test_an_entry_that_was_damaged_is_unsure_until_it_is_put_aside_and_then_drift(busy: Context):
    key = keyspace.journal(SHARD)
    ((entry_id, fields),) = (
        await busy.counters.link.send([("XREVRANGE", key, "+", "-", "COUNT", 1)])
    ).values[0]
    await sent(busy, "XDEL", key, entry_id)
    time_ms, sequence = keyspace.entry_parts(entry_id.decode())
    torn = [field if field != fields[3] else fields[3][:-1] + b"!" for field in fields]
    await sent(busy, "XADD", key, f"{time_ms}-{sequence + 1}", *torn)
    found, _ = await books.look(busy, ["acme"], now=NOW)
    assert "damaged" in found.unsure["acme"]
    await flush_all(busy)
    assert [one[0] for one in await looked(busy, "acme")] == ["entry_missing"]


async def test_reservations_that_one_side_alone_has_open_are_found(busy: Context):
    """Two are open: Redis has lost one, and has one that Postgres has as ended."""
    six, nine = sorted((await busy.counters.link.send([("HKEYS", keyspace.holds(SHARD))])).values[0])
    await sent(busy, "HDEL", keyspace.holds(SHARD), six)
    await sql(busy, f"update reservations set state = 'released' where digest = '{nine.hex()}'")
    found = {one[0] for one in await looked(busy, "acme")}
    assert {"hold_missing", "hold_foreign"} <= found


async def test_hours_and_days_that_are_not_the_sum_of_their_parts_are_found(busy: Context):
    await flush_all(busy)
    await sql(busy, "update usage_hourly set quantity = quantity + 1 where tenant_id = 'capped'")
    await sql(busy, "update usage_daily set events = events - 1 where tenant_id = 'acme'")
    found = await looked(busy)
    assert sorted(one[0] for one in found) == ["day_altered", "day_altered", "hour_altered"]
    assert [one[1:] for one in found if one[0] == "hour_altered"] == [
        ("2026-11-22T10 ai-tokens tests one pro", 8, 9)
    ]


async def test_books_that_do_not_close_are_found(busy: Context):
    """More is held than is counted: what is used would be below nothing."""
    await sent(busy, "HSET", counter(), f"{TOKENS}:i:r", 99_999)
    found = {one[0]: one for one in await looked(busy, "acme")}
    assert found["books_open"][1].startswith("ai-tokens included ")
    assert set(found) == {"books_open", "counter_altered"}


async def test_levels_and_their_values_are_looked_at_too(context: Context, publish, example_files):
    await publish(test_meters.leveled(example_files))
    await flush.run(worker(context), NOW)  # opens the shards
    await ledger.subscribed(context, "acme", "free")
    await statuses(context, test_meters.seats(1, 4), test_meters.seats(2, 12))
    await statuses(context, *(test_meters.user(n, name) for n, name in enumerate(("ada", "bob", "ada"))))
    await flush_all(context)
    await statuses(context, test_meters.seats(3, 13), test_meters.user(9, "cyd"))
    assert await looked(context, "acme") == []
    values = keyspace.values_window(ledger.month(), test_meters.USERS)
    await sent(context, "HINCRBY", counter(values), keyspace.value_field("ada"), 1)
    await sent(context, "HINCRBY", counter(), "seats:n", -1)
    assert [one[:2] for one in await looked(context, "acme")] == [
        ("counter_altered", f"{ledger.month()} seats:n"),
        ("counter_altered", f"{values} {keyspace.value_field('ada')}"),
    ]


async def test_what_a_correction_still_owes_is_no_drift(busy: Context):
    await statuses(busy, event(20, 10))
    await flush_all(busy)
    marks = (await busy.counters.link.send([("KEYS", "d:*")])).values[0]
    await sent(busy, "DEL", *marks)
    await statuses(busy, event(20, 10))
    assert await looked(busy) == []
    assert (await flush_all(busy)).duplicates == 1
    assert await looked(busy) == []
    waiting = await _waiting(busy)
    await busy.counters.correct(SHARD, waiting)  # and its commit is still to come
    assert await looked(busy) == []
    await corrections.apply_corrections(busy.pool, busy.counters)
    assert await looked(busy) == []


async def _waiting(context: Context) -> list[corrections.Correction]:
    async with postgres.transaction(context.pool) as connection:
        return await postgres.rows(
            connection, b"select * from counter_corrections", {}, corrections.Correction
        )


# --- two looks ------------------------------------------------------------------------------------------


async def test_one_look_suspects_a_second_one_a_minute_later_opens_and_a_third_ends(busy: Context):
    await sent(busy, "HINCRBY", counter(), f"{TOKENS}:x", 5)
    _, first = await books.look(busy, ["acme"], now=NOW)
    assert [(one.state, one.looks) for one in first.suspected] == [("suspected", 1)]
    assert (await books.listed(busy)).items == []
    _, early = await books.look(busy, ["acme"], now=NOW + timedelta(seconds=30))
    assert [(one.state, one.looks) for one in early.suspected] == [("suspected", 1)]
    _, second = await books.look(busy, ["acme"], now=NOW + SECOND)
    assert [(one.state, one.looks, one.first_seen_at) for one in second.opened] == [("open", 2, NOW)]
    await statuses(busy, event(30, 6))  # both sides go on; the difference stays
    _, third = await books.look(busy, ["acme"], now=NOW + 2 * SECOND)
    assert (third.opened, [(one.looks, one.actual) for one in third.open]) == ((), [(3, 1_142)])
    await sent(busy, "HINCRBY", counter(), f"{TOKENS}:x", -5)
    _, last = await books.look(busy, ["acme"], now=NOW + 3 * SECOND)
    assert (last.open, last.gone) == ((), 1)
    (gone,) = (await books.listed(busy, all_=True)).items
    assert (gone.state, gone.gone_at) == ("gone", NOW + 3 * SECOND)
    await housekeep.run(worker(busy), NOW + timedelta(days=limits.DRIFT_DAYS, hours=1))
    assert (await books.listed(busy, all_=True)).items == []


async def test_what_a_second_look_does_not_find_or_finds_otherwise_was_no_drift_yet(busy: Context):
    await sent(busy, "HINCRBY", counter(), f"{TOKENS}:x", 5)
    await books.look(busy, ["acme"], now=NOW)
    await sent(busy, "HINCRBY", counter(), f"{TOKENS}:x", 1)
    _, second = await books.look(busy, ["acme"], now=NOW + SECOND)
    assert [(one.looks, one.first_seen_at) for one in second.suspected] == [(1, NOW + SECOND)]
    await sent(busy, "HINCRBY", counter(), f"{TOKENS}:x", -6)
    _, third = await books.look(busy, ["acme"], now=NOW + 2 * SECOND)
    assert (third.passed, third.open) == (1, ())
    assert (await books.listed(busy, all_=True)).items == []


# --- nothing can be said --------------------------------------------------------------------------------


async def test_a_closed_shard_and_a_flush_that_is_behind_are_said_and_change_nothing(
    busy: Context, monkeypatch
):
    await sent(busy, "HINCRBY", counter(), f"{TOKENS}:x", 5)
    await looked(busy, "acme")
    monkeypatch.setattr(limits, "BOOKS_ENTRIES", 0)
    found, kept = await books.look(busy, ["acme"], now=NOW + 2 * SECOND)
    assert ("flush is behind" in found.unsure["acme"], kept.gone) == (True, 0)
    monkeypatch.undo()
    await sent(busy, "DEL", keyspace.fence(SHARD))
    found, kept = await books.look(busy, ["acme"], now=NOW + 2 * SECOND)
    assert (found.unsure["acme"], kept.gone) == (
        f"shard {SHARD} is closed until a worker has certified it",
        0,
    )
    assert len((await books.listed(busy)).items) == 1


async def test_a_rebuild_leaves_nothing_that_differs(busy: Context):
    await sent(busy, "HINCRBY", counter(), f"{TOKENS}:x", 5)
    assert len(await looked(busy)) == 1
    await flush_all(busy)
    await busy.counters.link.send([("FLUSHALL",)])
    await flush.run(worker(busy), NOW)
    assert await looked(busy, now=NOW + 2 * SECOND) == []


async def test_counters_that_nobody_may_touch_any_more_may_be_gone_or_not(busy: Context):
    """That of a cap is not put back after its day; Postgres lets go of sums before Redis of a window."""
    await flush_all(busy)
    today = f"d.{int(NOW.replace(hour=0).timestamp())}"
    await sent(busy, "HDEL", counter(today, "capped"), f"{TOKENS}:c")
    assert [one[0] for one in await looked(busy, "capped")] == ["counter_missing"]
    assert await looked(busy, "capped", now=NOW + timedelta(days=3)) == []
    await sent(busy, "HSET", counter(today, "capped"), f"{TOKENS}:x", 3)
    await sql(busy, f"delete from usage_counters where time_window = '{today}'")
    for days, number in ((3, 2), (42, 0)):
        found, _ = await books.look(
            busy, ["capped"], now=NOW + timedelta(days=days), windows=[("capped", today)]
        )
        assert sum(one.kind == "counter_foreign" for one in found.drifts) == number


# --- going through all of it ----------------------------------------------------------------------------


async def test_the_job_goes_through_all_shards_and_all_names_and_finds_what_no_tenant_has(busy: Context):
    """A window that Postgres has no sum of is found by its name in Redis."""
    await sent(busy, "HSET", counter("m.1794000000"), "ai-tokens:i", 3)
    context, now = worker(busy), NOW
    for _ in range(12):
        await job.run(context, now)
    assert (await books.listed(busy)).looked_through == NOW
    assert await job.run(context, now + timedelta(seconds=1)) == ""
    said = await job.run(context, now + SECOND)
    (found,) = (await books.listed(busy)).items
    assert said == f"drift: {found.drift_id}"
    assert (found.kind, found.subject, found.actual) == ("counter_foreign", "m.1794000000 ai-tokens:i", 3)
    async with postgres.transaction(busy.pool) as connection:
        parts = await postgres.scalars(
            connection, b"select count(*) from books_rounds where tried_at > %(now)s", {"now": now}
        )
    assert parts == [0]  # all rest, within the hour
    text = await _metrics(busy)
    assert 'metergate_drift_open{class="counter_foreign"} 1.0' in text
    assert 'metergate_drift_open{class="hold_missing"} 0.0' in text
    assert "metergate_books_age_seconds 0.0" in text


async def _metrics(context: Context) -> list[str]:
    """What a process says of itself; it has the time of the test."""
    app = make_app(context=context)
    app.state.context = context
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://metergate") as client:
        return (await client.get("/metrics")).text.splitlines()


async def test_a_part_with_many_tenants_goes_on_where_it_stopped(counting: Context, monkeypatch):
    monkeypatch.setattr(limits, "BOOKS_PAGE", 1)
    others = [name for name in map("t{}".format, range(2_000)) if keyspace.shard_of(name) == SHARD][:3]
    for name in others:
        await ledger.subscribed(counting, name, "free")
    part = rounds.Part(f"s{SHARD:03}", "")
    pages = []
    while True:
        page = await books._page(counting, part, NOW)
        pages += page.tenants
        if not page.after:
            break
        part = msgspec.structs.replace(part, after=page.after)
    assert pages == sorted(["acme", *others])


async def test_a_large_window_is_looked_at_in_parts(busy: Context, monkeypatch):
    monkeypatch.setattr(limits, "BOOKS_FIELDS", 2)
    assert await looked(busy) == []
    await sent(busy, "HINCRBY", counter(), f"{TOKENS}:x", 5)
    assert [one[:2] for one in await looked(busy)] == [("counter_altered", f"{ledger.month()} ai-tokens:x")]


# --- while others write ---------------------------------------------------------------------------------


async def test_constant_traffic_gives_no_difference_at_any_single_look(busy: Context, config, clock):
    """On other connections all acts go on, and the flush with its corrections."""
    stop = asyncio.Event()
    async with wiring.open_context(config, clock, PATIENT) as other:
        await other.catalogs.refresh()

        async def again(act) -> None:
            while not stop.is_set():
                await act()

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for act in (_Recorder(other, 1_000), _Recorder(other, 200_000), _Holder(other)):
                group.create_task(again(act))
            group.create_task(again(partial(flush.run, worker(other), NOW)))
            whole = 0
            for number in range(25):
                found, kept = await books.look(busy, ["acme", "capped"], now=NOW + number * SECOND)
                assert not kept.suspected, kept.suspected
                whole += len(found.looked)
            stop.set()
    assert whole >= 40


class _Recorder:
    """Records some events, twice, late and in time, and uses some."""

    def __init__(self, context: Context, first: int) -> None:
        self.context, self.number, self.chance = context, first, random.Random(first)

    async def __call__(self) -> None:
        self.number += 1
        number, tenant_id = self.number, self.chance.choice(("acme", "capped"))
        fields = {"tenant_id": tenant_id} | ({"entity_id": "one"} if tenant_id == "capped" else {})
        late = {"timestamp": NOW - timedelta(days=20)} if number % 3 == 0 else {}
        sent = [event(10 * number + n, 3, **fields, **late) for n in range(3)]
        await statuses(self.context, *sent, sent[0])
        await use(self.context, number, 2, **fields)


class _Holder:
    """Holds some units and settles for more or fewer, and others that expire."""

    def __init__(self, context: Context) -> None:
        self.context, self.number = context, 10_000

    async def __call__(self) -> None:
        self.number += 2
        name = await self._held(self.number)
        await reservations.settle(self.context, Told(name, None), self.number % 9)
        await self._held(self.number + 1)
        await expire.run(worker(self.context), NOW + timedelta(minutes=5))

    async def _held(self, number: int) -> str:
        wanted = Wanted(
            event_id=f"w{number}",
            tenant_id="capped",
            service_id="tests",
            feature_id=TOKENS,
            quantity=5,
            seconds=60,
        )
        given = await reserve.reserve(self.context, wanted)
        assert given.reservation_id is not None
        return given.reservation_id
