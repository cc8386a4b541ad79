"""Brings the journal over to Postgres, after certifying a server that is new; then takes back duplicates."""

from datetime import datetime
from functools import partial

import msgspec

from jobs.context import JobContext
from store import certify, corrections, flush, incidents
from store.flush import Flushed
from store.nodes import Node


class Done(msgspec.Struct, frozen=True):
    """What was done on one server."""

    opened: int
    flushed: Flushed


async def run(context: JobContext, now: datetime) -> str:
    """Flushes every server until nothing is left; says what it did, or nothing.

    Errors: UnavailableError, RedisAwayError; it is right to run it again.
    """
    done, away = await context.lanes.run(context.link.nodes(), partial(_bring_over, context, now))
    await incidents.tell_tips(context.pool, context.link.tips, now=now)
    try:
        applied = await corrections.apply_corrections(context.pool, context.counters)
    finally:
        if away is not None:
            raise away
    return _told(done, applied)


async def _bring_over(context: JobContext, now: datetime, node: Node) -> Done:
    """Opens what is closed of a server's shards, and flushes them."""
    opened = await _certify(context, now, node)
    total = await flush.flush_all(context.pool, node.link, now=context.clock.now, shards=node.shards)
    await _make_room(context, now, node)
    return Done(opened, total)


async def _certify(context: JobContext, now: datetime, node: Node) -> int:
    if not await certify.uncertified(node.link, node.shards):
        return 0
    rewrite = not context.config.redis_config_forbidden
    async with context.lanes.alone:
        return len(await certify.certify(context.pool, node.link, now=now, rewrite=rewrite, of=node.shards))


async def _make_room(context: JobContext, now: datetime, node: Node) -> None:
    """Entries that have been brought over stay for a while, so that a restore of Postgres loses no usage.

    Not while the journal is nearly full: then they go at once, and senders need not wait for that while.
    """
    gauge = context.uses.pressure.gauge(node)
    await gauge.measure()
    if gauge.full:
        await flush.trim(context.pool, node.link, now=now, delay_s=0, shards=node.shards)


def _told(done: list[Done], corrected: int) -> str:
    total = Flushed()
    for one in done:
        total = total.plus(one.flushed)
    told = []
    if opened := sum(one.opened for one in done):
        told.append(f"opened {opened} shards")
    if total.entries:
        told.append(f"{total.events} events of {total.entries} entries, {total.duplicates} duplicates")
    if total.quarantined:
        told.append(f"{total.quarantined} damaged entries set aside")
    if corrected:
        told.append(f"{corrected} corrections")
    return ", ".join(told)
