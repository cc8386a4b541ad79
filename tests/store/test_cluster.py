"""The whole service on a real cluster of three nodes: nothing lost, nothing doubled, whatever becomes of one.

One cluster serves this file. The last tests move a slot for good, and put a replica in a primary's place.
"""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import httpx
import msgspec
import pytest
from redis.crc import key_slot

from jobs import announce, expire, flush, housekeep, inbox
from policies import limits
from policies.errors import JournalFullError
from policies.model import Catalog
from service import wiring
from service.cli import diagnose_cluster
from service.clock import FixedClock, SystemClock
from service.config import Config
from service.context import Context
from service.usecases import books
from store import certify, incidents, keyspace, link, postgres
from tests.conftest import NOW, PATIENT
from tests.servers import until
from tests.store import ledger
from tests.store.cluster import NODES, Cluster, Node, cluster, eventually, tenant_on
from tests.store.ledger import TOKENS, event, worker
from tests.store.test_consume import use


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's run ends when all nodes are done, however busy the machine is."""
    monkeypatch.setattr(limits, "NODE_PATIENCE_S", PATIENT.redis_s)


@pytest.fixture
def config(database_url: str, nodes: Cluster) -> Config:
    """Of the nodes one is named."""
    nodes.empty()
    return Config(database_url=database_url, redis_url=nodes.nodes[0].url, redis_cluster=True)


@pytest.fixture
async def counting(context: Context, catalog: Catalog) -> Context:
    """All shards certified by a worker, which has named the catalog to each; no file is rewritten first."""
    for node in context.counters.link.nodes():
        await node.link.send([("SET", keyspace.rewritten(node.shards[0]), link.RUN_ID)])
    assert await flush.run(worker(context), NOW) == f"opened {keyspace.SHARDS} shards"
    assert await announce.run(worker(context), NOW) == "the active catalog"
    return context


async def on(context: Context, node: Node, *, beside: str = "") -> str:
    """A tenant of a node, subscribed to pro."""
    tenant_id = tenant_on(context.counters.link, node.address, beside=beside)
    await ledger.subscribed(context, tenant_id, "pro")
    return tenant_id


async def used(context: Context, tenant_id: str) -> int:
    return sum(await ledger.levels(context, tenant_id))


async def brought_over(context: Context) -> None:
    """A worker does all that is to be done."""
    for job in (flush, inbox, flush, inbox):
        await job.run(worker(context), NOW)


LEFT = 60 + 1_500 + 10 + 30
"""What the story leaves of a tenant's acts."""


