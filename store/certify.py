"""Certifying a server: after a restart, a wipe or a failover counters are rebuilt before they are believed.

Every shard's fence names the run of the server that it was certified on; scripts and reads compare it. A
new run closes all fences by itself. Opening them again: rewrite the append-only file, bring the journal over
to Postgres, put the flushed sums back as counters, and only then write the fence.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

import msgspec
from psycopg.rows import class_row
from redis import exceptions

from policies import limits
from store import fitness, flush, holds, incidents, journal, keyspace, postgres, queries, readings
from store.conversation import Command
from store.counters import Counters, version_puts
from store.crash_points import crash_point
from store.guarding import Guard
from store.incidents import Reach
from store.link import Link, RedisAwayError, is_elsewhere
from store.reservations import OpenLine

sql = queries.Queries("certify")
flush_sql = queries.Queries("flush")
reservation_sql = queries.Queries("reservations")

Row = TypeVar("Row")

LOCK = 0x6D67_0002
PAGE = 500
"""Rows read at a time: windows of some ten counters each, 500 at most."""
NAMES = 5_000
"""That one step of a scan for counters to drop goes through: some milliseconds of the server."""
GROUP_TENANTS = 10_000
"""Of the shards that are put back and opened together, so many or a few more: a second or two."""
REWRITE_POLL_S = 0.01
COUNTER_LIFE = timedelta(days=limits.EVENT_AGE_DAYS + 5)
"""How long counters live past the end of their interval: late events may still draw from them."""

CAP_LIFE = timedelta(seconds=limits.RESERVATION_SECONDS + limits.EVENT_AHEAD_SECONDS)
"""How long those of a cap do: a use may be of a moment ago, and a reservation of then may still end."""


class _Window(msgspec.Struct, frozen=True):
    """Counters of a tenant in one time window, or a part of them; each `used` as text."""

    tenant_id: str
    time_window: str
    fields: list[str]
    used: list[str]
    ends: int
    """Of the window, in unix seconds; 0: never."""


class _Size(msgspec.Struct, frozen=True):
    """How many tenants a shard has."""

    shard: int
    tenants: int


class _Version(msgspec.Struct, frozen=True):
    tenant_id: str
    snapshot_version: int


ALL: Final = range(keyspace.SHARDS)


async def uncertified(link: Link, shards: Sequence[int] = ALL) -> list[int]:
    """Those of the shards that the server has, and whose fence does not name it.

    Errors: RedisAwayError.
    """
    return (await _closed(link, shards))[1]


async def certify(
    pool: postgres.Pool, link: Link, *, now: datetime, rewrite: bool = True, of: Sequence[int] = ALL
) -> list[int]:
    """Rebuilds and opens the closed shards whose journals are empty; names them.

    The others wait for the next time: one that cannot be flushed does not keep the rest closed. Right however
    often it is begun anew.

    `of` are the shards that the server has: all, unless it is one of several.
    `rewrite` False: the server forbids BGREWRITEAOF, and its version is known not to tear scripts.
    Errors: UnavailableError, RedisAwayError; what was not opened stays closed.
    """
    if not await uncertified(link, of):
        return []
    async with postgres.transaction(pool) as holder:
        # Spares others the work; what makes a rebuild safe are the cursor rows that it locks.
        await postgres.execute(holder, sql.take_lock, {"lock": LOCK})
        run_id, shards = await _closed(link, of)
        if not shards:
            return []
        crash_point("certify-locked")
        guard = Guard(link)
        await guard.close(shards)
        if rewrite:
            await _rewrite_once(link, run_id, keyspace.rewritten(of[0]))
        await _continue_streams(pool, guard, frozenset(shards))
        crash_point("certify-continued")
        while (await flush.flush_once(pool, link, now=now, shards=frozenset(shards))).more:
            pass
        crash_point("certify-flushed")
        return await _rebuild(pool, guard, shards, run_id, now=now)


async def _closed(link: Link, shards: Sequence[int]) -> tuple[str, list[int]]:
    """The run of the server, and those of the shards that are not certified on it."""
    replies = await link.send([("GET", keyspace.fence(shard)) for shard in shards])
    run_id = replies.run_id.encode()
    fences = zip(shards, replies.values, strict=True)
    closed = [shard for shard, value in fences if value != run_id and not is_elsewhere(value)]
    return replies.run_id, closed


async def _rewrite_once(link: Link, run_id: str, key: str) -> None:
    """Once for each run of the server (R25), however often certifying is begun."""
    done = (await link.send([("GET", key)])).values[0]
    if done != run_id.encode():
        await _rewrite_file(link)
        crash_point("certify-rewritten")
        await Counters(link).send_all([("SET", key, run_id)])


async def _rewrite_file(link: Link) -> None:
    """A file that a crash cut inside a script can swallow later writes at the next crash; a new one not."""
    replies = await link.send([("BGREWRITEAOF",)])
    if isinstance(replies.values[0], exceptions.ResponseError) and "progress" not in str(replies.values[0]):
        raise RedisAwayError(str(replies.values[0]))
    while True:
        info = (await link.send([("INFO", "persistence")])).values[0]
        state = fitness.parse_info(info.decode())
        if state["aof_rewrite_in_progress"] == state["aof_rewrite_scheduled"] == "0":
            if state["aof_last_bgrewrite_status"] != "ok":
                raise RedisAwayError("it could not rewrite its append-only file")
            return
        await asyncio.sleep(REWRITE_POLL_S)


async def _continue_streams(pool: postgres.Pool, guard: Guard, shards: frozenset[int]) -> None:
    """An emptied stream must not give ids at or below its cursor: the flush would pass over such entries."""
    async with postgres.transaction(pool) as connection:
        cursors = await postgres.rows(connection, flush_sql.cursors, {}, readings.Cursor)
    used = [cursor for cursor in cursors if cursor.shard in shards and cursor.last_id != "0-0"]
    replies = await guard.link.send([("XINFO", "STREAM", keyspace.journal(c.shard)) for c in used])
    commands: list[Command] = []
    for cursor, reply in zip(used, replies.values, strict=True):
        key = keyspace.journal(cursor.shard)
        if isinstance(reply, exceptions.ResponseError):
            commands.append(("XADD", key, "MAXLEN", 0, _next_id(cursor.last_id), "n", 0))
        elif _last_given(reply) < keyspace.entry_parts(cursor.last_id):
            commands.append(("XSETID", key, cursor.last_id))
    await guard.send(commands)


def _next_id(entry_id: str) -> str:
    time_ms, sequence = keyspace.entry_parts(entry_id)
    return f"{time_ms}-{sequence + 1}"


def _last_given(reply: Sequence[object]) -> tuple[int, int]:
    value = dict(zip(reply[::2], reply[1::2], strict=True))[b"last-generated-id"]
    return keyspace.entry_parts(value.decode() if isinstance(value, bytes) else "")


async def _rebuild(
    pool: postgres.Pool, guard: Guard, shards: Sequence[int], run_id: str, *, now: datetime
) -> list[int]:
    """Replaces the counters of those shards whose journals are empty by the flushed sums, and opens them.

    Some shards at a time, those first that most events came from: they are in use while the others wait.
    """
    async with postgres.transaction(pool) as connection:
        cursors = await _still_closed(connection, guard.link, shards, run_id)
        await _drop(guard, frozenset(cursor.shard for cursor in cursors))
        crash_point("certify-dropped")
        params = {"shards": [cursor.shard for cursor in cursors]}
        order = await postgres.rows(connection, sql.busiest_first, params, _Size)
    opened = []
    for group in _groups(order):
        opened += await _open(pool, guard, group, run_id, now=now)
    return opened


def _groups(order: Sequence[_Size]) -> list[list[int]]:
    """The shards in their order, in groups of which each is worth a transaction of its own."""
    groups: list[list[int]] = []
    room = 0
    for size in order:
        if room <= 0:
            groups.append([])
            room = GROUP_TENANTS
        groups[-1].append(size.shard)
        room -= size.tenants
    return groups


async def _open(
    pool: postgres.Pool, guard: Guard, shards: Sequence[int], run_id: str, *, now: datetime
) -> list[int]:
    """Puts the counters of some shards back, and opens them.

    The cursor rows are locked, so nobody flushes meanwhile. The corrections go in a transaction before: if
    they outlived an open shard, they would be taken back from sums that never held the duplicates.
    """
    link = guard.link
    async with postgres.transaction(pool) as connection:
        drained = [cursor.shard for cursor in await _drained(connection, link, shards)]
        await postgres.execute(connection, flush_sql.forget_corrections, {"shards": drained})
    crash_point("certify-forgotten")
    async with postgres.transaction(pool) as connection:
        cursors = await _still_closed(connection, link, drained, run_id)
        ready = [cursor.shard for cursor in cursors]
        crash_point("certify-drained")
        await _put_all_back(connection, guard, ready, now=now)
        crash_point("certify-put-back")
        _same_run(link.run_id, run_id)
        reaches = [Reach(c.shard, c.number, c.drained_at) for c in cursors]
        commands = await incidents.begin_epochs(connection, link, reaches, now=now)
        commands += [("SET", keyspace.fence(shard), run_id) for shard in ready]
        await guard.send(commands)
        crash_point("certify-opened")
        return ready


async def _still_closed(
    connection: postgres.Connection, link: Link, shards: Sequence[int], run_id: str
) -> list[readings.Cursor]:
    """Locks the cursors of the shards, and gives those that are drained and that nobody else has opened."""
    cursors = await _drained(connection, link, shards)
    present, closed = await _closed(link, [cursor.shard for cursor in cursors])
    _same_run(present, run_id)
    return [cursor for cursor in cursors if cursor.shard in closed]


def _same_run(present: str, run_id: str) -> None:
    if present != run_id:
        raise RedisAwayError("the server changed while it was certified")


async def _drained(
    connection: postgres.Connection, link: Link, shards: Sequence[int]
) -> list[readings.Cursor]:
    """Locks the cursors, and gives those past which nothing waits in the journals."""
    params = {"shards": list(shards)}
    cursors = await postgres.rows(connection, flush_sql.wait_for_cursors, params, readings.Cursor)
    replies = await link.send(
        [("XRANGE", keyspace.journal(c.shard), f"({c.last_id}", "+", "COUNT", 1) for c in cursors]
    )
    return [cursor for cursor, reply in zip(cursors, replies.values, strict=True) if reply == []]


async def _put_all_back(
    connection: postgres.Connection, guard: Guard, shards: Sequence[int], *, now: datetime
) -> None:
    params: dict[str, object] = {
        "shards": list(shards),
        "since": now - COUNTER_LIFE,
        "capped_since": now - CAP_LIFE,
    }
    await _send_each(guard, _pages(connection, sql.counters, params, _Window), _put_back)
    async for versions in _pages(connection, sql.versions, params, _Version):
        await guard.send(version_puts({item.tenant_id: item.snapshot_version for item in versions}))
    async for lines in _pages(connection, reservation_sql.open, params, OpenLine):
        await guard.send(holds.put_back([journal.decode_line(item.reserve) for item in lines]))


async def _send_each(
    guard: Guard, pages: AsyncIterator[list[Row]], commands_of: Callable[[Sequence[Row]], list[Command]]
) -> None:
    """Sends the commands of page after page; while one is under way the next is read."""
    under_way: asyncio.Task[object] | None = None
    try:
        async for page in pages:
            commands = commands_of(page)
            if under_way is not None:
                await under_way
            under_way = asyncio.create_task(guard.send(commands))
        if under_way is not None:
            await under_way
    except BaseException:
        if under_way is not None:
            under_way.cancel()
        raise


def _put_back(windows: Sequence[_Window]) -> list[Command]:
    """The counters of each window, and how long they are kept: as long as the one that is needed longest."""
    commands: list[Command] = []
    for window in windows:
        key = keyspace.counters(keyspace.shard_of(window.tenant_id), window.tenant_id, window.time_window)
        fields = itertools.chain.from_iterable(zip(window.fields, window.used, strict=True))
        commands.append(("HSET", key, *fields))
        if window.ends:
            life = window.ends + int(COUNTER_LIFE.total_seconds())
            # Another part of it may have had it: the first end, or a later one.
            commands += [("EXPIREAT", key, life, "NX"), ("EXPIREAT", key, life, "GT")]
    return commands


async def _pages(
    connection: postgres.Connection, query: bytes, params: postgres.Params, into: type[Row]
) -> AsyncIterator[list[Row]]:
    """Rows page by page through a server-side cursor: ten million counters do not fit in memory at once."""
    async with connection.cursor(name="pages", row_factory=class_row(into)) as cursor:
        await cursor.execute(query, params)
        while page := await cursor.fetchmany(PAGE):
            yield page


async def _drop(guard: Guard, shards: frozenset[int]) -> None:
    """Counters and open reservations, before they are put back."""
    held = [key for shard in shards for key in (keyspace.holds(shard), keyspace.due(shard))]
    await guard.send([("UNLINK", key) for key in held])
    cursor = b"0"
    while True:
        reply = (await guard.link.send([("SCAN", cursor, "MATCH", "[cq]:*", "COUNT", NAMES)])).values[0]
        if isinstance(reply, exceptions.ResponseError):
            raise RedisAwayError(str(reply))
        cursor, keys = reply
        ours = [key for key in keys if keyspace.shard_of_key(key.decode()) in shards]
        if ours:
            await guard.send([("UNLINK", *ours)])
        if cursor == b"0":
            return
