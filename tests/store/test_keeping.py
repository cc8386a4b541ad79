"""What the flush makes of acts: rows as they were sent, sums as each act says, ids looked up one by one."""

import hashlib
import random
import uuid
from collections import Counter
from datetime import date, datetime, timedelta
from typing import get_args

import msgspec
import psycopg
import pytest

from policies import errors, limits
from policies.rollover import SEALED
from service.context import Context
from store import copying, flush, journal, keeping, keyspace, partitions, postgres, quarantine, rows, sums
from store.accounts import CapMove, GrantBucket
from store.journal import Decided, Draw, JournalEvent, Kind, Rise
from store.staging import Staged
from tests.conftest import NOW
from tests.store import ledger
from tests.store.ledger import event, flush_all, levels, statuses, stored

AT = journal.microseconds(NOW)
SIGNS = "a\tb\nc\r\\N\\.\x01é€\U0001f600"
"""What a format of text would have to mark."""
GRANT = GrantBucket("g.0", "g-1", 0)
SOME = Draw(1, 2, 3, ((GRANT, 4),), ((202610, 5),))


ONE = Draw(1, 0, 0)


def act(number: int = 1, *, draw: Draw = ONE, levels: tuple[int, ...] = (), **said) -> Staged:
    made = {
        "kind": "record",
        "tenant_id": "acme",
        "service_id": "tests",
        "event_id": f"e{number}",
        "feature_id": ledger.TOKENS,
        "entity_id": "",
        "plan_id": "free",
        "quantity": 10,
        "measured": 10,
        "event_at": AT,
        "accepted_at": AT + 1,
        "window": "m.1",
        "ends": 100,
        "caps": (),
        "digest": number.to_bytes(16),
        "fingerprint": -7,
        "properties": None,
    }
    return Staged(1, f"{number}-0", 0, JournalEvent(**(made | said)), draw, levels)


async def keep(context: Context, *acts: Staged, now: datetime = NOW) -> list[Staged]:
    """Those that were there already."""
    async with postgres.transaction(context.pool) as connection:
        return await keeping.store(connection, acts, now=now)


# --- rows ---------------------------------------------------------------------------------------------


async def test_an_event_is_kept_as_it_was_sent(counting: Context):
    """All that it has, with every sign and up to every bound."""
    decided = Decided("d-1", "hash", {"region": SIGNS})
    whole = act(
        1,
        draw=SOME,
        levels=(1, 2),
        service_id=SIGNS,
        event_id=SIGNS,
        entity_id=SIGNS,
        quantity=limits.QUANTITY_MAX,
        measured=limits.QUANTITY_MAX,
        fingerprint=2**31 - 1,
        event_at=AT + 123_456,
        properties={"say": SIGNS},
        decided=decided,
    )
    settled = act(2, kind="settle", reservation=b"r" * 16, quantity=0, measured=0, plan_id="", window="")
    assert await keep(counting, whole, settled) == []
    async with postgres.transaction(counting.pool) as connection:
        cursor = await connection.execute(b"select * from usage_events order by digest")
        names = [column.name for column in cursor.description or ()]
        kept = [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]
        keys = await postgres.scalars(connection, b"select fingerprint from usage_keys order by digest", {})
        query = b"select array[service_id, entity_id] from usage_hourly order by quantity desc"
        summed = await postgres.scalars(connection, query, {})
    said = {
        "tenant_id": "acme",
        "service_id": SIGNS,
        "event_id": SIGNS,
        "feature_id": ledger.TOKENS,
        "entity_id": SIGNS,
        "plan_id": "free",
        "time_window": "m.1",
        "digest": uuid.UUID(int=1),
        "event_at": NOW + timedelta(microseconds=123_456),
        "accepted_at": NOW + timedelta(microseconds=1),
        "quantity": limits.QUANTITY_MAX,
        "measured": limits.QUANTITY_MAX,
        "drawn_included": 1,
        "drawn_overage": 2,
        "drawn_excess": 3,
        "drawn_grants": {"g-1": 4},
        "drawn_rollover": {"202610": 5},
        "properties": {"say": SIGNS},
        "decided": {"decisionId": "d-1", "catalog": "hash", "context": {"region": SIGNS}, "levels": [1, 2]},
        "revision": 1,
        "voided": False,
    }
    assert kept[0] == said
    assert kept[1]["digest"] == uuid.UUID(bytes=b"r" * 16), "callers name it by its reserve"
    assert [kept[1][name] for name in ("drawn_grants", "drawn_rollover", "properties", "decided")] == 4 * [
        None
    ]
    assert keys == [2**31 - 1, -7]
    assert summed == [[SIGNS, SIGNS], ["tests", ""]]


