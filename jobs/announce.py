"""Tells Redis the snapshot versions and the active catalog again, so that no worker keeps an old right.

The announcement that follows a change may be lost; so may what Redis was told.
"""

from datetime import datetime

from jobs.context import JobContext
from store import catalogs, postgres


async def run(context: JobContext, now: datetime) -> str:
    """Says them again; idempotent, since a version never goes back and Postgres says what is active.

    Errors: UnavailableError, RedisAwayError.
    """
    del now
    told = await context.snapshots.say_again()
    done = [f"{told} versions"] if told else []
    if await _name_active_catalog(context):
        done.append("the active catalog")
    return ", ".join(done)


async def _name_active_catalog(context: JobContext) -> bool:
    async with postgres.transaction(context.pool) as connection:
        active = await catalogs.read_active_hash(connection)
    if active is None or await context.counters.active_catalog() == active:
        return False
    async with postgres.transaction(context.pool) as connection:
        await catalogs.lock_activations(connection)  # no other becomes active between reading and saying it
        active = await catalogs.read_active_hash(connection)
        assert active is not None, "what was active may be followed by another, never by none"
        await context.counters.set_active_catalog(active)
    return True
