"""A real cluster on loopback: servers as we bundle and set them, of which each can be made to fail."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import redis

from store import keyspace
from store.nodes import Servers
from tests.servers import BOUND_S, Valkey, free_port, until

NODES = 3
SLOTS = 16_384


class Node(Valkey):
    """A server that may be one of a cluster's; on its port, as clusters are."""

    def __init__(self, folder: Path, name: str) -> None:
        self.bus = free_port()
        super().__init__(
            folder,
            name,
            port=free_port(),
            cluster_enabled="yes",
            cluster_port=str(self.bus),
            cluster_node_timeout="5000",
            cluster_require_full_coverage="no",  # a node that is lost closes its own shards alone
            cluster_replica_no_failover="yes",  # tests say who takes over
        )
        self._client = redis.Redis("127.0.0.1", self.port, decode_responses=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"redis://{self.address}"

    @property
    def id(self) -> str:
        return self.ask("CLUSTER", "MYID")

    def ask(self, *words: object) -> Any:
        return self._client.execute_command(*words)

    def state(self) -> dict[str, str]:
        said = self.ask("CLUSTER", "INFO")
        return said if isinstance(said, dict) else dict(line.split(":") for line in said.split())

    def close(self) -> None:
        self._client.close()
        self.kill()


class Cluster:
    """Three nodes with a third of the slots each, and a replica of the first."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [Node(folder, f"n{number}") for number in range(NODES)]
        self.replica = Node(folder, "replica")
        self._all = [*self.nodes, self.replica]

    def begin(self) -> None:
        for node in self._all:
            node.start()
        bounds = [SLOTS * number // NODES for number in range(NODES + 1)]
        for node, low, high in zip(self.nodes, bounds, bounds[1:], strict=False):
            node.ask("CLUSTER", "ADDSLOTSRANGE", low, high - 1)
        for node in self._all[1:]:
            self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
        until(lambda: all(map(self._is_whole, self._all)), "the cluster is whole")
        self.replica.ask("CLUSTER", "REPLICATE", self.nodes[0].id)

    def _is_whole(self, node: Node) -> bool:
        state = node.state()
        return state["cluster_state"] == "ok" and state["cluster_known_nodes"] == str(len(self._all))

    def empty(self) -> None:
        """What an earlier test left there is gone."""
        for node in self.nodes:
            node.ask("FLUSHALL")

    def move(self, slot: int, source: Node, target: Node) -> Iterator[None]:
        """Moves a slot as operators do, key by key; stands still when half of the keys have gone."""
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10_000)
        half = len(keys) // 2
        _migrate(source, target, keys[:half])
        yield
        _migrate(source, target, keys[half:])
        assert source.ask("CLUSTER", "COUNTKEYSINSLOT", slot) == 0, (
            "while it moves nothing new is begun there"
        )
        for node in (target, source):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def close(self) -> None:
        for node in self._all:
            node.close()


def _migrate(source: Node, target: Node, keys: Sequence[str]) -> None:
    if keys:
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Up, and gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix="mgc"))
    made = Cluster(folder)
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder)
        ending.callback(made.close)
        made.begin()
        yield made


def tenant_on(servers: Servers, name: str, *, beside: str = "") -> str:
    """A tenant whose shard a node has; with `beside` one of another shard than that tenant's."""
    (shards,) = [node.shards for node in servers.nodes() if node.name == name]
    shard_of = keyspace.shard_of
    return next(
        tenant
        for tenant in (f"t{number}" for number in count())
        if shard_of(tenant) in shards and (not beside or shard_of(tenant) != shard_of(beside))
    )


async def eventually(happens: Callable[[], bool], what: str) -> None:
    """Waits for what the process does by itself meanwhile."""
    deadline = time.monotonic() + BOUND_S
    while not happens():
        assert time.monotonic() < deadline, f"not within {BOUND_S} s: {what}"
        await asyncio.sleep(0.005)