async def test_what_no_row_can_have_is_put_aside_alone(counting: Context):
    """An entry of the shard that says such a thing, between two that do not."""
    shard, link = keyspace.shard_of("acme"), counting.counters.link
    for number, said in enumerate(
        ({}, {"fingerprint": 2**31}, {"digest": b"short"}, {"quantity": 2**63}, {})
    ):
        item = act(number, **said)
        blob = msgspec.msgpack.encode([[item.event, item.draw, []]])
        digest = hashlib.sha1(blob, usedforsecurity=False).hexdigest()
        words = ("n", 1, "b", blob, "x", digest, "s", number + 1)
        await link.send([("XADD", keyspace.journal(shard), f"{number + 1}-0", *words)])
    flushed = await flush_all(counting)
    assert (flushed.events, flushed.quarantined) == (2, 3)
    assert await stored(counting) == (2, 20)
    async with postgres.transaction(counting.pool) as connection:
        aside = await quarantine.listed(connection, ended=False, limit=10)
    assert [("bound" in one.reason, "digest has 5" in one.reason) for one in aside].count((False, False)) == 0


def test_an_id_is_neither_cut_nor_filled_up():
    """Of an act that is no event it is all that is kept."""
    with pytest.raises(psycopg.DataError, match="15 bytes"):
        list(rows.keys([act(1, kind="release", digest=b"d" * 15)]))


# --- sums ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(15))
def test_counters_are_the_sum_of_what_each_act_says(seed: int):
    """Plain acts are summed up faster (law 7)."""
    chance = random.Random(seed)
    acts = [_any_act(number, chance) for number in range(60)]
    amounts: Counter[tuple[str, str, str]] = Counter()
    ends: dict[tuple[str, str, str], set[int]] = {}
    for item in acts:
        for move in item.moves():
            key = (item.event.tenant_id, move.window, move.field)
            amounts[key] += move.amount
            ends.setdefault(key, set()).add(move.ends)
    wanted = {copying.line([*key, str(amounts[key]), _latest(found)]) for key, found in ends.items()}
    found = sums.counters(acts)
    assert len(found) == len(wanted)
    assert set(found) == wanted
    assert any(item.is_plain for item in acts)
    assert not all(item.is_plain for item in acts)


def _latest(ends: set[int]) -> str:
    return "infinity" if 0 in ends else copying.instant(max(ends) * 1_000_000)


def _any_act(number: int, chance: random.Random) -> Staged:
    """One of any kind, of few tenants and windows, so that they meet."""
    kind = chance.choice(("record", "consume", *get_args(Kind)))
    ends = chance.choice((0, 100, 200))
    caps = [
        CapMove("d.1", f"f:{name}", chance.choice((0, 50, 60))) for name in chance.choice(("", "c", "ce"))
    ]
    low = 0 if kind in ("record", "consume") else -5
    draw = Draw(*(chance.choice((0, chance.randint(low, 9))) for _ in range(3)))
    grants, rollover = (((GRANT, 4),), ()), ((), ((202610, 5),))
    if chance.random() < 0.2:
        draw = Draw(draw.included, draw.overage, draw.excess, *chance.choice((grants, rollover)))
    return act(
        number,
        draw=draw,
        kind=kind,
        tenant_id=chance.choice("ab"),
        feature_id=chance.choice("fg"),
        window=chance.choice(("m.1", "m.2")),
        ends=ends,
        measured=chance.choice((0, 3)),
        caps=tuple(caps),
        held=SOME if kind in ("settle", "release", "expire") else None,
        rise=Rise(chance.choice(("", "v"))) if chance.random() < 0.2 else None,
        late=chance.choice((0, 0, 0, 1, SEALED)),
    )


async def test_sums_by_the_hour_keep_apart_what_differs(counting: Context):
    """The same use but for one thing: the hour, who, where, what, under which plan; and what is no use."""
    hour = sums.HOUR
    apart = (
        {},
        {"event_at": AT + hour},
        {"service_id": "b"},
        {"entity_id": "b"},
        {"feature_id": "b"},
        {"plan_id": "b"},
        {"tenant_id": "b"},
    )
    acts = [act(number, measured=1 + number, **said) for number, said in enumerate((*apart, {}))]
    acts.append(act(99, kind="void", measured=-1))
    await keep(counting, *acts)
    async with postgres.transaction(counting.pool) as connection:
        query = b"select quantity::int from usage_hourly order by 1"
        assert await postgres.scalars(connection, query, {}) == [2, 3, 4, 5, 6, 7, 9]
        query = b"select quantity::int from usage_daily order by 1"
        assert await postgres.scalars(connection, query, {}) == [3, 4, 5, 6, 7, 11]


