"""The typed face of the counters in Redis: read them for a decision, record usage, take back duplicates."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec
from redis import exceptions

from policies import limits
from store import keyspace, script_call, scripts
from store.accounts import Account, CapMove
from store.conversation import Command
from store.crash_points import crash_point
from store.link import RUN_ID, Link, RedisAwayError, Replies
from store.nodes import Servers
from store.reading import FenceClosedError, Levels, Met, Reader, Readers, Want

RecordStatus = Literal["accepted", "duplicate", "mismatch", "stale", "overflow", "crowded", "retry"]
STATUSES: tuple[RecordStatus, ...] = ("accepted", "duplicate", "mismatch", "stale", "overflow", "crowded")
MARK_LIFE_S = limits.MARK_HOURS * 3600 + keyspace.DAY_S
"""Marks are kept by day of arrival, so the last of a day must outlive the day before it by 48 hours."""

CORRECTED_LIFE_S = limits.DEDUPE_DAYS * keyspace.DAY_S
"""How long a shard remembers which corrections it has applied, from the last one on."""


class Recording(msgspec.Struct, frozen=True):
    """One event on its way into the script. `payload` is one msgpack value, kept in the journal as it is."""

    account: Account
    measured: int
    digest: bytes
    """16 bytes of sha256 over tenant, service and event id; the mark keeps 12."""
    fingerprint: int
    payload: bytes
    caps: tuple[CapMove, ...] = ()
    value: str = ""
    """Of a unique meter: the field of the value that is counted."""


class Correction(msgspec.Struct, frozen=True):
    """An amount that a counter must give back, once."""

    correction_id: str
    shard: int
    tenant_id: str
    time_window: str
    field: str
    amount: int
    """What the duplicate had added, and is taken back; below zero where it had given back."""


class Counters:
    """The scripts and reads of all shards."""

    def __init__(self, link: Servers) -> None:
        self.link = link
        self._reader = Reader(link) if isinstance(link, Link) else Readers(link)

    def read(self, wants: Sequence[Want]) -> Awaitable[list[Levels]]:
        """The levels of several tenants in one round trip, shared with whoever asks meanwhile.

        Errors: FenceClosedError if any shard among them is closed, RedisAwayError.
        """
        return self._reader.read(wants)

    def read_one(self, want: Want) -> Awaitable[Levels]:
        """The levels of one tenant, as `read`."""
        return self._reader.read_one(want)

    def meet(self, want: Want) -> Awaitable[Met]:
        """The same with the copy of the tenant's snapshot, for a tenant that this process does not know."""
        return self._reader.meet(want)

    async def record(self, events: Sequence[Recording], *, now: datetime) -> list[RecordStatus]:
        """Records events of any shards: a script call per shard and limits.SCRIPT_BATCH events, all at once.

        `retry` means that the event may or may not have been recorded (the server was away, or its fence was
        closed); if it was, it is recognised as a duplicate when it comes again.
        """
        calls = _calls(events)
        commands = [record_command(shard, [events[place] for place in batch], now) for shard, batch in calls]
        sent = [self.link.send([command], durable=True) for command in commands]
        replies = await asyncio.gather(*sent, return_exceptions=True)
        crash_point("recorded")
        found: list[RecordStatus] = ["retry"] * len(events)
        for (shard, batch), reply in zip(calls, replies, strict=True):
            for place, status in zip(batch, self._statuses(shard, reply, len(batch)), strict=True):
                found[place] = status
        return found

    def _statuses(self, shard: int, reply: Replies | BaseException, count: int) -> list[RecordStatus]:
        if isinstance(reply, RedisAwayError):
            return ["retry"] * count
        if isinstance(reply, BaseException):
            raise reply
        (said,) = reply.values
        if isinstance(said, exceptions.ResponseError):
            return ["retry"] * count
        *codes, number = said
        self.link.tips.note(shard, number)
        return [STATUSES[code] for code in codes]

    async def run_of(self, shard: int) -> str:
        """The run of the server that a shard is on now.

        Errors: RedisAwayError.
        """
        return (await self.link.send([("GET", keyspace.fence(shard))])).run_id

    async def correct(self, shard: int, corrections: Sequence[Correction], *, run_id: str = RUN_ID) -> None:
        """Takes back amounts, each once however often it is asked; `run_id`: as long as the server is of it.

        Errors: FenceClosedError, RedisAwayError.
        """
        keys = script_call.Keys(keyspace.fence(shard), keyspace.corrected(shard))
        arguments: list[str | bytes | int] = []
        for correction in corrections:
            place = keys.place(keyspace.counters(shard, correction.tenant_id, correction.time_window))
            arguments += [correction.correction_id, place, correction.field, -correction.amount]
        replies = await self.link.send([keys.call(scripts.CORRECT, run_id, CORRECTED_LIFE_S, *arguments)])
        _raise_refusal(replies.values[0])

    async def raise_versions(self, versions: dict[str, int]) -> None:
        """Tells the scripts the tenants' snapshot versions; a lower one than they know changes nothing.

        Copies of the snapshots go: after a restore of Postgres a version may come a second time.
        Errors: RedisAwayError.
        """
        by_shard = _by_shard(versions)
        await self.send_all(
            [
                *_forget_copies(versions),
                *(
                    ("EVALSHA", scripts.RAISE_VERSION.sha, 1, keyspace.versions(shard), *flat)
                    for shard, flat in by_shard.items()
                ),
            ]
        )

    async def active_catalog(self, shards: Iterable[int] = range(keyspace.SHARDS)) -> str | None:
        """The hash of the active catalog as Redis was told; None if some shard was told nothing, or another.

        Errors: RedisAwayError.
        """
        replies = await self.send_all([("GET", keyspace.catalog(shard)) for shard in shards])
        told = set(map(_value, replies.values))
        value = told.pop()
        return None if told or value is None else value.decode()

    async def set_active_catalog(
        self, catalog_hash: str, shards: Iterable[int] = range(keyspace.SHARDS)
    ) -> None:
        """Tells every process which catalog is active; each sees it with its next read.

        Errors: RedisAwayError.
        """
        await self.send_all([("SET", keyspace.catalog(shard), catalog_hash) for shard in shards])

    async def set_versions(self, versions: dict[str, int]) -> None:
        """Puts the tenants' snapshot versions to what Postgres says.

        Errors: RedisAwayError.
        """
        await self.send_all(version_puts(versions))

    async def send_all(self, commands: Sequence[Command]) -> Replies:
        """Sends plain commands of which each must succeed.

        Errors: RedisAwayError, also when a single command was refused (no memory, read only).
        """
        replies = await self.link.send(commands)
        for value in replies.values:
            _value(value)
        return replies


