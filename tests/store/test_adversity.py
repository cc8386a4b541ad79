"""Clocks that differ, restores, changes taken back, quantities without measure: no unit lost, none twice."""

from datetime import UTC, datetime, timedelta

import pytest

from policies import limits
from service.context import Context
from service.usecases import check, subscribe, tenants
from service.usecases.check import Check
from store import certify, fitness, flush, keyspace, postgres, quarantine
from store.guarding import Guard
from store.link import Link, RedisAwayError
from tests.conftest import NOW, PATIENCE_S
from tests.store import ledger
from tests.store.ledger import ORDER, event, flush_all, levels, statuses, stored

DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
BLINK = timedelta(milliseconds=50)


async def test_a_duplicate_across_a_months_edge_is_known_to_a_worker_whose_clock_is_behind(counting: Context):
    link = counting.counters.link
    await statuses(counting, event(1, 100))
    await flush.flush_once(counting.pool, link, now=DECEMBER + BLINK)
    await link.send([("DEL", *(await link.send([("KEYS", "d:*")])).values[0])])
    await statuses(counting, event(1, 100))
    flushed = await flush.flush_once(counting.pool, link, now=DECEMBER - BLINK)
    assert (flushed.events, flushed.duplicates) == (0, 1)
    assert await stored(counting) == (1, 100)


async def test_after_a_restore_of_postgres_a_tenant_can_report_again(counting: Context):
    """Redis remembers a snapshot version that Postgres has lost."""
    await counting.counters.raise_versions({"acme": 99})
    assert await statuses(counting, event(1, 100)) == ["accepted"]
    assert await levels(counting) == (100, 0, 0)


async def test_a_batch_of_which_a_part_is_stale_while_postgres_is_away_tells_that_part_alone_to_retry(
    counting: Context, config, clock
):
    """A refusal of the whole would make the sender repeat what was counted, under other made ids."""
    await ledger.subscribed(counting, "other", "free")
    await statuses(counting, event(1), event(1, tenant_id="other"))
    await counting.counters.raise_versions({"other": 99})
    await counting.pool.close()
    assert await statuses(counting, event(2), event(2, tenant_id="other")) == ["accepted", "retry"]


async def test_hours_without_measure_hold_nobody_back(counting: Context, publish, example_files):
    """Events that are too late for any counter have no counter's bound: their sum passes 64 bits."""
    await publish(daily(example_files))
    for tenant_id in ("vast", "small"):
        await ledger.subscribed(counting, tenant_id, "free")
    at = NOW - timedelta(hours=47)
    vast = [
        event(number, limits.QUANTITY_MAX, tenant_id="vast", timestamp=at - timedelta(days=1))
        for number in range(9_300)
    ]
    for start in range(0, len(vast), 3_100):
        assert set(await statuses(counting, *vast[start : start + 3_100])) == {"accepted"}
    assert await statuses(counting, event(1, 5, tenant_id="small")) == ["accepted"]
    while (await flush_all(counting)).more:
        pass
    assert await stored(counting, "small") == (1, 5)
    async with postgres.transaction(counting.pool) as connection:
        total = await postgres.scalars(
            connection, b"select sum(quantity)::text from usage_hourly where tenant_id = 'vast'", {}
        )
    assert total == [str(9_300 * limits.QUANTITY_MAX)]


async def test_a_change_that_was_taken_back_does_not_shorten_a_counters_life(
    counting: Context, publish, example_files, clock
):
    """A yearly allowance, cut by a scheduled change and made whole again, survives a rebuild next January."""
    await publish(yearly(example_files))
    link = counting.counters.link
    await ledger.subscribed(counting, "loyal", "free")
    await subscribe.change(counting, ORDER, "loyal", subscribe.Move(plan_id="pro", when="renewal"))
    assert await statuses(counting, event(1, 9_000, tenant_id="loyal")) == ["accepted"]
    await flush_all(counting)
    await subscribe.change(counting, ORDER, "loyal", subscribe.Move(plan_id="free", when="now"))
    clock.at = NOW + timedelta(days=70)
    assert await statuses(counting, event(2, 10, tenant_id="loyal")) == ["accepted"]
    await flush.flush_once(counting.pool, link, now=clock.at)
    await link.send([("FLUSHALL",)])
    await certify.certify(counting.pool, link, now=clock.at)
    asked = Check(tenant_id="loyal", feature_id=ledger.TOKENS, quantity=5_000)
    (decision,) = await check.check(counting, [asked])
    assert (decision.allowed, decision.usage) == (False, 9_010)


async def test_a_cap_does_not_shorten_the_life_of_the_quantity_beside_it(
    counting: Context, publish, example_files
):
    """Late events may draw from a month for 35 days after its end; a cap of that window shares its key."""
    text = example_files["plans/pro.yaml"].replace(
        "{limit: 100_000, interval: day}", "{limit: 900_000, interval: month}"
    )
    await publish(example_files | {"plans/pro.yaml": text})
    await tenants.put(counting, ORDER, "big", tenants.Wish(name="big"))
    first = datetime(2026, 11, 1, tzinfo=UTC)
    await subscribe.start(counting, ORDER, "big", subscribe.Wish(plan_id="pro", start_at=first))
    assert await statuses(counting, event(1, 500, tenant_id="big")) == ["accepted"]
    key = keyspace.counters(keyspace.shard_of("big"), "big", f"m.{int(first.timestamp())}")
    (life,) = (await counting.counters.link.send([("EXPIRETIME", key)])).values
    assert datetime.fromtimestamp(life, UTC) >= DECEMBER + timedelta(days=limits.EVENT_AGE_DAYS)


