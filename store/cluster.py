"""A Redis or Valkey Cluster behind the face of one server: a link to each node, and who has which shard.

Each command goes to the node that has its key, over a link that has read that node's run (R24). Nothing is
sent again by itself, and nothing follows a redirection: what a node refuses because it has not the shard is
an error like any other, and makes this process look who has it now. Meanwhile nobody waits.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Self

from policies import limits
from store import keyspace
from store.conversation import Command
from store.link import Link, RedisAwayError, Replies
from store.nodes import Membership, Node, Servers
from store.tips import Tips
from store.topology import Layout, Scouts

MakeLink = Callable[[str, Membership], Link]
"""Makes the link to the node at a URL."""

_KEY_AT: Final = {"EVALSHA": 3, "XINFO": 2}
"""Which word of a command is its first key; of all others the one behind the name."""
_NOT_OF_THE_CLUSTER: Final = ("OOM", "FENCED", "ERR", "WRONGTYPE", "OVERTAKEN", "NOPERM")
"""What a node refuses without its having to do with who has which shard."""

log = logging.getLogger("metergate.cluster")


class Cluster:
    """The nodes as they were found last; begun by `open`."""

    def __init__(self, scouts: Scouts, make_link: MakeLink) -> None:
        self.tips = Tips()
        """How far the journals reach of which this process was told, whichever node has them."""
        self._membership = Membership(self.tips, self._trouble)
        self._scouts = scouts
        self._make_link = make_link
        self._links: dict[str, Link] = {}
        self._by_tag: dict[str, Link] = {}
        self._nodes: tuple[Node, ...] = ()
        self._addresses: frozenset[str] = frozenset()
        self._doubt = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> Self:
        """Looks who has which shard, for limits.REDIS_TIMEOUT_S at most, and from now on."""
        await self.look()
        self._task = asyncio.create_task(self._keep_looking())
        return self

    @property
    def version(self) -> str:
        """Of a node; empty before one was reached."""
        return next((link.version for link in self._links.values() if link.version), "")

    def of(self, shard: int) -> Link:
        """The link to the node that has a shard.

        Errors: RedisAwayError when none is known to have it.
        """
        return self._of_tag(keyspace.tag(shard))

    def nodes(self) -> Sequence[Node]:
        """The nodes that have shards, in the order of their addresses.

        Errors: RedisAwayError when none is known.
        """
        if not self._nodes:
            self._doubt.set()
            raise RedisAwayError("no node of the cluster answers")
        return self._nodes

    async def send(self, commands: Sequence[Command], *, durable: bool = False) -> Replies:
        """Sends each command to the node that has its key, to all nodes at once; the replies in order.

        Errors: RedisAwayError when one of the nodes is away, or no node has a key; the others have done their
        part then.
        """
        parts, lost = self._by_link(commands)
        sent = [link.send([commands[p] for p in places], durable=durable) for link, places in parts.items()]
        replies = await asyncio.gather(*sent, return_exceptions=True)
        if lost is not None:
            raise lost
        values: list[Any] = [None] * len(commands)
        run_ids = [""] * len(commands)
        for places, reply in zip(parts.values(), replies, strict=True):
            if isinstance(reply, BaseException):
                raise reply
            for place, value in zip(places, reply.values, strict=True):
                values[place], run_ids[place] = value, reply.run_id
        return Replies(run_ids[0] if run_ids else "", values, run_ids)

    async def look(self) -> None:
        """Asks all nodes who has which shard; while none answers what was known stands."""
        layout = await self._scouts.look(self._addresses)
        if layout is not None:
            await self._arrange(layout)

    async def close(self) -> None:
        """Ends all connections; who still waits is told that Redis is away."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*(link.close() for link in self._links.values()))
        await self._scouts.close()

    def _of_tag(self, tag: str) -> Link:
        link = self._by_tag.get(tag)
        if link is None:
            self._doubt.set()
            raise RedisAwayError(f"no node of the cluster is known to have {tag}")
        return link

    def _by_link(self, commands: Sequence[Command]) -> tuple[dict[Link, list[int]], RedisAwayError | None]:
        """Places of the commands by the node that has their key, and what is wrong if one is nobody's."""
        parts: dict[Link, list[int]] = {}
        lost = None
        for place, command in enumerate(commands):
            key = command[_KEY_AT.get(str(command[0]), 1)]
            try:
                link = self._of_tag(keyspace.tag_of(str(key)))
            except RedisAwayError as error:
                lost = error
            else:
                parts.setdefault(link, []).append(place)
        return parts, lost

    def _trouble(self, text: str) -> None:
        """A node refuses something, or is away: who has its shards may have changed."""
        if not text.startswith(_NOT_OF_THE_CLUSTER):
            self._doubt.set()

    async def _keep_looking(self) -> None:
        """Each limits.CLUSTER_LOOK_S, and at once when something makes doubt, but not all the time."""
        task = asyncio.current_task()
        while task is not None and not task.cancelling():
            await asyncio.sleep(limits.CLUSTER_PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.CLUSTER_LOOK_S):
                    await self._doubt.wait()
            self._doubt.clear()
            await self.look()

    async def _arrange(self, layout: Layout) -> None:
        self._addresses = layout.addresses
        owners = set(layout.owners.values())
        gone = [self._links.pop(address) for address in [*self._links] if address not in owners]
        for address in owners - self._links.keys():
            self._links[address] = self._make_link(self._scouts.url(address), self._membership)
        self._by_tag = {tag: self._links[address] for tag, address in layout.owners.items()}
        nodes = tuple(_node(address, self._links[address], layout) for address in sorted(owners))
        if nodes != self._nodes:
            log.info("the cluster: %s", ", ".join(f"{len(n.shards)} shards on {n.name}" for n in nodes))
        self._nodes = tuple(node for node in nodes if node.shards)
        for node in self._nodes:
            node.link.serve(node.shards)
        await asyncio.gather(*(link.close() for link in gone))


def _node(address: str, link: Link, layout: Layout) -> Node:
    owners = layout.owners
    return Node(address, link, [s for s in range(keyspace.SHARDS) if owners.get(keyspace.tag(s)) == address])


async def by_node(servers: Servers, act: Callable[[Node], Awaitable[object]]) -> None:
    """Does something on one node after the other; one that is away keeps no other from it.

    Errors: RedisAwayError, which names those that were away, after all others.
    """
    away = []
    for node in servers.nodes():
        try:
            await act(node)
        except RedisAwayError as error:
            away.append(f"{node.name}: {error}" if node.name else str(error))
    if away:
        raise RedisAwayError("; ".join(away))
