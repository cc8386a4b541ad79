"""The main job over HTTP: ask, report, ask again, read the report; on real servers."""

from datetime import timedelta

import pytest

from jobs import flush
from jobs.context import JobContext
from tests.conftest import NOW, open_counters

TENANT = "/v1/tenants/acme"


@pytest.fixture
async def acme(api, context, catalog):
    """A tenant on free since the first of the month, on a server whose shards are open."""
    await open_counters(context)
    await subscribe(api, "acme", "free")
    return api


async def subscribe(api, tenant_id: str, plan_id: str):
    assert (await api.put(f"/v1/tenants/{tenant_id}", json={"name": tenant_id})).status_code == 201
    body = {"planId": plan_id, "startAt": "2026-11-01T00:00:00Z"}
    response = await api.post(f"/v1/tenants/{tenant_id}/subscription", json=body)
    assert response.status_code == 201, response.text


def worker(context) -> JobContext:
    """What jobs are given."""
    return JobContext(
        config=context.config,
        clock=context.clock,
        pool=context.pool,
        link=context.counters.link,
        counters=context.counters,
        snapshots=context.snapshots,
        uses=context,
    )


async def run_flush(context):
    return await flush.run(worker(context), context.clock.now())


async def ask(api, feature_id="ai-tokens", tenant_id="acme", **fields):
    response = await api.post("/v1/check", json={"tenantId": tenant_id, "featureId": feature_id, **fields})
    assert response.status_code == 200, response.text
    return response.json()


async def tell(api, quantity, tenant_id="acme", **fields):
    body = {"tenantId": tenant_id, "serviceId": "tests", "featureId": "ai-tokens", "quantity": quantity}
    response = await api.post("/v1/usage", json=body | fields)
    assert response.status_code == 202, response.text
    return response.json()


async def test_usage_that_is_reported_shows_in_the_next_decision_and_the_limit_refuses(acme):
    before = await ask(acme)
    assert (before["allowed"], before["reason"], before["remaining"]) == (True, "within_limit", 10_000)
    await tell(acme, 9_999)
    last = await ask(acme)
    assert (last["allowed"], last["remaining"], last["usage"]) == (True, 1, 9_999)
    too_many = await ask(acme, quantity=2)
    assert (too_many["allowed"], too_many["outcome"], too_many["reason"]) == (
        False,
        "denied",
        "limit_reached",
    )
    assert too_many["reasons"][0]["policyId"] == "plan/free/ai-tokens/included"
    assert too_many["reasons"][0]["source"].startswith("plans/free.yaml:")


async def test_a_thousand_checks_consume_nothing(acme):
    await tell(acme, 5)
    before = await ask(acme)
    for _ in range(10):
        checks = [{"tenantId": "acme", "featureId": "ai-tokens", "quantity": 7}] * 100
        assert (await acme.post("/v1/check/batch", json={"checks": checks})).status_code == 200
    after = await ask(acme)
    assert {k: v for k, v in before.items() if k != "decisionId"} == {
        k: v for k, v in after.items() if k != "decisionId"
    }


async def test_a_report_shows_what_was_flushed_by_the_hour(acme, context):
    answer = await tell(acme, 30, timestamp=(NOW - timedelta(hours=2)).isoformat())
    await tell(acme, 12)
    await run_flush(context)
    url = "/v1/reports/usage?tenantId=acme&featureId=ai-tokens&step=hour"
    report = (await acme.get(f"{url}&from=2026-11-22T07:00:00Z&to=2026-11-22T11:00:00Z")).json()
    assert report["series"] == [
        {
            "key": "ai-tokens",
            "points": [
                ["2026-11-22T07:00:00Z", 0],
                ["2026-11-22T08:00:00Z", 30],
                ["2026-11-22T09:00:00Z", 0],
                ["2026-11-22T10:00:00Z", 12],
            ],
        }
    ]
    assert (report["total"], report["events"]) == (42, 2)
    assert report["flushedThrough"] >= answer["acceptedAt"]
    table = await acme.get(url, headers={"accept": "text/csv"})
    assert table.text.splitlines()[0] == "key,at,quantity"
    assert "ai-tokens,2026-11-22T10:00:00Z,12" in table.text
    chart = await acme.get(url, headers={"accept": "text/plain"})
    assert "2026-11-22 08:00  ██████" in chart.text
    assert "total 42 in 2 events" in chart.text


