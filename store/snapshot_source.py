"""Where a snapshot that a process lacks comes from: from Redis at the present version, or from Postgres.

Many tenants are looked up at once: one round trip to Redis, one query of Postgres for all that wait. What is
in Redis is a copy of what Postgres said, with the version that it was at; it is used only if the tenant's
version beside it is that very one. Deleting it costs a query and changes no answer.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from policies import errors, limits
from policies.snapshot import Snapshot
from store import keyspace, postgres, queries
from store.conversation import Command
from store.link import RedisAwayError
from store.nodes import Servers

sql = queries.Queries("snapshots")

_MARK: Final = hashlib.sha256(sql.snapshots).hexdigest()[:8].encode()
"""Stands before every copy, so that none made by another version's query is read as one of this."""
_decode: Final = msgspec.json.Decoder(Snapshot).decode


class SnapshotSource:
    """The source of one process."""

    def __init__(self, pool: postgres.Pool, link: Servers, *, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._link = link
        self._now = now
        self._queue = _Queue(self._query)
        self._copying: set[asyncio.Task[None]] = set()

    async def find(self, tenant_ids: Sequence[str]) -> dict[str, Snapshot]:
        """These tenants' snapshots, from Redis as far as it has them.

        Errors: UnavailableError when one of them has to come from Postgres, and that is away.
        """
        found = await self._copies(tenant_ids)
        missing = [tenant_id for tenant_id in tenant_ids if tenant_id not in found]
        return found | await self.load(missing) if missing else found

    async def load(self, tenant_ids: Sequence[str]) -> dict[str, Snapshot]:
        """These tenants' snapshots as Postgres has them: the query begins after this call.

        Errors: UnavailableError.
        """
        snapshots = await asyncio.gather(*(self._queue.get(tenant_id) for tenant_id in tenant_ids))
        return {snapshot.tenant_id: snapshot for snapshot in snapshots}

    async def close(self) -> None:
        """Ends what is still under way."""
        self._queue.close()
        for task in self._copying:
            task.cancel()
        await asyncio.gather(*self._copying, return_exceptions=True)

    async def _copies(self, tenant_ids: Sequence[str]) -> dict[str, Snapshot]:
        """What Redis has at the present version; nothing of a shard whose fence is closed."""
        commands: list[Command] = []
        for tenant_id in tenant_ids:
            shard = keyspace.shard_of(tenant_id)
            commands.append(("HGET", keyspace.versions(shard), tenant_id))
            commands.append(("MGET", keyspace.fence(shard), keyspace.snapshot(shard, tenant_id)))
        try:
            replies = await self._link.send(commands)
        except RedisAwayError:
            return {}
        runs, values = [*replies.runs()], replies.values
        found = {}
        for place, tenant_id in enumerate(tenant_ids):
            version, pair, run_id = values[2 * place], values[2 * place + 1], runs[2 * place + 1].encode()
            if not isinstance(pair, list) or pair[0] != run_id or not isinstance(version, bytes):
                continue
            snapshot = read_copy(pair[1], int(version))
            if snapshot is not None:
                found[tenant_id] = snapshot
        return found

    async def _query(self, tenant_ids: Sequence[str]) -> dict[str, Snapshot]:
        async with postgres.transaction(self._pool) as connection:
            texts = await read_texts(connection, tenant_ids, now=self._now())
        found = {snapshot.tenant_id: snapshot for snapshot in map(_decode, texts)}
        self._copy(dict(zip(found, texts, strict=True)))
        unknown = [tenant_id for tenant_id in tenant_ids if tenant_id not in found]
        return found | {tenant_id: _unknown(tenant_id) for tenant_id in unknown}

    def _copy(self, texts: Mapping[str, str]) -> None:
        """Leaves copies in Redis; nobody waits for it, and nobody misses them."""
        commands: list[Command] = [
            (
                "SET",
                keyspace.snapshot(keyspace.shard_of(tenant_id), tenant_id),
                copy_of(text),
                "EX",
                limits.SNAPSHOT_COPY_S,
            )
            for tenant_id, text in texts.items()
        ]
        task = asyncio.create_task(self._send(commands))
        self._copying.add(task)
        task.add_done_callback(self._copying.discard)

    async def _send(self, commands: Sequence[Command]) -> None:
        with contextlib.suppress(RedisAwayError):
            await self._link.send(commands)


class _Queue:
    """Look-ups that wait for the next query; while one is under way the others gather."""

    def __init__(self, query: Callable[[Sequence[str]], Awaitable[dict[str, Snapshot]]]) -> None:
        self._query = query
        self._waiting: dict[str, asyncio.Future[Snapshot]] = {}
        self._pump: asyncio.Task[None] | None = None

    async def get(self, tenant_id: str) -> Snapshot:
        future = self._waiting.get(tenant_id)
        if future is None:
            future = self._waiting[tenant_id] = asyncio.get_running_loop().create_future()
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run())
        return await asyncio.shield(future)  # it is others' too

    def close(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
        _fail(self._waiting.values(), errors.UnavailableError("The process ends."))

    async def _run(self) -> None:
        while self._waiting:
            taken = list(self._waiting)[: limits.SNAPSHOT_BATCH]
            futures = {tenant_id: self._waiting.pop(tenant_id) for tenant_id in taken}
            try:
                found = await self._query(taken)
            except asyncio.CancelledError:
                _fail(futures.values(), errors.UnavailableError("The process ends."))
                raise
            except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
                _fail(futures.values(), error)
            else:
                for tenant_id, future in futures.items():
                    if not future.done():
                        future.set_result(found[tenant_id])


def _fail(futures: Collection["asyncio.Future[Snapshot]"], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
            future.exception()  # whoever waited may have gone: then nobody need hear of it


async def read_texts(
    connection: postgres.Connection,
    tenant_ids: Sequence[str],
    *,
    now: datetime,
    phases: int = limits.PHASES,
) -> list[str]:
    """The snapshots of those tenants that exist, as JSON, inside a transaction.

    What ended so long before `now` that no late event can be weighed by it is left out; an override of what
    is included once no rest of its time can be carried any more.
    """
    params = {
        "tenant_ids": list(tenant_ids),
        "phases": phases,
        "billing": limits.BILLING_FACTS,
        "grants": limits.GRANTS_CARRIED,
        "overrides": limits.OVERRIDES_CARRIED,
        "since": now - timedelta(days=limits.FACTS_BACK_DAYS),
        "carried_since": now - timedelta(days=limits.FACTS_BACK_DAYS + limits.ROLLOVER_DAYS),
    }
    return await postgres.scalars(connection, sql.snapshots, params)


async def read(
    connection: postgres.Connection, tenant_id: str, *, now: datetime, phases: int = limits.PHASES
) -> Snapshot:
    """One snapshot inside a transaction; a tenant that does not exist has one too, with `known` false."""
    texts = await read_texts(connection, [tenant_id], now=now, phases=phases)
    return _decode(texts[0]) if texts else _unknown(tenant_id)


async def read_all(
    connection: postgres.Connection, tenant_ids: Sequence[str], *, now: datetime
) -> list[Snapshot]:
    """The snapshots of those tenants that exist, inside a transaction; nobody keeps them."""
    return [_decode(text) for text in await read_texts(connection, tenant_ids, now=now)]


def copy_of(text: str) -> bytes:
    """What Redis keeps of a snapshot that Postgres gave."""
    return _MARK + text.encode()


def _unknown(tenant_id: str) -> Snapshot:
    return Snapshot(tenant_id=tenant_id, version=0, known=False, subscriptions=())


def read_copy(copy: Any, version: int | None) -> Snapshot | None:
    """The snapshot in a copy, if it is whole, of this query, and at this version."""
    if not isinstance(copy, bytes) or not copy.startswith(_MARK):
        return None
    try:
        snapshot = _decode(copy[len(_MARK) :])
    except msgspec.MsgspecError:
        return None
    return snapshot if snapshot.version == version else None
