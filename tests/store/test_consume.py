"""Consuming is exact: never a unit past a ceiling, never a refusal of what fits, each key counted once."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from policies import errors
from service.context import Context
from service.usecases import consume, subscribe, tenants
from service.usecases.consume import Consumed
from service.usecases.fitting import Wanted
from store import flush, keyspace, postgres
from store.reading import Want
from tests.conftest import NOW
from tests.store import giving, ledger
from tests.store.ledger import TOKENS

CLIENTS = 64
FREE = 10_000


async def use(instance: Context, number: int, quantity: int = 10, **fields) -> Consumed:
    wanted = {
        "event_id": f"u{number}",
        "tenant_id": "acme",
        "service_id": "tests",
        "feature_id": TOKENS,
        "quantity": quantity,
    }
    return await consume.consume(instance, Wanted(**wanted | fields))


async def flushed(context: Context) -> None:
    await flush.flush_once(context.pool, context.counters.link, now=NOW)


async def test_many_at_once_share_the_last_units_exactly(counting: Context):
    await ledger.statuses(counting, ledger.event(0, FREE - 100))
    given = await asyncio.gather(*(use(counting, n, 7) for n in range(CLIENTS)))
    assert sum(one.consumed for one in given) == 14  # 98 of 100; 2 are left, which no 7 fits into
    assert [one.decision.allowed for one in given] == [one.consumed for one in given]
    assert {one.decision.reason for one in given if not one.consumed} == {"limit_reached"}
    assert await ledger.levels(counting) == (FREE - 2, 0, 0)
    assert (await use(counting, 99, 2)).consumed
    assert not (await use(counting, 100, 1)).consumed


async def test_one_key_is_counted_once_however_often_and_at_once_it_comes(counting: Context):
    given = await asyncio.gather(*(use(counting, 1, 50) for _ in range(CLIENTS)))
    assert {one.consumed for one in given} == {True}
    assert len({one.decision.decision_id for one in given}) == 1
    assert await ledger.levels(counting) == (50, 0, 0)


async def test_a_replay_is_answered_as_the_first_was_whatever_came_since(counting: Context):
    first = await use(counting, 1, 50, timestamp=NOW - timedelta(minutes=2))
    await use(counting, 2, 60)
    late = giving.grant(1, 500, starts=NOW - timedelta(hours=1))
    await giving.give(counting, msgspec.structs.replace(late, created_at=NOW + timedelta(seconds=1)))
    assert await use(counting, 1, 50, timestamp=NOW - timedelta(minutes=2)) == first


async def test_a_key_with_another_body_is_refused_and_so_is_the_id_of_an_event(counting: Context):
    await use(counting, 1, 50)
    with pytest.raises(errors.IdempotencyMismatchError):
        await use(counting, 1, 51)
    await ledger.statuses(counting, ledger.event(2, 5))
    with pytest.raises(errors.IdempotencyMismatchError):
        await use(counting, 0, 5, event_id="e2")
    assert await ledger.levels(counting) == (55, 0, 0)


async def test_a_denial_is_not_remembered(counting: Context):
    await ledger.statuses(counting, ledger.event(0, FREE))
    assert not (await use(counting, 1, 5)).consumed
    await giving.give(counting, giving.grant(1, 5, starts=NOW))
    assert (await use(counting, 1, 5)).consumed


async def test_against_a_stale_snapshot_the_new_right_decides(counting: Context):
    """The version in Redis is ahead of what this process knows: the script refuses (R7)."""
    await ledger.statuses(counting, ledger.event(0, FREE))
    held = counting.snapshots.cached("acme")
    await giving.give(counting, giving.grant(1, 5, starts=NOW))
    counting.snapshots._keep((held,))
    assert (await use(counting, 1, 5)).consumed
    assert not (await use(counting, 2, 1)).consumed


async def test_what_nothing_was_given_for_at_its_instant_is_denied(counting: Context):
    """A moment later there is a right; the use was before."""
    await tenants.put(counting, ledger.ORDER, "new", tenants.Wish(name="new"))
    await subscribe.start(counting, ledger.ORDER, "new", subscribe.Wish(plan_id="free"))
    given = await use(counting, 1, tenant_id="new", timestamp=NOW - timedelta(minutes=2))
    assert (given.consumed, given.decision.reason) == (False, "no_subscription")
    assert (await use(counting, 2, tenant_id="new")).consumed


async def test_a_right_that_shrank_grants_what_was_used_of_it(counting: Context):
    """More is used than is included now: what is granted depends on the counters."""
    await ledger.subscribed(counting, "shrunk", "pro")
    await ledger.statuses(counting, ledger.event(0, 900, tenant_id="shrunk"))
    key = keyspace.counters(keyspace.shard_of("shrunk"), "shrunk", ledger.month())
    await counting.counters.send_all([("HSET", key, f"{TOKENS}:i", 1_500_000)])
    given = await use(counting, 1, 10, tenant_id="shrunk")
    assert given.consumed
    assert (given.decision.granted, given.decision.reason) == (1_500_000, "in_overage")


async def test_caps_hold_at_once_for_all_and_for_each_entity(counting: Context):
    await ledger.subscribed(counting, "capped", "pro")
    by_entity = (use(counting, n, 1_000, tenant_id="capped", entity_id="one") for n in range(CLIENTS))
    given = await asyncio.gather(*by_entity)
    assert sum(one.consumed for one in given) == 20
    assert {one.decision.reason for one in given if not one.consumed} == {"cap_reached"}
    others = (use(counting, n, 1_000, tenant_id="capped", entity_id=f"e{n}") for n in range(100, 200))
    assert sum(one.consumed for one in await asyncio.gather(*others)) == 80
    assert not (await use(counting, 300, 20_001, tenant_id="capped")).consumed


async def test_what_was_consumed_reaches_postgres_once_and_with_what_it_was_decided_on(counting: Context):
    given = await use(counting, 1, 50)
    await flushed(counting)
    await flushed(counting)
    assert await ledger.stored(counting) == (1, 50)
    async with postgres.transaction(counting.pool) as connection:
        found = await postgres.scalars(connection, b"select decided ->> 'decisionId' from usage_events", {})
    assert found == [given.decision.decision_id]
    (found,) = await counting.counters.read([Want("acme", ((ledger.month(), f"{TOKENS}:i"),))])
    assert found.values == (50,)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        pytest.param({"quantity": 0}, "/quantity", id="nothing"),
        pytest.param({"quantity": 10**15 + 1}, "/quantity", id="beyond the bound"),
        pytest.param({"quantity": "1.5"}, "/quantity", id="decimals that the feature has not"),
        pytest.param({"feature_id": "premium-voice-model"}, "/featureId", id="boolean"),
        pytest.param({"feature_id": "max-projects"}, "/featureId", id="static"),
        pytest.param({"feature_id": "api-calls", "quantity": 2}, "/quantity", id="two of what counts calls"),
        pytest.param({"timestamp": NOW - timedelta(minutes=6)}, "/timestamp", id="long ago"),
        pytest.param({"timestamp": NOW + timedelta(minutes=6)}, "/timestamp", id="ahead"),
        pytest.param({"properties": {"who": "me"}}, "/properties/who", id="property"),
        pytest.param({"context": {"who": "me"}}, "/context/who", id="context"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(counting: Context, fields, pointer):
    with pytest.raises(errors.InvalidError) as refused:
        await use(counting, 1, **({"quantity": 1} | fields))
    assert refused.value.errors[0].pointer == pointer
    assert await ledger.levels(counting) == (0, 0, 0)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tenant_id": "nobody"}, "unknown_tenant"),
        ({"feature_id": "nothing"}, "unknown_feature"),
    ],
)
async def test_who_has_no_right_is_denied(counting: Context, fields, reason):
    given = await use(counting, 1, **fields)
    assert (given.consumed, given.decision.reason) == (False, reason)


async def test_a_tenant_that_this_process_took_for_unknown_is_looked_up_again(counting: Context):
    assert not (await use(counting, 1, tenant_id="newcomer")).consumed
    await ledger.subscribed(counting, "newcomer", "free")
    assert (await use(counting, 1, tenant_id="newcomer")).consumed
