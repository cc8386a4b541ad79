"""How long after its acknowledgement usage is in Postgres, at a steady rate, beside what is allowed.

Two senders report batches to the API at a set rate, spread over 1,000 tenants, with a worker beside it. One
event of each batch is looked for in Postgres, some fifty times a second: what it took from the answer until
it was found is its lag, at most a look too long. With `--seconds 600` it is an endurance run: what the
processes have in memory and how many events wait for the flush is said every ten seconds.
"""

import http.client
import itertools
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
import psycopg
import redis

from policies.usage import Usage
from scripts.benchmarks import figure, load, reported, sides
from scripts.benchmarks.figure import Figure, Run, Settings
from scripts.benchmarks.tenants import resident_mb
from service import clock
from service.usecases import booking

TENANTS: Final = 1_000
RATE: Final = 10_000
"""Events a second that are sent; fewer come through where the machine cannot take as many."""
BATCH: Final = 500
SENDERS: Final = 2
ALLOWED_MS: Final = 1_000.0
SETTLE_S: Final = 30.0
"""How long after the last answer the last event may take to be found."""
SAY_S: Final = 10.0
_LOOK_S: Final = 0.02
_PERCENTILE: Final = 99
_FIND: Final = """
select w.digest from unnest(%s::text[], %s::uuid[]) w (tenant_id, digest)
where exists (select from usage_keys k where k.tenant_id = w.tenant_id and k.digest = w.digest)
"""


class Waiting(msgspec.Struct, frozen=True):
    """An event that was acknowledged and is yet to be found."""

    tenant_id: str
    digest: uuid.UUID
    acknowledged_s: float


class Pulse:
    """What is shared by senders and the one who looks."""

    def __init__(self, seconds: int) -> None:
        self.until = clock.monotonic_s() + seconds
        self.sent = 0
        self.waiting: list[Waiting] = []
        self.lags_ms: list[float] = []
        self.said = 0
        """How many of them were told of."""
        self.lock = threading.Lock()

    def acknowledged(self, events: Sequence[Usage]) -> None:
        """Notes a batch that was answered just now."""
        last = events[-1]
        digest = uuid.UUID(bytes=booking.digest(last))
        with self.lock:
            self.sent += len(events)
            self.waiting.append(Waiting(last.tenant_id, digest, clock.monotonic_s()))


def figures(settings: Settings) -> list[Figure]:
    """One process of the API, one worker."""
    with sides.api() as api:
        reported.load(api, TENANTS)
        found = [_run(api, number + 1, settings) for number in range(settings.runs)]
        return [figure.of("lag", "ms, the 99th of 100; less is better", found)]


def _run(api: sides.Api, number: int, settings: Settings) -> Run:
    pulse, began = Pulse(settings.seconds), clock.monotonic_s()
    with ThreadPoolExecutor(SENDERS + 1) as threads:
        looking = threads.submit(_look, api, pulse, settings)
        for done in [threads.submit(_send, api, pulse, began, place) for place in range(SENDERS)]:
            done.result()
        sent_s = clock.monotonic_s() - began
        looking.result()
    lags = sorted(pulse.lags_ms)
    p99 = lags[len(lags) * _PERCENTILE // 100]
    rate, middle, last = pulse.sent / sent_s, lags[len(lags) // 2], lags[-1]
    settings.say(
        f"  run {number}: {rate:,.0f} events/s acknowledged; half of {len(lags)} batches in Postgres after "
        f"{middle:.0f} ms, 99 of 100 after {p99:.0f} ms, all after {last:.0f} ms"
    )
    return Run(round(p99, 1), ALLOWED_MS, round(p99 / ALLOWED_MS, 4))


def _send(api: sides.Api, pulse: Pulse, began: float, place: int) -> None:
    """Batches at this sender's share of the rate; one that is late goes out at once.

    Errors: LoadError unless all is acknowledged.
    """
    every = BATCH * SENDERS / RATE
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=sides.START_S)
    headers = {"Authorization": f"Bearer {api.key}", "Content-Type": "application/x-ndjson"}
    pause = threading.Event()
    for turn in itertools.count():
        due = began + (turn + place / SENDERS) * every
        pause.wait(max(0.0, due - clock.monotonic_s()))
        if clock.monotonic_s() >= pulse.until:
            break
        events = reported.events(BATCH, TENANTS)
        connection.request("POST", "/v1/usage", reported.ndjson(events), headers)
        _check(connection.getresponse().read())
        pulse.acknowledged(events)
    connection.close()


class _Answer(msgspec.Struct, rename="camel"):
    accepted: int = 0
    duplicates: int = 0
    """Of new events: those that were counted and brought over before a slow answer came."""


def _check(text: bytes) -> None:
    answer = msgspec.json.decode(text, type=_Answer)
    if answer.accepted + answer.duplicates != BATCH:
        raise load.LoadError(f"Not all was acknowledged: {text[:500].decode()}")


def _look(api: sides.Api, pulse: Pulse, settings: Settings) -> None:
    """Looks for what was acknowledged until all of it was found.

    Errors: LoadError if some is not within SETTLE_S of the end.
    """
    pause, said = threading.Event(), clock.monotonic_s()
    with psycopg.connect(api.database_url, autocommit=True) as connection:
        while True:
            now = clock.monotonic_s()
            _find(connection, pulse)
            if now >= pulse.until and not pulse.waiting:
                return
            if now >= pulse.until + SETTLE_S:
                raise load.LoadError(f"{len(pulse.waiting)} batches were not brought over in time")
            if now - said >= SAY_S:
                said = now
                settings.say(f"    {_state(api, pulse)}")
            pause.wait(_LOOK_S)


def _find(connection: "psycopg.Connection[tuple[uuid.UUID]]", pulse: Pulse) -> None:
    with pulse.lock:
        looked_for = list(pulse.waiting)
    if not looked_for:
        return
    tenants, digests = [one.tenant_id for one in looked_for], [one.digest for one in looked_for]
    found = {row[0] for row in connection.execute(_FIND, [tenants, digests]).fetchall()}
    now = clock.monotonic_s()
    with pulse.lock:
        pulse.waiting = [one for one in pulse.waiting if one.digest not in found]
        pulse.lags_ms += [(now - one.acknowledged_s) * 1e3 for one in looked_for if one.digest in found]


def _state(api: sides.Api, pulse: Pulse) -> str:
    with redis.Redis.from_url(api.redis_url, socket_timeout=sides.START_S) as client:
        used = client.info("memory")["used_memory"] // 1_000_000
    lags = sorted(pulse.lags_ms[pulse.said :])
    pulse.said += len(lags)
    p99 = lags[len(lags) * _PERCENTILE // 100] if lags else 0.0
    return (
        f"{pulse.sent:,} events; {len(pulse.waiting) * BATCH:,} wait for the flush; 99 of 100 since were in "
        f"Postgres after {p99:.0f} ms; memory: API "
        f"{resident_mb(api.pid)} MB, worker {resident_mb(api.worker_pid)} MB, Valkey {used} MB"
    )
