"""Usage while Redis is away is acknowledged by Postgres, and counted once when it is back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from jobs import inbox as job
from policies import errors, limits
from service import wiring
from service.context import Context
from service.usecases import events, revise
from service.usecases.events import EventName
from store import flush, postgres, usage
from store.reading import Want
from tests.conftest import NOW
from tests.store import ledger
from tests.store.ledger import event, levels, statuses, stored
from tests.store.test_consume import use


@asynccontextmanager
async def without_redis(context: Context) -> AsyncIterator[Context]:
    """The same instance as a process has it that cannot reach Redis; it knows the tenant already."""
    config = type(context.config)(
        database_url=context.config.database_url, redis_url="redis://127.0.0.1:1", embedded=True
    )
    async with wiring.open_context(config, context.clock) as away:
        await away.snapshots.load("acme")
        yield away


async def count_what_waits(context: Context) -> str:
    return await job.run(ledger.worker(context), context.clock.now())


async def waiting(context: Context) -> int:
    async with postgres.transaction(context.pool) as connection:
        (count,) = await postgres.scalars(connection, b"select count(*) from usage_inbox", {})
    return count


async def flushed(context: Context) -> None:
    await flush.flush_once(context.pool, context.counters.link, now=NOW)


async def test_what_came_while_redis_was_away_is_counted_once_when_it_is_back(counting: Context):
    async with without_redis(counting) as away:
        assert await statuses(away, event(1, 30), event(2, 12)) == ["accepted", "accepted"]
        assert await statuses(away, event(1, 30)) == ["duplicate"]
    assert await levels(counting) == (0, 0, 0)
    assert await count_what_waits(counting) == "2 events that had waited"
    assert await levels(counting) == (42, 0, 0)
    assert await count_what_waits(counting) == ""
    await flushed(counting)
    assert await stored(counting) == (2, 42)
    await count_what_waits(counting)
    assert await waiting(counting) == 0


async def test_a_sender_who_comes_again_meanwhile_doubles_nothing(counting: Context):
    async with without_redis(counting) as away:
        await statuses(away, event(1, 30))
    assert await statuses(counting, event(1, 30)) == ["accepted"]
    await count_what_waits(counting)
    assert await levels(counting) == (30, 0, 0)
    assert await statuses(counting, event(1, 30)) == ["duplicate"]


async def test_what_redis_had_counted_before_it_went_away_is_known(counting: Context):
    """The answer was lost on the way: the sender cannot know, and comes again."""
    await statuses(counting, event(1, 30))
    async with without_redis(counting) as away:
        assert await statuses(away, event(1, 30)) == ["accepted"]
        await flushed(counting)
        assert await statuses(away, event(1, 30)) == ["duplicate"]
        assert await statuses(away, event(1, 31)) == ["rejected"]
    await count_what_waits(counting)
    await flushed(counting)
    assert (await levels(counting), await stored(counting)) == ((30, 0, 0), (1, 30))


async def test_twice_in_one_batch_is_once(counting: Context):
    async with without_redis(counting) as away:
        assert sorted(await statuses(away, event(1), event(1))) == ["accepted", "duplicate"]
    assert await waiting(counting) == 1


async def test_it_counts_when_it_was_used_not_when_redis_came_back(counting: Context, clock):
    """Its period is that of its arrival, also if another has begun meanwhile."""
    async with without_redis(counting) as away:
        await statuses(away, event(1, 30))
    clock.at = NOW + timedelta(days=29)
    await counting.snapshots.load("acme")
    await count_what_waits(counting)
    assert await levels(counting, at=NOW) == (30, 0, 0)
    assert await levels(counting, at=clock.at) == (0, 0, 0)


async def test_reports_say_that_what_waits_is_not_in_them(counting: Context):
    await flushed(counting)
    async with without_redis(counting) as away:
        await statuses(away, event(1, 30))
    async with postgres.transaction(counting.pool) as connection:
        through = await usage.flushed_through(connection, "acme")
    assert through == NOW


async def test_what_makes_no_sense_any_more_is_shown_among_the_rejected(counting: Context):
    """Redis had it under this id with another body: that is found when it is handed on."""
    await statuses(counting, event(1, 31))
    async with without_redis(counting) as away:
        assert await statuses(away, event(1, 30)) == ["accepted"]
    assert await count_what_waits(counting) == ""
    assert (await waiting(counting), await levels(counting)) == (0, (31, 0, 0))
    async with postgres.transaction(counting.pool) as connection:
        rows = await postgres.scalars(connection, b"select slug from usage_rejected", {})
    assert rows == ["idempotency-mismatch"]


async def test_a_full_inbox_takes_nothing(counting: Context, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "INBOX_BYTES", 0)
    async with without_redis(counting) as away:
        assert await statuses(away, event(1)) == ["retry"]


async def test_with_both_away_the_sender_must_come_again(counting: Context):
    async with without_redis(counting) as away:
        await statuses(away, event(1))  # it knows the plan from here on
        await away.pool.close()
        assert await statuses(away, event(2)) == ["retry"]


async def test_a_use_that_an_outage_allows_is_counted_later_and_its_key_is_known(counting: Context):
    call = {"feature_id": "api-calls", "quantity": 1}  # whenUnavailable: allow
    async with without_redis(counting) as away:
        given = await use(away, 1, **call)
        assert (given.consumed, given.decision.outcome) == (True, "indeterminate")
        assert (await use(away, 1, **call)).consumed
        with pytest.raises(errors.IdempotencyMismatchError):
            await use(away, 1, **call, timestamp=NOW - timedelta(minutes=1))
    assert await count_what_waits(counting) == "1 events that had waited"
    assert (await use(counting, 1, **call)).consumed
    (found,) = await counting.counters.read([Want("acme", ((ledger.month(), "api-calls:i"),))])
    assert found.values == (1,)


async def test_a_use_that_an_outage_denies_is_not_counted_later(counting: Context):
    async with without_redis(counting) as away:
        assert not (await use(away, 1, 40)).consumed
    assert await waiting(counting) == 0


async def test_what_waits_can_be_asked_for_and_changed_later_and_is_not_said_to_be_unknown(counting: Context):
    """It was accepted; it only has not come so far."""
    name, wish = EventName("acme", "tests", "e1"), revise.Wish(quantity=1, reason="wrong")
    async with without_redis(counting) as away:
        await statuses(away, event(1, 30))
        with pytest.raises(errors.UnavailableError):
            await events.history(away, name)
    with pytest.raises(errors.UnavailableError):
        await events.history(counting, name)
    with pytest.raises(errors.UnavailableError):
        await revise.revise(counting, ledger.ORDER, name, wish)
    await count_what_waits(counting)
    assert (await events.history(counting, name)).quantity == 30
    await revise.revise(counting, ledger.ORDER, name, wish)
    assert await levels(counting) == (1, 0, 0)


async def test_without_redis_nobody_can_say_that_there_is_no_event(counting: Context):
    await statuses(counting, event(1, 30))
    async with without_redis(counting) as away:
        with pytest.raises(errors.UnavailableError):
            await events.history(away, EventName("acme", "tests", "e1"))
    with pytest.raises(errors.NotFoundError):
        await events.history(counting, EventName("acme", "tests", "e2"))
