"""The decision log over HTTP: what is kept of checks, who may see it, and that it decides the same again."""

import pytest

from policies import limits
from store import decisions as store
from store import postgres
from tests.conftest import NOW, open_counters

CHECK = {"tenantId": "acme", "featureId": "ai-tokens", "quantity": 150}
GUARD = """
@id("eu-only")
@reason("AI stays in the region that the tenant chose.")
forbid (principal, action, resource == Feature::"ai-tokens")
when { principal.hasTag("home") }
when { context.request has region && context.request.region != principal.getTag("home") };
"""


@pytest.fixture
async def acme(api, context, catalog):
    """On the free plan: 10,000 tokens a month and no overage."""
    await open_counters(context)
    await api.put("/v1/tenants/acme", json={"name": "Acme", "metadata": {"home": "eu", "note": "secret"}})
    await api.post("/v1/tenants/acme/subscription", json={"planId": "free"})
    return api


async def ask(api, **said) -> dict:
    answer = await api.post("/v1/check", json=CHECK | said)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def listed(api, context, query="") -> list[dict]:
    await context.decisions.flush()
    answer = await api.get(f"/v1/decisions?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def test_every_denial_is_kept_and_allows_are_sampled(acme, context):
    """One allow in a hundred, standing for a hundred; and each denial for itself."""
    for _ in range(205):
        await ask(acme)
    denied = [(await ask(acme, quantity=20_000))["decisionId"] for _ in range(3)]
    found = await listed(acme, context)
    kept = {(one["outcome"], one["weight"]) for one in found}
    assert kept == {("allowed", 100), ("denied", 1)}
    assert [one["decisionId"] for one in found if not one["allowed"]] == denied[::-1]
    assert sum(one["allowed"] for one in found) == 2


async def test_what_a_list_of_entitlements_looks_at_is_not_kept(acme, context):
    answer = await acme.get("/v1/tenants/acme/entitlements")
    assert any(not one["allowed"] for one in answer.json()["entitlements"])
    assert await listed(acme, context) == []


async def test_a_decision_is_shown_with_what_it_stood_on(acme, context):
    usage = {"tenantId": "acme", "serviceId": "s", "featureId": "ai-tokens", "quantity": 9_900}
    await acme.post("/v1/usage", json=usage)
    decision_id = (await ask(acme))["decisionId"]
    await context.decisions.flush()
    shown = (await acme.get(f"/v1/decisions/{decision_id}")).json()
    assert (shown["reason"], shown["policyId"]) == ("limit_reached", "plan/free/ai-tokens/included")
    assert (shown["requested"], shown["levels"]["included"]) == (150, 9_900)
    assert shown["planId"] == "free"
    assert shown["facts"]["snapshot"]["subscriptions"][0]["phases"][0]["planId"] == "free"
    assert "secret" not in str(shown), "metadata that no guard reads is nobody's business"


async def test_the_list_is_filtered_and_paged(acme, context, clock):
    await ask(acme, quantity=20_000)
    await ask(acme, featureId="premium-voice-model")
    clock.at = NOW.replace(hour=11)
    await ask(acme, quantity=20_000)
    assert len(await listed(acme, context)) == 3
    assert len(await listed(acme, context, "featureId=ai-tokens")) == 2
    assert len(await listed(acme, context, "reason=feature_not_in_plan")) == 1
    assert len(await listed(acme, context, "outcome=allowed")) == 0
    assert len(await listed(acme, context, "from=2026-11-22T11:00:00Z")) == 1
    assert len(await listed(acme, context, "to=2026-11-22T11:00:00Z&tenantId=acme")) == 2
    assert len(await listed(acme, context, "tenantId=other")) == 0
    first = (await acme.get("/v1/decisions?limit=2")).json()
    second = (await acme.get(f"/v1/decisions?limit=2&cursor={first['nextCursor']}")).json()
    assert [len(first["items"]), len(second["items"]), second["nextCursor"]] == [2, 1, None]
    assert (await acme.get("/v1/decisions?cursor=nothing")).status_code == 422
    assert (await acme.get("/v1/decisions?reason=because")).status_code == 422


async def test_a_key_of_one_tenant_sees_its_own_decisions_alone(acme, context, make_key):
    decision_id = (await ask(acme, quantity=20_000))["decisionId"]
    await acme.put("/v1/tenants/other", json={"name": "Other"})
    other = {"authorization": f"Bearer {await make_key(tenant_id='other')}"}
    own = {"authorization": f"Bearer {await make_key(tenant_id='acme')}"}
    await context.decisions.flush()
    assert (await acme.get("/v1/decisions", headers=other)).json()["items"] == []
    assert (await acme.get("/v1/decisions?tenantId=acme", headers=other)).status_code == 403
    for act in (acme.get(f"/v1/decisions/{decision_id}", headers=other),
                acme.post(f"/v1/decisions/{decision_id}/rerun", headers=other)):  # fmt: skip
        assert (await act).status_code == 404
    assert len((await acme.get("/v1/decisions", headers=own)).json()["items"]) == 1
    weak = {"authorization": f"Bearer {await make_key('check', 'read')}"}
    assert (await acme.get("/v1/decisions", headers=weak)).status_code == 403


async def test_a_decision_comes_out_the_same_whatever_has_changed_since(
    acme, context, clock, publish, example_files
):
    """The plan, the usage, the catalog and the tenant's metadata are other ones by then."""
    features = example_files["features.yaml"]
    guarded = {**example_files, "guards/eu.cedar": GUARD}
    assert "context: [region]" in features or "region" in features
    await publish(guarded)
    asked = (
        {"quantity": 20_000},
        {"featureId": "premium-voice-model"},
        {"context": {"region": "us"}},
        {"tenantId": "nobody"},
        {"featureId": "nothing"},
    )
    refused = [await ask(acme, **said) for said in asked]
    sources = {one["decisionId"]: one["reasons"] for one in refused}
    clock.at = NOW.replace(day=25)
    moved = {
        path: f"# another line\n{text}" if path.endswith(".yaml") else text
        for path, text in example_files.items()
    }
    told = await acme.post("/v1/catalogs/publish", json={"files": moved, "message": "moved"})
    assert told.is_success, told.text
    await acme.put("/v1/tenants/acme", json={"name": "Acme", "metadata": {"home": "us"}})
    await acme.post("/v1/tenants/acme/subscription/change", json={"planId": "pro", "when": "now"})
    await context.decisions.flush()
    for decision_id, reasons in sources.items():
        again = (await acme.post(f"/v1/decisions/{decision_id}/rerun")).json()
        assert again["differences"] == []
        assert again["same"] is True
        assert again["decision"]["decisionId"] == decision_id
        assert again["decision"]["reasons"] == reasons
    assert refused[2]["reason"] == "guard"


async def test_a_decision_without_counters_comes_out_the_same(acme, context):
    """With Redis away it is answered by what was read last, and says so when it is run again."""
    await ask(acme)
    await context.counters.link.send([("FLUSHALL",)])
    decision = await ask(acme)
    assert (decision["outcome"], decision["degraded"]) == ("indeterminate", True)
    await context.decisions.flush()
    again = (await acme.post(f"/v1/decisions/{decision['decisionId']}/rerun")).json()
    assert (again["same"], again["differences"]) == (True, [])


async def rewritten(context, decision_id, change) -> None:
    """What is kept of a decision, as it would look if another program or another catalog had made it."""
    async with postgres.transaction(context.pool) as connection:
        body = await store.get(connection, decision_id, tenant_id=None)
        await connection.execute(
            b"update decisions set body = %s where decision_id = %s", (change(body), decision_id)
        )


async def test_what_differs_is_named(acme, context):
    decision_id = (await ask(acme, quantity=20_000))["decisionId"]
    await context.decisions.flush()
    await rewritten(context, decision_id, lambda body: body.replace("metergate 0", "metergate 9"))
    told = (await acme.post(f"/v1/decisions/{decision_id}/rerun")).json()
    assert (told["same"], [each["what"] for each in told["differences"]]) == (True, ["release"])
    await rewritten(context, decision_id, lambda body: body.replace('"allowed":false', '"allowed":true'))
    told = (await acme.post(f"/v1/decisions/{decision_id}/rerun")).json()
    assert (told["same"], [each["what"] for each in told["differences"]]) == (False, ["release", "answer"])
    assert told["differences"][1]["message"] == "allowed was true and is false."


async def test_what_cannot_be_decided_again_says_why(acme, context, catalog):
    decision_id = (await ask(acme, quantity=20_000))["decisionId"]
    await context.decisions.flush()
    version = catalog.plans["free"].version
    await rewritten(context, decision_id, lambda body: body.replace(version, "free@00000000"))
    told = (await acme.post(f"/v1/decisions/{decision_id}/rerun")).json()
    assert (told["same"], told["decision"]) == (False, None)
    assert told["differences"][0]["message"].endswith("free@00000000 is not kept any more.")
    await rewritten(context, decision_id, lambda body: body.replace(catalog.hash, "sha256:0"))
    told = (await acme.post(f"/v1/decisions/{decision_id}/rerun")).json()
    assert told["differences"][0]["what"] == "catalog"
    assert (await acme.post("/v1/decisions/dec_nothing/rerun")).status_code == 404


async def test_what_the_log_has_no_room_for_is_counted(acme, context, monkeypatch):
    monkeypatch.setattr(limits, "DECISION_LOG_ENTRIES", 2)
    for _ in range(5):
        await ask(acme, quantity=20_000)
    assert "metergate_decision_log_dropped_total 3.0" in (await acme.get("/metrics")).text
    assert len(await listed(acme, context)) == 2


async def test_rows_that_wait_are_bounded_by_their_bytes(acme, context, monkeypatch):
    monkeypatch.setattr(limits, "DECISION_LOG_BYTES", 5_000)
    for _ in range(20):
        await ask(acme, quantity=20_000)
    found = await listed(acme, context)
    assert 1 <= len(found) < 10
    assert context.decisions.take_dropped() == 20 - len(found)
