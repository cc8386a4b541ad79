"""On a real cluster of three nodes every act works on the node of its shard, and every shard is some node's.

Each node has a link of its own, and with it everything that is made of one: whoever serves its shards knows
its run, and certifies it, flushes it and trims it like a server by itself.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import count

import msgspec
import pytest
import redis

from policies import limits
from policies.model import Catalog
from service import wiring
from service.config import Config
from service.context import Context
from service.usecases import check, reservations, reserve, revise
from service.usecases.check import Check
from service.usecases.events import EventName
from service.usecases.fitting import Wanted
from service.usecases.reservations import Told
from store import certify, corrections, flush, keyspace, postgres
from store.link import Link
from store.reading import FenceClosedError
from tests.conftest import NOW
from tests.store import cluster, ledger
from tests.store.ledger import ORDER, TOKENS, event
from tests.store.test_consume import use


class Served(msgspec.Struct, frozen=True):
    """A node, what serves its shards, and a tenant of one of them."""

    node: cluster.Node
    context: Context
    tenant_id: str

    @property
    def link(self) -> Link:
        return self.context.counters.link

    async def certified(self) -> int:
        opened = await certify.certify(self.context.pool, self.link, now=NOW, of=self.node.shards)
        return len(opened)

    async def flushed(self) -> int:
        flushed = await flush.flush_once(self.context.pool, self.link, now=NOW, shards=self.node.shards)
        assert not flushed.more
        return flushed.events

    async def kept(self) -> list[int]:
        """What Postgres has of the tenant: by events, hours and days."""
        queries = (
            b"select sum(measured)::bigint from usage_events where tenant_id = %(tenant_id)s",
            b"select sum(quantity)::bigint from usage_hourly where tenant_id = %(tenant_id)s",
            b"select sum(quantity)::bigint from usage_daily where tenant_id = %(tenant_id)s",
        )
        async with postgres.transaction(self.context.pool) as connection:
            params = {"tenant_id": self.tenant_id}
            return [(await postgres.scalars(connection, query, params))[0] for query in queries]

    async def used(self) -> int:
        """What is counted of the tenant's month."""
        return sum(await ledger.levels(self.context, self.tenant_id))


@pytest.fixture
async def served(catalog: Catalog, config: Config, clock, context: Context) -> AsyncIterator[list[Served]]:
    """All nodes, open, and with the catalog."""
    with cluster.cluster() as nodes:
        async with AsyncExitStack() as opened:
            found = []
            for node in nodes:
                ours = msgspec.structs.replace(config, redis_url=node.url)
                own = await opened.enter_async_context(wiring.open_context(ours, clock))
                tenant_id = next(
                    name for n in count() if keyspace.shard_of(name := f"t{n}") in set(node.shards)
                )
                found.append(Served(node, own, tenant_id))
            for each in found:
                assert await each.certified() == len(each.node.shards)
                await each.context.counters.set_active_catalog(catalog.hash, each.node.shards)
            yield found


async def story(served: Served) -> None:
    """Each act of a tenant; 60 + 2,000 + 10 + 30 units are left, and what was amended is 1,500."""
    context, tenant_id = served.context, served.tenant_id
    told = [event(n, quantity, tenant_id=tenant_id) for n, quantity in ((1, 60), (2, 2_000), (3, 7), (1, 60))]
    assert await ledger.statuses(context, *told) == ["accepted"] * 3 + ["duplicate"]
    assert (await use(context, 4, 10, tenant_id=tenant_id)).consumed
    assert not (await use(context, 5, 10**9, tenant_id=tenant_id)).consumed
    settled, released = [await hold(context, tenant_id, number) for number in (6, 7)]
    await reservations.settle(context, Told(settled, None), 30)
    await reservations.release(context, Told(released, None))
    for event_id, quantity in (("e2", 1_500), ("e3", None)):
        wish = revise.Wish(quantity=quantity, reason="it was wrong")
        await revise.revise(context, ORDER, EventName(tenant_id, "tests", event_id), wish)
    expiring = await hold(context, tenant_id, 8)
    later = NOW + timedelta(minutes=10)
    assert await context.holds.tenants_due(now=later, shards=served.node.shards) == [tenant_id], expiring
    assert await context.holds.sweep(tenant_id, now=later) == 1


async def hold(context: Context, tenant_id: str, number: int) -> str:
    wanted = Wanted(
        event_id=f"h{number}",
        tenant_id=tenant_id,
        service_id="tests",
        feature_id=TOKENS,
        quantity=20,
        seconds=60,
    )
    given = await reserve.reserve(context, wanted)
    assert given.reservation_id is not None
    return given.reservation_id


LEFT = 60 + 1_500 + 10 + 30


async def test_every_act_works_on_the_node_of_its_shard(served: list[Served], catalog: Catalog):
    assert sorted(s for each in served for s in each.node.shards) == list(range(keyspace.SHARDS))
    assert len({each.link.run_id for each in served}) == cluster.NODES
    for each in served:
        await ledger.subscribed(each.context, each.tenant_id, "pro")
        await story(each)
        (decision,) = await check.check(each.context, [Check(tenant_id=each.tenant_id, feature_id=TOKENS)])
        assert (decision.usage, decision.degraded, decision.catalog) == (LEFT, False, catalog.hash)
        await each.flushed()
        assert await each.kept() == [LEFT] * 3
        assert await each.context.counters.active_catalog(each.node.shards) == catalog.hash
    await goes_to_no_other_node(*served[:2])
    await survives_a_wipe(*served)


async def goes_to_no_other_node(one: Served, other: Served) -> None:
    """What is sent to a node that has not the shard is not acknowledged, and not believed."""
    lost = msgspec.structs.replace(one, context=other.context)
    assert await ledger.statuses(lost.context, event(90, 5, tenant_id=one.tenant_id)) == ["accepted"]
    waiting = await flush.flush_once(other.context.pool, other.link, now=NOW, shards=other.node.shards)
    assert waiting.events == 0, "it is in the inbox, which Postgres has"
    assert await one.used() == LEFT


async def survives_a_wipe(wiped: Served, *others: Served) -> None:
    """A node that has lost everything closes its own shards alone, and has them back from Postgres."""
    with redis.Redis.from_url(wiped.node.url) as client:
        client.flushall()
    with pytest.raises(FenceClosedError):
        await wiped.used()
    for each in others:
        assert await certify.uncertified(each.link, each.node.shards) == []
        assert await each.used() == LEFT
    assert await wiped.certified() == len(wiped.node.shards)
    assert await wiped.used() == LEFT
    assert await corrections.apply_corrections(wiped.context.pool, wiped.context.counters) == 0
    await ledger.statuses(wiped.context, event(1, 60, tenant_id=wiped.tenant_id))
    assert await wiped.flushed() == 0, "its mark is gone, so that only the flush knows it"
    taken_back = await corrections.apply_corrections(wiped.context.pool, wiped.context.counters)
    assert taken_back == 2, "of its bucket and of a cap"
    assert await wiped.used() == LEFT
    for delay in (0, 1, 2):
        at = NOW + delay * timedelta(seconds=limits.TRIM_DELAY_S)
        await flush.trim(wiped.context.pool, wiped.link, now=at, shards=wiped.node.shards)
