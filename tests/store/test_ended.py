"""Who has no subscription any more buys nothing: what is reported past what was included is excess."""

from datetime import timedelta

from service.usecases import check, subscribe
from service.usecases.check import Check
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


async def test_who_is_on_the_fallback_plan_is_told_of_no_add_on_since_nothing_holds_one(
    counting, publish, example_files
):
    pack = example_files["addons/token-pack.yaml"]
    assert "for: [starter, pro]" in pack
    sold = pack.replace("for: [starter, pro]", "for: [free, starter, pro]")
    await publish({**example_files, "addons/token-pack.yaml": sold})
    ask = Check(tenant_id="acme", feature_id="ai-tokens", quantity=10_001, explain=True)

    async def proposed() -> set[str]:
        (decision,) = await check.check(counting, [ask])
        assert (decision.allowed, decision.plan_id) == (False, "free")
        return {change.kind for change in decision.would_allow.changes}

    running = await proposed()
    assert {"addon", "plan", "grant"} <= running
    await subscribe.cancel(counting, ledger.ORDER, "acme", when="now")
    assert await proposed() == running - {"addon"}
