"""Events a second of `POST /v1/usage` by batches, beside a bare client of the same script on the same server.

Batches of 1,000 NDJSON events, one for each of 1,000 tenants: some 250 calls of the script, since each shard
has its own. The bare client sends those very calls, made beforehand, and only looks whether all was accepted.
Nothing is flushed meanwhile: that is what `lag` measures.
"""

import asyncio
import http.client
import socket
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final
from urllib.parse import unquote, urlsplit

import hiredis
import redis

from policies.usage import Usage
from scripts.benchmarks import figure, load, reported, sides
from scripts.benchmarks.figure import Figure, Settings
from service import clock, config, wiring
from service.context import Context
from service.usecases import record
from store import counters
from store.conversation import Command, pack
from store.link import RUN_ID

TENANTS: Final = 1_000
BATCH: Final = 1_000
CONNECTIONS: Final = 2
"""So that the API has the next batch when it has answered one."""
BATCHES_A_SECOND: Final = 12
"""How many are prepared for each second that was asked for: fewer than either side does on a fast machine."""
_CHUNK: Final = 1 << 16
_JSON_LINES: Final = {"Content-Type": "application/x-ndjson"}


def figures(settings: Settings) -> list[Figure]:
    """One worker process of the API; the append-only file is written to disk before each answer."""
    with sides.api(worker=False) as api:
        reported.load(api, TENANTS)
        count = BATCHES_A_SECOND * settings.seconds
        _ours(api, BATCHES_A_SECOND, settings)
        return [
            figure.measure(
                "intake",
                unit="events/s",
                ours=partial(_ours, api, count, settings),
                reference=partial(_bare, api, count, settings),
                settings=settings,
            )
        ]


def _batches(count: int) -> list[list[Usage]]:
    return [reported.events(BATCH, TENANTS) for _ in range(count)]


def _ours(api: sides.Api, count: int, settings: Settings) -> float:
    """Through the API."""
    bodies = [reported.ndjson(batch) for batch in _batches(count)]
    used, began = _Used(api), clock.monotonic_s()
    with ThreadPoolExecutor(CONNECTIONS) as clients:
        for done in [clients.submit(_report, api, bodies[n::CONNECTIONS]) for n in range(CONNECTIONS)]:
            done.result()
    took = clock.monotonic_s() - began
    settings.say(f"  ours: {used.told(count * BATCH)}")
    return count * BATCH / took


def _report(api: sides.Api, bodies: Sequence[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=sides.START_S)
    headers = {"Authorization": f"Bearer {api.key}"} | _JSON_LINES
    for body in bodies:
        connection.request("POST", "/v1/usage", body, headers)
        text = connection.getresponse().read()
        if not text.startswith(b'{"accepted":%d,' % BATCH):
            raise load.LoadError(f"Not all was accepted: {text[:500].decode()}")
    connection.close()


def _bare(api: sides.Api, count: int, settings: Settings) -> float:
    """Straight to the server: the next batch goes out while one is under way."""
    packed = asyncio.run(_packed(api, _batches(count)))
    used, began = _Used(api), clock.monotonic_s()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(unquote(urlsplit(api.redis_url).path))
        reader, under_way = hiredis.Reader(), deque[tuple[int, int]]()
        for data, calls, events in packed:
            server.sendall(data)
            under_way.append((calls, events))
            if len(under_way) == CONNECTIONS:
                _receive(server, reader, *under_way.popleft())
        while under_way:
            _receive(server, reader, *under_way.popleft())
    took = clock.monotonic_s() - began
    settings.say(f"  bare: {used.told(count * BATCH)}")
    return count * BATCH / took


def _receive(server: socket.socket, reader: hiredis.Reader, calls: int, events: int) -> None:
    accepted = 0
    for _ in range(calls):
        while (reply := reader.gets()) is False:
            reader.feed(server.recv(_CHUNK))
        accepted += reply.count(0) if isinstance(reply, list) else 0
    if accepted != events:
        raise load.LoadError(f"The bare client got {accepted} of {events} events accepted")


async def _packed(api: sides.Api, batches: Sequence[Sequence[Usage]]) -> list[tuple[bytes, int, int]]:
    """Of each batch the calls as they go out, how many, and of how many events."""
    with redis.Redis.from_url(api.redis_url) as client:
        run_id = client.info("server")["run_id"]
    async with wiring.open_context(config.read(api.environment)) as context:
        packed = []
        for batch in batches:
            commands = await _commands(context, batch)
            words: list[Command] = [
                tuple([run_id if part is RUN_ID else part for part in each]) for each in commands
            ]
            packed.append((pack(*words), len(words), len(batch)))
        return packed


async def _commands(context: Context, batch: Sequence[Usage]) -> list[Command]:
    """The calls of the script that the API would make."""
    # ruff: noqa: SLF001 - its very steps
    now = context.clock.now()
    items = [record._item(event) for event in batch]
    await record._prepare(context, items, now)
    recordings = [item.recording for item in items if item.recording is not None]
    return [
        counters._record_command(shard, [recordings[place] for place in places], now)
        for shard, places in counters._calls(recordings)
    ]


class _Used:
    """What the processes use of the processors from here on."""

    def __init__(self, api: sides.Api) -> None:
        self._pids = {"API": api.pid, "Valkey": api.valkey_pid}
        self._before = {name: reported.processor_s(pid) for name, pid in self._pids.items()}

    def told(self, events: int) -> str:
        """Microseconds an event, of each."""
        used = {
            name: (reported.processor_s(pid) - self._before[name]) / events * 1e6
            for name, pid in self._pids.items()
        }
        return ", ".join(f"{name} {each:.1f} us an event" for name, each in used.items())
