"""Which node of a Redis or Valkey Cluster has which shard, and is each of them as it must be?"""

import asyncio
from collections import Counter
from collections.abc import Iterator

from service import config as configuration
from service.cli import diagnose_redis
from service.cli.diagnosis import PATIENCE_S, Diagnosis, ok, wrong
from service.clock import Clock
from service.config import Config
from store import keyspace
from store.topology import Layout, Scouts


def examine(config: Config, clock: Clock) -> Iterator[Diagnosis]:
    """The cluster first, then node by node."""
    scouts = Scouts(config.redis_url.split(","), timeout_s=PATIENCE_S)
    layout = asyncio.run(_look(scouts))
    if layout is None:
        where = configuration.masked(config.redis_url)
        yield wrong(
            diagnose_redis.PART,
            f"No node of a cluster answers at {where}. Is it running, and is it a cluster? A server by "
            "itself needs no METERGATE_REDIS_CLUSTER.",
        )
        return
    shards = _by_node(layout)
    yield _whole(shards)
    for address in sorted(shards):
        yield from diagnose_redis.examine_server(scouts.url(address), config, clock, shards=shards[address])


async def _look(scouts: Scouts) -> Layout | None:
    """Twice: the first who answers names those that were not."""
    try:
        first = await scouts.look(())
        return await scouts.look(first.addresses) if first else None
    finally:
        await scouts.close()


def _by_node(layout: Layout) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for shard in range(keyspace.SHARDS):
        address = layout.owners.get(keyspace.tag(shard))
        if address is not None:
            found.setdefault(address, []).append(shard)
    return found


def _whole(shards: dict[str, list[int]]) -> Diagnosis:
    counts = Counter({address: len(own) for address, own in shards.items()})
    told = ", ".join(f"{count} on {address}" for address, count in sorted(counts.items()))
    if missing := keyspace.SHARDS - counts.total():
        return wrong(
            diagnose_redis.PART,
            f"{missing} of {keyspace.SHARDS} shards are on no node of the cluster, and usage of their "
            f"tenants waits in Postgres ({told}). Give every slot to a node (CLUSTER ADDSLOTS).",
        )
    return ok(diagnose_redis.PART, f"The cluster has all {keyspace.SHARDS} shards: {told}.")
