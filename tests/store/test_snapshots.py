"""What one process changes, every other sees: at once where the word arrives, soon where it was lost."""

import msgspec

from service import wiring
from service.context import Context
from service.usecases import check, subscribe
from service.usecases.check import Check
from store import postgres
from store.snapshots import Snapshots
from tests.conftest import PATIENT
from tests.store import ledger

VOICE = Check(tenant_id="acme", feature_id="premium-voice-model")


async def test_another_process_decides_by_the_new_plan_in_its_next_check(counting: Context, config, clock):
    async with wiring.open_context(config, clock, PATIENT) as other:
        (before,) = await check.check(other, [VOICE])
        assert (before.allowed, before.plan_id) == (False, "free")
        await subscribe.change(counting, ledger.ORDER, "acme", subscribe.Move(plan_id="pro", when="now"))
        (after,) = await check.check(other, [VOICE])
        assert (after.allowed, after.plan_id) == (True, "pro")


async def test_a_word_that_was_lost_is_said_again(counting: Context, config, clock):
    """The change is committed by a process that cannot reach Redis; the job that says it again is heard."""
    deaf_config = msgspec.structs.replace(config, redis_url="unix:///nowhere/valkey.sock")
    async with (
        wiring.open_context(config, clock, PATIENT) as other,
        wiring.open_context(deaf_config, clock) as deaf,
    ):
        await check.check(other, [VOICE])
        await subscribe.change(deaf, ledger.ORDER, "acme", subscribe.Move(plan_id="pro", when="now"))
        (old,) = await check.check(other, [VOICE])
        assert old.plan_id == "free"
        assert await counting.snapshots.say_again() >= 1
        (new,) = await check.check(other, [VOICE])
        assert new.plan_id == "pro"
        assert await counting.snapshots.say_again() == 0


async def test_a_tenant_that_was_unknown_is_known_once_it_is_made(counting: Context, config, clock):
    async with wiring.open_context(config, clock, PATIENT) as other:
        ask = Check(tenant_id="newcomer", feature_id="data-region")
        (before,) = await check.check(other, [ask])
        assert before.reason == "unknown_tenant"
        await ledger.subscribed(counting, "newcomer", "free")
        (after,) = await check.check(other, [ask])
        assert (after.allowed, after.value) == (True, "us")


async def test_no_more_snapshots_are_kept_than_there_is_room_for(counting: Context):
    few = Snapshots(counting.pool, counting.counters.link, now=counting.clock.now, alive=2)
    found = await few.need(["acme", "x", "y"])
    assert set(found) == {"acme", "x", "y"}  # all are given, whatever is kept
    assert [few.cached(tenant_id) is not None for tenant_id in found].count(True) == 2
    assert (await few.get("acme")).known
    await few.close()


async def test_a_snapshot_carries_the_latest_phases_and_no_more(counting: Context):
    async with postgres.transaction(counting.pool) as connection:
        await connection.execute(
            b"insert into subscription_phases select tenant_id, subscription_id, "
            b"start_at - n * interval '1 day', start_at - (n - 1) * interval '1 day', plan_id, plan_version "
            b"from subscription_phases, generate_series(1, 100) n"
        )
    snapshot = await counting.snapshots.load("acme")
    (held,) = snapshot.subscriptions
    assert len(held.phases) == 32
    assert held.phases[-1].end is None
    assert list(held.phases) == sorted(held.phases, key=lambda phase: phase.start)
