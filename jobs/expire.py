"""Ends reservations that nobody settled in time: what they hold comes back by itself."""

from datetime import datetime

from jobs.context import JobContext
from store.cluster import by_node
from store.holds import Holds
from store.nodes import Node
from store.reading import FenceClosedError


async def run(context: JobContext, now: datetime) -> str:
    """Ends all that has expired, tenant by tenant; an end that somebody else made first is none of its.

    Errors: RedisAwayError; what was ended stays so.
    """
    holds = Holds(context.link)
    ended = 0

    async def sweep(node: Node) -> None:
        nonlocal ended
        for tenant_id in await holds.tenants_due(now=now, shards=node.shards):
            try:
                ended += await holds.sweep(tenant_id, now=now)
            except FenceClosedError:
                continue  # once its shard is open again

    await by_node(context.link, sweep)
    return f"{ended} reservations" if ended else ""
