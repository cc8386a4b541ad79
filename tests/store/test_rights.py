"""What a process keeps to decide faster decides nothing: it answers as one that keeps nothing."""

import dataclasses
from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.context import Context
from service.rights import Rights
from service.usecases import check
from service.usecases.check import Check
from tests.conftest import NOW
from tests.store import ledger
from tests.store.ledger import event, statuses

NUMBERS = count()
UNIQUE = {"decision_id": "", "as_of": NOW}

checks = st.builds(
    Check,
    tenant_id=st.sampled_from(["acme", "big", "nobody"]),
    feature_id=st.sampled_from(["ai-tokens", "data-region", "premium-voice-model", "max-projects", "none"]),
    quantity=st.sampled_from([0, 1, 150, 9_000, 10_000, 10_001, 19_999, 20_001, 100_001]),
    entity_id=st.sampled_from([None, None, "u1", "u2"]),
    context=st.sampled_from([{}, {}, {"region": "eu"}, {"region": "us"}]),
    explain=st.sampled_from([False, False, False, True]),
)
acts = st.lists(st.one_of(checks, st.integers(1, 4_000)), min_size=3, max_size=12)


async def asked(context: Context, question: Check) -> object:
    """The decision without what makes each one unique, or the refusal."""
    try:
        (decision,) = await check.check(context, [question])
    except check.errors.InvalidError as refused:
        return refused.errors
    return msgspec.structs.replace(decision, **UNIQUE)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(steps=acts)
async def test_what_is_kept_never_shows(counting: Context, steps):
    """Checks and usage in any order, asked of a process that keeps rights and of one that never does."""
    if not (await counting.snapshots.get("big")).known:
        await ledger.subscribed(counting, "big", "pro")
    forgetful = dataclasses.replace(counting, rights=Rights(alive=0))
    for step in steps:
        if isinstance(step, int):
            await statuses(counting, event(next(NUMBERS), step, tenant_id="big", entity_id="u1"))
        else:
            assert await asked(counting, step) == await asked(forgetful, step)


async def test_a_decision_is_not_given_again_once_something_was_used(counting: Context):
    ask = Check(tenant_id="acme", feature_id="ai-tokens", quantity=150)
    first, again = [(await check.check(counting, [ask]))[0] for _ in range(2)]
    assert first.decision_id != again.decision_id
    assert msgspec.structs.replace(first, **UNIQUE) == msgspec.structs.replace(again, **UNIQUE)
    await statuses(counting, event(1, 9_900))
    (denied,) = await check.check(counting, [ask])
    assert (denied.allowed, denied.usage, denied.remaining) == (False, 9_900, 100)


EDGE = datetime(2026, 11, 15, 12, tzinfo=UTC)
"""Where a month of the tenants ends, a week before NOW."""


async def test_usage_of_another_time_goes_by_the_right_of_that_time(counting: Context):
    """A right that is kept is known to hold from its instant on: what is earlier may be of another period."""
    for number, seconds in enumerate([5, -5, 3_600, -3_600, 1, -1, 0]):
        told = event(number, 2**number, timestamp=EDGE + timedelta(seconds=seconds))
        assert await statuses(counting, told) == ["accepted"]
    mixed = [event(10 + n, 2 ** (10 + n), timestamp=EDGE + timedelta(seconds=3 - 2 * n)) for n in range(4)]
    assert await statuses(counting, *mixed) == ["accepted"] * 4
    before, after = 2**1 + 2**3 + 2**5, 2**0 + 2**2 + 2**4 + 2**6
    before, after = before + 2**12 + 2**13, after + 2**10 + 2**11
    for at, total in ((EDGE - timedelta(1), before), (NOW, after)):
        assert sum(await ledger.levels(counting, at=at)) == total
