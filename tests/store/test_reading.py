"""Reads of many callers share a round trip: each thing is read once, and never before it was asked for."""

import asyncio

import pytest

from service.context import Context
from store import keyspace
from store.link import _Commands
from store.reading import FenceClosedError, Want, packed
from tests.store import ledger
from tests.store.ledger import event, month, statuses

TOKENS = Want("acme", tuple((month(), keyspace.bucket_field("ai-tokens", bucket)) for bucket in "iox"))


async def calls(context: Context, command: str) -> int:
    """How often the server has run a command."""
    stats = (await context.counters.link.send([("INFO", "commandstats")])).values[0].decode()
    lines = [line for line in stats.splitlines() if line.startswith(f"cmdstat_{command}:")]
    return int(lines[0].partition("calls=")[2].partition(",")[0]) if lines else 0


async def test_callers_that_want_the_same_share_one_read(counting: Context):
    await statuses(counting, event(1, 40))
    before = await calls(counting, "hmget"), await calls(counting, "hget")
    alone = [counting.counters.read_one(TOKENS) for _ in range(16)]
    found = await asyncio.gather(*(counting.counters.read([TOKENS]) for _ in range(16)))
    assert {read.values for (read,) in found} == {(40, 0, 0)}
    assert {read.values for read in await asyncio.gather(*alone)} == {(40, 0, 0)}
    assert (await calls(counting, "hmget"), await calls(counting, "hget")) == (before[0] + 1, before[1] + 1)


async def test_a_read_comes_behind_what_was_sent_before_it(counting: Context):
    """It may share a trip with others, but only behind a write that this process began before."""
    version = (await counting.counters.read([TOKENS]))[0].snapshot_version
    first = counting.counters.read([TOKENS])
    key = keyspace.versions(keyspace.shard_of("acme"))
    counting.counters.link.enqueue(_Commands([("HSET", key, "acme", version + 7)], durable=False))
    second = counting.counters.read([TOKENS])
    (before,), (after,) = await asyncio.gather(first, second)
    assert (before.snapshot_version, after.snapshot_version) == (version, version + 7)


async def test_a_caller_that_gives_up_disturbs_nobody(counting: Context):
    first, second = counting.counters.read([TOKENS]), counting.counters.read([TOKENS])
    first.cancel()
    assert (await second)[0].values == (0, 0, 0)


async def test_a_closed_shard_closes_nobody_elses(counting: Context):
    await ledger.subscribed(counting, "other", "free")
    assert keyspace.shard_of("other") != keyspace.shard_of("acme")
    other = Want("other", TOKENS.fields)
    await counting.counters.link.send([("DEL", keyspace.fence(keyspace.shard_of("acme")))])
    mine, theirs, both = (counting.counters.read(wants) for wants in ([TOKENS], [other], [other, TOKENS]))
    alone, open_one = counting.counters.read_one(TOKENS), counting.counters.read_one(other)
    assert (await theirs)[0] == await open_one
    assert (await open_one).values == (0, 0, 0)
    for closed in (mine, both, alone):
        with pytest.raises(FenceClosedError):
            await closed


async def test_values_come_in_the_order_asked_however_the_windows_mix(counting: Context):
    await statuses(counting, event(1, 40))
    (_, included), (_, overage), _ = TOKENS.fields
    mixed = Want("acme", ((month(), overage), ("d.0", included), (month(), included), ("d.0", overage)))
    assert packed(mixed).windows == 2
    (found,) = await counting.counters.read([mixed])
    assert found.values == (0, 0, 40, 0)


async def test_a_tenant_that_redis_does_not_know_has_no_version(counting: Context):
    (found,) = await counting.counters.read([Want("nobody", ())])
    assert (found.snapshot_version, found.values) == (None, ())


async def test_a_read_names_the_active_catalog_as_redis_was_told(counting: Context):
    (before,) = await counting.counters.read([TOKENS])
    await counting.counters.set_active_catalog("sha256:abc")
    (after,) = await counting.counters.read([TOKENS])
    assert (before.catalog, after.catalog) == (None, "sha256:abc")
