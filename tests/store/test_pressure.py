"""As Redis fills up usage is turned away before anything is lost; decisions go on, and all does in time."""

from datetime import timedelta

import pytest
import redis

from jobs import flush as flush_job
from jobs import inbox as inbox_job
from policies import errors, limits
from service.context import Context
from service.usecases import check, reservations
from service.usecases.check import Check
from service.usecases.reservations import Told
from store import keyspace
from tests.conftest import NOW
from tests.servers import Valkey
from tests.store import ledger
from tests.store.ledger import TOKENS, event, levels, statuses, stored
from tests.store.test_consume import use
from tests.store.test_keys_of_scripts import hold


def give(server: Valkey, *, share: float) -> None:
    """Lets the server use so much memory that it is full to this share."""
    with redis.Redis.from_url(server.url) as client:
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", int(used / share))


def give_all(server: Valkey) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 0)


async def allowed(context: Context) -> bool:
    (decision,) = await check.check(context, [Check(tenant_id="acme", feature_id=TOKENS)])
    assert not decision.degraded
    return decision.allowed


async def test_usage_is_turned_away_before_the_memory_is_used_up_and_decisions_go_on(
    own: Context,
    server: Valkey,
):
    reserved = await hold(own, 1, 5)
    give(server, share=0.85)
    await own.pressure.measure()
    with pytest.raises(errors.JournalFullError):
        await statuses(own, event(2))
    with pytest.raises(errors.JournalFullError):
        await use(own, 3)
    with pytest.raises(errors.JournalFullError):
        await hold(own, 4, 5)
    assert await allowed(own)
    assert (await reservations.settle(own, Told(reserved, None), 5)).state == "settled"
    give(server, share=0.78)  # not yet: it would come and go
    await own.pressure.measure()
    assert own.pressure.full
    give(server, share=0.5)
    await own.pressure.measure()
    assert await statuses(own, event(2)) == ["accepted"]


async def test_what_a_full_server_refuses_is_not_acknowledged_by_it(
    own: Context,
    server: Valkey,
    monkeypatch: pytest.MonkeyPatch,
):
    """Nobody had measured yet: the server itself says so, once."""
    give(server, share=2.0)
    with monkeypatch.context() as patch:
        patch.setattr(limits, "INBOX_BYTES", 0)
        assert await statuses(own, event(1)) == ["retry"]
    with pytest.raises(errors.JournalFullError):
        await statuses(own, event(1))
    assert await allowed(own)
    give_all(server)
    await own.pressure.measure()
    assert await statuses(own, event(1)) == ["accepted"]
    assert await levels(own) == (10, 0, 0)


async def test_a_journal_that_nobody_flushes_stays_within_its_memory_and_all_of_it_is_kept(
    own: Context,
    server: Valkey,
):
    with redis.Redis.from_url(server.url) as client:
        limit = (client.info("memory")["used_memory"] + 1_500_000) * 100 // limits.REDIS_FULL_PERCENT
        client.config_set("maxmemory", limit)
    number, worker = 0, ledger.worker(own)
    with pytest.raises(errors.JournalFullError):  # noqa: PT012 - it comes some time
        while number < 100_000:
            await own.pressure.measure()
            given = await statuses(own, *(event(number + each, 1) for each in range(1_000)))
            assert set(given) == {"accepted"}
            number += 1_000
    assert own.pressure.used < limit
    assert await inbox_job.run(worker, NOW) == ""  # nothing more is handed to it either
    shard = keyspace.journal(keyspace.shard_of("acme"))
    for _ in range(3):  # a worker's ticks: what one has brought over the next but one lets go of
        await flush_job.run(worker, NOW)
    (left,) = (await own.counters.link.send([("XLEN", shard)])).values
    assert left <= 1  # the last one is where the journal goes on
    assert await stored(own) == (number, number)
    await own.pressure.measure()
    assert not own.pressure.full
    assert await statuses(own, event(number)) == ["accepted"]


async def test_what_is_behind_is_measured(own: Context):
    assert own.backlog.lag_s(NOW) is None
    await statuses(own, event(1))
    await flush_job.run(ledger.worker(own), NOW)
    await own.backlog.measure_postgres(own.pool)
    await own.backlog.measure_redis(own.counters.link)
    assert (own.backlog.lag_s(NOW), own.backlog.entries, own.backlog.waiting) == (0, 1, 0)
    await own.pool.close()
    with pytest.raises(errors.UnavailableError):
        await own.backlog.measure_postgres(own.pool)
    assert own.backlog.lag_s(NOW + timedelta(seconds=90)) == 90
