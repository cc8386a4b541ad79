"""What `lastKnown` is decided on while Redis is away: what was read, and what was used since, to the unit."""

from datetime import timedelta

import pytest

from service.context import Context
from service.usecases import check
from service.usecases.check import Check
from tests.conftest import NOW
from tests.servers import Valkey
from tests.store import giving, ledger
from tests.store.ledger import TOKENS
from tests.store.test_consume import use
from tests.store.test_keys_of_scripts import hold


async def remembered(context: Context, tenant_id: str, entity_id: str | None) -> None:
    """Holds what this process remembers against what Redis has."""
    standing = await check.standing_of(context, tenant_id, TOKENS, NOW)
    want = standing.want if entity_id is None else check.levels.want(standing.right, entity_id)
    (found,) = await context.counters.read([want])
    assert context.last_known.recall(want, NOW) == found.values


@pytest.mark.parametrize("entity_id", [None, "one"])
async def test_what_is_used_is_remembered_as_redis_counts_it(counting: Context, entity_id: str | None):
    await ledger.subscribed(counting, "big", "pro")
    await giving.give(
        counting, giving.grant(1, 50, starts=NOW, ends=NOW + timedelta(days=3)), tenant_id="big"
    )
    for number, quantity in enumerate((30, 40, 7_000, 92_000, 10**7)):
        await use(counting, number, quantity, tenant_id="big", entity_id=entity_id)
        await remembered(counting, "big", entity_id)


async def test_what_is_held_is_remembered_too(counting: Context):
    await use(counting, 1, 9_000)
    await hold(counting, 2, 500)
    await remembered(counting, "acme", None)


async def test_an_outage_gives_nobody_again_what_was_used_a_moment_before(own: Context, server: Valkey):
    """No check had come before: the use alone says how far the tenant is."""
    assert (await use(own, 1, 9_990)).consumed
    server.kill()
    asked = [Check(tenant_id="acme", feature_id=TOKENS, quantity=quantity) for quantity in (11, 10)]
    too_much, rest = await check.check(own, asked)
    assert (too_much.allowed, too_much.degraded) == (False, True)
    assert (rest.allowed, rest.degraded) == (True, True)
    assert (await use(own, 2, 8)).consumed  # by Postgres, which counts it later
    assert not (await use(own, 3, 3)).consumed
    assert (await use(own, 2, 8)).consumed
    assert (await use(own, 4, 2)).consumed
