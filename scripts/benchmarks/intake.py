"""Events a second of `POST /v1/usage` by batches, beside a bare client of the same script on the same server.

Batches of 1,000 NDJSON events, one for each of 1,000 tenants: some 250 calls of the script, since each shard
has its own. The bare client sends those very calls, made beforehand, and only looks whether all was accepted.
Nothing is flushed meanwhile: that is what `lag` measures.
"""

import http.client
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from policies.usage import Usage
from scripts.benchmarks import bare, figure, load, reported, sides
from scripts.benchmarks.figure import Figure, Settings
from service import clock

TENANTS: Final = 1_000
BATCH: Final = 1_000
CONNECTIONS: Final = 2
"""So that the API has the next batch when it has answered one."""
BATCHES_A_SECOND: Final = 12
"""How many are prepared for each second that was asked for: fewer than either side does on a fast machine."""
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
    used, began = reported.Used(api), clock.monotonic_s()
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
    """Straight to the server."""
    packed = bare.packed(api.environment, _batches(count))
    used, began = reported.Used(api), clock.monotonic_s()
    bare.send(api.redis_url, packed)
    took = clock.monotonic_s() - began
    settings.say(f"  bare: {used.told(count * BATCH)}")
    return count * BATCH / took
