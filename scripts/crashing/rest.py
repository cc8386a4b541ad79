"""An instance comes to rest: every shard is open, every journal in Postgres, nothing waits."""

import time
from typing import Final

import psycopg
import redis

REST_S: Final = 100.0
_LOOK_S: Final = 0.1
_WAITING: Final = """
select (select count(*) from usage_inbox), (select count(*) from counter_corrections)
"""


def await_rest(database_url: str, redis_url: str, *, patience_s: float = REST_S) -> tuple[float, str]:
    """Waits until nothing is left to be done; how many seconds that took, and what was left all the same."""
    begun = time.monotonic()
    with psycopg.connect(database_url, autocommit=True) as connection:
        while (left := busy(connection, redis_url)) and time.monotonic() - begun < patience_s:
            time.sleep(_LOOK_S)
    return time.monotonic() - begun, left


def busy(connection: psycopg.Connection, redis_url: str) -> str:
    """What is left to be done; nothing if it is empty."""
    cursors: dict[int, str] = dict(connection.execute("select shard, last_id from flush_cursors").fetchall())
    with redis.Redis.from_url(redis_url, protocol=2) as client, client.pipeline(transaction=False) as asked:
        run_id = client.info("server")["run_id"].encode()
        for shard, last_id in cursors.items():
            asked.get(f"m:{{s{shard:03d}}}")
            asked.xrange(f"l:{{s{shard:03d}}}", min=f"({last_id}", count=1)
        told = asked.execute()
    closed = sum(fence != run_id for fence in told[::2])
    behind = sum(bool(entries) for entries in told[1::2])
    row = connection.execute(_WAITING).fetchone()
    inbox, corrections = row if row is not None else (0, 0)
    found = {"closed": closed, "behind": behind, "inbox": inbox, "corrections": corrections}
    return ", ".join(f"{name} {count}" for name, count in found.items() if count)
