"""A bare client of the scripts: calls that were made beforehand, sent one after the other."""

import asyncio
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import hiredis
import redis

from policies.usage import Usage
from scripts.benchmarks import load
from service import config, wiring
from service.context import Context
from service.usecases import fitting, record
from service.usecases.fitting import Wanted
from store import consuming, counters, recording
from store.conversation import Command, pack
from store.gathering import Gathered
from store.link import RUN_ID
from store.tips import Tips

Packed = tuple[bytes, int, int]
"""The calls of a batch as they go out, how many, and of how many events."""

TOGETHER: Final = load.CONNECTIONS // 2
"""Single acts that go out together: one half of the callers is answered while the other half is counted."""
_UNDER_WAY: Final = 2
_CHUNK: Final = 1 << 16
_AT_ONCE: Final = 1_000


def packed(environment: Mapping[str, str], batches: Sequence[Sequence[Usage]]) -> list[Packed]:
    """What the API would send for each batch."""
    return asyncio.run(_packed(environment, batches))


def events(environment: Mapping[str, str], single: Sequence[Usage]) -> list[Packed]:
    """What the API would send for events that come one by one."""
    return asyncio.run(_events(environment, single))


def uses(environment: Mapping[str, str], single: Sequence[Wanted]) -> list[Packed]:
    """The same of uses."""
    return asyncio.run(_uses(environment, single))


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
        accepted += sum(map(_is_accepted, reply[:-1])) if isinstance(reply, list) else 0
    if accepted != events:
        raise load.LoadError(f"The bare client got {accepted} of {events} events accepted")


def _is_accepted(said: int | list[int]) -> bool:
    """Of an event its code, of a use its code and levels."""
    return said == 0 if isinstance(said, int) else said[0] == 0


async def _events(environment: Mapping[str, str], single: Sequence[Usage]) -> list[Packed]:
    # ruff: noqa: SLF001 - its very steps
    async with wiring.open_context(config.read(environment)) as context:
        now, acts = context.clock.now(), []
        for begin in range(0, len(single), _AT_ONCE):
            items = [record._item(event) for event in single[begin : begin + _AT_ONCE]]
            await record._prepare(context, items, now)
            acts += [item.recording for item in items if item.recording is not None]
        return _together(recording._EVENTS, acts, now, _run_id(context))


async def _uses(environment: Mapping[str, str], single: Sequence[Wanted]) -> list[Packed]:
    async with wiring.open_context(config.read(environment)) as context:
        now, acts = context.clock.now(), []
        for wanted in single:
            asked = await fitting.ask(context, wanted, now)
            assert asked is not None, "it may be used"
            acts.append(fitting.use(asked))
        return _together(consuming._USES, acts, now, _run_id(context))


def _together(kind: Any, acts: Sequence[Any], now: datetime, run_id: str) -> list[Packed]:
    found = []
    for begin in range(0, len(acts), TOGETHER):
        errand: Gathered[Any, Any] = Gathered(Tips(), kind)
        batch = acts[begin : begin + TOGETHER]
        for act in batch:
            errand.join(act, now)
        data, count = errand.pack(run_id)
        found.append((data, count, len(batch)))
    return found


def _run_id(context: Context) -> str:
    with redis.Redis.from_url(context.config.redis_url) as client:
        return str(client.info("server")["run_id"])


async def _packed(environment: Mapping[str, str], batches: Sequence[Sequence[Usage]]) -> list[Packed]:
    async with wiring.open_context(config.read(environment)) as context:
        run_id, found = _run_id(context), []
        for batch in batches:
            commands = await _commands(context, batch)
            words: list[Command] = [
                tuple([run_id if part is RUN_ID else part for part in each]) for each in commands
            ]
            found.append((pack(*words), len(words), len(batch)))
        return found


async def _commands(context: Context, batch: Sequence[Usage]) -> list[Command]:
    """The calls of the script that the API would make."""
    now = context.clock.now()
    items = [record._item(event) for event in batch]
    await record._prepare(context, items, now)
    recordings = [item.recording for item in items if item.recording is not None]
    return [
        counters.record_command(shard, [recordings[place] for place in places], now)
        for shard, places in counters._calls(recordings)
    ]
