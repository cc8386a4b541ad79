"""The flush: moves journal entries to Postgres exactly once, whatever is killed when.

One transaction over many shards: the locked cursor rows are the right to do it, and they advance in the same
commit that keeps the events. A crash before the commit repeats the work, a crash after it finds it done.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec

from policies import limits
from store import journal, keyspace, postgres, queries, staging
from store.counters import Correction
from store.journal import Entry
from store.link import Command, Link, RedisAwayError
from store.staging import Staged

sql = queries.Queries("flush")

FIRST_COUNT = 2
"""Entries read of each shard at first; shards that have more are asked for ever more, within the budget."""
COUNT_MAX = 256


class Cursor(msgspec.Struct, frozen=True):
    """Where a shard's journal stands in Postgres."""

    shard: int
    last_id: str
    drained_at: datetime | None = None


class Flushed(msgspec.Struct, frozen=True):
    """What one flush did. `more`: it stopped at its budget, or another flusher held a shard."""

    entries: int = 0
    events: int = 0
    duplicates: int = 0
    quarantined: int = 0
    more: bool = False


class Reading(msgspec.Struct):
    """Entries of one shard past its cursor; `drained` if there were no others when they were read."""

    cursor: Cursor
    entries: list[Entry]
    drained: bool

    @property
    def last_id(self) -> str:
        """The id to continue after."""
        return self.entries[-1].entry_id if self.entries else self.cursor.last_id


async def flush_once(
    pool: postgres.Pool, link: Link, *, now: datetime, shards: Collection[int] = range(keyspace.SHARDS)
) -> Flushed:
    """One transaction's worth of the journal: limits.FLUSH_EVENTS events or a little more.

    `now` is read before the journal is: everything acknowledged before it is in Postgres where a shard was
    read to its end. Errors: UnavailableError, RedisAwayError; nothing is changed then.
    """
    async with postgres.transaction(pool) as connection:
        cursors = await postgres.rows(connection, sql.cursors, {}, Cursor)
    cursors = [cursor for cursor in cursors if cursor.shard in shards]
    readings = await _read_journals(link, cursors)
    full = [reading for reading in readings if reading.entries]
    await _mark_idle(pool, readings, now)
    if not full:
        return Flushed()
    async with postgres.transaction(pool) as connection:
        locked = await _lock(connection, full)
        flushed = await _commit_readings(connection, locked, now=now)
    return msgspec.structs.replace(
        flushed, more=len(locked) < len(full) or any(not reading.drained for reading in readings)
    )


async def _lock(connection: postgres.Connection, readings: Sequence[Reading]) -> list[Reading]:
    """The readings that are still ours to bring over: nobody holds the shard, and nobody moved its cursor."""
    params = {"shards": [reading.cursor.shard for reading in readings]}
    rows = await postgres.rows(connection, sql.lock_cursors, params, Cursor)
    still = {(row.shard, row.last_id) for row in rows}
    return [r for r in readings if (r.cursor.shard, r.cursor.last_id) in still]


async def _read_journals(link: Link, cursors: Sequence[Cursor]) -> list[Reading]:
    readings = {cursor.shard: Reading(cursor, [], drained=False) for cursor in cursors}
    count, events = FIRST_COUNT, 0
    unread = list(readings.values())
    while unread and events < limits.FLUSH_EVENTS:
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
    return list(readings.values())


def _range(reading: Reading, count: int) -> Command:
    return ("XRANGE", keyspace.journal(reading.cursor.shard), f"({reading.last_id}", "+", "COUNT", count)


async def _mark_idle(pool: postgres.Pool, readings: Sequence[Reading], now: datetime) -> None:
    """Says of journals that had nothing new that everything acknowledged before `now` is here."""
    idle = [r.cursor for r in readings if not r.entries and r.drained]
    old = [c.shard for c in idle if c.drained_at is None or (now - c.drained_at).total_seconds() >= 1]
    if old:
        async with postgres.transaction(pool) as connection:
            await postgres.execute(connection, sql.mark_drained, {"at": now, "shards": old})


