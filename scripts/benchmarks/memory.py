"""What counters and marks take in Redis, laid out as usage leaves them, beside what they say."""

import itertools
import random
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
EVENTS: Final = 100_000_000
"""A day, of all shards; the marks of one of them are made."""
_FINGERPRINTS: Final = 2**31


def figures(settings: Settings) -> list[Figure]:
    """One month of 1,000,000 tenants with 10 features of which each has used something of what is included.

    Ours is what the server's memory grew by, the reference the names and numbers alone; both by counter. One
    run: what the same data takes is always the same. Then a shard's marks of a day, likewise.
    """
    with sides.instance() as made, redis.Redis.from_url(made.running.redis_url) as client:
        marks = _of_marks(client, settings)
        before = client.info("memory")
        said = sum(_load(client, page) for page in _pages())
        after = client.info("memory")
    grown = after["used_memory"] - before["used_memory"]
    resident = after["used_memory_rss"] - before["used_memory_rss"]
    settings.say(f"{TENANTS:,} tenants: {grown / 1e9:.3f} GB used, {resident / 1e9:.3f} GB resident")
    counters = TENANTS * FEATURES
    run = Run(round(grown / counters, 1), round(said / counters, 1), round(grown / said, 4))
    return [figure.of("memory", "bytes a counter; less is better", [run]), marks]


def _of_marks(client: "redis.Redis", settings: Settings) -> Figure:
    """The reference is 12 bytes of digest and 4 of fingerprint."""
    count, chance = EVENTS // keyspace.SHARDS, random.Random(1)  # noqa: S311 - the same marks in every run
    before = client.info("memory")["used_memory"]
    for start in range(0, count, _PAGE):
        pipeline = client.pipeline(transaction=False)
        for _ in range(start, min(start + _PAGE, count)):
            digest = chance.randbytes(16)
            key = keyspace.marks(7, 20_783, keyspace.mark_bucket(digest))
            pipeline.hset(key, digest[:12], str(chance.randrange(_FINGERPRINTS)))
            pipeline.expireat(key, _ENDS)
        pipeline.execute()
    taken = (client.info("memory")["used_memory"] - before) / count
    settings.say(f"{count:,} marks of one shard: {taken:.1f} bytes each")
    return figure.of(
        "memory-marks", "bytes a mark; less is better", [Run(round(taken, 1), 16.0, round(taken / 16, 4))]
    )


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
