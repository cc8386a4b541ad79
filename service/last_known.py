"""The levels that this process read last: what `lastKnown` features are decided on while Redis is away."""

from collections import OrderedDict
from datetime import datetime, timedelta

from policies import limits
from store.reading import Want

ALIVE = 100_000


class LastKnown:
    """Levels by what was wanted, bounded, and forgotten after limits.LAST_KNOWN_HOURS."""

    def __init__(self) -> None:
        self._by_want: OrderedDict[Want, tuple[datetime, tuple[int, ...]]] = OrderedDict()

    def keep(self, want: Want, values: tuple[int, ...], now: datetime) -> None:
        """Remembers what was read."""
        kept = self._by_want
        if want in kept:
            kept.move_to_end(want)
        elif len(kept) >= ALIVE:
            kept.popitem(last=False)
        kept[want] = (now, values)

    def count(self, want: Want, values: tuple[int, ...]) -> None:
        """What was used since counts, too; the levels are as old as they were."""
        at, _ = self._by_want[want]
        self._by_want[want] = (at, values)

    def recall(self, want: Want, now: datetime) -> tuple[int, ...] | None:
        """What was read last, if it is not too old to answer with."""
        at, values = self._by_want.get(want, (None, ()))
        if at is None or now - at > timedelta(hours=limits.LAST_KNOWN_HOURS):
            return None
        return values
