"""How long counters take to come back from Postgres, after a wipe and after a kill, beside a bare load.

The wipe is a FLUSHALL, the kill a SIGKILL of Valkey, which is started again on what it had written: then its
append-only file is written anew, and all counters are dropped before they are put back. The time runs from
the first look of a worker at a server that answers until every shard is open. The bare client only writes
the counters, as commands that were made beforehand. Figures in counters a second, so more is better.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

import psycopg
import redis

from jobs import worker
from scripts.benchmarks import figure, load, reported, sides
from scripts.benchmarks.figure import Figure, Run, Settings
from service import bootstrap, clock, config, settling
from service.embedded import instance as embedded
from service.embedded.servers import EmbeddedServers, Running
from store import certify, keyspace
from store.conversation import Command, pack

TENANTS: Final = 100_000
TENANTS_LONGER: Final = 1_000_000
LONGER_S: Final = 30
"""From so many seconds a side on the longer set is taken."""
FEATURES: Final = 10
_WINDOW: Final = "m.1764547200"
_PAGE: Final = 500
_TENANTS: Final = """
insert into tenants (tenant_id, shard, snapshot_version, created_at, updated_at)
select name, (get_byte(digest, 0) * 256 + get_byte(digest, 1)) %% %(shards)s, 1, now(), now()
from (select %(prefix)s || n as name, sha256(convert_to(%(prefix)s || n, 'UTF8')) as digest
      from generate_series(0, %(tenants)s - 1) n) named
order by name
"""
_FILL: Final = """
insert into usage_counters (tenant_id, time_window, field, used, ends_at)
select tenant_id, %(window)s, 'feature-' || n || ':i', 1 + n * 7919, 'infinity'
from tenants, generate_series(1, %(features)s) n where tenant_id like %(prefix)s || '%%'
order by tenant_id
"""
"""In the order of the index, which is made several times as fast so."""


def figures(settings: Settings) -> list[Figure]:
    """1,000,000 counters of 100,000 tenants; with `--seconds 30` or more 10,000,000 of 1,000,000."""
    tenants = TENANTS_LONGER if settings.seconds >= LONGER_S else TENANTS
    counters = tenants * FEATURES
    found: dict[str, list[Run]] = {"wipe": [], "kill": []}
    with sides.temporary_folder() as folder:
        with EmbeddedServers(folder / "data") as servers:
            settings.say(f"Loading {tenants:,} tenants and {counters:,} counters …")
            began = clock.monotonic_s()
            _prepare(servers.running, tenants)
            settings.say(f"Loaded in {clock.monotonic_s() - began:.0f} s, which no figure has in it")
        settling.settle()
        for number in range(settings.runs):
            with EmbeddedServers(folder / "data") as servers:
                bare = _bare(servers.running, tenants)
                _wipe(servers.running)
                wipe = _rebuilt(servers.running, counters)
                _kill(servers.running)
            with EmbeddedServers(folder / "data") as servers:
                kill = _rebuilt(servers.running, counters)
            settings.say(f"  run {number + 1}: {wipe:.1f} s after a wipe, {kill:.1f} s after a kill")
            for name, took in (("wipe", wipe), ("kill", kill)):
                ours, reference = counters / took, counters / bare
                found[name].append(Run(round(ours), round(reference), round(ours / reference, 4)))
    return [figure.of(f"rebuild-{name}", "counters/s", runs) for name, runs in found.items()]


def _environment(running: Running) -> dict[str, str]:
    return os.environ | {
        "METERGATE_DATABASE_URL": running.database_url,
        "METERGATE_REDIS_URL": running.redis_url,
        "METERGATE_EMBEDDED": "1",
    }


def _prepare(running: Running, tenants: int) -> None:
    environment = _environment(running)
    asyncio.run(bootstrap.prepare(environment))
    asyncio.run(bootstrap.demo(environment, embedded.CATALOG))
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        params = {
            "window": _WINDOW,
            "features": FEATURES,
            "prefix": reported.PREFIX,
            "tenants": tenants,
            "shards": keyspace.SHARDS,
        }
        connection.execute(_TENANTS, params)
        connection.execute("analyze tenants")
        connection.execute(_FILL, params)
        connection.execute("vacuum (analyze) usage_counters, tenants")


def _wipe(running: Running) -> None:
    with redis.Redis.from_url(running.redis_url, socket_timeout=sides.START_S) as client:
        client.flushall()


def _kill(running: Running) -> None:
    """The instance ends with it, as one that is embedded does."""
    os.kill(running.report.valkey.pid, signal.SIGKILL)
    deadline = clock.monotonic_s() + sides.STOP_S
    while Path(f"/proc/{running.report.supervisor}/cmdline").exists():
        if clock.monotonic_s() > deadline or _is_over(running.report.supervisor):
            return


def _is_over(pid: int) -> bool:
    """It has ended, and waits to be looked at."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"


def _rebuilt(running: Running, counters: int) -> float:
    """Seconds until every shard is open.

    Errors: LoadError unless all counters are there then.
    """
    took = asyncio.run(_certify(_environment(running)))
    with redis.Redis.from_url(running.redis_url, socket_timeout=sides.START_S) as client:
        there = sum(1 for _ in client.scan_iter(f"c:*:{reported.PREFIX}*", count=10_000)) * FEATURES
    if there != counters:
        raise load.LoadError(f"{there:,} of {counters:,} counters came back")
    return took


async def _certify(environment: dict[str, str]) -> float:
    async with worker.open_context(config.read(environment)) as context:
        began = clock.monotonic_s()
        opened = await certify.certify(context.pool, context.link.of(0), now=context.clock.now())
        took = clock.monotonic_s() - began
    if len(opened) != keyspace.SHARDS:
        raise load.LoadError(f"Only {len(opened)} shards were opened")
    return took


def _bare(running: Running, tenants: int) -> float:
    """Seconds in which a client that does nothing else writes these counters."""
    with redis.Redis.from_url(running.redis_url, socket_timeout=sides.START_S) as client:
        connection = client.connection_pool.get_connection()
        took = 0.0
        for begin in range(0, tenants, _PAGE):
            numbers = range(begin, min(begin + _PAGE, tenants))
            packed = pack(*map(_command, numbers))
            began = clock.monotonic_s()
            connection.send_packed_command([packed])
            for _ in numbers:
                connection.read_response()
            took += clock.monotonic_s() - began
        client.connection_pool.release(connection)
    return took


def _command(number: int) -> Command:
    tenant_id = f"bare{number}"
    key = keyspace.counters(keyspace.shard_of(tenant_id), tenant_id, _WINDOW)
    words = [word for n in range(1, FEATURES + 1) for word in (f"feature-{n}:i", 1 + n * 7919)]
    return ("HSET", key, *words)
