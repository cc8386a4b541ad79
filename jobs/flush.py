"""Brings the journal over to Postgres, after certifying a server that is new; then takes back duplicates."""

from datetime import datetime

from jobs.context import JobContext
from store import certify, corrections, flush, incidents
from store.reading import FenceClosedError


async def run(context: JobContext, now: datetime) -> str:
    """Flushes until nothing is left; says what it did, or nothing.

    Errors: UnavailableError, RedisAwayError; it is right to run it again.
    """
    opened = await certify.certify(
        context.pool, context.link, now=now, rewrite=not context.config.redis_config_forbidden
    )
    done: list[str] = [f"opened {len(opened)} shards"] if opened else []
    total = await flush.flush_all(context.pool, context.link, now=context.clock.now)
    await _make_room(context, now)
    await incidents.tell_tips(context.pool, context.link.tips, now=now)
    if total.entries:
        done.append(f"{total.events} events of {total.entries} entries, {total.duplicates} duplicates")
    if total.quarantined:
        done.append(f"{total.quarantined} damaged entries set aside")
    try:
        applied = await corrections.apply_corrections(context.pool, context.counters)
    except FenceClosedError:
        applied = 0  # the certification that comes next makes them needless
    if applied:
        done.append(f"{applied} corrections")
    return ", ".join(done)


async def _make_room(context: JobContext, now: datetime) -> None:
    """Entries that have been brought over stay for a while, so that a restore of Postgres loses no usage.

    Not while the journal is nearly full: then they go at once, and senders need not wait for that while.
    """
    pressure = context.uses.pressure
    await pressure.measure()
    if pressure.full:
        await flush.trim(context.pool, context.link, now=now, delay_s=0)
