"""Which node of a cluster has which shard: asked of all nodes, each of which answers for itself.

A node that was cut off may go on naming itself the owner of what others have by now. So of two that name
themselves the later one is believed, by the epoch of its configuration; what nobody claims stands where the
others say that it is.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from redis import exceptions
from redis.asyncio import Redis
from redis.crc import key_slot

from store import fitness, keyspace

_SLOTS: Final = {tag: key_slot(tag.encode()) for tag in keyspace.tags()}
"""Of all that stands in braces in our keys."""
_PORT: Final = 6379
_UNKNOWN: Final = (b"", b"?", None)
"""How a node names one whose address it does not know; itself it names so where it has none to give."""


class Layout(msgspec.Struct, frozen=True):
    """Where everything is, by the addresses that the nodes give each other."""

    owners: Mapping[str, str]
    """Of each tag the node that has its slot; without those that no node has."""
    addresses: frozenset[str]
    """All nodes, replicas among them: whom to ask the next time."""


class _View(msgspec.Struct, frozen=True):
    """What one node says."""

    epoch: int
    own: Mapping[str, str]
    others: Mapping[str, str]
    addresses: frozenset[str]


class Scouts:
    """Asks the nodes of a cluster; for this a client of the library is kept for each of them."""

    def __init__(self, urls: Sequence[str], *, timeout_s: float) -> None:
        """`urls` are those that are asked first, and whenever no other answers."""
        self._first = {address_of(url): url for url in urls}
        self._timeout_s = timeout_s
        self._clients: dict[str, Redis] = {}

    def url(self, address: str) -> str:
        """How a node is reached: as the first one that was named is, at its own address."""
        parts = urlsplit(next(iter(self._first.values())))
        login = parts.netloc.rpartition("@")[:2]
        return parts._replace(netloc="".join(login) + address).geturl()

    async def look(self, addresses: Collection[str]) -> Layout | None:
        """Asks these nodes, and those that were named first, all at once; None if none answers."""
        asked = {*self._first, *addresses}
        await self._forget(asked)
        found = await asyncio.gather(*(self._ask(address) for address in sorted(asked)))
        views = [view for view in found if view is not None]
        return _merged(views) if views else None

    async def close(self) -> None:
        """Ends all connections."""
        await self._forget(())

    async def _forget(self, kept: Collection[str]) -> None:
        for address in [each for each in self._clients if each not in kept]:
            await self._clients.pop(address).aclose()

    async def _ask(self, address: str) -> _View | None:
        client = self._clients.get(address)
        if client is None:
            url = self._first.get(address) or self.url(address)
            client = self._clients[address] = Redis.from_url(url, protocol=2, retry=None)
        try:
            async with asyncio.timeout(self._timeout_s):
                name = await client.execute_command("CLUSTER", "MYID")
                state = await client.execute_command("CLUSTER", "INFO")
                slots = await client.execute_command("CLUSTER", "SLOTS")
        except (exceptions.RedisError, OSError, TimeoutError):
            return None
        return _view(address, name, fitness.parse_info(state.decode()), slots)


def address_of(url: str) -> str:
    """Host and port of a server's URL."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return host if parts.port is not None else f"{host.rstrip(':')}:{_PORT}"


def _view(address: str, name: bytes, state: Mapping[str, str], slots: Sequence[Any]) -> _View:
    own: dict[str, str] = {}
    others: dict[str, str] = {}
    addresses = {address}
    for low, high, primary, *replicas in slots:
        for node in (primary, *replicas):
            addresses.add(_address(node, address))
        tags = [tag for tag, slot in _SLOTS.items() if low <= slot <= high]
        owner = _address(primary, address)
        (own if primary[2] == name else others).update(dict.fromkeys(tags, owner))
    return _View(int(state.get("cluster_my_epoch", 0)), own, others, frozenset(addresses))


def _address(node: Sequence[Any], asked: str) -> str:
    """Host and port; a node that names no host is at that of the one who was asked."""
    host, port = node[0], node[1]
    text = asked.rpartition(":")[0] if host in _UNKNOWN else host.decode()
    return f"[{text}]:{port}" if ":" in text and not text.startswith("[") else f"{text}:{port}"


def _merged(views: Iterable[_View]) -> Layout:
    by_age = sorted(views, key=lambda view: view.epoch)
    owners: dict[str, str] = {}
    for view in by_age:
        owners.update(view.others)
    for view in by_age:
        owners.update(view.own)
    return Layout(owners, frozenset[str]().union(*(view.addresses for view in by_age)))
