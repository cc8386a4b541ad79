"""Reading for decisions: the counters that many callers want, once each, in one round trip.

Whoever asks while a trip is under way joins the next one. What several ask for is sent once: the reply is
later than each of their questions.
"""

import asyncio
import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
from redis import exceptions

from policies import limits
from store import keyspace
from store.conversation import Command, pack
from store.link import Link, RedisAwayError


class FenceClosedError(Exception):
    """The shard is not certified on the server that runs now; its counters may not be believed or moved."""


class Want(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """Counters of one tenant: pairs of time window and field."""

    tenant_id: str
    fields: tuple[tuple[str, str], ...]


class Levels(msgspec.Struct, frozen=True, gc=False):
    """What was read in one round trip: the scripts' snapshot version and the counters in the order asked."""

    snapshot_version: int | None
    """None: Redis does not know the tenant, or has lost it."""
    values: tuple[int, ...]
    catalog: str | None = None
    """The hash of the active catalog, as Redis was told; None: it was told nothing."""


class _Packed(msgspec.Struct, frozen=True, gc=False):
    """A Want as it goes out."""

    shard: int
    version: bytes
    counters: bytes
    """One HMGET for each time window."""
    windows: int
    order: tuple[int, ...] | None
    """Where each field's value stands among the replies; None: in their order."""
    weight: int


_Found: TypeAlias = Levels | Exception


class Reads:
    """An errand of many callers; it grows until its round trip begins."""

    def __init__(self) -> None:
        self.weight = 2  # the active catalog is read with each
        self.durable = False
        self._wants: dict[Want, _Packed] = {}
        self._callers: list[tuple[Sequence[Want], asyncio.Future[list[Levels]]]] = []
        self._of_one: list[tuple[Want, asyncio.Future[Levels]]] = []
        self._shards: dict[int, int] = {}
        self._tenants: dict[str, int] = {}

    def lacks(self, wants: Sequence[Want]) -> int:
        """The number of words that these would add."""
        weight = 0
        for want in wants:
            if want not in self._wants:
                weight += packed(want).weight
        return weight

    def join(self, wants: Sequence[Want]) -> asyncio.Future[list[Levels]]:
        """Lets a caller wait for these too."""
        for want in wants:
            if want not in self._wants:
                self._wants[want] = packed(want)
        future: asyncio.Future[list[Levels]] = asyncio.get_running_loop().create_future()
        self._callers.append((wants, future))
        return future

    def join_one(self, want: Want) -> asyncio.Future[Levels]:
        """The same for a caller who waits for one."""
        if want not in self._wants:
            self._wants[want] = packed(want)
        future: asyncio.Future[Levels] = asyncio.get_running_loop().create_future()
        self._of_one.append((want, future))
        return future

    def pack(self, run_id: str) -> tuple[bytes, int]:
        """The active catalog, each shard's fence, each tenant's version, each time window's counters."""
        del run_id
        first = next(iter(self._wants.values()), None)
        fences: list[bytes] = []
        versions: list[bytes] = []
        counters: list[bytes] = []
        windows = 0
        for want, each in self._wants.items():
            if each.shard not in self._shards:
                self._shards[each.shard] = len(fences)
                fences.append(_fence(each.shard))
            if want.tenant_id not in self._tenants:
                self._tenants[want.tenant_id] = len(versions)
                versions.append(each.version)
            counters.append(each.counters)
            windows += each.windows
        catalog = catalog_of(first.shard if first is not None else 0)
        data = b"".join([catalog, *fences, *versions, *counters])
        return data, 1 + len(fences) + len(versions) + windows

    def deliver(self, run_id: str, values: list[Any]) -> None:
        """Gives every caller what it wants, or says which of it cannot be believed."""
        found = self._read(run_id.encode(), values)
        for want, one in self._of_one:
            if not one.done():
                read = found[want]
                if isinstance(read, Levels):
                    one.set_result(read)
                else:
                    one.set_exception(read)
        for wants, several in self._callers:
            if several.done():
                continue
            levels = [found[want] for want in wants]
            for each in levels:
                if not isinstance(each, Levels):
                    several.set_exception(each)
                    break
            else:
                several.set_result(levels)  # type: ignore[arg-type]  # the loop has seen each of them

    def fail(self, error: RedisAwayError) -> None:
        """Tells every caller."""
        futures: list[asyncio.Future[Any]] = [future for _, future in self._callers]
        for future in (*futures, *(future for _, future in self._of_one)):
            if not future.done():
                future.set_exception(error)

    def _read(self, run_id: bytes, values: list[Any]) -> dict[Want, _Found]:
        first_version = 1 + len(self._shards)
        at = first_version + len(self._tenants)
        found: dict[Want, _Found] = {}
        for want, each in self._wants.items():
            replies = values[at : at + each.windows]
            at += each.windows
            fence = values[1 + self._shards[each.shard]]
            version = values[first_version + self._tenants[want.tenant_id]]
            found[want] = _levels(each, run_id, (values[0], fence, version, *replies))
        return found


class Reader:
    """Asks over one link, and lets callers share what is asked."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._open = Reads()

    def read(self, wants: Sequence[Want]) -> "asyncio.Future[list[Levels]]":
        """The levels of several tenants in one round trip, which begins after this call.

        Errors: FenceClosedError if any shard among them is closed, RedisAwayError.
        """
        return self._errand(wants).join(wants)

    def read_one(self, want: Want) -> "asyncio.Future[Levels]":
        """The levels of one, as `read`."""
        return self._errand((want,)).join_one(want)

    def _errand(self, wants: Sequence[Want]) -> Reads:
        """The one that waits, if these may join it, else another behind it."""
        if not self._link.may_grow(self._open, self._open.lacks(wants)):
            # What is sent by others meanwhile stands between: a later read must come behind it.
            self._open = Reads()
            self._open.weight += self._open.lacks(wants)
            self._link.enqueue(self._open)
        return self._open


@functools.lru_cache(maxsize=limits.WANTS_ALIVE)
def packed(want: Want) -> _Packed:
    """A want as it goes out: made once, since most are asked for again."""
    shard = keyspace.shard_of(want.tenant_id)
    by_window: dict[str, list[int]] = {}
    for place, (window, _) in enumerate(want.fields):
        by_window.setdefault(window, []).append(place)
    commands: list[Command] = [
        ("HMGET", keyspace.counters(shard, want.tenant_id, window), *[want.fields[p][1] for p in places])
        for window, places in by_window.items()
    ]
    sent = [place for places in by_window.values() for place in places]
    return _Packed(
        shard=shard,
        version=pack(("HGET", keyspace.versions(shard), want.tenant_id)),
        counters=pack(*commands),
        windows=len(commands),
        order=None if sent == sorted(sent) else tuple(map(sent.index, range(len(sent)))),
        weight=5 + 2 * len(commands) + len(sent),
    )


@functools.lru_cache(maxsize=keyspace.SHARDS)
def catalog_of(shard: int) -> bytes:
    """Asks for the active catalog, on the node of a shard."""
    return pack(("GET", keyspace.catalog(shard)))


@functools.lru_cache(maxsize=keyspace.SHARDS)
def _fence(shard: int) -> bytes:
    return pack(("GET", keyspace.fence(shard)))


def _levels(each: _Packed, run_id: bytes, replies: Sequence[Any]) -> _Found:
    """Catalog, fence, version and counters as levels; an error among them leaves none to believe."""
    for reply in replies:
        if isinstance(reply, exceptions.ResponseError):
            return RedisAwayError(str(reply))
    catalog, fence, version, *windows = replies
    if fence != run_id:
        return FenceClosedError()
    flat = [int(value) if value else 0 for window in windows for value in window]
    return Levels(
        None if version is None else int(version),
        tuple(flat if each.order is None else [flat[place] for place in each.order]),
        None if catalog is None else catalog.decode(),
    )
