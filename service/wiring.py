"""Opens what a process needs and closes it again: the one place where the parts are put together."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import msgspec

from policies import errors, limits
from policies.engine import Engine, Verdict
from service import moved_clock, provider
from service.clock import Clock
from service.config import Config
from service.context import Context
from service.decision_log import DecisionLog
from service.following import REFRESH_S, Follower
from service.last_known import LastKnown
from service.rights import Rights
from store import (
    api_keys,
    backlog,
    catalogs,
    cluster,
    committing,
    consuming,
    counters,
    holds,
    incidents,
    link,
    nodes,
    postgres,
    pressure,
    recording,
    snapshots,
    topology,
)

TIPS_S = 1.0
log = logging.getLogger("metergate.engine")


class Patience(msgspec.Struct, frozen=True):
    """How long a process waits for its servers, in seconds."""

    redis_s: float
    """For the answer to one round trip."""
    postgres_s: float
    """For a connection."""
    pulse_s: float
    """For the answer to a pulse, before nobody waits for Postgres any more."""

    @classmethod
    def of(cls, seconds: float) -> "Patience":
        """So long for each."""
        return cls(seconds, seconds, seconds)


OF_A_REQUEST: Final = Patience(limits.REDIS_TIMEOUT_S, limits.POSTGRES_TIMEOUT_S, limits.POSTGRES_ANSWER_S)


@asynccontextmanager
async def open_context(
    config: Config, clock: Clock | None = None, patience: Patience = OF_A_REQUEST
) -> AsyncIterator[Context]:
    """The parts of one process. Nothing has to answer yet: a part that is away shows in /health/ready."""
    redis = await open_servers(config, timeout_s=patience.redis_s, replicas=config.redis_replicas)
    pool = await postgres.open_pool(
        config.database_url,
        size=config.postgres_connections,
        connection_s=patience.postgres_s,
        answer_s=patience.pulse_s,
    )
    try:
        async with (
            moved_clock.opened(config, pool) as present,
            _kept_up(config, clock or present, pool, redis) as context,
        ):
            yield context
    finally:
        await redis.close()
        await pool.close()


@asynccontextmanager
async def _kept_up(
    config: Config, clock: Clock, pool: postgres.Pool, redis: nodes.Servers
) -> AsyncIterator[Context]:
    """The parts on these connections, and what goes on beside the requests."""
    context = put_together(config, clock, pool, redis)
    tasks: list[asyncio.Task[None]] = []
    try:
        await _refresh(context)
        tasks.append(asyncio.create_task(_watch_catalog(context)))
        tasks.append(asyncio.create_task(context.decisions.run()))
        tasks.append(asyncio.create_task(_watch_journal(context)))
        yield context
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await incidents.tell_tips(pool, redis.tips, now=context.clock.now())
        await _close(context)


async def _close(context: Context) -> None:
    """What stands on the connections."""
    await context.decisions.close()
    if context.payments is not None:
        await context.payments.close()
    if context.committer is not None:
        await context.committer.close()
    await context.snapshots.close()


async def open_servers(
    config: Config, *, timeout_s: float = limits.REDIS_TIMEOUT_S, replicas: int = 0
) -> nodes.Servers:
    """The way to Redis, one server or a cluster, as it must be for this configuration's durability.

    Under `strict` Postgres answers for what is acknowledged, so that no replica is waited for.
    """
    link_to = partial(
        link.Link,
        timeout_s=timeout_s,
        verify=not config.redis_config_forbidden,
        lossy=config.durability == "lossy",
        replicas=replicas if config.durability == "standard" else 0,
    )
    if not config.redis_cluster:
        return link_to(config.redis_url)
    scouts = topology.Scouts(config.redis_url.split(","), timeout_s=limits.REDIS_TIMEOUT_S)
    return await cluster.Cluster(scouts, lambda url, of: link_to(url, membership=of)).open()


def put_together(config: Config, clock: Clock, pool: postgres.Pool, redis: nodes.Servers) -> Context:
    """What use cases are given, on connections that are open."""
    known = catalogs.Catalogs(pool)
    return Context(
        config=config,
        clock=clock,
        pool=pool,
        keys=api_keys.KeyRing(pool),
        counters=counters.Counters(redis),
        consumer=consuming.Consumer(redis),
        recorder=recording.Recorder(redis),
        holds=holds.Holds(redis),
        pressure=pressure.Pressure(redis),
        backlog=backlog.Backlog(),
        committer=committing.Committer(pool, redis, now=clock.now) if config.durability == "strict" else None,
        catalogs=known,
        follower=Follower(known),
        snapshots=snapshots.Snapshots(pool, redis, now=clock.now),
        engine=Engine(on_fault=_log_fault),
        rights=Rights(),
        last_known=LastKnown(),
        decisions=DecisionLog(pool, sample=config.decision_log_sample),
        payments=provider.connect(config, redis),
    )


def _log_fault(verdict: Verdict) -> None:
    log.error("Cedar could not decide: %s", "; ".join(verdict.errors))


async def _watch_journal(context: Context) -> None:
    """Each second: Postgres knows what a server that comes back should have, and we how full that is."""
    link, task = context.counters.link, asyncio.current_task()
    while task is not None and not task.cancelling():  # as below
        await asyncio.sleep(TIPS_S)
        await context.pressure.measure()
        await incidents.tell_tips(context.pool, link.tips, now=context.clock.now())


async def _watch_catalog(context: Context) -> None:
    """Until it is cancelled, also where asyncio.wait_for inside a driver forgot that it was."""
    task = asyncio.current_task()
    while task is not None and not task.cancelling():
        await asyncio.sleep(REFRESH_S)
        await _refresh(context)


async def _refresh(context: Context) -> None:
    """With Postgres away the catalog that is known stays."""
    with contextlib.suppress(errors.UnavailableError):
        await context.catalogs.refresh()
