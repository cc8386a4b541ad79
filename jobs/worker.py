"""The worker process: begins every job of the table when it is due, and ends them in order."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from jobs.context import JobContext
from jobs.schedule import JOBS, Job
from policies import errors, limits
from service import moved_clock, wiring
from service.clock import Clock
from service.config import Config
from store import postgres
from store.link import RedisAwayError

STOP_S = 5.0
"""How long jobs may go on after the order to stop; what is cut off is begun anew by the next worker."""

log = logging.getLogger("metergate.jobs")


@asynccontextmanager
async def open_context(config: Config, clock: Clock | None = None) -> AsyncIterator[JobContext]:
    """The connections of a worker."""
    pool = await postgres.open_pool(
        config.database_url,
        size=6,
        application="metergate-worker",
        statement_s=limits.WORKER_STATEMENT_S,
        answer_s=limits.WORKER_ANSWER_S,
    )
    link = await wiring.open_servers(config, timeout_s=limits.WORKER_REDIS_TIMEOUT_S)
    try:
        async with moved_clock.opened(config, pool) as present:
            uses = wiring.put_together(config, clock or present, pool, link)
            context = JobContext(
                config=config,
                clock=uses.clock,
                pool=pool,
                link=link,
                counters=uses.counters,
                snapshots=uses.snapshots,
                uses=uses,
            )
            try:
                yield context
            finally:
                await context.lanes.close()
                if uses.payments is not None:
                    await uses.payments.close()
                await uses.snapshots.close()
    finally:
        await link.close()
        await pool.close()


async def run_job(job: Job, context: JobContext) -> str:
    """Runs one job once, at the clock's instant."""
    return await job.run(context, context.clock.now())


async def work(config: Config) -> None:
    """Runs until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_context(config) as context:
        running: set[asyncio.Task[None]] = set()
        put_off: set[str] = set()
        scheduler = AsyncIOScheduler(
            timezone="UTC",
            executors={"default": AsyncIOExecutor()},
            job_defaults={"misfire_grace_time": None},
        )
        for job in JOBS:
            scheduler.add_job(
                partial(_tick, job, context, running, put_off), "interval", seconds=job.every_s, id=job.name
            )
        scheduler.start()
        await stop.wait()
        scheduler.pause()
        # The scheduler's own shutdown would cut off what runs.
        if running:
            await asyncio.wait(running, timeout=STOP_S)
        scheduler.shutdown(wait=False)


async def _tick(job: Job, context: JobContext, running: set[asyncio.Task[None]], put_off: set[str]) -> None:
    """One run. What is put off because a server is away is said once, until it goes on."""
    task = asyncio.current_task()
    assert task is not None, "a job runs in a task"
    running.add(task)
    try:
        said = await run_job(job, context)
        if said:
            log.info("%s: %s", job.name, said)
        if job.name in put_off:
            put_off.discard(job.name)
            log.info("%s: goes on", job.name)
    except (errors.UnavailableError, RedisAwayError) as error:
        if job.name not in put_off:
            put_off.add(job.name)
            log.warning("%s: put off: %s", job.name, error)
    except Exception:
        log.exception("%s: failed", job.name)
    finally:
        running.discard(task)
