"""What the engine cannot decide is a third outcome (R2): never a denial of Cedar's, never a permission of it.

The faults are real ones: what a publish would refuse is written into what a publish has kept.
"""

import pytest

from service.context import Context
from store import postgres
from tests.conftest import open_counters

ACME = "/v1/tenants/acme"
CHECK = "/v1/check"


@pytest.fixture
async def acme(api, context: Context, catalog):
    """A tenant on pro, on a server whose shards are open."""
    await open_counters(context)
    await api.put(ACME, json={"name": "Acme"})
    await api.post(f"{ACME}/subscription", json={"planId": "pro"})
    return api


async def spoil(context: Context, statement: str, *values: object) -> None:
    """Changes what is kept, and has this process read it as one does that starts now."""
    async with postgres.transaction(context.pool) as connection:
        await connection.execute("set local session_replication_role = replica")  # else it is refused
        await connection.execute(statement.encode(), values)
    context.catalogs.active = None
    context.catalogs._forget()
    await context.catalogs.refresh()


async def spoil_limit(context: Context, feature_id: str) -> None:
    """A limit that Cedar cannot count to."""
    await spoil(
        context,
        "update version_bodies "
        "set body = jsonb_set(body, array['terms', %s, 'included'], to_jsonb(2::numeric ^ 63)) "
        "where body -> 'terms' ? %s",
        feature_id,
        feature_id,
    )


async def spoil_guards(context: Context, condition: str) -> None:
    """Guards whose condition no check of ours would let through."""
    text = f'@id("region") @reason("x") forbid (principal, action, resource) when {{ {condition} }};'
    await spoil(
        context, "update catalogs set offer = jsonb_set(offer, '{guards,0,text}', to_jsonb(%s::text))", text
    )


async def ask(api, feature_id: str, quantity: int = 1) -> dict:
    response = await api.post(CHECK, json={"tenantId": "acme", "featureId": feature_id, "quantity": quantity})
    assert response.status_code == 200
    return response.json()


@pytest.mark.parametrize(
    ("feature_id", "stance", "allowed"), [("api-calls", "allow", True), ("ai-tokens", "lastKnown", False)]
)
async def test_a_policy_that_cannot_be_made_is_answered_by_what_the_feature_declares(
    acme, context, feature_id, stance, allowed
):
    assert (await ask(acme, feature_id))["outcome"] == "allowed"
    await spoil_limit(context, feature_id)
    decision = await ask(acme, feature_id)
    assert (decision["outcome"], decision["reason"]) == ("indeterminate", "fallback")
    assert (decision["allowed"], decision["degraded"]) == (allowed, True)
    assert decision["message"] == f"Could not be decided; answered by whenUnavailable: {stance}"
    other = await ask(acme, "max-projects")
    assert (other["outcome"], other["degraded"]) == ("allowed", False)


async def test_it_is_counted(acme, context):
    await spoil_limit(context, "api-calls")
    await ask(acme, "api-calls")
    metrics = (await acme.get("/metrics")).text
    counted = 'metergate_decisions_total{degraded="1",outcome="indeterminate",reason="fallback"} 1.0'
    assert counted in metrics.splitlines()


@pytest.mark.parametrize("quantity", [1, 10**9])
async def test_a_guard_that_errs_opens_nothing_whatever_the_feature_declares(acme, context, quantity):
    """Cedar skips a `forbid` that errs, and would say Allow; `api-calls` declares `allow`."""
    await spoil_guards(context, "9223372036854775807 + 1 > 0")
    decision = await ask(acme, "api-calls", quantity)
    assert (decision["outcome"], decision["allowed"], decision["degraded"]) == ("indeterminate", False, True)


async def test_a_guard_that_cannot_be_read_opens_nothing_either(acme, context):
    await spoil_guards(context, "this is no Cedar")
    decision = await ask(acme, "api-calls")
    assert (decision["outcome"], decision["allowed"]) == ("indeterminate", False)


async def test_a_guard_goes_on_refusing_where_the_permits_cannot_be_made(acme, context):
    """`api-calls` declares `allow`, and an outage of its permit is no way past a guard that matches."""
    await spoil_guards(context, 'context.facts.plan == "pro"')
    await spoil_limit(context, "api-calls")
    decision = await ask(acme, "api-calls")
    assert (decision["outcome"], decision["allowed"], decision["reason"]) == ("denied", False, "guard")


async def test_what_the_facts_alone_deny_stays_denied(acme, context):
    await acme.put(f"{ACME}/billing-status", json={"status": "suspended", "reason": "unpaid"})
    assert (await ask(acme, "api-calls"))["outcome"] == "denied"
