"""A process that is told to end does so, whatever it was waiting for."""

import asyncio

import msgspec

from service import wiring
from store import postgres


async def test_it_ends_while_it_waits_for_a_connection_that_comes_at_that_very_moment(config, clock):
    """Then asyncio.wait_for gives the connection and forgets that it was cancelled."""
    one = msgspec.structs.replace(config, postgres_connections=1)
    async with asyncio.timeout(20):
        async with wiring.open_context(one, clock) as context, postgres.transaction(context.pool):
            # What waits then is the look at which catalog is active.
            while not context.pool.get_stats().get("requests_waiting"):  # noqa: ASYNC110 - the pool has no event
                await asyncio.sleep(0.01)
    assert context.pool.closed


async def test_a_statement_that_takes_long_is_no_server_that_hangs(config):
    pool = await postgres.open_pool(config.database_url, size=1, answer_s=0.05)
    try:
        async with postgres.transaction(pool) as connection:
            await connection.execute(b"select pg_sleep(0.4)")
        assert not pool.heartbeat.away
    finally:
        await pool.close()