# --- ids ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "came", [(60,), (0,), (-40,), (60, 0, -40)], ids=["months ago", "this month", "months ahead", "whenever"]
)
async def test_of_a_batch_only_what_was_there_is_left_out(counting: Context, came: tuple[int, ...]):
    """Its ids, its events, its sums; `came` are the days since those came that are known."""
    for place, days in enumerate(came):
        await keep(counting, act(place), now=NOW - timedelta(days=days))
    batch = [act(number) for number in range(8)]
    stale = await keep(counting, *batch)
    assert [item.event.event_id for item in stale] == [f"e{place}" for place in range(len(came))]
    assert await stored(counting) == (8, 80)
    async with postgres.transaction(counting.pool) as connection:
        counted = await postgres.scalars(connection, b"select used from usage_counters", {})
        ids = await postgres.scalars(connection, b"select count(*) from usage_keys", {})
    assert (counted, ids) == ([8], [8])


@pytest.mark.parametrize("known", [1, 4_000])
async def test_ids_are_looked_up_one_by_one_however_many_there_are(counting: Context, known: int):
    """Where the planner reads or sorts a whole month, a flush takes longer with every event ever kept.

    A plan that was made for a small table is used while it grows.
    """
    months = [date(2026, 9, 1), date(2026, 10, 1), date(2026, 11, 1)]
    params = {"month": months[-1], "following": date(2026, 12, 1), "horizon": months[0]}
    plans = {}
    async with postgres.transaction(counting.pool) as connection:
        await partitions.ensure(connection, {("usage_keys", month) for month in months})
        await connection.execute(
            b"insert into usage_keys select 't' || n %% 9, gen_random_uuid(), m, 1, now() "
            b"from generate_series(1, %s) n, unnest(%s::date[]) m",
            [known, months],
        )
        await connection.execute(b"analyze usage_keys")
        await connection.execute(flush.sql.make_staging)
        await connection.execute(
            b"insert into staged_keys select n, 't' || n % 9, 'f', gen_random_uuid(), 1, now() "
            b"from generate_series(1, 4000) n"
        )
        for query in ("insert_new_keys", "insert_keys"):
            cursor = await connection.execute(b"explain (costs off) " + getattr(flush.sql, query), params)
            plans[query] = [row[0] for row in await cursor.fetchall()]
    for query, plan in plans.items():
        assert not [line for line in plan if "Cond:" in line and " = k" in line], "ids are joined"
        assert not [line for line in plan if "Seq Scan on usage_keys" in line]
        looked_into = {
            month for month in ("2026_09", "2026_11") if any(f"{month}_pkey" in line for line in plan)
        }
        also = {"2026_11"} if query == "insert_keys" else set()  # else its index refuses by itself
        assert looked_into == {"2026_09"} | also


# --- two at a time ------------------------------------------------------------------------------------


async def test_a_flusher_that_is_behind_brings_all_of_it_over(counting: Context, monkeypatch):
    """By many transactions, two of them side by side; nothing is left, and nothing comes twice."""
    monkeypatch.setattr(limits, "FLUSH_EVENTS", 3)
    names = [f"t{number}" for number in range(4)]
    for name in names:
        await ledger.subscribed(counting, name, "free")
    for number in range(6):
        await statuses(counting, *(event(number, tenant_id=name) for name in names))
    flushed = await flush.flush_all(counting.pool, counting.counters.link, now=lambda: NOW)
    assert (flushed.events, flushed.duplicates, flushed.more) == (24, 0, False)
    for name in names:
        assert (await stored(counting, name), await levels(counting, name)) == ((6, 60), (60, 0, 0))


async def test_what_one_of_two_cannot_keep_is_said_after_the_other_is_done(counting: Context, monkeypatch):
    monkeypatch.setattr(limits, "FLUSH_EVENTS", 1)
    await ledger.subscribed(counting, "initech", "free")
    assert {keyspace.shard_of(name) % flush.LANES for name in ("acme", "initech")} == {0, 1}
    for number in range(4):
        await statuses(counting, event(number), event(number, tenant_id="initech"))
    async with postgres.transaction(counting.pool) as connection:
        await connection.execute(
            b"create function no() returns trigger language plpgsql as "
            b"$$ begin if new.tenant_id = 'acme' then raise query_canceled; end if; return new; end $$"
        )
        await connection.execute(
            b"create trigger no before insert on usage_events for each row when (new.event_id = 'e3') "
            b"execute function no()"
        )
    with pytest.raises(errors.UnavailableError):
        await flush.flush_all(counting.pool, counting.counters.link, now=lambda: NOW)
    assert await stored(counting, "initech") == (4, 40)
    assert (await stored(counting))[0] < 4
