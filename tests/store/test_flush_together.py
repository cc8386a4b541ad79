"""Several flushers and senders at once: nobody leads, nothing is counted twice, nothing is left behind."""

import asyncio
from datetime import datetime, timedelta

import pytest

from policies import limits
from service.context import Context
from store import flush, keyspace
from store.link import Link
from tests.conftest import NOW, PATIENCE_S
from tests.store import ledger
from tests.store.ledger import event, levels, statuses, stored

TENANTS = 12
EVENTS = 60


@pytest.fixture
async def links(counting: Context, redis_url: str):
    opened = [Link(redis_url, timeout_s=PATIENCE_S) for _ in range(3)]
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
    kept = [
        *await asyncio.gather(*flushers),
        await flush_on(links[0]),
    ]  # what one left to another that left it
    assert sum(kept) == TENANTS * EVENTS
    for number in range(TENANTS):
        expected = EVENTS * (number + 1)
        assert await stored(counting, f"t{number}") == (EVENTS, expected)
        assert await levels(counting, f"t{number}") == (expected, 0, 0)


async def test_what_is_trimmed_was_committed_long_ago(counting: Context):
    """Not written long ago: after an outage old entries are committed late, and a restore needs them."""
    shard = keyspace.shard_of("acme")
    link, delay = counting.counters.link, timedelta(seconds=limits.TRIM_DELAY_S)

    async def length_after_trim(at: datetime) -> int:
        await flush.trim(counting.pool, link, now=at)
        return (await link.send([("XLEN", keyspace.journal(shard))])).values[0]

    await statuses(counting, event(1))
    await statuses(counting, event(2))
    far = NOW + timedelta(days=9)
    assert await length_after_trim(far) == 2, "not committed, so not dropped, however old"
    await flush.flush_once(counting.pool, link, now=far)
    assert await length_after_trim(far + delay) == 2, "seen as committed for the first time"
    await statuses(counting, event(3))
    assert await length_after_trim(far + 1.9 * delay) == 3
    assert await length_after_trim(far + 2 * delay) == 2, "the entry at the mark stays, and the one past it"
    assert (await flush.flush_once(counting.pool, link, now=far)).events == 1
    assert await stored(counting) == (3, 30)
