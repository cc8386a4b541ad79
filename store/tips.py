"""How far each shard's journal reaches, as this process was told by scripts: what it has acknowledged.

A server that comes back with less has lost entries, however far the flush had come (store/incidents.py).
"""

from collections.abc import Iterable
from typing import Final

import msgspec

EPOCH: Final = 1_000_000_000
"""Numbers of entries go on from the next multiple of it whenever a shard is certified: what a server has lost
is never numbered again."""


class Tip(msgspec.Struct, frozen=True):
    """The number of an entry that was acknowledged, with all entries before it."""

    shard: int
    number: int


class Tips:
    """The last entry of each shard, and the last of each of its epochs that nobody has asked for yet."""

    def __init__(self) -> None:
        self._last: dict[int, int] = {}
        self._fresh: dict[tuple[int, int], int] = {}

    def note(self, shard: int, number: int) -> None:
        """A script said that its journal reaches as far."""
        if number > self._last.get(shard, 0):
            self._last[shard] = number
            self._fresh[shard, number // EPOCH] = number

    def last(self, shard: int) -> int:
        """The number of the last entry; 0 if none is known."""
        return self._last.get(shard, 0)

    def take(self) -> list[Tip]:
        """What came since this was asked last."""
        fresh, self._fresh = self._fresh, {}
        return [Tip(shard, number) for (shard, _), number in fresh.items()]

    def give_back(self, tips: Iterable[Tip]) -> None:
        """They could not be told to anybody."""
        for tip in tips:
            place = tip.shard, tip.number // EPOCH
            self._fresh[place] = max(tip.number, self._fresh.get(place, 0))
