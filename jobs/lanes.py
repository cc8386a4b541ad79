"""A worker's way to several servers at once: one that is slow or gone keeps the others from nothing."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from policies import limits
from store.link import RedisAwayError
from store.nodes import Node

T = TypeVar("T")


class Lanes(Generic[T]):
    """One act for each node at a time. What is not done when its run ends is part of a later one."""

    def __init__(self) -> None:
        self.alone = asyncio.Lock()
        """For what takes so much of a worker that one node at a time may have it."""
        self._under_way: dict[str, asyncio.Task[T]] = {}

    async def run(
        self, nodes: Sequence[Node], act: Callable[[Node], Coroutine[Any, Any, T]]
    ) -> tuple[list[T], RedisAwayError | None]:
        """Begins the act where none is under way; what those have done that ended, and who was away.

        A node by itself is waited for, of several the slow ones for limits.NODE_PATIENCE_S.
        Errors: any other error of an act.
        """
        for node in nodes:
            if node.name not in self._under_way:
                self._under_way[node.name] = asyncio.create_task(act(node))
        patience = limits.NODE_PATIENCE_S if len(nodes) > 1 else None
        try:
            ended, _ = await asyncio.wait(self._under_way.values(), timeout=patience)
        except asyncio.CancelledError:
            await self.close()
            raise
        return self._results(ended)

    def _results(self, ended: set[asyncio.Task[T]]) -> tuple[list[T], RedisAwayError | None]:
        done, away = [], []
        for name in [name for name, task in self._under_way.items() if task in ended]:
            try:
                done.append(self._under_way.pop(name).result())
            except RedisAwayError as error:
                away.append(f"{name}: {error}" if name else str(error))
        return done, RedisAwayError("; ".join(away)) if away else None

    async def close(self) -> None:
        """Ends what is under way; it is begun anew by the next worker."""
        tasks = [*self._under_way.values()]
        self._under_way.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
