"""Jobs in processes of their own, each of which dies where a test says."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

import msgspec
import pytest

from store import crash_points
from tests.crash.mortal import Order


class Mortals:
    """Runs jobs one after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ends(self, order: Order) -> int:
        """How the job's process ended: 0, or minus the signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        await self._process.stdin.drain()
        return int(await self._process.stdout.readline())

    async def dies(self, order: Order) -> None:
        """It was killed at its point."""
        assert order.point
        assert await self.ends(order) == -signal.SIGKILL, order

    async def lives(self, order: Order) -> None:
        """It came to its end."""
        assert await self.ends(order) == 0, order


@pytest.fixture
async def mortals(config) -> AsyncIterator[Mortals]:
    environment = os.environ | {
        "METERGATE_DATABASE_URL": config.database_url,
        "METERGATE_REDIS_URL": config.redis_url,
    }
    environment.pop(crash_points.VARIABLE, None)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.crash.mortal", env=environment,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    yield Mortals(process)
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()
