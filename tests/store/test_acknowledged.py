"""What an acknowledgement stands on, level by level, on real servers that are paused, killed and promoted."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import msgspec
import pytest
import redis

from jobs import inbox
from policies import errors, limits
from service import wiring
from service.api.app import make_app
from service.clock import FixedClock
from service.config import Config
from service.context import Context
from service.usecases import check, reservations
from service.usecases.check import Check
from service.usecases.reservations import Told
from store import certify, flush, incidents, keyspace, postgres
from store.link import UnfitServerError
from tests.conftest import NOW, PATIENT, MakeKey
from tests.servers import Valkey, free_port, until
from tests.store import ledger
from tests.store.ledger import event, flush_all, levels, statuses, stored
from tests.store.test_consume import use
from tests.store.test_keys_of_scripts import hold

Open = Callable[..., Awaitable[Context]]


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="mgt"))  # short: a socket's path is bounded
    yield made
    shutil.rmtree(made)


@pytest.fixture
async def reopen(
    counting: Context, config: Config, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Open]:
    """Opens the instance of `counting` in another process, as it were, and under another configuration."""
    monkeypatch.setattr(wiring, "TIPS_S", 3600)  # a test itself looks at what it does each second
    async with AsyncExitStack() as stack:

        async def opened(**changes: object) -> Context:
            context = wiring.open_context(msgspec.structs.replace(config, **changes), clock, PATIENT)
            return await stack.enter_async_context(context)

        yield opened


async def waiting(context: Context) -> int:
    async with postgres.transaction(context.pool) as connection:
        (count,) = await postgres.scalars(connection, b"select count(*) from usage_inbox", {})
    return count


async def told(context: Context) -> list[tuple[str, int | None]]:
    """Kind and number of entries of each incident."""
    async with postgres.transaction(context.pool) as connection:
        cursor = await connection.execute(b"select kind, entries from incidents order by incident_id")
        return await cursor.fetchall()


# --- standard, with a replica ------------------------------------------------------------------------


class Pair:
    """A primary and its replica."""

    def __init__(self, folder: Path) -> None:
        self.primary = Valkey(folder, "primary", port=free_port())
        self.replica = Valkey(folder, "replica")

    def start(self) -> None:
        self.primary.start()
        self.replica.start()
        with redis.Redis.from_url(self.replica.url) as client:
            client.replicaof("127.0.0.1", self.primary.port)
            until(lambda: client.info("replication")["master_link_status"] == "up", "it follows")

    def part(self) -> None:
        """The replica hears nothing of the primary any more."""
        with redis.Redis.from_url(self.replica.url) as client:
            client.replicaof("127.0.0.1", 1)

    def fail_over(self) -> None:
        """The primary is gone for good, and the replica takes its place with what it has."""
        self.primary.kill()
        with redis.Redis.from_url(self.replica.url) as client:
            client.replicaof("no", "one")

    def stop(self) -> None:
        self.primary.kill()
        self.replica.kill()


@pytest.fixture
def pair(folder: Path) -> Iterator[Pair]:
    made = Pair(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()


async def test_what_no_replica_has_is_not_acknowledged_and_a_failover_loses_nothing_that_is(
    pair: Pair, reopen: Open, monkeypatch: pytest.MonkeyPatch
):
    one = await reopen(redis_url=pair.primary.url, redis_replicas=1)
    await certify.certify(one.pool, one.counters.link, now=NOW)
    assert await statuses(one, event(1), event(2)) == ["accepted", "accepted"]
    assert (await use(one, 3)).consumed
    reserved = await hold(one, 7, 5)
    other = await reopen(redis_url=pair.primary.url, redis_replicas=1)

    pair.replica.pause()
    with monkeypatch.context() as patch:
        patch.setattr(limits, "INBOX_BYTES", 0)
        assert await statuses(one, event(4)) == ["retry"]
        assert await statuses(one, event(1)) == ["retry"]  # a duplicate is an acknowledgement, too
        assert await statuses(other, event(1)) == ["retry"]  # also over a connection that has written nothing
    with pytest.raises(errors.UnavailableError):
        await use(one, 5)
    with pytest.raises(errors.UnavailableError):
        await hold(one, 8, 5)
    with pytest.raises(errors.UnavailableError):
        await reservations.release(one, Told(reserved, None))
    (decision,) = await check.check(one, [Check(tenant_id="acme", feature_id=ledger.TOKENS)])
    assert not decision.degraded  # decisions go on
    pair.replica.resume()
    assert await statuses(one, event(4)) == ["duplicate"]

    pair.part()
    assert await statuses(one, event(6)) == ["accepted"]  # by Postgres, which keeps it for a server to count
    pair.fail_over()
    two = await reopen(redis_url=pair.replica.url)
    assert len(await certify.certify(two.pool, two.counters.link, now=NOW)) == keyspace.SHARDS
    assert await statuses(two, event(1), event(2), event(4)) == ["duplicate"] * 3
    assert (await use(two, 3)).consumed
    await inbox.run(ledger.worker(two), NOW)
    await flush_all(two)
    assert (await stored(two))[0] == 6  # 1, 2, 3, 4, 6, and 5, which its caller may ask for again
    assert await told(two) == []


async def test_without_a_word_of_the_replica_a_failover_loses_entries_and_that_is_told(
    pair: Pair, reopen: Open
):
    """The control: what this level does not promise is lost indeed, and counted."""
    one = await reopen(redis_url=pair.primary.url)
    await certify.certify(one.pool, one.counters.link, now=NOW)
    assert await statuses(one, event(1)) == ["accepted"]
    await flush_all(one)
    pair.part()
    for number in (2, 3, 4):
        assert await statuses(one, event(number)) == ["accepted"]
    pair.fail_over()
    two = await reopen(redis_url=pair.replica.url)
    await certify.certify(two.pool, two.counters.link, now=NOW)
    assert await told(two) == []  # nobody has said yet how far it had acknowledged
    assert await statuses(two, event(5)) == ["accepted"]
    await flush_all(two)
    await incidents.tell_tips(one.pool, one.counters.link.tips, now=NOW)
    assert await told(two) == [("entries-lost", 3)]
    assert await stored(two) == (2, 20)


# --- strict -------------------------------------------------------------------------------------------


async def test_under_strict_it_is_in_postgres_when_it_is_acknowledged_and_many_share_a_commit(
    reopen: Open, monkeypatch: pytest.MonkeyPatch
):
    one, rounds = await reopen(durability="strict"), []
    flush_once = flush.flush_once

    async def counted(*args: object, **named: object) -> flush.Flushed:
        rounds.append(named)
        return await flush_once(*args, **named)

    monkeypatch.setattr(flush, "flush_once", counted)
    given = await asyncio.gather(*(statuses(one, event(number)) for number in range(40)))
    assert given == [["accepted"]] * 40
    assert await stored(one) == (40, 400)
    assert len(rounds) <= 10
    assert (await use(one, 50)).consumed
    assert await stored(one) == (41, 410)
    assert (await use(one, 50)).consumed
    assert await statuses(one, event(1)) == ["duplicate"]
    settled = await reservations.settle(one, Told(await hold(one, 60, 5), None), 7)
    assert (settled.quantity, await stored(one)) == (7, (42, 417))
    await one.counters.link.send([("FLUSHALL",)])
    await certify.certify(one.pool, one.counters.link, now=NOW)
    assert await levels(one) == (417, 0, 0)


async def test_under_strict_nothing_is_acknowledged_that_no_flush_has_passed(
    reopen: Open, counting: Context, monkeypatch: pytest.MonkeyPatch
):
    one = await reopen(durability="strict")
    async with postgres.transaction(counting.pool) as holder:
        monkeypatch.setattr(limits, "STRICT_S", 0.05)
        await postgres.scalars(
            holder, flush.sql.lock_cursors, {"shards": [keyspace.shard_of("acme")]}
        )  # another flusher, which hangs
        with pytest.raises(errors.UnavailableError):
            await use(one, 1)
        assert await statuses(one, event(2)) == ["accepted"]  # the inbox has committed it
        assert await waiting(one) == 1
        monkeypatch.setattr(limits, "INBOX_BYTES", 0)
        assert await statuses(one, event(3)) == ["retry"]
    monkeypatch.undo()
    assert await statuses(one, event(3)) == ["duplicate"]
    await one.pool.close()
    assert await statuses(one, event(4)) == ["retry"]


async def test_under_strict_an_entry_of_a_server_that_was_certified_meanwhile_is_not_taken_for_kept(
    reopen: Open, counting: Context
):
    """Its number is passed by the new epoch; the entry itself may be lost."""
    one = await reopen(durability="strict")
    await statuses(one, event(1))
    shard = keyspace.shard_of("acme")
    one.counters.link.tips.note(shard, one.counters.link.tips.last(shard) + 1)
    await one.counters.link.send([("FLUSHALL",)])
    await certify.certify(counting.pool, counting.counters.link, now=NOW)
    assert not await one.committer.committed({shard})


# --- lossy --------------------------------------------------------------------------------------------


async def test_a_server_that_does_not_wait_for_its_disk_is_refused_but_under_lossy(
    folder: Path, reopen: Open, make_key: MakeKey
):
    server = Valkey(folder, "everysec", appendfsync="everysec")
    server.start()
    try:
        with pytest.raises(UnfitServerError, match="`appendfsync` is `everysec`"):
            await (await reopen(redis_url=server.url)).counters.link.send([("PING",)])
        one = await reopen(redis_url=server.url, durability="lossy", accept_lost_usage=True)
        await certify.certify(one.pool, one.counters.link, now=NOW)
        app = make_app(context=one)
        app.state.context = one
        headers = {"authorization": f"Bearer {await make_key()}"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://metergate", headers=headers
        ) as client:
            ready = (await client.get("/health/ready")).json()
            used = {
                "tenantId": "acme",
                "serviceId": "s",
                "featureId": ledger.TOKENS,
                "quantity": 1,
            }
            answers = [await client.post(path, json=used) for path in ("/v1/usage", "/v1/consume")]
        assert ready["durability"] == "lossy"
        assert [answer.headers["metergate-durability"] for answer in answers] == ["lossy", "lossy"]
    finally:
        server.kill()
