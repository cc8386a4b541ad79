"""What an event costs on its whole way: bytes in Redis, in Postgres and in their logs, and processor time."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import psycopg
import redis

from scripts.benchmarks import figure, intake, reported, sides, year
from scripts.benchmarks.figure import Figure, Run, Settings

BATCHES: Final = 100
"""Of intake.BATCH events each."""
_TICKS: Final = 100
"""Of /proc, a second."""
_SIZES: Final = """
select coalesce(sum(pg_relation_size(c.oid)), 0)::bigint, coalesce(sum(pg_indexes_size(c.oid)), 0)::bigint
from pg_class c where c.relkind = 'r' and c.relname like %s
"""
_TABLES: Final = ("usage_events", "usage_keys", "usage_hourly", "usage_daily", "usage_counters")
_EACH_EVENT: Final = ("usage_events", "usage_keys")


def figures(settings: Settings) -> list[Figure]:
    """100,000 events of 1,000 tenants by batches, then one flush. One run: bytes are always the same.

    Ours is what Postgres keeps of an event for good, with indexes, the reference its line of JSON.
    """
    with sides.api(worker=False) as api:
        reported.load(api, intake.TENANTS)
        intake._ours(api, 2, settings)  # noqa: SLF001 - fills the caches
        _flush(api)
        with (
            redis.Redis.from_url(api.redis_url) as client,
            psycopg.connect(api.database_url, autocommit=True) as connection,
        ):
            before, kept_before = _in_redis(client), _events(connection)
            intake._ours(api, BATCHES, settings)  # noqa: SLF001 - the same events
            grown = {name: size - before[name] for name, size in _in_redis(client).items()}
            wal = _wal(connection)
            used = _flush(api)
            # On a busy machine some went to the inbox instead: they are in none of the figures.
            events = _events(connection) - kept_before
            for name, amount in (
                grown | used | {"bytes in the log of Postgres": _wal(connection) - wal}
            ).items():
                settings.say(f"  {name}: {amount / events:.1f} an event")
            _books(api, settings)
            connection.execute("truncate usage_hourly, usage_daily")
            year.load(api.database_url)
            rows = {table: _row(connection, table, settings) for table in _TABLES}
        kept = sum(rows[table] for table in _EACH_EVENT)
        said = len(reported.ndjson(reported.events(100, intake.TENANTS))) / 100
    run = Run(round(kept, 1), round(said, 1), round(kept / said, 4))
    return [figure.of("footprint", "bytes an event in Postgres; less is better", [run])]


def _in_redis(client: "redis.Redis") -> dict[str, float]:
    journal = sum(client.memory_usage(key, samples=0) or 0 for key in client.scan_iter("l:*", count=1_000))
    everything: dict[str, Any] = client.info()
    return {
        "bytes of the journal in Redis": journal,
        "bytes of Redis": everything["used_memory"],
        "bytes of its file": everything["aof_current_size"],
    }


def _events(connection: "psycopg.Connection[Any]") -> int:
    return int(_one(connection, "select count(*) from usage_events")[0])


def _wal(connection: "psycopg.Connection[Any]") -> int:
    return int(_one(connection, "select pg_current_wal_lsn() - '0/0'::pg_lsn")[0])


def _one(connection: "psycopg.Connection[Any]", query: str, *params: object) -> tuple[Any, ...]:
    found = connection.execute(query, params or None).fetchone()
    assert found is not None, "a sum has a row"
    return tuple(found)


def _row(connection: "psycopg.Connection[Any]", table: str, settings: Settings) -> float:
    """Bytes of a row with its share of the indexes, as it lies there after it was written."""
    (rows,) = _one(connection, f"select count(*) from {table}")  # noqa: S608 - our own names
    heap, indexes = _one(connection, _SIZES, f"{table}%")
    settings.say(
        f"  {table}: {heap / rows:.0f} bytes a row, and {indexes / rows:.0f} of indexes ({rows:,} rows)"
    )
    return float((heap + indexes) / rows)


def _flush(api: sides.Api) -> dict[str, float]:
    """The job, once, in a process of its own: microseconds that it and Postgres used of the processors."""
    postmaster = _postmaster(api)
    theirs, ours = _with_children_s(postmaster), _children_s()
    argv = [sys.executable, "-P", "-m", "service", "job", "run", "flush"]
    subprocess.run(argv, env=dict(api.environment), stdout=subprocess.DEVNULL, check=True)  # noqa: S603
    return {
        "us of the worker's processor": (_children_s() - ours) * 1e6,
        "us of Postgres": (_with_children_s(postmaster) - theirs) * 1e6,
    }


def _books(api: sides.Api, settings: Settings) -> None:
    """What a look at the books of all tenants takes, but for what the command takes to begin and to end."""
    postmaster, one = _postmaster(api), ["--tenant", f"{reported.PREFIX}0"]
    used = []
    for whose in (one, []):
        theirs, ours = _with_children_s(postmaster), _children_s()
        argv = [sys.executable, "-P", "-m", "service", "books", "check", "--json", *whose]
        subprocess.run(argv, env=api.environment, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - ours
        used.append((_children_s() - ours, _with_children_s(postmaster) - theirs))
    (ours, theirs), (ours_all, theirs_all) = used
    tenants = intake.TENANTS
    settings.say(
        f"  books: worker {(ours_all - ours) / tenants * 1e6:.0f} us a tenant, "
        f"Postgres {(theirs_all - theirs) / tenants * 1e6:.0f}"
    )


def _postmaster(api: sides.Api) -> int:
    with psycopg.connect(api.database_url) as connection:
        (pid,) = _one(connection, "select pg_backend_pid()")
        return int(_stat(pid)[1])


def _stat(pid: int | str) -> list[str]:
    """The fields of a process behind its name: its state, its parent, ..."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()


def _with_children_s(pid: int) -> float:
    """What a process, its children and those that have ended have used of the processors."""
    ticks = sum(map(int, _stat(pid)[11:15]))
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = _stat(folder.name)
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == pid:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def _children_s() -> float:
    """What the children of this process that have ended have used."""
    return sum(map(int, _stat("self")[13:15])) / _TICKS
