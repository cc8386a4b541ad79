"""The flush: moves journal entries to Postgres exactly once, whatever is killed when.

One transaction over many shards: the locked cursor rows are the right to do it, and they advance in the same
commit that keeps the events. A crash before the commit repeats the work, a crash after it finds it done.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

import msgspec
import psycopg

from policies import limits
from store import (
    incidents,
    keeping,
    keyspace,
    postgres,
    quarantine,
    queries,
    readings,
    repetitions,
    reservations,
    revisions,
)
from store.conversation import Command
from store.crash_points import crash_point
from store.journal import Entry
from store.link import RedisAwayError
from store.nodes import Servers
from store.readings import Cursor, Reading
from store.staging import Staged

sql = queries.Queries("flush")

LANES = 2
"""Transactions side by side of one flusher that is behind."""
DRAIN_TRIES = 40
"""How often one shard is flushed, or its flusher waited for, before a caller is told that it is behind."""
DRAIN_PAUSE_S = 0.05

log = logging.getLogger("metergate.flush")


class RefusedError(Exception):
    """Postgres refuses what an entry says, and why."""


class Flushed(msgspec.Struct, frozen=True):
    """What one flush did. `more`: it got on, and there is more."""

    entries: int = 0
    events: int = 0
    duplicates: int = 0
    quarantined: int = 0
    more: bool = False

    def plus(self, other: "Flushed") -> "Flushed":
        """What both did."""
        return Flushed(
            entries=self.entries + other.entries,
            events=self.events + other.events,
            duplicates=self.duplicates + other.duplicates,
            quarantined=self.quarantined + other.quarantined,
            more=other.more,
        )


async def flush_once(
    pool: postgres.Pool, link: Servers, *, now: datetime, shards: Collection[int] = range(keyspace.SHARDS)
) -> Flushed:
    """One transaction's worth of the journal: limits.FLUSH_EVENTS events or a little more.

    `now` is read before the journal is: everything acknowledged before it is in Postgres where a shard was
    read to its end. Errors: UnavailableError, RedisAwayError; nothing is changed then.
    """
    cursors = await _cursors(pool, shards, now)
    read = await readings.read(link, cursors)
    full = [reading for reading in read if reading.entries]
    crash_point("flush-read")
    await _mark_idle(pool, read, now)
    if not full:
        return Flushed()
    try:
        flushed = await _bring_over(pool, full, now)
    except (psycopg.DataError, psycopg.IntegrityError):
        log.exception("flush: a batch cannot be kept; shard by shard now")
        flushed = await _one_by_one(pool, link, full, now)
    more = len(read) < len(cursors) or any(not reading.drained for reading in read)
    return msgspec.structs.replace(flushed, more=more and flushed.entries > 0)


async def flush_all(
    pool: postgres.Pool,
    link: Servers,
    *,
    now: Callable[[], datetime],
    shards: Sequence[int] = range(keyspace.SHARDS),
) -> Flushed:
    """Transaction after transaction until nothing is left; where one is not enough, two side by side.

    Each has half of the shards. While the one waits for Postgres, above all for its commit, the other is
    prepared.

    Errors: UnavailableError, RedisAwayError; what was committed stays.
    """
    first = await flush_once(pool, link, now=now(), shards=frozenset(shards))
    if not first.more:
        return first
    lanes = [frozenset(shards[lane::LANES]) for lane in range(LANES)]
    done = await asyncio.gather(
        *(_flush_lane(pool, link, now, lane) for lane in lanes), return_exceptions=True
    )
    for one in done:
        if isinstance(one, BaseException):
            raise one
        first = first.plus(one)
    return first


async def _flush_lane(
    pool: postgres.Pool, link: Servers, now: Callable[[], datetime], shards: Collection[int]
) -> Flushed:
    total = Flushed(more=True)
    while total.more:
        total = total.plus(await flush_once(pool, link, now=now(), shards=shards))
    return total


async def _cursors(pool: postgres.Pool, shards: Collection[int], now: datetime) -> list[Cursor]:
    """Another shard begins each time, so that no busy one keeps its successors waiting."""
    async with postgres.transaction(pool) as connection:
        found = await postgres.rows(connection, sql.cursors, {}, Cursor)
    cursors = [cursor for cursor in found if cursor.shard in shards]
    first = int(now.timestamp() / limits.FLUSH_INTERVAL_S) * readings.FIRST_SHARDS % max(len(cursors), 1)
    return [*cursors[first:], *cursors[:first]]


async def drain(pool: postgres.Pool, link: Servers, *, shard: int, now: datetime) -> bool:
    """Flushes one shard as far as its journal reached when this was asked; False if that took too long.

    Another flusher may hold the shard: then it is waited for.
    Errors: UnavailableError, RedisAwayError.
    """
    tip = await _tip(link, shard)
    for _ in range(DRAIN_TRIES):
        async with postgres.transaction(pool) as connection:
            cursors = await postgres.rows(connection, sql.cursors, {}, Cursor)
        (last_id,) = [cursor.last_id for cursor in cursors if cursor.shard == shard]
        if keyspace.entry_parts(last_id) >= keyspace.entry_parts(tip):
            return True
        flushed = await flush_once(pool, link, now=now, shards=(shard,))
        if not flushed.entries:
            await asyncio.sleep(DRAIN_PAUSE_S)
    return False


async def numbers(pool: postgres.Pool, shards: Collection[int]) -> dict[int, int]:
    """Of each of the shards the number of the entry that was brought over last.

    Errors: UnavailableError.
    """
    async with postgres.transaction(pool) as connection:
        cursors = await postgres.rows(connection, sql.numbers, {"shards": list(shards)}, Cursor)
    return {cursor.shard: cursor.number for cursor in cursors}


async def _tip(link: Servers, shard: int) -> str:
    """The id of the last entry of a journal; that of none, if it is empty."""
    (reply,) = (await link.send([("XREVRANGE", keyspace.journal(shard), "+", "-", "COUNT", 1)])).values
    if isinstance(reply, Exception):
        raise RedisAwayError(str(reply))
    return reply[0][0].decode() if reply else "0-0"


async def _bring_over(pool: postgres.Pool, full: Sequence[Reading], now: datetime) -> Flushed:
    async with postgres.transaction(pool) as connection:
        flushed = await _commit_readings(connection, await _lock(connection, full), now=now)
    crash_point("flush-committed")
    return flushed


async def _one_by_one(pool: postgres.Pool, link: Servers, full: Sequence[Reading], now: datetime) -> Flushed:
    """Whatever is wrong with one entry must hold neither other shards nor the entries behind it."""
    total = Flushed()
    for reading in full:
        waiting = [reading]
        while waiting:
            part = waiting.pop(0)
            try:
                flushed = await _bring_over(pool, [part], now)
            except (psycopg.DataError, psycopg.IntegrityError) as error:
                if len(part.entries) > 1:
                    waiting[:0] = part.halves()
                    continue
                log.exception("flush: entry %s of shard %d is refused", part.last_id, part.cursor.shard)
                aside = await quarantine.refused(link, part.cursor.shard, part.entries[0], str(error))
                part = Reading(part.cursor, [aside], part.drained)
                flushed = await _bring_over(pool, [part], now)
            total = total.plus(flushed)
            if not flushed.entries:
                break  # another flusher has the shard
    return total


async def _lock(connection: postgres.Connection, full: Sequence[Reading]) -> list[Reading]:
    """The readings that are still ours to bring over: nobody holds the shard, and nobody moved its cursor."""
    params = {"shards": [reading.cursor.shard for reading in full]}
    rows = await postgres.rows(connection, sql.lock_cursors, params, Cursor)
    still = {(row.shard, row.last_id) for row in rows}
    return [r for r in full if (r.cursor.shard, r.cursor.last_id) in still]


async def _mark_idle(pool: postgres.Pool, read: Sequence[Reading], now: datetime) -> None:
    """Says of journals that had nothing new that everything acknowledged before `now` is here."""
    idle = [r.cursor for r in read if not r.entries and r.drained]
    old = [c.shard for c in idle if c.drained_at is None or (now - c.drained_at).total_seconds() >= 1]
    if old:
        async with postgres.transaction(pool) as connection:
            await postgres.execute(connection, sql.mark_drained, {"at": now, "shards": old})


async def _commit_readings(
    connection: postgres.Connection, ours: Sequence[Reading], *, now: datetime
) -> Flushed:
    crash_point("flush-locked")
    flushed = await keep(connection, ours, now=now)
    crash_point("flush-kept")
    await _advance(connection, ours, now)
    crash_point("flush-advanced")
    return flushed


async def keep_aside(connection: postgres.Connection, shard: int, entry: Entry, *, now: datetime) -> None:
    """Keeps what an entry says that had been put aside, in the caller's transaction.

    Errors: RefusedError.
    """
    try:
        await keep(connection, [Reading(Cursor(shard, entry.entry_id), [entry], drained=False)], now=now)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise RefusedError(" ".join(str(error).split())) from error


async def keep(connection: postgres.Connection, ours: Sequence[Reading], *, now: datetime) -> Flushed:
    """Keeps what entries say, in the caller's transaction; no cursor moves.

    Errors: DataError or IntegrityError of the driver where Postgres refuses one of them.
    """
    staged, repeated = _stage(ours)
    stale: list[Staged] = []
    if staged:
        stale = await keeping.store(connection, staged, now=now)
        known = set(map(id, stale))
        fresh = [item for item in staged if id(item) not in known]
        await reservations.keep(connection, fresh)
        await revisions.keep(connection, fresh)
    duplicates = repeated + stale
    await repetitions.keep(connection, duplicates, now=now)
    damaged = [(r.cursor.shard, entry) for r in ours for entry in r.entries if entry.damage]
    await quarantine.put(connection, damaged, now=now)
    return Flushed(
        entries=sum(len(reading.entries) for reading in ours),
        events=len(staged) - len(stale),
        duplicates=len(duplicates),
        quarantined=len(damaged),
    )


def _stage(ours: Sequence[Reading]) -> tuple[list[Staged], list[Staged]]:
    """All events in journal order, split into the first of each id and what repeats one of them."""
    first: dict[tuple[str, bytes], Staged] = {}
    repeated = []
    for reading in ours:
        for entry in reading.entries:
            for place, line in enumerate(entry.events):
                event = line.event
                item = Staged(
                    reading.cursor.shard,
                    entry.entry_id,
                    place,
                    event,
                    line.draw,
                    line.levels,
                    line.expires_at,
                )
                if first.setdefault((event.tenant_id, event.digest), item) is not item:
                    repeated.append(item)
    return list(first.values()), repeated


async def _advance(connection: postgres.Connection, ours: Sequence[Reading], now: datetime) -> None:
    """The cursors move behind what was read; numbers that were left out are told."""
    checks = [reading.checked(now) for reading in ours]
    await incidents.keep_checked(connection, checks, now=now)
    params = {
        "shards": [r.cursor.shard for r in ours],
        "last_ids": [r.last_id for r in ours],
        "numbers": [one.last for one in checks],
        "entries": [len(r.entries) for r in ours],
        "events": [sum(len(entry.events) for entry in r.entries) for r in ours],
        "drained": [now if r.drained else None for r in ours],
    }
    await postgres.execute(connection, sql.advance, params)


async def trim(
    pool: postgres.Pool,
    link: Servers,
    *,
    now: datetime,
    delay_s: float | None = None,
    shards: Collection[int] = range(keyspace.SHARDS),
) -> None:
    """Drops journal entries whose commit is at least limits.TRIM_DELAY_S old, or as old as is said.

    The older of two calls says what is old.

    Errors: UnavailableError, RedisAwayError.
    """
    before = now - timedelta(seconds=limits.TRIM_DELAY_S if delay_s is None else delay_s)
    async with postgres.transaction(pool) as connection:
        await postgres.execute(
            connection, sql.note_trim, {"now": now, "before": before, "shards": list(shards)}
        )
        cursors = await postgres.rows(connection, sql.trims, {}, Cursor)
    commands: list[Command] = [
        ("XTRIM", keyspace.journal(cursor.shard), "MINID", cursor.last_id)
        for cursor in cursors
        if cursor.shard in shards
    ]
    crash_point("trim-noted")
    if commands:
        await link.send(commands)
        crash_point("trimmed")
