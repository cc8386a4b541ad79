"""Reading for decisions: the counters that many callers want, once each, in one round trip.

Whoever asks while a trip is under way joins the next one. What several ask for is sent once: the reply is
later than each of their questions.
"""

import asyncio
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import msgspec
from redis import exceptions

from policies import limits
from policies.kept import Kept
from store import keyspace
from store.conversation import pack
from store.link import Link, RedisAwayError
from store.nodes import Servers


class FenceClosedError(Exception):
    """The shard is not certified on the server that runs now; its counters may not be believed or moved."""


Fields = tuple[tuple[str, str], ...]


class Want(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """Counters of one tenant: pairs of time window and field."""

    tenant_id: str
    fields: Fields


class Levels(msgspec.Struct, frozen=True, gc=False):
    """What was read in one round trip: the scripts' snapshot version and the counters in the order asked."""

    snapshot_version: int | None
    """None: Redis does not know the tenant, or has lost it."""
    values: tuple[int, ...]
    catalog: str | None = None
    """The hash of the active catalog, as Redis was told; None: it was told nothing."""


class Met(msgspec.Struct, frozen=True, gc=False):
    """What was read of a tenant that a process does not know: a copy of its snapshot beside its counters."""

    levels: Levels
    copy: bytes | None


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
_COPY_WORDS: Final = 2


class Reads:
    """An errand of many callers; it grows until its round trip begins."""

    def __init__(self) -> None:
        self.weight = 2  # the active catalog is read with each
        self.durable = False
        self._wants: dict[Want, _Packed] = {}
        self._callers: list[tuple[Sequence[Want], asyncio.Future[list[Levels]]]] = []
        self._of_one: list[tuple[Want, asyncio.Future[Levels]]] = []
        self._meeting: list[tuple[Want, asyncio.Future[Met]]] = []
        self._copies: dict[str, int] = {}
        self._shards: dict[int, int] = {}
        self._tenants: dict[str, int] = {}

    def lacks(self, wants: Sequence[Want]) -> dict[Want, _Packed]:
        """Those of them that nobody here asks for yet."""
        return {want: packed(want) for want in wants if want not in self._wants}

    def add(self, wants: Mapping[Want, _Packed]) -> None:
        """Asks for these too; who joins wants some of what is asked for."""
        self._wants |= wants

    def join(self, wants: Sequence[Want]) -> asyncio.Future[list[Levels]]:
        """Lets a caller wait for these."""
        future: asyncio.Future[list[Levels]] = asyncio.get_running_loop().create_future()
        self._callers.append((wants, future))
        return future

    def join_one(self, want: Want) -> asyncio.Future[Levels]:
        """The same for a caller who waits for one."""
        future: asyncio.Future[Levels] = asyncio.get_running_loop().create_future()
        self._of_one.append((want, future))
        return future

    def meet(self, want: Want) -> asyncio.Future[Met]:
        """The same for one who wants the tenant's snapshot, too."""
        self._copies.setdefault(want.tenant_id, len(self._copies))
        future: asyncio.Future[Met] = asyncio.get_running_loop().create_future()
        self._meeting.append((want, future))
        return future

    def pack(self, run_id: str) -> tuple[bytes, int]:
        """The active catalog, each shard's fence, each tenant's version and copy, each window's counters."""
        del run_id
        first = next(iter(self._wants.values()), None)
        fences: list[bytes] = []
        versions: list[bytes] = []
        copies = [_copy_of(tenant_id) for tenant_id in self._copies]
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
        data = b"".join([catalog, *fences, *versions, *copies, *counters])
        return data, 1 + len(fences) + len(versions) + len(copies) + windows

    def deliver(self, run_id: str, values: list[Any]) -> None:
        """Gives every caller what it wants, or says which of it cannot be believed."""
        found = self._read(run_id.encode(), values)
        for want, one in self._of_one:
            if not one.done():
                _settle(one, found[want])
        for want, met in self._meeting:
            if not met.done():
                copy = values[1 + len(self._shards) + len(self._tenants) + self._copies[want.tenant_id]]
                _settle(met, _met(found[want], copy))
        for wants, several in self._callers:
            if not several.done():
                levels = [found[want] for want in wants]
                wrong = [each for each in levels if not isinstance(each, Levels)]
                _settle(several, wrong[0] if wrong else levels)

    def fail(self, error: RedisAwayError) -> None:
        """Tells every caller."""
        futures: list[asyncio.Future[Any]] = [future for _, future in self._callers]
        futures += [future for _, future in self._of_one]
        for future in (*futures, *(future for _, future in self._meeting)):
            if not future.done():
                future.set_exception(error)

    def _read(self, run_id: bytes, values: list[Any]) -> dict[Want, _Found]:
        first_version = 1 + len(self._shards)
        at = first_version + len(self._tenants) + len(self._copies)
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

    def meet(self, want: Want) -> "asyncio.Future[Met]":
        """The same, and with it the copy of the tenant's snapshot, of the same instant."""
        return self._errand((want,), more=_COPY_WORDS).meet(want)

    def _errand(self, wants: Sequence[Want], more: int = 0) -> Reads:
        """The one that waits, if these and so many words may join it, else another behind it."""
        lacking = self._open.lacks(wants)
        if not self._link.may_grow(self._open, _weight(lacking) + more):
            # What is sent by others meanwhile stands between: a later read must come behind it.
            self._open = Reads()
            lacking = self._open.lacks(wants)
            self._open.weight += _weight(lacking) + more
            self._link.enqueue(self._open)
        if lacking:
            self._open.add(lacking)
        return self._open


class Readers:
    """The same over the links to several nodes: each is asked for what is of its shards."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._readers: WeakKeyDictionary[Link, Reader] = WeakKeyDictionary()

    async def read(self, wants: Sequence[Want]) -> list[Levels]:
        """As Reader.read. Errors: also where a single node is away."""
        parts: dict[Link, list[int]] = {}
        for place, want in enumerate(wants):
            link = self._servers.of(keyspace.shard_of(want.tenant_id))
            parts.setdefault(link, []).append(place)
        trips = [self._read_on(link, [wants[p] for p in places]) for link, places in parts.items()]
        replies = await asyncio.gather(*trips)
        found: dict[int, Levels] = {}
        for places, reply in zip(parts.values(), replies, strict=True):
            found.update(zip(places, reply, strict=True))
        return [found[place] for place in range(len(wants))]

    def read_one(self, want: Want) -> "asyncio.Future[Levels]":
        """As Reader.read_one."""
        return self._of(want).read_one(want)

    def meet(self, want: Want) -> "asyncio.Future[Met]":
        """As Reader.meet."""
        return self._of(want).meet(want)

    async def _read_on(self, link: Link, wants: Sequence[Want]) -> list[Levels]:
        return await self._reader(link).read(wants)

    def _of(self, want: Want) -> Reader:
        return self._reader(self._servers.of(keyspace.shard_of(want.tenant_id)))

    def _reader(self, link: Link) -> Reader:
        reader = self._readers.get(link)
        if reader is None:
            reader = self._readers[link] = Reader(link)
        return reader


def _weight(wants: Mapping[Want, _Packed]) -> int:
    return sum([each.weight for each in wants.values()]) if wants else 0


def _settle(future: asyncio.Future[Any], found: object) -> None:
    if isinstance(found, Exception):
        future.set_exception(found)
    else:
        future.set_result(found)


def _met(found: _Found, copy: object) -> Met | Exception:
    return Met(found, copy if isinstance(copy, bytes) else None) if isinstance(found, Levels) else found


_KEPT: Final[Kept[Want, _Packed]] = Kept(limits.WANTS_ALIVE, door=True)


def packed(want: Want) -> _Packed:
    """A want as it goes out: made once, if it is asked for again."""
    return _KEPT.get(want, lambda: _pack(want)) if want.fields else _pack(want)


def _pack(want: Want) -> _Packed:
    tenant_id, fields = want.tenant_id, want.fields
    shard = keyspace.shard_of(tenant_id)
    by_window: dict[str, list[str]] = {}
    runs, last = 0, ""
    for window, name in fields:
        if window == last:
            by_window[window].append(name)
        else:
            by_window.setdefault(window, []).append(name)
            runs, last = runs + 1, window
    counters = [
        _many(keyspace.counters(shard, tenant_id, window), tuple(names))
        for window, names in by_window.items()
    ]
    return _Packed(
        shard=shard,
        version=_version(shard) + _word(tenant_id),
        counters=b"".join(counters),
        windows=len(counters),
        order=None if runs == len(counters) else _order(fields),
        weight=5 + 2 * len(counters) + len(fields),
    )


def _order(fields: Fields) -> tuple[int, ...]:
    """Where the value of each stands when those of one window come together."""
    windows = list(dict.fromkeys([window for window, _ in fields]))
    sent = sorted(range(len(fields)), key=lambda place: windows.index(fields[place][0]))
    return tuple(map(sent.index, range(len(fields))))


def _word(text: str) -> bytes:
    """A word of a command as it goes out."""
    data = text.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


def _many(key: str, names: tuple[str, ...]) -> bytes:
    """An HMGET."""
    return b"*%d\r\n$5\r\nHMGET\r\n%b%b" % (2 + len(names), _word(key), _tail(names))


@functools.lru_cache(maxsize=limits.NAMES_ALIVE)
def _tail(names: tuple[str, ...]) -> bytes:
    """The names of fields, which many tenants share."""
    return b"".join(map(_word, names))


@functools.lru_cache(maxsize=keyspace.SHARDS)
def _version(shard: int) -> bytes:
    """All but the last word of what asks for a tenant's version."""
    return b"*3\r\n$4\r\nHGET\r\n" + _word(keyspace.versions(shard))


def _copy_of(tenant_id: str) -> bytes:
    return b"*2\r\n$3\r\nGET\r\n" + _word(keyspace.snapshot(keyspace.shard_of(tenant_id), tenant_id))


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
