"""What stores and jobs know of where Redis is: one server by itself, or the nodes of a cluster."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from store.conversation import Command
from store.tips import Tips

if TYPE_CHECKING:
    from store.link import Link, Replies


class Node(msgspec.Struct, frozen=True):
    """A server and the shards that it has."""

    name: str
    """Its address in a cluster; empty for one by itself."""
    link: "Link"
    shards: Sequence[int]


class Membership(msgspec.Struct, frozen=True):
    """What the links to the nodes of one cluster share."""

    tips: Tips
    trouble: Callable[[str], None]
    """Hears what a node refuses, and why it was not reached."""


class Servers(Protocol):
    """What has all shards: a Link is one server, a Cluster several (store/cluster.py)."""

    tips: Tips
    """How far the journals reach of which this process was told."""

    @property
    def version(self) -> str:
        """Of a server; empty before one was reached."""
        ...

    async def send(self, commands: Sequence[Command], *, durable: bool = False) -> "Replies":
        """Sends each command to the server that has its key; `durable` ones wait for a disk.

        Errors: RedisAwayError when one of the servers is away, after the others have done their part.
        """
        ...

    def of(self, shard: int) -> "Link":
        """The way to the server that has a shard.

        Errors: RedisAwayError when none is known to have it.
        """
        ...

    def nodes(self) -> Sequence[Node]:
        """Each server that has shards.

        Errors: RedisAwayError when none is known.
        """
        ...

    async def close(self) -> None:
        """Ends all connections."""
        ...
