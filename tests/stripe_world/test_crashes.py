"""A worker that dies anywhere, with keys alive or expired: one invoice, its total, one payment, no strays."""

import asyncio
import os
import random
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.conftest import NOW
from tests.stripe_world import crashing
from tests.stripe_world.charging import books, issue, pushed, strays, subscribed

TRIALS = int(os.environ.get("METERGATE_CHARGING_TRIALS", "20"))
SEED = int(os.environ.get("METERGATE_CHARGING_SEED", "20261201"))
"""`scripts/charging_trials` makes as many as one likes."""


@pytest.mark.parametrize("keys_expire", [False, True], ids=["keys alive", "keys expired"])
async def test_whoever_dies_when_nothing_is_double_and_nothing_lacks(billing, account, keys_expire):
    """Half of the trials each; the first ones die once, at each place where a request is sent or unheard."""
    rng = random.Random(SEED + keys_expire)
    once = list(range(1, crashing.STEPS + 1)) if TRIALS > 20 else list(range(2, crashing.STEPS + 1, 3))
    for number in range(TRIALS // 2):
        crashes = [once[number]] if number < len(once) else crashing.random_crashes(rng)
        await crashing.trial(billing, account, f"t{number}", crashes, keys_expire=keys_expire)
        billing.clock.at = NOW
        await account.clock(NOW)
    assert await strays(account) == 0


async def test_a_worker_that_falls_asleep_and_wakes_too_late_does_no_harm(billing, account, caplog):
    """At each of these steps another one takes over and goes to the end; the sleeper is then stopped."""
    for step in range(1, crashing.STEPS + 1, 6):
        tenant_id = f"t{step}"
        await subscribed(billing, tenant_id)
        invoice_id = await issue(billing, tenant_id, crashing.LINES)

        async def sleep(tenant_id=tenant_id) -> None:
            await crashing._pass(billing, account, keys_expire=False)
            await pushed(billing)
            await crashing._with_a_card(billing, account, tenant_id)
            billing.clock.at += timedelta(days=3)
            await pushed(billing)

        caplog.clear()
        sleeper = crashing.Stepped(billing.payments, step, sleep)
        await pushed(replace(billing, payments=sleeper))
        assert f"another worker has taken over the charges of {tenant_id}" in caplog.text
        assert await books(billing.payments, tenant_id, invoice_id) == crashing.PAID, step
        billing.clock.at = NOW
    assert await strays(account) == 0


async def test_workers_side_by_side_do_not_get_in_each_others_way(billing, account):
    """Three of them, four tenants with two invoices each."""
    tenants = [f"t{number}" for number in range(4)]
    for tenant_id in tenants:
        await subscribed(billing, tenant_id)
    await pushed(billing)
    invoices = [(each, await issue(billing, each, crashing.LINES)) for each in tenants for _ in range(2)]
    await asyncio.gather(*(pushed(billing) for _ in range(3)))
    for tenant_id in tenants:
        await crashing._with_a_card(billing, account, tenant_id)
    billing.clock.at += timedelta(days=3)
    await asyncio.gather(*(pushed(billing) for _ in range(3)))
    for tenant_id, invoice_id in invoices:
        assert await books(billing.payments, tenant_id, invoice_id) == crashing.PAID
    assert await strays(account) == 0
