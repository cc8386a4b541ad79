"""The clock of an instance whose clock may be moved (METERGATE_TEST_CLOCK): each process follows a row.

A process looks often, since whoever moved the clock waits for all of them. With Postgres away it keeps the
time that it knows.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from policies import errors
from service.clock import Clock, MovedClock, SystemClock
from service.config import Config
from store import moved_clock, postgres

FOLLOW_S: Final = 0.1
"""How often a process looks."""
SETTLE_S: Final = 3 * FOLLOW_S
"""After so long all of them have seen a move, unless Postgres is slow."""


@asynccontextmanager
async def opened(config: Config, pool: postgres.Pool) -> AsyncIterator[Clock]:
    """The clock of this process; where it may be moved, it is followed until this ends."""
    if not config.test_clock:
        yield SystemClock()
        return
    clock = MovedClock(timedelta())
    await _look(clock, pool)
    task = asyncio.create_task(_follow(clock, pool))
    try:
        yield clock
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _follow(clock: MovedClock, pool: postgres.Pool) -> None:
    task = asyncio.current_task()
    while task is not None and not task.cancelling():
        await asyncio.sleep(FOLLOW_S)
        await _look(clock, pool)


async def _look(clock: MovedClock, pool: postgres.Pool) -> None:
    with contextlib.suppress(errors.UnavailableError):
        async with postgres.transaction(pool) as connection:
            clock.ahead = await moved_clock.ahead(connection)