async def test_a_second_certifier_leaves_open_shards_alone(counting: Context, redis_url):
    """Its lock may be lost while it waits; what the first one opened holds usage that is in no sum yet."""
    await statuses(counting, event(1, 100))
    await flush_all(counting)
    link = counting.counters.link
    await link.send([("FLUSHALL",)])
    run_id, closed = await certify._closed(link, certify.ALL)
    assert len(await certify.certify(counting.pool, link, now=NOW)) == len(closed) == keyspace.SHARDS
    await statuses(counting, event(2, 40))
    await flush_all(counting)
    await statuses(counting, event(3, 2))
    second = Link(redis_url, timeout_s=PATIENCE_S)
    opened = await certify._rebuild(counting.pool, Guard(second), closed, run_id, now=NOW)
    await second.close()
    assert opened == []
    assert await levels(counting) == (142, 0, 0)


async def test_what_postgres_refuses_is_put_aside_and_keeps_nothing_closed(counting: Context):
    """After a restart: the entry goes to the quarantine whole, and its shard opens without it."""
    link = counting.counters.link
    refused, other = keyspace.shard_of("acme"), keyspace.shard_of("other")
    assert refused != other
    await ledger.subscribed(counting, "other", "free")
    await statuses(counting, event(1, 10), event(1, 20, tenant_id="other"))
    async with postgres.transaction(counting.pool) as connection:
        await connection.execute(b"alter table usage_keys add check (tenant_id <> 'acme')")
    await link.send([("DEL", keyspace.fence(shard)) for shard in (refused, other)])
    assert await certify.certify(counting.pool, link, now=NOW) == sorted((refused, other))
    assert (await stored(counting, "other"), await stored(counting)) == ((1, 20), (0, 0))
    assert await levels(counting) == (0, 0, 0)
    async with postgres.transaction(counting.pool) as connection:
        (aside,) = await quarantine.listed(connection, ended=False, limit=10)
    assert (aside.shard, len(aside.entry().events)) == (refused, 1)
    assert "usage_keys_tenant_id_check" in aside.reason


async def test_the_file_is_rewritten_once_for_each_run_of_the_server(counting: Context):
    async def rewritten() -> str:
        info = (await counting.counters.link.send([("INFO", "persistence")])).values[0]
        return fitness.parse_info(info.decode())["aof_rewrites"]

    first = await rewritten()
    await counting.counters.link.send([("DEL", keyspace.fence(7))])
    assert await certify.certify(counting.pool, counting.counters.link, now=NOW) == [7]
    assert await rewritten() == first
    commands = [("DEL", keyspace.fence(7)), ("SET", keyspace.rewritten(0), "another run")]
    await counting.counters.link.send(commands)
    assert await certify.certify(counting.pool, counting.counters.link, now=NOW) == [7]
    assert await rewritten() != first


async def test_a_shard_with_usage_that_is_not_in_postgres_yet_is_left_as_it_is(counting: Context):
    """Law 4: its counters are neither dropped nor put back; once the journal is flushed, it opens."""
    link = counting.counters.link
    shard = keyspace.shard_of("acme")
    await statuses(counting, event(1, 10))
    await link.send([("DEL", keyspace.fence(shard))])
    run_id, closed = await certify._closed(link, certify.ALL)
    keys = (await link.send([("KEYS", "c:*")])).values[0]
    before = (await link.send([("HGETALL", key) for key in keys])).values
    assert keys
    assert closed == [shard]
    assert await certify._rebuild(counting.pool, Guard(link), closed, run_id, now=NOW) == []
    assert (await link.send([("HGETALL", key) for key in keys])).values == before
    assert await certify.certify(counting.pool, link, now=NOW) == [shard]
    assert await levels(counting) == (10, 0, 0)


async def test_a_server_that_changes_while_it_is_certified_stays_closed(counting: Context):
    """The fence is written for the run that was rebuilt, so that another one does not believe it."""
    link = counting.counters.link
    await link.send([("DEL", keyspace.fence(keyspace.shard_of("acme")))])
    _, closed = await certify._closed(link, certify.ALL)
    with pytest.raises(RedisAwayError, match="changed"):
        await certify._rebuild(counting.pool, Guard(link), closed, "0" * 40, now=NOW)
    assert await certify.uncertified(link) == closed


def daily(files: dict[str, str]) -> dict[str, str]:
    return with_interval(files, "day")


def yearly(files: dict[str, str]) -> dict[str, str]:
    return with_interval(files, "year")


def with_interval(files: dict[str, str], interval: str) -> dict[str, str]:
    """The example catalog, with another interval for the tokens of the free plan."""
    head, tokens, rest = files["plans/free.yaml"].partition("  ai-tokens:")
    return files | {
        "plans/free.yaml": head + tokens + rest.replace("interval: month", f"interval: {interval}", 1)
    }
