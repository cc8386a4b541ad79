"""A worker that dies anywhere, with keys alive or expired: one invoice, its total, one payment, no strays."""

import os
import random

import pytest

from tests.conftest import NOW
from tests.stripe_world import crashing
from tests.stripe_world.charging import strays

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
