"""Is the journal read in few round trips, to its end, and never more of it at once than is good?"""

import hashlib
from collections.abc import Sequence

import msgspec
import pytest

from policies import limits
from service.context import Context
from store import keyspace, readings
from store.conversation import Command
from store.link import Link, Replies
from store.readings import Cursor
from tests.conftest import PATIENCE_S
from tests.store.test_keeping import act

CURSORS = [Cursor(shard, "0-0") for shard in range(keyspace.SHARDS)]


class Watched(Link):
    """A link that remembers what it was asked, trip by trip."""

    def __init__(self, url: str) -> None:
        super().__init__(url, timeout_s=PATIENCE_S)
        self.trips: list[tuple[int, int]] = []
        """Shards, and entries asked of each."""

    async def send(self, commands: Sequence[Command], *, durable: bool = False) -> Replies:
        self.trips.append((len(commands), int(commands[0][-1])))
        return await super().send(commands, durable=durable)


@pytest.fixture
async def link(counting: Context, redis_url: str):
    opened = Watched(redis_url)
    yield opened
    await opened.close()


async def write(context: Context, entries: int, events: int, shards: Sequence[int] = range(keyspace.SHARDS)):
    """So many entries of so many events in each of these journals."""
    item = act(1)
    blob = msgspec.msgpack.encode(events * [[item.event, item.draw, []]])
    words = ("*", "n", events, "b", blob, "x", hashlib.sha1(blob, usedforsecurity=False).hexdigest())
    await context.counters.link.send(
        [("XADD", keyspace.journal(shard), *words, "s", n + 1) for n in range(entries) for shard in shards]
    )


async def test_nothing_and_little_are_read_in_few_round_trips(counting: Context, link: Watched):
    found = await readings.read(link, CURSORS)
    assert (len(found), {reading.drained for reading in found}) == (keyspace.SHARDS, {True})
    assert len(link.trips) <= 2
    await write(counting, 9, 1)
    link.trips.clear()
    found = await readings.read(link, CURSORS)
    assert [len(reading.entries) for reading in found] == keyspace.SHARDS * [9]
    assert all(reading.drained for reading in found)
    assert [reading.cursor.shard for reading in found] == list(range(keyspace.SHARDS))
    assert len(link.trips) <= 10, link.trips
    assert max(shards * count for shards, count in link.trips) <= readings.TRIP_ENTRIES


async def test_large_entries_are_read_some_at_a_time_and_no_more_than_a_flush_takes(
    counting: Context, link: Watched, monkeypatch: pytest.MonkeyPatch
):
    await write(counting, 3, 40)
    monkeypatch.setattr(limits, "FLUSH_EVENTS", 4_000)
    found = await readings.read(link, CURSORS)
    least = readings.FIRST_SHARDS * readings.FIRST_COUNT
    events = sum(len(entry.events) for reading in found for entry in reading.entries)
    assert limits.FLUSH_EVENTS <= events <= limits.FLUSH_EVENTS + 40 * least
    assert max(shards * count for shards, count in link.trips) <= limits.FLUSH_EVENTS // 40
    assert len(found) < keyspace.SHARDS
    # Those that it came to were read to their ends first, but for the last trip.
    assert sum(reading.drained for reading in found) >= len(found) - link.trips[-1][0]


async def test_a_shard_that_has_much_is_read_on_from_where_it_was(counting: Context, link: Watched):
    """In ever larger parts, nothing twice, in order; the others are there too."""
    await write(counting, 700, 1, [7])
    await write(counting, 1, 1, [8, 250])
    found = {reading.cursor.shard: reading for reading in await readings.read(link, CURSORS)}
    assert [entry.number for entry in found[7].entries] == list(range(1, 701))
    assert (len(found[8].entries), len(found[250].entries)) == (1, 1)
    assert all(reading.drained for reading in found.values())
    assert len(link.trips) <= 15, link.trips


async def test_large_entries_of_one_shard_are_read_some_at_a_time_too(counting: Context, link: Watched):
    await write(counting, 80, 300, [7])
    found = await readings.read(link, CURSORS[7:8])
    assert limits.FLUSH_EVENTS <= 300 * len(found[0].entries) < 2 * limits.FLUSH_EVENTS
    assert not found[0].drained
    least = readings.FIRST_SHARDS * readings.FIRST_COUNT
    assert max(shards * count for shards, count in link.trips) <= least
