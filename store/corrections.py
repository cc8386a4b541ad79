"""Corrections: counters come down again for what the flush found to be duplicates, each exactly once."""

from store import postgres, queries
from store.counters import Correction, Counters
from store.crash_points import crash_point
from store.link import RedisAwayError
from store.reading import FenceClosedError

sql = queries.Queries("flush")


async def apply_corrections(pool: postgres.Pool, counters: Counters) -> int:
    """Takes back what is waiting, shard by shard; tells how many.

    The shard's cursor is locked meanwhile, so that no rebuild happens in between; should this process hang
    and lose its lock, the run of the server says that there was one. A crash between the script and the
    commit repeats the script, which knows its ids. A shard that is closed needs none: the certification that
    comes next makes them needless.
    Errors: UnavailableError; RedisAwayError, after those shards whose server is there.
    """
    async with postgres.transaction(pool) as connection:
        shards = await postgres.scalars(connection, sql.corrections_waiting, {})
    applied, away = 0, None
    for shard in shards:
        try:
            applied += await _apply(pool, counters, shard)
        except FenceClosedError:
            continue
        except RedisAwayError as error:
            away = error
    if away is not None:
        raise away
    return applied


async def _apply(pool: postgres.Pool, counters: Counters, shard: int) -> int:
    async with postgres.transaction(pool) as connection:
        params = {"shards": [shard]}
        if not await postgres.scalars(connection, sql.lock_cursors, params):
            return 0
        run_id = await counters.run_of(shard)
        waiting = await postgres.rows(connection, sql.pending_corrections, params, Correction)
        crash_point("correction-waiting")
        await counters.correct(shard, waiting, run_id=run_id)
        crash_point("correction-sent")
        ids = [correction.correction_id for correction in waiting]
        return await postgres.execute(connection, sql.delete_corrections, {"ids": ids})
