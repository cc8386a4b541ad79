"""Events a second that a flush brings to Postgres, beside a bare COPY of the same rows into the same table.

A flush reads and verifies the journal, keeps ids, events, sums by hour and day and the counters, and moves
the cursors, all in one transaction of some 10,000 events. The COPY only brings events, in the same format,
made beforehand, also in one transaction. Both go into the partition of this month, with its index.
"""

import asyncio
from typing import Final

import psycopg
import uvloop

from jobs import worker
from jobs.context import JobContext
from policies import limits
from scripts.benchmarks import bare, figure, reported, sides, tenants_loaded
from scripts.benchmarks.figure import Figure, Run, Settings
from service import clock, config, settling
from store import flush, queries

TENANTS: Final = 1_000
BATCH: Final = 1_000
FLUSHES: Final = 6
"""Of each run; the figure is of all of them together."""
EVENTS: Final = FLUSHES * limits.FLUSH_EVENTS
_STORE: Final = queries.Queries("flush").copy_events
_COLUMNS: Final = _STORE.partition(b"(")[2].partition(b")")[0]
_FETCH: Final = (
    b"copy (select %s from usage_events order by accepted_at desc limit %d) to stdout (format binary)"
)


def figures(settings: Settings) -> list[Figure]:
    """One flusher, which has the machine for itself."""
    with sides.instance() as made, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        tenants_loaded.load(made.running, reported.PREFIX, TENANTS, copies=False)
        runner.run(sides.certified(made))
        settling.settle()
        found = []
        _fill(made)
        runner.run(_flushed(made))  # makes partitions, and fills the caches of both
        for number in range(settings.runs):
            _fill(made)
            ours, processor = runner.run(_flushed(made))
            reference = _copied(made)
            run = Run(round(ours), round(reference), round(ours / reference, 4))
            settings.say(
                f"  run {number + 1}: {run.ours:>10,.0f} events/s beside {run.reference:>10,.0f}, "
                f"ratio {run.ratio:.3f}; {processor:.1f} us an event of the flusher's own processor"
            )
            found.append(run)
        return [figure.of("flush", "events/s", found)]


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