async def test_a_batch_is_answered_event_by_event(acme):
    good = {"id": "1", "tenantId": "acme", "serviceId": "s", "featureId": "ai-tokens", "quantity": 1}
    events = [
        good,
        good,
        good | {"quantity": 2},
        good | {"id": "2", "tenantId": "nobody"},
        good | {"id": "3", "featureId": "premium-voice-model"},
        good | {"id": "4", "timestamp": "2026-01-01T00:00:00Z"},
        good | {"id": "5", "colour": "red"},
        {k: v for k, v in good.items() if k != "id"},
    ]
    response = await acme.post("/v1/usage", json={"events": events})
    assert response.status_code == 202
    answer = response.json()
    counts = {key: answer[key] for key in ("accepted", "duplicates", "rejected", "retry")}
    assert counts == {"accepted": 2, "duplicates": 1, "rejected": 5, "retry": 0}
    told = {result["index"]: (result["status"], result["type"]) for result in answer["results"]}
    assert told == {
        1: ("duplicate", None),
        2: ("rejected", "idempotency-mismatch"),
        3: ("rejected", "invalid"),
        4: ("rejected", "invalid"),
        5: ("rejected", "invalid"),
        6: ("rejected", "invalid"),
        7: ("accepted", None),
    }
    assert response.headers["metergate-durability"] == "standard"
    assert (await ask(acme))["usage"] == 2


async def test_lines_of_json_are_answered_line_by_line(acme):
    line = '{"id": "%d", "tenantId": "acme", "serviceId": "s", "featureId": "ai-tokens", "quantity": 3}'
    body = "\n".join([line % 1, "{broken", "", line % 2])
    headers = {"content-type": "application/x-ndjson"}
    response = await acme.post("/v1/usage", content=body, headers=headers)
    assert response.status_code == 202, response.text
    answer = response.json()
    assert (answer["accepted"], answer["rejected"]) == (2, 1)
    assert [(result["index"], result["type"]) for result in answer["results"]] == [(1, "malformed")]


async def test_entitlements_answer_every_feature(acme):
    found = (await acme.get(f"{TENANT}/entitlements")).json()
    by_feature = {one["featureId"]: one for one in found["entitlements"]}
    assert by_feature["premium-voice-model"]["reason"] == "feature_not_in_plan"
    assert by_feature["ai-tokens"]["allowed"] is True
    assert by_feature["data-region"]["value"] == "us"
    assert set(by_feature) == {
        "premium-voice-model",
        "max-projects",
        "data-region",
        "ai-tokens",
        "api-calls",
    }
    assert (await acme.get("/v1/tenants/nobody/entitlements")).status_code == 404


async def test_a_change_of_plan_is_effective_in_the_next_check(acme):
    assert (await ask(acme, "premium-voice-model"))["allowed"] is False
    response = await acme.post(f"{TENANT}/subscription/change", json={"planId": "pro", "when": "now"})
    assert response.status_code == 200, response.text
    assert (await ask(acme, "premium-voice-model"))["reason"] == "included"
    await acme.post(f"{TENANT}/subscription/cancel", json={"when": "now"})
    ended = await ask(acme, "premium-voice-model")
    assert ended["allowed"] is False
    assert ended["planId"] == "free"  # the catalog's fallback


async def test_unknown_names_are_denials_not_errors(acme):
    assert (await ask(acme, tenant_id="nobody"))["reason"] == "unknown_tenant"
    assert (await ask(acme, "nothing-like-it"))["reason"] == "unknown_feature"
    await acme.put("/v1/tenants/bare", json={"name": "bare"})
    assert (await ask(acme, tenant_id="bare"))["reason"] == "no_subscription"


async def test_caps_of_the_day_and_of_an_entity_refuse_by_themselves(api, context, catalog):
    await open_counters(context)
    await subscribe(api, "big", "pro")
    await tell(api, 19_999, "big", entityId="u1")
    mine = await ask(api, tenant_id="big", entityId="u1", quantity=2)
    assert (mine["allowed"], mine["reason"]) == (False, "cap_reached")
    others = await ask(api, tenant_id="big", entityId="u2", quantity=2)
    assert others["allowed"] is True
    assert [(cap["per"], cap["used"]) for cap in mine["caps"]] == [("tenant", 19_999), ("entity", 19_999)]


async def test_without_redis_metered_features_answer_as_declared_and_say_so(acme, context):
    await ask(acme)
    context.counters.link._pool.connection_kwargs["path"] = "/nonexistent/valkey.sock"
    await context.counters.link._disconnect()
    tokens = await ask(acme)  # lastKnown
    assert (tokens["outcome"], tokens["allowed"], tokens["degraded"]) == ("indeterminate", True, True)
    assert (tokens["reason"], (await ask(acme, "api-calls"))["outcome"]) == ("fallback", "indeterminate")
    projects = await ask(acme, "max-projects")
    assert projects["outcome"] == "allowed"
    body = {"tenantId": "acme", "serviceId": "tests", "featureId": "ai-tokens", "quantity": 1}
    waits = await acme.post("/v1/usage", json=body)
    assert (waits.status_code, waits.json()["accepted"]) == (202, 1)
    await context.pool.close()
    refused = await acme.post("/v1/usage", json=body)
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) <= 2
