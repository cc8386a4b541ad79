"""What a flush has read: journal entries past the cursors of their shards, a transaction's worth."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from policies import limits
from store import incidents, journal, keyspace
from store.conversation import Command
from store.journal import Entry
from store.link import Link, RedisAwayError

FIRST_COUNT: Final = 2
"""Entries read of each shard at first; shards that have more are asked for ever more, within the budget."""
NEXT_COUNT: Final = 16
"""Where others had more already it begins with as many as they needed, up to this."""
COUNT_MAX: Final = 256
GROUP: Final = 16
"""Shards asked at a time: an entry is at most some 300 kB, so an answer stays within tens of megabytes."""


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


async def read(link: Link, cursors: Sequence[Cursor]) -> list[Reading]:
    """Reads on past each cursor, some shards at a time, until limits.FLUSH_EVENTS have come.

    Errors: RedisAwayError.
    """
    readings: list[Reading] = []
    events, count = 0, FIRST_COUNT
    for start in range(0, len(cursors), GROUP):
        group = [Reading(cursor, [], drained=False) for cursor in cursors[start : start + GROUP]]
        readings += group
        events += await _read_on(link, group, limits.FLUSH_EVENTS - events, count)
        if events >= limits.FLUSH_EVENTS:
            break
        most = max(len(reading.entries) for reading in group)
        count = min(max(FIRST_COUNT, most), NEXT_COUNT)
    return sorted(readings, key=lambda reading: reading.cursor.shard)


async def _read_on(link: Link, group: Sequence[Reading], budget: int, count: int) -> int:
    """Reads these shards to their ends, or until the budget of events is used; how many came.

    `count` is how many entries of each are asked for at first.
    """
    events = 0
    unread = list(group)
    while unread and events < budget:
        replies = await link.send([_range(reading, count) for reading in unread])
        for reading, reply in zip(unread, replies.values, strict=True):
            if isinstance(reply, Exception):
                raise RedisAwayError(str(reply))
            entries = [journal.decode(entry_id, fields) for entry_id, fields in reply]
            reading.entries += entries
            reading.drained = len(entries) < count
            events += sum(len(entry.events) for entry in entries)
        unread = [reading for reading in unread if not reading.drained]
        count = min(2 * count, COUNT_MAX)
    return events


def _range(reading: Reading, count: int) -> Command:
    return ("XRANGE", keyspace.journal(reading.cursor.shard), f"({reading.last_id}", "+", "COUNT", count)
