"""What a flush has read: journal entries past the cursors of their shards, a transaction's worth."""

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from policies import limits
from store import incidents, journal, keyspace
from store.conversation import Command
from store.journal import Entry
from store.link import RedisAwayError, is_elsewhere
from store.nodes import Servers

FIRST_SHARDS: Final = 16
FIRST_COUNT: Final = 2
"""Entries that the first shards are asked for, while nobody knows how large they are: 300 kB at most."""
TRIP_ENTRIES: Final = 1_024
"""Entries of one answer at most; fewer where some were so large that as many would be too much at once."""


class Cursor(msgspec.Struct, frozen=True):
    """Where a shard's journal stands in Postgres."""

    shard: int
    last_id: str
    number: int = 0
    """Of the entry that was brought over last."""
    drained_at: datetime | None = None


class Reading(msgspec.Struct):
    """Entries of one shard past its cursor; `drained` if there were no others when they were read."""

    cursor: Cursor
    entries: list[Entry]
    drained: bool
    moving: bool = False
    """The shard is on its way to another node of a cluster, and is left alone until it has arrived."""

    @property
    def last_id(self) -> str:
        """The id to continue after."""
        return self.entries[-1].entry_id if self.entries else self.cursor.last_id

    def checked(self, now: datetime) -> incidents.Checked:
        """What is missing between the entries, and the number of the last."""
        reach = incidents.Reach(self.cursor.shard, self.cursor.number)
        return incidents.checked(reach, [(e.entry_id, e.number) for e in self.entries], now=now)

    def halves(self) -> "list[Reading]":
        """The same in two parts, to be brought over one after the other."""
        middle = len(self.entries) // 2
        first = Reading(self.cursor, self.entries[:middle], drained=False)
        number = first.checked(journal.EPOCH).last
        behind = msgspec.structs.replace(self.cursor, last_id=first.last_id, number=number)
        return [first, Reading(behind, self.entries[middle:], self.drained)]


async def read(link: Servers, cursors: Sequence[Cursor]) -> list[Reading]:
    """Reads on past each cursor, shard after shard to its end, until limits.FLUSH_EVENTS have come.

    In few round trips: where usage is counted at the same time, each waits for its turn. A trip asks many
    shards at once, and for ever more entries while most of them have more.
    Errors: RedisAwayError.
    """
    waiting = deque(Reading(cursor, [], drained=False) for cursor in cursors)
    begun: list[Reading] = []
    events, largest, count, room = 0, 1, FIRST_COUNT, FIRST_SHARDS * FIRST_COUNT
    while waiting and events < limits.FLUSH_EVENTS:
        asked = [waiting.popleft() for _ in range(min(len(waiting), room // count))]
        begun += [reading for reading in asked if not reading.entries]
        sizes = [len(entry.events) for entry in await _read_on(link, asked, count)]
        events, largest = events + sum(sizes), max([largest, *sizes])
        room = min(max((limits.FLUSH_EVENTS - events) // largest, FIRST_SHARDS * FIRST_COUNT), TRIP_ENTRIES)
        unread = [reading for reading in asked if not reading.drained and not reading.moving]
        waiting.extendleft(reversed(unread))
        if 2 * len(unread) > len(asked):
            count *= 2
        count = min(count, room)
    return sorted(begun, key=lambda reading: reading.cursor.shard)


async def _read_on(link: Servers, asked: Sequence[Reading], count: int) -> list[Entry]:
    """What comes next of each of these shards, so many entries at most; they are added to the readings."""
    replies = await link.send([_range(reading, count) for reading in asked])
    found: list[Entry] = []
    for reading, reply in zip(asked, replies.values, strict=True):
        if is_elsewhere(reply):
            reading.moving = True
            continue
        if isinstance(reply, Exception):
            raise RedisAwayError(str(reply))
        entries = [journal.decode(entry_id, fields) for entry_id, fields in reply]
        reading.entries += entries
        reading.drained = len(entries) < count
        found += entries
    return found


def _range(reading: Reading, count: int) -> Command:
    return ("XRANGE", keyspace.journal(reading.cursor.shard), f"({reading.last_id}", "+", "COUNT", count)
