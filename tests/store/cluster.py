"""A real cluster of three nodes on loopback: the server that we bundle, with the settings that we give it."""

import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

import msgspec
import redis
from redis.crc import key_slot

from service.embedded import binaries, valkey_server
from store import keyspace

NODES = 3
SLOTS = 16_384
BOUND_S = 20.0


class Node(msgspec.Struct, frozen=True):
    """One of them, and the shards whose slot it has."""

    url: str
    shards: tuple[int, ...]


@contextmanager
def cluster() -> Iterator[list[Node]]:
    """Up, with every slot given to a node, and gone in the end."""
    with tempfile.TemporaryDirectory(prefix="mgc") as folder, ExitStack() as running:
        ports = [running.enter_context(node(Path(folder, str(number)))) for number in range(NODES)]
        clients = [
            running.enter_context(redis.Redis("127.0.0.1", port, decode_responses=True)) for port, _ in ports
        ]
        bounds = [SLOTS * number // NODES for number in range(NODES + 1)]
        for number, client in enumerate(clients):
            await_true(lambda client=client: answers(client))
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
        for port, bus in ports[1:]:
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
        await_true(lambda: all(is_whole(client) for client in clients))
        found = zip(ports, bounds, bounds[1:], strict=False)
        yield [Node(f"redis://127.0.0.1:{port}", shards_in(low, high)) for (port, _), low, high in found]


@contextmanager
def node(folder: Path) -> Iterator[tuple[int, int]]:
    """A server that knows of no other yet; its port, and that of the cluster's bus."""
    folder.mkdir()
    port, bus = free_ports()
    settings = valkey_server.SETTINGS | {
        "bind": "127.0.0.1",
        "port": str(port),
        "cluster-enabled": "yes",
        "cluster-port": str(bus),
        "cluster-node-timeout": "5000",
        "dir": str(folder),
    }
    words = [part for name, value in settings.items() for part in (f"--{name}", value)]
    with (
        Path(folder, "log").open("wb") as log,
        subprocess.Popen([binaries.find().valkey, *words], stdout=log, stderr=log) as server,
    ):
        try:
            yield port, bus
        finally:
            server.kill()


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def shards_in(low: int, high: int) -> tuple[int, ...]:
    """The shards whose keys fall into these slots."""
    return tuple(s for s in range(keyspace.SHARDS) if low <= key_slot(keyspace.fence(s).encode()) < high)


def await_true(look) -> None:
    deadline, pause = monotonic() + BOUND_S, threading.Event()
    while not look():
        assert monotonic() < deadline, "the cluster does not come up"
        pause.wait(0.02)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False


def is_whole(client: redis.Redis) -> bool:
    info = client.execute_command("CLUSTER", "INFO")
    state = info if isinstance(info, dict) else dict(line.split(":") for line in info.split())
    return state["cluster_state"] == "ok" and state["cluster_known_nodes"] == str(NODES)