async def story(api: httpx.AsyncClient, tenant_id: str) -> None:
    """Each act of a tenant beside its reports, by HTTP; one reservation stays open until it is overdue."""
    named = {"tenantId": tenant_id, "serviceId": "tests", "featureId": TOKENS}

    async def ask(path: str, **fields) -> dict:
        answer = await api.post(path, json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert (await ask("/v1/consume", **named, id="c1", quantity=10))["consumed"]
    assert not (await ask("/v1/consume", **named, id="c2", quantity=10**9))["consumed"]
    settled, released, _ = [
        (await ask("/v1/reservations", **named, id=f"r{n}", quantity=20, ttlSeconds=60))["reservationId"]
        for n in range(3)
    ]
    await ask(f"/v1/reservations/{settled}/settle", quantity=30)
    await api.post(f"/v1/reservations/{released}/release")
    wrong = {"tenantId": tenant_id, "reason": "it was wrong"}
    await ask("/v1/usage/tests/e2/amend", **wrong, quantity=1_500)
    await ask("/v1/usage/tests/e3/void", **wrong)


async def test_the_main_story_by_http(counting: Context, api: httpx.AsyncClient, nodes: Cluster):
    tenants = [await on(counting, node) for node in nodes.nodes]
    told = [
        {"id": f"e{n}", "tenantId": tenant_id, "serviceId": "tests", "featureId": TOKENS, "quantity": q}
        for tenant_id in tenants
        for n, q in ((1, 60), (2, 2_000), (3, 7), (1, 60))
    ]
    answer = (await api.post("/v1/usage", json={"events": told})).json()
    assert (answer["accepted"], answer["duplicates"], answer["retry"]) == (3 * NODES, NODES, 0)
    for tenant_id in tenants:
        await story(api, tenant_id)
    overdue = NOW + timedelta(minutes=10)
    assert await expire.run(worker(counting), overdue) == f"{NODES} reservations"
    await brought_over(counting)
    checks = [{"tenantId": tenant_id, "featureId": TOKENS} for tenant_id in tenants]
    decisions = (await api.post("/v1/check/batch", json={"checks": checks})).json()["decisions"]
    assert [(one["usage"], one["reserved"], one["degraded"]) for one in decisions] == [
        (LEFT, 0, False)
    ] * NODES
    for tenant_id in tenants:
        asked = {"tenantId": tenant_id, "featureId": TOKENS}
        assert (await api.get("/v1/reports/usage", params=asked)).json()["total"] == LEFT
        assert (await books.check(counting, tenant_id, apart_s=0)).open == []
    for later in (0, 1, 2):
        await housekeep.run(worker(counting), NOW + later * timedelta(seconds=limits.TRIM_DELAY_S))
    await counting.backlog.measure_redis(counting.counters.link)
    assert counting.backlog.entries == NODES, "of each journal the last entry stays"
    ready = (await api.get("/health/ready")).json()
    assert (ready["status"], ready["findings"]) == ("ready", [])


def test_the_doctor_looks_at_every_node(nodes: Cluster, database_url: str):
    config = Config(database_url=database_url, redis_url=nodes.nodes[1].url, redis_cluster=True)
    first, *told = list(diagnose_cluster.examine(config, SystemClock()))
    assert (first.status, first.detail[:32]) == ("ok", "The cluster has all 256 shards: ")
    for node in nodes.nodes:
        assert node.address in first.detail
        assert any(one.detail == f"Valkey 9.1.2 answers at {node.url}." for one in told)
    assert [one for one in told if one.part == "redis" and one.status == "wrong"] == []


async def test_a_full_node_turns_away_what_is_its_own(counting: Context, nodes: Cluster):
    full, roomy = [await on(counting, node) for node in nodes.nodes[:2]]
    node = nodes.nodes[0]
    node.ask("CONFIG", "SET", "maxmemory", 1_000_000)
    try:
        await counting.pressure.measure()
        told = (event(1, 60, tenant_id=full), event(1, 60, tenant_id=roomy))
        assert await ledger.statuses(counting, *told) == ["retry", "accepted"]
        with pytest.raises(JournalFullError):
            await use(counting, 2, 10, tenant_id=full)
        assert (await use(counting, 2, 10, tenant_id=roomy)).consumed
    finally:
        node.ask("CONFIG", "SET", "maxmemory", 0)
    await counting.pressure.measure()
    assert await ledger.statuses(counting, *told) == ["accepted", "duplicate"]


async def test_a_node_that_is_lost_closes_its_own_shards_alone(
    counting: Context, api: httpx.AsyncClient, nodes: Cluster
):
    lost, *others = [await on(counting, node) for node in nodes.nodes]
    assert (
        await ledger.statuses(counting, *(event(1, 60, tenant_id=each) for each in (lost, *others)))
        == ["accepted"] * NODES
    )
    nodes.nodes[0].kill()
    told = [event(2, 100, tenant_id=each) for each in (lost, *others)]
    assert await ledger.statuses(counting, *told) == ["accepted"] * NODES, "of the lost one in the inbox"
    with pytest.raises(link.RedisAwayError):
        await used(counting, lost)
    with pytest.raises(link.RedisAwayError, match=nodes.nodes[0].address):
        await flush.run(worker(counting), NOW)
    for each in others:
        assert await used(counting, each) == 160
        assert await ledger.stored(counting, each) == (2, 160)
        assert (await use(counting, 3, 10, tenant_id=each)).consumed
    (finding,) = [f for f in (await api.get("/health/ready")).json()["findings"] if f["part"] == "redis"]
    parts = {node.name: len(node.shards) for node in counting.counters.link.nodes()}
    own = parts[nodes.nodes[0].address]
    assert finding["detail"] == f"1 of 3 nodes, with {own} of 256 shards: Redis does not answer."
    told = (await api.get("/metrics")).text
    up = {node.address: float(node is not nodes.nodes[0]) for node in nodes.nodes}
    for address, value in up.items():
        assert f'metergate_redis_node_up{{node="{address}"}} {value}' in told
    nodes.nodes[0].start()
    await opened_again(counting)
    await brought_over(counting)
    assert await used(counting, lost) == 160
    assert await ledger.stored(counting, lost) == (2, 160)


async def opened_again(context: Context) -> None:
    """A worker goes on until every shard is open."""
    async with asyncio.timeout(PATIENT.redis_s):
        while True:
            try:
                await flush.run(worker(context), NOW)
            except link.RedisAwayError:
                await asyncio.sleep(0.01)
            else:
                return


async def test_a_slot_moves_in_the_middle_of_intake(counting: Context, nodes: Cluster):
    source, target = nodes.nodes[1:]
    moving = await on(counting, source)
    beside = await on(counting, source, beside=moving)
    slot = key_slot(keyspace.tag(keyspace.shard_of(moving)).encode())
    stop, taken = asyncio.Event(), 0

    async def intake() -> None:
        nonlocal taken
        while not stop.is_set():
            told = [event(taken, 1, tenant_id=each) for each in (moving, beside)]
            assert await ledger.statuses(counting, *told) == ["accepted"] * 2
            taken += 1

    reporting = asyncio.create_task(intake())
    await eventually(lambda: taken > 3, "it is under way")
    for _ in nodes.move(slot, source, target):
        await eventually(lambda so_far=taken: taken > so_far + 3, "it goes on meanwhile")
        await flush.run(worker(counting), NOW)
        assert (await ledger.stored(counting, beside))[0] > 3, "a shard that stays is flushed meanwhile"
    of_source = counting.counters.link.of(keyspace.shard_of(beside))
    await eventually(
        lambda: counting.counters.link.of(keyspace.shard_of(moving)) is not of_source,
        "it is seen to have moved",
    )
    await opened_again(counting)
    await eventually(lambda so_far=taken: taken > so_far + 3, "it goes on there")
    stop.set()
    await reporting
    await brought_over(counting)
    for each in (moving, beside):
        assert await used(counting, each) == taken
        assert await ledger.stored(counting, each) == (taken, taken)
    async with postgres.transaction(counting.pool) as connection:
        assert await incidents.open_by_kind(connection) == []


async def test_a_replica_takes_over(counting: Context, clock: FixedClock, config: Config, nodes: Cluster):
    primary, replica = nodes.nodes[0], nodes.replica
    until(lambda: following(replica), "it follows")
    tenant_id, elsewhere = await on(counting, primary), await on(counting, nodes.nodes[1])
    waiting = msgspec.structs.replace(config, redis_replicas=1)
    async with wiring.open_context(waiting, clock, PATIENT) as context:
        assert await ledger.statuses(context, event(1, 60, tenant_id=tenant_id)) == ["accepted"]
        await context.backlog.measure_postgres(context.pool)
        assert context.backlog.waiting == 0, "the replica has it, and nothing else"
        primary.kill()
        replica.ask("CLUSTER", "FAILOVER", "TAKEOVER")
        own = keyspace.shard_of(tenant_id)
        before = context.counters.link.of(own)
        await eventually(lambda: context.counters.link.of(own) is not before, "it is seen to have taken over")
        assert await ledger.statuses(context, event(2, 5, tenant_id=elsewhere)) == ["accepted"]
    await opened_again(counting)
    await brought_over(counting)
    assert await used(counting, tenant_id) == 60
    assert await ledger.stored(counting, tenant_id) == (1, 60)
    async with postgres.transaction(counting.pool) as connection:
        assert await incidents.open_by_kind(connection) == []
    primary.start()  # it finds that it is a replica now
    until(lambda: following(primary), "it follows")
    assert await certify.uncertified(counting.counters.link.of(own), [own]) == []


def following(node: Node) -> bool:
    said = node.ask("INFO", "replication")
    return (said if isinstance(said, dict) else {}).get("master_link_status") == "up"
