"""A bare client of the record script: calls that were made beforehand, sent one after the other."""

import asyncio
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

import hiredis
import redis

from policies.usage import Usage
from scripts.benchmarks import load
from service import config, wiring
from service.context import Context
from service.usecases import record
from store import counters
from store.conversation import Command, pack
from store.link import RUN_ID

Packed = tuple[bytes, int, int]
"""The calls of a batch as they go out, how many, and of how many events."""

_UNDER_WAY: Final = 2
_CHUNK: Final = 1 << 16


def packed(environment: Mapping[str, str], batches: Sequence[Sequence[Usage]]) -> list[Packed]:
    """What the API would send for each batch."""
    return asyncio.run(_packed(environment, batches))


def send(redis_url: str, batches: Sequence[Packed]) -> None:
    """Sends them; the next goes out while one is under way.

    Errors: LoadError unless all is accepted.
    """
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(unquote(urlsplit(redis_url).path))
        reader, under_way = hiredis.Reader(), deque[Packed]()
        for batch in batches:
            server.sendall(batch[0])
            under_way.append(batch)
            if len(under_way) == _UNDER_WAY:
                _receive(server, reader, under_way.popleft())
        while under_way:
            _receive(server, reader, under_way.popleft())


def _receive(server: socket.socket, reader: hiredis.Reader, batch: Packed) -> None:
    _, calls, events = batch
    accepted = 0
    for _ in range(calls):
        while (reply := reader.gets()) is False:
            reader.feed(server.recv(_CHUNK))
        accepted += reply.count(0) if isinstance(reply, list) else 0
    if accepted != events:
        raise load.LoadError(f"The bare client got {accepted} of {events} events accepted")


async def _packed(environment: Mapping[str, str], batches: Sequence[Sequence[Usage]]) -> list[Packed]:
    async with wiring.open_context(config.read(environment)) as context:
        with redis.Redis.from_url(context.config.redis_url) as client:
            run_id = client.info("server")["run_id"]
        found = []
        for batch in batches:
            commands = await _commands(context, batch)
            words: list[Command] = [
                tuple([run_id if part is RUN_ID else part for part in each]) for each in commands
            ]
            found.append((pack(*words), len(words), len(batch)))
        return found


async def _commands(context: Context, batch: Sequence[Usage]) -> list[Command]:
    """The calls of the script that the API would make."""
    # ruff: noqa: SLF001 - its very steps
    now = context.clock.now()
    items = [record._item(event) for event in batch]
    await record._prepare(context, items, now)
    recordings = [item.recording for item in items if item.recording is not None]
    return [
        counters.record_command(shard, [recordings[place] for place in places], now)
        for shard, places in counters._calls(recordings)
    ]
