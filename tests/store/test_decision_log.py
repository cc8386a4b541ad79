"""The decision log and Postgres: written in batches, kept while it is away, dropped by the day."""

import asyncio
from datetime import timedelta

import pytest

from jobs import housekeep
from policies import errors, limits
from service import wiring
from service.usecases import check, decisions
from service.usecases.check import Check
from service.usecases.decisions import Filter
from store import decisions as store
from store import partitions, postgres
from tests.conftest import NOW, PATIENT
from tests.store.ledger import worker

DENIED = Check(tenant_id="nobody", feature_id="ai-tokens")
DAY = timedelta(days=1)


async def kept(context) -> int:
    return len((await decisions.listed(context, Filter(), after="", limit=1_000)).items)


async def test_what_postgres_could_not_take_is_written_when_it_is_back(context, catalog):
    await check.check(context, [DENIED] * 3)
    await context.pool.close()
    with pytest.raises(errors.UnavailableError):
        await context.decisions.flush()
    again = await postgres.open_pool(context.config.database_url, size=2)
    context.decisions._pool = again
    await context.decisions.flush()
    async with postgres.transaction(again) as connection:
        assert await postgres.scalars(connection, b"select count(*) from decisions", {}) == [3]
    await again.close()


async def test_a_process_that_ends_writes_the_rest(config, clock, catalog, context):
    async with wiring.open_context(config, clock, PATIENT) as other:
        await check.check(other, [DENIED])
        assert await kept(context) == 0
    assert await kept(context) == 1


async def test_a_process_that_ends_while_postgres_is_away_does_not_wait(config, clock, catalog, caplog):
    async with asyncio.timeout(10), wiring.open_context(config, clock, PATIENT) as other:
        await check.check(other, [DENIED])
        await other.pool.close()
    assert "1 decisions are lost" in caplog.text


async def test_a_batch_that_comes_twice_is_there_once(context, catalog):
    await check.check(context, [DENIED])
    noted = context.decisions._noted[0]
    await context.decisions.flush()
    context.decisions._noted.append(noted)
    await context.decisions.flush()
    assert (await kept(context), context.decisions.take_dropped()) == (1, 0)


async def test_what_postgres_refuses_for_ever_does_not_hold_up_the_rest(context, catalog, caplog):
    await check.check(context, [DENIED])
    context.decisions._noted.pop()
    context.decisions._rows.append(
        store.Row("acme", NOW, "dec_1", "ai-tokens", "denied", "paused", 1, b"no JSON")
    )
    await context.decisions.flush()
    await check.check(context, [DENIED])
    await context.decisions.flush()
    assert await kept(context) == 1
    assert context.decisions.take_dropped() == 1
    assert "cannot be kept" in caplog.text


async def test_many_write_the_first_of_a_day_at_once(context):
    async def write(number: int) -> None:
        row = store.Row("acme", NOW, f"dec_{number}", "f", "denied", "paused", 1, b"{}")
        async with postgres.transaction(context.pool) as connection:
            await store.write(connection, [row])

    await asyncio.gather(*map(write, range(4)))
    async with postgres.transaction(context.pool) as connection:
        assert await postgres.scalars(connection, b"select count(*) from decisions", {}) == [4]


async def test_days_that_are_old_are_dropped_and_no_others(context, catalog, clock):
    edge = limits.DECISION_LOG_DAYS
    for days in (0, edge - 1, edge, edge + 1, edge + 40):
        clock.at = NOW - days * DAY
        await check.check(context, [DENIED])
    clock.at = NOW
    await context.decisions.flush()
    assert await kept(context) == 5
    assert await housekeep.run(worker(context), NOW) == "2 days of decisions"
    assert await kept(context) == 3
    assert await housekeep.run(worker(context), NOW) == ""
    async with postgres.transaction(context.pool) as connection:
        names = await postgres.scalars(connection, partitions.sql.existing, {"tables": ["decisions"]})
    assert min(names) == partitions.name_of_day("decisions", (NOW - edge * DAY).date())


async def test_a_flood_of_denials_is_kept_whole_up_to_a_rate_and_then_as_a_sample_that_stands_for_it(
    context, catalog, monkeypatch
):
    monkeypatch.setattr(limits, "DECISION_LOG_DENIALS", 5)
    monkeypatch.setattr(limits, "DECISION_LOG_OVER", 10)
    await check.check(context, [DENIED] * 47)
    await context.decisions.flush()
    found = await decisions.listed(context, Filter(), after="", limit=1_000)
    assert sorted(one.weight for one in found.items) == [1] * 5 + [10] * 4
    await check.check(context, [DENIED] * 3)  # the next second
    await context.decisions.flush()
    assert await kept(context) == 12


async def test_where_all_allows_are_kept_so_are_all_denials(context, catalog, monkeypatch):
    monkeypatch.setattr(limits, "DECISION_LOG_DENIALS", 5)
    monkeypatch.setattr(context.decisions, "_sample", 1)
    await check.check(context, [DENIED] * 47)
    await context.decisions.flush()
    assert await kept(context) == 47
