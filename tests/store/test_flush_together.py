"""Several flushers and senders at once: nobody leads, nothing is counted twice, nothing is left behind."""

import asyncio

import pytest

from policies import limits
from service.context import Context
from store import flush, keyspace
from store.link import Link
from tests.conftest import NOW
from tests.store import ledger
from tests.store.ledger import event, levels, statuses, stored

TENANTS = 12
EVENTS = 60


@pytest.fixture
async def links(counting: Context, redis_url: str):
    opened = [Link(redis_url) for _ in range(3)]
    yield opened
    for link in opened:
        await link.close()


async def test_three_flushers_and_many_senders(counting: Context, links: list[Link]):
    for number in range(TENANTS):
        await ledger.subscribed(counting, f"t{number}", "free")
    sent = asyncio.Event()

    async def send(number: int) -> None:
        """Each event twice, in between those of others."""
        for place in range(EVENTS):
            one = event(place, number + 1, tenant_id=f"t{number}")
            assert await statuses(counting, one) == ["accepted"]
            assert await statuses(counting, one) == ["duplicate"]

    async def flush_on(link: Link) -> int:
        kept = 0
        while True:
            last = sent.is_set()
            flushed = await flush.flush_once(counting.pool, link, now=NOW)
            kept += flushed.events
            if last and not flushed.more:
                return kept

    flushers = [asyncio.create_task(flush_on(link)) for link in links]
    await asyncio.gather(*(send(number) for number in range(TENANTS)))
    sent.set()
    kept = await asyncio.gather(*flushers)
    assert sum(kept) == TENANTS * EVENTS
    for number in range(TENANTS):
        expected = EVENTS * (number + 1)
        assert await stored(counting, f"t{number}") == (EVENTS, expected)
        assert await levels(counting, f"t{number}") == (expected, 0, 0)


async def test_what_is_trimmed_is_behind_the_cursor_and_old(counting: Context):
    await statuses(counting, event(1))
    await statuses(counting, event(2))
    shard = keyspace.shard_of("acme")

    async def length() -> int:
        return (await counting.counters.link.send([("XLEN", keyspace.journal(shard))])).values[0]

    later = NOW.replace(year=2100)  # every entry is old enough then
    await flush.trim(counting.pool, counting.counters.link, now=later)
    assert await length() == 2, "not flushed, so not dropped, however old"
    await flush.flush_once(counting.pool, counting.counters.link, now=NOW)
    await flush.trim(counting.pool, counting.counters.link, now=NOW.replace(year=2000))
    assert await length() == 2, "flushed, but not old"
    await statuses(counting, event(3))
    await flush.trim(counting.pool, counting.counters.link, now=later)
    assert await length() == 2, "the entry at the cursor stays, and the one past it"
    await flush.flush_once(counting.pool, counting.counters.link, now=NOW)
    await flush.trim(counting.pool, counting.counters.link, now=later)
    assert await length() == 1
    assert await stored(counting) == (3, 30)
    assert limits.TRIM_DELAY_S == 900
