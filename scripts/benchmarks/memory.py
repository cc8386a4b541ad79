"""What the counters of many tenants take in Redis, laid out as usage leaves them, beside what they say."""

import itertools
from collections.abc import Iterator
from typing import Final

import redis

from scripts.benchmarks import figure, sides
from scripts.benchmarks.figure import Figure, Run, Settings
from store import keyspace

TENANTS: Final = 1_000_000
FEATURES: Final = 10
_WINDOW: Final = "m.1764547200"
_ENDS: Final = 4_102_444_800
_PAGE: Final = 2_000


def figures(settings: Settings) -> list[Figure]:
    """One month of 1,000,000 tenants with 10 features of which each has used something of what is included.

    Ours is what the server's memory grew by, the reference the names and numbers alone; both by counter. One
    run: what the same data takes is always the same.
    """
    with sides.instance() as made, redis.Redis.from_url(made.running.redis_url) as client:
        before = client.info("memory")
        said = sum(_load(client, page) for page in _pages())
        after = client.info("memory")
    grown = after["used_memory"] - before["used_memory"]
    resident = after["used_memory_rss"] - before["used_memory_rss"]
    settings.say(f"{TENANTS:,} tenants: {grown / 1e9:.3f} GB used, {resident / 1e9:.3f} GB resident")
    counters = TENANTS * FEATURES
    run = Run(round(grown / counters, 1), round(said / counters, 1), round(grown / said, 4))
    return [figure.of("memory", "bytes a counter; less is better", [run])]


def _pages() -> Iterator[range]:
    for begin in range(0, TENANTS, _PAGE):
        yield range(begin, min(begin + _PAGE, TENANTS))


def _load(client: "redis.Redis", numbers: range) -> int:
    """Writes the counters of these tenants; the bytes of their names and numbers."""
    said = 0
    pipeline = client.pipeline(transaction=False)
    for number in numbers:
        tenant_id = f"tenant-{number}"
        key = keyspace.counters(keyspace.shard_of(tenant_id), tenant_id, _WINDOW)
        fields = {
            keyspace.bucket_field(f"feature-{feature}", "i"): str(number * 7919 % 1_000_000)
            for feature in range(FEATURES)
        }
        pipeline.hset(key, items=list(itertools.chain.from_iterable(fields.items())))
        pipeline.expireat(key, _ENDS)
        said += len(key) + sum(map(len, itertools.chain(fields, fields.values())))
    pipeline.execute()
    return said
