"""The close of billing periods is killed between any two steps, and begun anew: nothing twice, no gap."""

import asyncio
import os
import signal
import subprocess
import sys

from policies import limits
from service.usecases import closing
from store import crash_points
from store.crash_points import POINTS
from tests.store.billed import WHEN, issued, tenants

AT = [point for point in POINTS if point.startswith("close-")]
RUN = """
import asyncio, sys
from datetime import datetime
from jobs import close, worker
from policies import limits
from service import config
from service.clock import FixedClock

limits.CLOSE_BATCH = 2
at = datetime.fromisoformat(sys.argv[1])

async def run():
    async with worker.open_context(config.read(), FixedClock(at)) as context:
        await close.run(context, at)

asyncio.run(run())
"""


async def test_whenever_it_is_killed_the_next_one_finds_all_or_nothing(
    context, clock, publish, config, monkeypatch
):
    """Each time the first batch of two is committed, and the second is killed on its way."""
    assert len(AT) >= 6
    names = await tenants(context, publish, clock, 2 * len(AT) + 5)
    environment = os.environ | {
        "METERGATE_DATABASE_URL": config.database_url,
        "METERGATE_REDIS_URL": config.redis_url,
    }
    done = 0
    for point in AT:
        armed = environment | {crash_points.VARIABLE: f"{point}:2"}
        ended = await asyncio.create_subprocess_exec(
            sys.executable, "-c", RUN, WHEN.isoformat(), env=armed, stderr=subprocess.PIPE
        )
        _, said = await ended.communicate()
        assert ended.returncode == -signal.SIGKILL, (point, said.decode())
        done += 4 if point == "close-committed" else 2
        found = await issued(context)
        assert [one.number for one in found] == [*range(1, done + 1)], point
    monkeypatch.setattr(limits, "CLOSE_BATCH", 2)
    rest = await closing.close_due(context, WHEN)
    assert rest.periods == len(names) - done > 0
    found = await issued(context)
    assert sorted(one.tenant_id for one in found) == sorted(names)
    assert [one.number for one in found] == [*range(1, len(names) + 1)]
