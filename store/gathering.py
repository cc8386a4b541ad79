"""Acts of many callers that go together: one script call for each shard and trip, which is group commit."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

import msgspec
from redis import exceptions

from policies import limits
from store import keyspace
from store.accounts import Account
from store.crash_points import Point, crash_point
from store.link import Link, RedisAwayError
from store.nodes import Servers
from store.reading import FenceClosedError, catalog_of
from store.tips import Tips


class Act(Protocol):
    """What is sent."""

    @property
    def account(self) -> Account: ...  # noqa: D102 - where it counts
    @property
    def payload(self) -> bytes: ...  # noqa: D102 - its line in the journal


A = TypeVar("A", bound=Act)
F = TypeVar("F")


class Waiting(msgspec.Struct, Generic[A, F]):
    """An act and who waits for it."""

    act: A
    now: datetime
    future: "asyncio.Future[F]"


class Kind(msgspec.Struct, Generic[A, F], frozen=True):
    """How acts of one script are sent and told of."""

    packed: Callable[[int, Sequence[Waiting[A, F]], str], bytes]
    """The script's call for some acts of a shard, on the server of a run."""
    read: Callable[[Any, str | None], F]
    """What the script said of one act, and the hash of the active catalog."""
    weight: Callable[[A], int]
    """The number of words that an act adds to a trip, or a few more."""
    sent: Point
    with_catalog: bool
    """Whether the active catalog is read with them."""


class Gathered(Generic[A, F]):
    """An errand of many callers; it grows until its round trip begins."""

    def __init__(self, tips: Tips, kind: Kind[A, F]) -> None:
        self._tips = tips
        self._kind = kind
        self.weight = 2 if kind.with_catalog else 0
        self.durable = True
        self._waiting: dict[int, list[Waiting[A, F]]] = {}
        self._calls: list[tuple[int, Sequence[Waiting[A, F]]]] = []

    def join(self, act: A, now: datetime) -> "asyncio.Future[F]":
        """Lets an act go with this trip."""
        future: asyncio.Future[F] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(keyspace.shard_of(act.account.tenant_id), []).append(
            Waiting(act, now, future)
        )
        return future

    def pack(self, run_id: str) -> tuple[bytes, int]:
        """One script call for each shard, and more where that would be too large."""
        parts = [catalog_of(next(iter(self._waiting)))] if self._kind.with_catalog else []
        for shard, waiting in self._waiting.items():
            for batch in _batches(waiting):
                parts.append(self._kind.packed(shard, batch, run_id))
                self._calls.append((shard, batch))
        return b"".join(parts), len(parts)

    def deliver(self, run_id: str, values: list[Any]) -> None:
        """Tells every caller what became of its act."""
        del run_id
        crash_point(self._kind.sent)
        catalog = None
        if self._kind.with_catalog:
            first, *values = values
            catalog = first.decode() if isinstance(first, bytes) else None
        read = self._kind.read
        for (shard, batch), reply in zip(self._calls, values, strict=True):
            if isinstance(reply, exceptions.ResponseError):
                _fail(batch, error_of(reply))
                continue
            self._tips.note(shard, reply.pop())
            for waiting, said in zip(batch, reply, strict=True):
                if not waiting.future.done():
                    waiting.future.set_result(read(said, catalog))

    def fail(self, error: RedisAwayError) -> None:
        """Tells every caller that nobody knows."""
        for waiting in self._waiting.values():
            _fail(waiting, error)


class Gatherer(Generic[A, F]):
    """Sends acts of a kind over one link, those that arrive together together."""

    def __init__(self, link: Link, kind: Kind[A, F]) -> None:
        self._link = link
        self._kind = kind
        self._open = Gathered(link.tips, kind)

    def send(self, act: A, now: datetime) -> "asyncio.Future[F]":
        """What becomes of an act.

        Errors: FenceClosedError; RedisAwayError, and then nobody knows whether it was done.
        """
        weight = self._kind.weight(act)
        if not self._link.may_grow(self._open, weight):
            self._open = Gathered(self._link.tips, self._kind)
            self._open.weight += weight
            self._link.enqueue(self._open)
        return self._open.join(act, now)


class Gatherers(Generic[A, F]):
    """The same over the links to several nodes: each act goes to the one that has its shard."""

    def __init__(self, servers: Servers, kind: Kind[A, F]) -> None:
        self._servers = servers
        self._kind = kind
        self._gatherers: WeakKeyDictionary[Link, Gatherer[A, F]] = WeakKeyDictionary()

    def send(self, act: A, now: datetime) -> "asyncio.Future[F]":
        """As Gatherer.send."""
        link = self._servers.of(keyspace.shard_of(act.account.tenant_id))
        gatherer = self._gatherers.get(link)
        if gatherer is None:
            gatherer = self._gatherers[link] = Gatherer(link, self._kind)
        return gatherer.send(act, now)


def over(servers: Servers, kind: Kind[A, F]) -> "Gatherer[A, F] | Gatherers[A, F]":
    """Gathers acts of a kind on their way to whatever has all shards."""
    return Gatherer(servers, kind) if isinstance(servers, Link) else Gatherers(servers, kind)


def _batches(waiting: Sequence[Waiting[A, F]]) -> Iterator[Sequence[Waiting[A, F]]]:
    """Each within limits.SCRIPT_BATCH acts and limits.SCRIPT_BYTES."""
    begin, size = 0, 0
    for place, one in enumerate(waiting):
        size += len(one.act.payload)
        if place > begin and (place - begin >= limits.SCRIPT_BATCH or size > limits.SCRIPT_BYTES):
            yield waiting[begin:place]
            begin, size = place, len(one.act.payload)
    yield waiting[begin:]


def error_of(reply: exceptions.ResponseError) -> Exception:
    """What a script's error means."""
    return FenceClosedError() if "FENCED" in str(reply) else RedisAwayError(str(reply))


def _fail(batch: Sequence[Waiting[A, F]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
