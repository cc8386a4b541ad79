"""A bounded store: what is worth keeping between calls, and how much of it."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


_PLACES: Final = 16
"""Places of a door for each thing that its store keeps: so few share one that it does not matter."""


class Door:
    """Lets into a store that is full only what comes a second time within a while.

    Else what is asked for once drives out what is asked for often, and a process that meets tenant after
    tenant does little but forget: what it keeps is spread over its memory, and so is what it makes next.
    """

    def __init__(self, bound: int) -> None:
        self._seen = bytearray(1 << (_PLACES * bound).bit_length())
        self._while = self._left = 2 * bound
        """How many new ones may still come before those of before are forgotten."""

    def opens(self, key: Hashable) -> bool:
        """Whether this one has come before; now and then one that has not is taken for another that has."""
        place = hash(key) & (len(self._seen) - 1)
        if self._seen[place]:
            return True
        if self._left <= 0:
            self._seen, self._left = bytearray(len(self._seen)), self._while
        self._left -= 1
        self._seen[place] = 1
        return False


class Kept(Generic[K, V]):
    """A bounded store that forgets what was not asked for longest."""

    def __init__(self, bound: int, *, door: bool = False) -> None:
        """`door`: once it is full it keeps what is asked for a second time."""
        self._bound = bound
        self._door = Door(bound) if door else None
        self._items: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def forget(self, key: K) -> None:
        """Lets go of one, if it is there."""
        self._items.pop(key, None)

    def peek(self, key: K) -> V | None:
        """What is kept under this key."""
        return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        """Keeps this under a key, in the place of another."""
        self._items.pop(key, None)
        self.get(key, lambda: value)

    def get(self, key: K, make: Callable[[], V]) -> V:
        """What is kept under this key, made now if nothing is."""
        found = self._items.get(key)
        if found is not None:
            self._items.move_to_end(key)
            return found
        made = make()
        if len(self._items) >= self._bound:
            if self._door is not None and not self._door.opens(key):
                return made
            if self._items:
                self._items.popitem(last=False)
        self._items[key] = made
        return made