async def _commit_readings(
    connection: postgres.Connection, readings: Sequence[Reading], *, now: datetime
) -> Flushed:
    staged, repeated = _stage(readings)
    stale: list[Staged] = []
    if staged:
        stale = await staging.store(connection, staged, now=now)
    duplicates = repeated + stale
    await _keep_corrections(connection, duplicates)
    await _tell_mismatches(connection, duplicates, now)
    damaged = [(r.cursor.shard, entry) for r in readings for entry in r.entries if entry.damage]
    await _quarantine(connection, damaged, now)
    await _advance(connection, readings, now)
    return Flushed(
        entries=sum(len(reading.entries) for reading in readings),
        events=len(staged) - len(stale),
        duplicates=len(duplicates),
        quarantined=len(damaged),
    )


def _stage(readings: Sequence[Reading]) -> tuple[list[Staged], list[Staged]]:
    """All events in journal order, split into the first of each id and what repeats one of them."""
    first: dict[tuple[str, bytes], Staged] = {}
    repeated = []
    for reading in readings:
        for entry in reading.entries:
            for place, (event, draw) in enumerate(entry.events):
                item = Staged(reading.cursor.shard, entry.entry_id, place, event, draw)
                if first.setdefault((event.tenant_id, event.digest), item) is not item:
                    repeated.append(item)
    return list(first.values()), repeated


async def _keep_corrections(connection: postgres.Connection, duplicates: Sequence[Staged]) -> None:
    for item in duplicates:
        for number, (window, field, amount, _) in enumerate(item.moves()):
            correction = Correction(
                correction_id=f"{item.shard}:{item.entry_id}:{item.place}:{number}",
                shard=item.shard,
                tenant_id=item.event.tenant_id,
                time_window=window,
                field=field,
                amount=amount,
            )
            params = msgspec.structs.asdict(correction)
            await postgres.execute(connection, sql.insert_correction, params)


async def _tell_mismatches(
    connection: postgres.Connection, duplicates: Sequence[Staged], now: datetime
) -> None:
    """An id that came again with another body is shown among the rejected events."""
    for item in duplicates:
        event = item.event
        params = {"tenant_id": event.tenant_id, "digest": event.digest.hex()}
        known = await postgres.scalars(connection, sql.fingerprint, params)
        if known and known[0] != event.fingerprint:
            detail = f"Event {event.event_id} of {event.service_id} came before with another body."
            told = {"serviceId": event.service_id, "id": event.event_id, "featureId": event.feature_id}
            shown = {
                "tenant_id": event.tenant_id,
                "rejected_at": now,
                "detail": detail,
                "event": msgspec.json.encode(told).decode(),
            }
            await postgres.execute(connection, sql.insert_rejected_duplicate, shown)


async def _quarantine(
    connection: postgres.Connection, damaged: Sequence[tuple[int, Entry]], now: datetime
) -> None:
    for shard, entry in damaged:
        params = {
            "shard": shard,
            "entry_id": entry.entry_id,
            "fields": msgspec.json.encode(dict(entry.raw)).decode(),
            "reason": entry.damage,
            "found_at": now,
        }
        await postgres.execute(connection, sql.insert_quarantine, params)


async def _advance(connection: postgres.Connection, readings: Sequence[Reading], now: datetime) -> None:
    params = {
        "shards": [r.cursor.shard for r in readings],
        "last_ids": [r.last_id for r in readings],
        "entries": [len(r.entries) for r in readings],
        "events": [sum(len(entry.events) for entry in r.entries) for r in readings],
        "drained": [now if r.drained else None for r in readings],
    }
    await postgres.execute(connection, sql.advance, params)


async def trim(pool: postgres.Pool, link: Link, *, now: datetime) -> None:
    """Drops journal entries that are both behind the cursor and older than limits.TRIM_DELAY_S.

    Errors: UnavailableError, RedisAwayError.
    """
    async with postgres.transaction(pool) as connection:
        cursors = await postgres.rows(connection, sql.cursors, {}, Cursor)
    oldest = (int(now.timestamp() * 1000) - limits.TRIM_DELAY_S * 1000, 0)
    commands: list[Command] = []
    for cursor in cursors:
        if cursor.last_id != "0-0":
            time_ms, sequence = min(keyspace.entry_parts(cursor.last_id), oldest)
            commands.append(("XTRIM", keyspace.journal(cursor.shard), "MINID", f"{time_ms}-{sequence}"))
    if commands:
        await link.send(commands)
