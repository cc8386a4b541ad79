"""Does one id count once for 60 days, whatever months, times, days and servers lie between?"""

from datetime import UTC, datetime, timedelta

import pytest

from jobs import flush, housekeep
from policies import errors, limits
from service.clock import FixedClock
from service.context import Context
from store import partitions, postgres
from tests.store import ledger
from tests.store.ledger import event, levels, statuses, stored, worker
from tests.store.test_consume import use
from tests.store.test_record import _forget_marks
from tests.store.test_revise import amend

NIGHT = datetime(2026, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
"""From here to the first of March are 59 days and a blink: a month's edge less than three months need."""
DAY = timedelta(days=1)


async def flushed(context: Context) -> None:
    """The worker's job, at the clock's instant; what it found to be duplicates is taken back."""
    await flush.run(worker(context), context.clock.now())


async def lose_redis(context: Context) -> None:
    await context.counters.link.send([("FLUSHALL",)])
    await flushed(context)


@pytest.mark.parametrize("lost", [False, True], ids=["", "Redis was lost"])
async def test_an_id_counts_once_for_sixty_days_over_every_months_edge(counting: Context, clock, lost):
    clock.at = NIGHT
    assert await statuses(counting, event(1, 10)) == ["accepted"]
    await flushed(counting)
    if lost:
        await lose_redis(counting)
    for days in (0, 3, 31, 45, 58, 59, 60):
        for late in (timedelta(milliseconds=2), DAY - timedelta(milliseconds=2)):
            clock.at = NIGHT + days * DAY + (late if days < limits.DEDUPE_DAYS else timedelta())
            await statuses(counting, event(1, 10))
            await flushed(counting)
            await _forget_marks(counting)  # the one that this has left would hide it the next time
            assert await stored(counting) == (1, 10), clock.at
            wanted = 10 if ledger.month(clock.at) == ledger.month(NIGHT) else 0
            assert await levels(counting, at=clock.at) == (wanted, 0, 0)


async def test_within_two_days_of_its_arrival_an_id_is_known_at_once(counting: Context, clock):
    """A mark stands by its day of arrival: whatever the hour, and however often it comes again."""
    for number, hour in enumerate((0, 11, 23)):
        clock.at = arrived = datetime(2026, 11, 24, hour, 59, 59, tzinfo=UTC)
        assert await statuses(counting, event(number)) == ["accepted"]
        for hours in (1, 24, limits.MARK_HOURS - 1, limits.MARK_HOURS):
            clock.at = arrived + timedelta(hours=hours)
            assert await statuses(counting, event(number)) == ["duplicate"], (hour, hours)


async def test_another_time_makes_no_other_event_of_an_id(counting: Context, clock):
    """With its mark it is refused at once; without it the flush drops it, and shows it among the rejected."""
    clock.at = datetime(2026, 11, 1, 0, 0, 1, tzinfo=UTC)
    first = event(1, 10, timestamp=clock.at)
    moved = [event(1, 10, timestamp=clock.at - delay) for delay in (timedelta(seconds=2), 3 * DAY)]
    assert await statuses(counting, first) == ["accepted"]
    await flushed(counting)
    assert await statuses(counting, *moved) == ["rejected", "rejected"]
    await lose_redis(counting)
    assert await statuses(counting, *moved) == ["accepted", "rejected"]
    await flushed(counting)
    assert await stored(counting) == (1, 10)
    assert set(await _rejected(counting)) == {"idempotency-mismatch"}


async def test_a_key_that_is_used_again_after_its_marks_is_counted_only_until_the_flush(
    counting: Context, clock
):
    """For two days it is refused at once; later once, and then the flush takes it back and shows it (R27)."""
    assert (await use(counting, 1, 7)).consumed
    await flushed(counting)
    began = clock.at
    clock.at = began + timedelta(hours=limits.IDEMPOTENCY_HOURS - 1)
    assert (await use(counting, 1, 7)).consumed  # the answer of then
    for hours in (limits.IDEMPOTENCY_HOURS + 1, limits.MARK_HOURS):
        clock.at = began + timedelta(hours=hours)
        with pytest.raises(errors.KeyExpiredError):
            await use(counting, 1, 7)
    clock.at = began + 5 * DAY
    assert (await use(counting, 1, 7)).consumed
    assert await levels(counting, at=clock.at) == (14, 0, 0)
    await flushed(counting)
    assert await levels(counting, at=clock.at) == (7, 0, 0)
    assert await _rejected(counting) == ["idempotency-key-expired"]
    with pytest.raises(errors.KeyExpiredError):
        await use(counting, 1, 7)


async def test_a_use_whose_answer_was_lost_with_redis_counts_once_and_is_no_misuse(counting: Context, clock):
    assert (await use(counting, 1, 7)).consumed
    await flushed(counting)
    await lose_redis(counting)
    assert (await use(counting, 1, 7)).consumed
    await flushed(counting)
    assert (await levels(counting), await _rejected(counting)) == ((7, 0, 0), [])


async def _rejected(context: Context) -> list[str]:
    async with postgres.transaction(context.pool) as connection:
        return await postgres.scalars(connection, b"select slug from usage_rejected", {})


async def test_months_of_ids_are_dropped_once_nobody_asks_for_them(counting: Context, clock: FixedClock):
    await statuses(counting, event(1, 10))
    await flushed(counting)
    began = clock.at
    for days, known in ((limits.DEDUPE_DAYS, "2026_11"), (limits.DEDUPE_DAYS + 31, "2027_01")):
        clock.at = began + days * DAY
        await statuses(counting, event(days, 1))
        await flushed(counting)
        await housekeep.run(worker(counting), clock.at)
        assert await _oldest(counting) == f"usage_keys_{known}"
    assert await stored(counting) == (3, 12)  # events and their sums stay
    with pytest.raises(errors.ConflictError, match="ids are kept for 60 days"):
        await amend(counting, 1, 5)
    with pytest.raises(errors.NotFoundError):
        await amend(counting, 2, 5)
    assert (await amend(counting, limits.DEDUPE_DAYS + 31, 5))["quantity"] == 5


async def _oldest(context: Context) -> str:
    async with postgres.transaction(context.pool) as connection:
        return min(await postgres.scalars(connection, partitions.sql.existing, {"tables": ["usage_keys"]}))
