"""Plans over HTTP and on the command line: read by who operates, applied only when it is said."""

from datetime import timedelta

import pytest

from policies.payment.fact import PaymentFact
from service.usecases import payment_facts, reconcile
from store import postgres
from tests.api.answers import problem_of
from tests.conftest import NOW
from tests.store import ledger

PLANS = "/v1/reconcile/plans"


@pytest.fixture
async def plan_id(api, context, catalog):
    """A plan of one act: a billing status that is not what payments say."""
    await ledger.subscribed(context, "acme", "pro")
    paid = PaymentFact(kind="invoice", subject="inv_1", state="paid", seen_at=NOW, since=NOW)
    await payment_facts.note(context, ledger.ORDER, "acme", [paid])
    async with postgres.transaction(context.pool) as connection:
        await connection.execute(
            b"insert into billing_statuses (tenant_id, subscription_id, since, status, reason)"
            b" select tenant_id, subscription_id, '2026-11-22T10:00:00Z', 'suspended', 'by mistake'"
            b" from subscriptions"
        )
    await reconcile.make(context, "full", NOW)
    context.clock.at += timedelta(minutes=1)
    return (await reconcile.make(context, "full", context.clock.now())).plan_id


async def status(api):
    return (await api.get("/v1/tenants/acme/billing-status")).json()["status"]


async def test_a_plan_is_shown_tried_and_applied(api, plan_id):
    page = (await api.get(f"{PLANS}?limit=1")).json()
    assert [one["planId"] for one in page["items"]] == [plan_id]
    assert page["nextCursor"] is not None
    shown = (await api.get(f"{PLANS}/{plan_id}")).json()
    (proposal,) = shown["plan"]["proposals"]
    assert (proposal["finding"]["class"], proposal["act"]) == ("status_stale", "lay")
    assert (proposal["finding"]["expected"], proposal["finding"]["actual"]) == ("good", "suspended")
    assert proposal["whySafe"]
    tried = await api.post(f"{PLANS}/{plan_id}/apply", json={})
    assert (tried.json()["done"], await status(api)) == ([], "suspended")
    done = await api.post(f"{PLANS}/{plan_id}/apply", json={"dryRun": False})
    assert [one["state"] for one in done.json()["done"]] == ["done"]
    assert await status(api) == "good"
    again = await api.post(f"{PLANS}/{plan_id}/apply", json={"dryRun": False})
    assert again.json()["done"] == done.json()["done"]


async def test_who_may_not_and_what_is_not_there(api, plan_id, make_key):
    problem_of(await api.get(f"{PLANS}/pln_x"), 404)
    problem_of(await api.post(f"{PLANS}/pln_x/apply", json={"dryRun": False}), 404)
    problem_of(await api.post(f"{PLANS}/{plan_id}/apply", json={"dryRun": "no"}), 422, "/dryRun")
    for wanted in ({"scopes": ("read", "manage")}, {"scopes": ("operate",), "tenant_id": "acme"}):
        secret = await make_key(*wanted["scopes"], tenant_id=wanted.get("tenant_id"))
        headers = {"authorization": f"Bearer {secret}"}
        problem_of(await api.get(PLANS, headers=headers), 403)
        problem_of(await api.get(f"{PLANS}/{plan_id}", headers=headers), 403)
        body = {"dryRun": False}
        problem_of(await api.post(f"{PLANS}/{plan_id}/apply", json=body, headers=headers), 403)
    assert await status(api) == "suspended"


async def test_the_metrics_say_what_is_open_and_since_when(api, context, plan_id):
    async with postgres.transaction(context.pool) as connection:
        await connection.execute(
            b'update reconcile_findings set body = body || \'{"money": 4900, "currency": "usd"}\''
        )
    context.clock.at += timedelta(minutes=4)
    text = (await api.get("/metrics")).text
    assert 'metergate_reconcile_open{class="status_stale"} 1.0' in text
    assert 'metergate_reconcile_open{class="item_pending"} 0.0' in text
    assert 'metergate_reconcile_risk_minor{currency="usd"} 4900.0' in text
    assert "metergate_reconcile_oldest_seconds 300.0" in text
    assert 'metergate_reconcile_age_seconds{scope="full"} 240.0' in text
    await api.post(f"{PLANS}/{plan_id}/apply", json={"dryRun": False})
    await reconcile.make(context, "full", context.clock.now())
    text = (await api.get("/metrics")).text
    assert 'metergate_reconcile_open{class="status_stale"} 0.0' in text
    assert "metergate_reconcile_risk_minor{" not in text
    assert "metergate_reconcile_oldest_seconds 0.0" in text
