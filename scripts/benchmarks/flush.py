"""Events a second that a flush brings to Postgres, beside a bare COPY of the same rows into the same table.

A flush reads and verifies the journal, keeps ids, events, sums by hour and day and the counters, and moves
the cursors, all in one transaction of some 10,000 events. The COPY only brings events, in the same format,
made beforehand, also in one transaction. Both go into the partition of this month, with its index. Then the
same with ids in the two months before, into each of which the flush has to look.
"""

import asyncio
from datetime import timedelta
from typing import Final

import psycopg
import uvloop

from jobs import worker
from jobs.context import JobContext
from policies import limits
from scripts.benchmarks import bare, figure, reported, sides, tenants_loaded
from scripts.benchmarks.figure import Figure, Run, Settings
from service import clock, config, settling
from store import flush, partitions, postgres, queries

TENANTS: Final = 1_000
BATCH: Final = 1_000
FLUSHES: Final = 6
"""Of each run; the figure is of all of them together."""
OLDER: Final = 500_000
EVENTS: Final = FLUSHES * limits.FLUSH_EVENTS
_STORE: Final = queries.Queries("flush").copy_events
_COLUMNS: Final = _STORE.partition(b"(")[2].partition(b")")[0]
_FETCH: Final = (
    b"copy (select %s from usage_events order by accepted_at desc limit %d) to stdout (format binary)"
)

_LOAD: Final = b"""
insert into usage_keys (tenant_id, digest, ingested_month, fingerprint, event_at)
select %(prefix)s::text || n %% %(tenants)s, gen_random_uuid(), month, 1, month
from generate_series(1, %(ids)s) n, unnest(%(months)s::date[]) month
"""


def figures(settings: Settings) -> list[Figure]:
    """One flusher, which has the machine for itself."""
    with sides.instance() as made, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        tenants_loaded.load(made.running, reported.PREFIX, TENANTS, copies=False)
        runner.run(sides.certified(made))
        settling.settle()
        _fill(made)
        runner.run(_flushed(made))  # makes partitions, and fills the caches of both
        first = [_run(made, runner, number, settings) for number in range(settings.runs)]
        settings.say(f"Loading {OLDER:,} ids into each of the two months before …")
        runner.run(_load_older(made))
        third = [_run(made, runner, number, settings) for number in range(settings.runs)]
        return [figure.of("flush", "events/s", first), figure.of("flush-third-month", "events/s", third)]


def _run(made: sides.Instance, runner: asyncio.Runner, number: int, settings: Settings) -> Run:
    _fill(made)
    ours, processor = runner.run(_flushed(made))
    reference = _copied(made)
    run = Run(round(ours), round(reference), round(ours / reference, 4))
    settings.say(
        f"  run {number + 1}: {run.ours:>10,.0f} events/s beside {run.reference:>10,.0f}, "
        f"ratio {run.ratio:.3f}; {processor:.1f} us an event of the flusher's own processor"
    )
    return run


async def _load_older(made: sides.Instance) -> None:
    """Ids of the same tenants, as they would have come in the two months before this one."""
    async with worker.open_context(config.read(made.environment)) as context:
        this = partitions.month_of(context.clock.now().date())
        last = partitions.month_of(this - timedelta(days=1))
        months = [last, partitions.month_of(last - timedelta(days=1))]
        async with postgres.transaction(context.pool) as connection:
            await partitions.ensure(connection, {("usage_keys", month) for month in months})
            params = {"months": months, "prefix": reported.PREFIX, "tenants": TENANTS, "ids": OLDER}
            await postgres.execute(connection, _LOAD, params)
            await postgres.execute(connection, b"analyze usage_keys", {})


def _fill(made: sides.Instance) -> None:
    """Journal entries as batches leave them: of some four events each."""
    batches = [reported.events(BATCH, TENANTS) for _ in range(EVENTS // BATCH)]
    bare.send(made.running.redis_url, bare.packed(made.environment, batches))


async def _flushed(made: sides.Instance) -> tuple[float, float]:
    """Events a second, and microseconds of this process for each."""
    async with worker.open_context(config.read(made.environment)) as context:
        return await _timed(context)


async def _timed(context: JobContext) -> tuple[float, float]:
    began, used = clock.monotonic_s(), reported.own_processor_s()
    flushed = await flush.flush_all(context.pool, context.link, now=context.clock.now)
    took = clock.monotonic_s() - began
    return flushed.events / took, (reported.own_processor_s() - used) / max(flushed.events, 1) * 1e6


def _copied(made: sides.Instance) -> float:
    """Rows a second of as many rows as a flush brings, which differ from them by their ids alone."""
    names = [name.strip() for name in _COLUMNS.split(b",")]
    fetched = b", ".join(b"gen_random_uuid()" if name == b"digest" else name for name in names)
    with psycopg.connect(made.running.database_url) as connection:
        took = 0.0
        for _ in range(FLUSHES):
            with connection.cursor().copy(_FETCH % (fetched, limits.FLUSH_EVENTS)) as rows:
                text = b"".join(map(bytes, rows))
            began = clock.monotonic_s()
            with connection.cursor().copy(_STORE) as copy:
                copy.write(text)
            connection.commit()
            took += clock.monotonic_s() - began
        return EVENTS / took
