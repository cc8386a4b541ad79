"""A bounded store: what is worth keeping between calls, and how much of it."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """A bounded store that forgets what was not asked for longest."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._items: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def forget(self, key: K) -> None:
        """Lets go of one, if it is there."""
        self._items.pop(key, None)

    def get(self, key: K, make: Callable[[], V]) -> V:
        """What is kept under this key, made now if nothing is."""
        found = self._items.get(key)
        if found is not None:
            self._items.move_to_end(key)
            return found
        made = self._items[key] = make()
        if len(self._items) > self._bound:
            self._items.popitem(last=False)
        return made
