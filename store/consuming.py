"""Consuming: uses that are counted only if all of each fits, sent together when they come together."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from redis import exceptions

from policies import limits
from store import journal, keyspace, script_call, scripts
from store.accounts import Account, CapMove
from store.conversation import Command, pack
from store.counters import MARK_LIFE_S
from store.crash_points import crash_point
from store.link import Link, RedisAwayError
from store.reading import FenceClosedError, catalog_of
from store.tips import Tips

Outcome = Literal[
    "counted",
    "repeated",
    "mismatch",
    "stale",
    "overflow",
    "refused",
    "moved",
    "crowded",
    "due",
    "full",
]
OUTCOMES: tuple[Outcome, ...] = (
    "counted",
    "repeated",
    "mismatch",
    "stale",
    "overflow",
    "refused",
    "moved",
    "crowded",
    "due",
    "full",
)


class Ceilings(msgspec.Struct, frozen=True):
    """What Cedar allows at most of all that is counted after a use; None is no ceiling. Scaled."""

    granted: int | None
    """The granted units that they are for; None: they do not depend on it."""
    drawn: int | None
    caps: tuple[int | None, ...]
    """In the order of the use's caps."""


class Use(msgspec.Struct, frozen=True):
    """One use on its way into the script. `payload` is one msgpack value, kept in the journal as it is."""

    account: Account
    measured: int
    digest: bytes
    """16 bytes; the mark keeps 12."""
    fingerprint: int
    payload: bytes
    ceilings: Ceilings
    caps: tuple[CapMove, ...] = ()
    value: str = ""
    """Of a unique meter: the field of the value that is counted."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """What became of a use, and the levels before it; only `counted` changed anything.

    `moved`: something else is granted than the ceilings are for. `crowded`: the period has as many values as
    are kept. `due`: it may fit once reservations that have expired are ended. `full`: the tenant may not
    reserve more at a time.
    """

    outcome: Outcome
    levels: tuple[int, ...]
    """Overage, excess, reserved units of the period, the account's finite buckets, the use's caps.

    Of a unique meter then the number of events that had the value.
    Of an account that something may be carried into or from: also the size of each generation, the latest
    first, and what the next period has of what this one included.
    """
    catalog: str | None
    """The hash of the active catalog, as Redis was told."""


class _Waiting(msgspec.Struct):
    """A use and who waits for it."""

    use: Use
    now: datetime
    future: asyncio.Future[Found]


class Uses:
    """An errand of many callers; it grows until its round trip begins."""

    def __init__(self, tips: Tips) -> None:
        self._tips = tips
        self.weight = 2  # the active catalog is read with them
        self.durable = True
        self._waiting: dict[int, list[_Waiting]] = {}
        self._calls: list[tuple[int, list[_Waiting]]] = []

    def join(self, use: Use, now: datetime) -> asyncio.Future[Found]:
        """Lets a use go with this trip."""
        waiting = _Waiting(use, now, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(keyspace.shard_of(use.account.tenant_id), []).append(waiting)
        return waiting.future

    def pack(self, run_id: str) -> tuple[bytes, int]:
        """One script call for each shard and limits.SCRIPT_BATCH uses."""
        calls = []
        for shard, waiting in self._waiting.items():
            for begin in range(0, len(waiting), limits.SCRIPT_BATCH):
                batch = waiting[begin : begin + limits.SCRIPT_BATCH]
                calls.append(_command(shard, batch, run_id))
                self._calls.append((shard, batch))
        return catalog_of(next(iter(self._waiting))) + pack(*calls), 1 + len(calls)

    def deliver(self, run_id: str, values: list[Any]) -> None:
        """Tells every caller what became of its use."""
        del run_id
        crash_point("consumed")
        catalog = values[0].decode() if isinstance(values[0], bytes) else None
        for (shard, batch), reply in zip(self._calls, values[1:], strict=True):
            if isinstance(reply, exceptions.ResponseError):
                _fail(batch, error_of(reply))
                continue
            *stands, number = reply
            self._tips.note(shard, number)
            for waiting, stand in zip(batch, stands, strict=True):
                if not waiting.future.done():
                    waiting.future.set_result(Found(OUTCOMES[stand[0]], tuple(stand[1:]), catalog))

    def fail(self, error: RedisAwayError) -> None:
        """Tells every caller that nobody knows."""
        for waiting in self._waiting.values():
            _fail(waiting, error)


class Consumer:
    """Sends uses over one link, those that arrive together together."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._open = Uses(link.tips)

    def consume(self, use: Use, *, now: datetime) -> asyncio.Future[Found]:
        """Counts a use if it fits.

        Errors: FenceClosedError; RedisAwayError, and then nobody knows whether it was counted: with the same
        id it may come again.
        """
        weight = _weight(use)
        if not self._link.may_grow(self._open, weight):
            self._open = Uses(self._link.tips)
            self._open.weight += weight
            self._link.enqueue(self._open)
        return self._open.join(use, now)

    async def fingerprint(self, tenant_id: str, digest: bytes, *, now: datetime) -> int | None:
        """What an id was counted with in the last two days; None if nothing was counted under it.

        Errors: RedisAwayError.
        """
        shard, today = keyspace.shard_of(tenant_id), keyspace.day_of(now)
        bucket = keyspace.mark_bucket(digest)
        keys = (keyspace.marks(shard, today - age, bucket) for age in range(3))
        replies = await self._link.send([("HGET", key, digest[:12]) for key in keys])
        marks = [value for value in replies.values if isinstance(value, bytes)]
        return int(marks[0]) if marks else None


def _weight(use: Use) -> int:
    """The number of words that it adds to a trip, or a few more."""
    links = use.account.carrying.links if use.account.carrying else ()
    return 30 + 6 * len(use.account.finite) + 4 * len(use.caps) + 5 * len(links)


def _command(shard: int, batch: Sequence[_Waiting], run_id: str) -> Command:
    keys = script_call.Keys(
        keyspace.fence(shard),
        keyspace.journal(shard),
        keyspace.versions(shard),
        keyspace.due(shard),
        keyspace.clock(shard),
    )
    now = journal.microseconds(max(waiting.now for waiting in batch))
    accounts = script_call.Accounts(shard, keys)
    body: list[script_call.Argument] = []
    for waiting in batch:
        body.append(accounts.place(waiting.use.account))
        body += asked(shard, keys, waiting.use, keyspace.day_of(waiting.now))
    return keys.call(scripts.CONSUME, run_id, MARK_LIFE_S, now, *accounts.arguments(), len(batch), *body)


def asked(shard: int, keys: script_call.Keys, use: Use, today: int) -> list[script_call.Argument]:
    """A use as scripts take it, without its account: quantity, mark, payload, ceilings."""
    ceilings = use.ceilings
    return [
        use.measured,
        *script_call.mark(shard, keys, use.digest, today),
        use.fingerprint,
        use.payload,
        *((use.value,) if use.account.meter == "unique" else ()),
        _or_none(ceilings.granted),
        _or_none(ceilings.drawn),
        *script_call.caps(shard, keys, use.account.tenant_id, use.caps),
        *map(_or_none, ceilings.caps),
    ]


def _or_none(number: int | None) -> int:
    return -1 if number is None else number


def error_of(reply: exceptions.ResponseError) -> Exception:
    """What a script's error means."""
    return FenceClosedError() if "FENCED" in str(reply) else RedisAwayError(str(reply))


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