def _calls(events: Sequence[Recording]) -> list[tuple[int, list[int]]]:
    """Places of the events by shard, each call within limits.SCRIPT_BATCH events and limits.SCRIPT_BYTES."""
    calls: list[tuple[int, list[int]]] = []
    open_calls: dict[int, tuple[list[int], int]] = {}
    for place, event in enumerate(events):
        shard = keyspace.shard_of(event.account.tenant_id)
        batch, size = open_calls.get(shard, (None, 0))
        size += len(event.payload)
        if batch is None or len(batch) >= limits.SCRIPT_BATCH or size > limits.SCRIPT_BYTES:
            batch, size = [], len(event.payload)
            calls.append((shard, batch))
        batch.append(place)
        open_calls[shard] = (batch, size)
    return calls


def record_command(shard: int, batch: Sequence[Recording], now: datetime, *, run_id: str = RUN_ID) -> Command:
    """The call of the script for some events of a shard."""
    keys = script_call.Keys(keyspace.fence(shard), keyspace.journal(shard), keyspace.versions(shard))
    accounts = script_call.Accounts(shard, keys)
    body: list[str | bytes | int] = []
    today = keyspace.day_of(now)
    for event in batch:
        body += (accounts.place(event.account), event.measured)
        body += script_call.mark(shard, keys, event.digest, today)
        body += (event.fingerprint, event.payload)
        body += (event.value,) if event.account.meter == "unique" else ()
        body += script_call.caps(shard, keys, event.account.tenant_id, event.caps)
    return keys.call(scripts.RECORD, run_id, MARK_LIFE_S, *accounts.arguments(), len(batch), *body)


def version_puts(versions: dict[str, int]) -> list[Command]:
    """What puts the tenants' snapshot versions to what Postgres says, also downwards: after its restore."""
    by_shard = _by_shard(versions)
    puts: list[Command] = [("HSET", keyspace.versions(shard), *flat) for shard, flat in by_shard.items()]
    return [*_forget_copies(versions), *puts]


def _by_shard(versions: dict[str, int]) -> dict[int, list[str | int]]:
    """Of each shard tenants and their versions in turn."""
    found: dict[int, list[str | int]] = {}
    for tenant_id, version in versions.items():
        found.setdefault(keyspace.shard_of(tenant_id), []).extend((tenant_id, version))
    return found


def _forget_copies(tenant_ids: Iterable[str]) -> list[Command]:
    """Of the tenants' snapshots: after a restore of Postgres a version may come a second time."""
    by_shard: dict[int, list[str]] = {}
    for each in tenant_ids:
        shard = keyspace.shard_of(each)
        by_shard.setdefault(shard, []).append(keyspace.snapshot(shard, each))
    return [("UNLINK", *keys) for keys in by_shard.values()]


def _value(value: object) -> bytes | None:
    if isinstance(value, exceptions.ResponseError):
        raise RedisAwayError(str(value))
    return value if isinstance(value, bytes) else None


def _raise_refusal(value: object) -> None:
    if isinstance(value, exceptions.ResponseError):
        if "FENCED" in str(value):
            raise FenceClosedError
        raise RedisAwayError(str(value))
