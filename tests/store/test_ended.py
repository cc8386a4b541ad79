"""Who has no subscription any more buys nothing: what is reported past what was included is excess."""

from datetime import timedelta

from service.usecases import subscribe
from tests.conftest import NOW
from tests.store import ledger
from tests.store.ledger import event, levels, statuses


async def test_usage_after_the_end_is_no_overage_and_late_usage_from_before_it_is(
    counting, clock, publish, example_files
):
    features = example_files["features.yaml"]
    without = "".join(line for line in features.splitlines(keepends=True) if "fallbackPlan" not in line)
    await publish({**example_files, "features.yaml": without})
    await ledger.subscribed(counting, "big", "pro")
    await subscribe.cancel(counting, ledger.ORDER, "big", when="now")
    clock.at = NOW + timedelta(hours=2)
    late = event(1, 1_000_100, tenant_id="big", entity_id="u1", timestamp=NOW - timedelta(hours=1))
    after = event(2, 70, tenant_id="big", entity_id="u1")
    assert await statuses(counting, late, after) == ["accepted", "accepted"]
    assert await levels(counting, "big") == (1_000_000, 100, 70)
