"""Strict: what scripts have accepted is acknowledged once Postgres has it; who waits, waits together.

The process flushes the shards that it waits for itself, as any number of flushers may; a worker that is
faster spares it that.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Final

import msgspec

from policies import errors, limits
from store import flush, postgres
from store.link import RedisAwayError
from store.nodes import Servers
from store.tips import EPOCH

PAUSE_S: Final = 0.005
"""How long another flusher that holds a shard is left alone before it is looked again."""


class _Waiting(msgspec.Struct):
    """Someone who waits until the flush has passed these entries: shard and number."""

    entries: Mapping[int, int]
    future: "asyncio.Future[bool]"


class Committer:
    """One round is under way at a time; who comes meanwhile joins the next one."""

    def __init__(self, pool: postgres.Pool, servers: Servers, *, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._servers = servers
        self._now = now
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def committed(self, shards: Collection[int]) -> bool:
        """Whether all that this process knows to be accepted for these shards is in Postgres.

        False when it is not within limits.STRICT_S, or a server is away: nobody knows then.
        """
        entries = {shard: self._servers.tips.last(shard) for shard in shards}
        waiting = _Waiting(entries, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        try:
            async with asyncio.timeout(limits.STRICT_S):
                return await waiting.future
        except TimeoutError:
            return False

    async def close(self) -> None:
        """Who still waits is told that nobody knows."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._tell_all()

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._round()
        except (errors.UnavailableError, RedisAwayError):
            self._tell_all()
        except Exception:
            self._tell_all()
            raise

    async def _round(self) -> None:
        """Flushes what is waited for, and tells those whose entries were passed."""
        entries = await self._flush({shard for waiting in self._waiting for shard in waiting.entries})
        round_of = [*self._waiting]  # who comes from now on is of the next one
        reached = await flush.numbers(self._pool, {s for waiting in round_of for s in waiting.entries})
        for waiting in round_of:
            found = [_passed(number, reached[shard]) for shard, number in waiting.entries.items()]
            if not waiting.future.done() and None not in found and all(found):
                waiting.future.set_result(True)
            if not waiting.future.done() and None in found:
                waiting.future.set_result(False)
        self._waiting = [waiting for waiting in self._waiting if not waiting.future.done()]
        if not entries and self._waiting:
            await asyncio.sleep(PAUSE_S)

    async def _flush(self, shards: set[int]) -> int:
        """Flushes these shards on each server that has some of them; how many entries came."""
        entries, left = 0, set(shards)
        for node in self._servers.nodes():
            own = shards.intersection(node.shards)
            left -= own
            try:
                if own:
                    flushed = await flush.flush_once(self._pool, node.link, now=self._now(), shards=own)
                    entries += flushed.entries
            except RedisAwayError:
                self._tell(own)
        self._tell(left)
        return entries

    def _tell(self, shards: Collection[int]) -> None:
        """Whoever waits for one of these is told that nobody knows; another flusher may still pass them."""
        for waiting in self._waiting:
            if not waiting.future.done() and not waiting.entries.keys().isdisjoint(shards):
                waiting.future.set_result(False)
        self._waiting = [waiting for waiting in self._waiting if not waiting.future.done()]

    def _tell_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.future.done():
                one.future.set_result(False)


def _passed(number: int, reached: int) -> bool | None:
    """Whether the flush has passed an entry; None: its shard was certified since, and may have lost it."""
    return None if number // EPOCH < reached // EPOCH else reached >= number
