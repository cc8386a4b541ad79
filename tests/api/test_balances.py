"""The balances of a tenant over HTTP."""

from datetime import timedelta

import pytest

from store import keyspace
from tests.conftest import NOW, open_counters
from tests.store import ledger
from tests.store.giving import give, grant

URL = "/v1/tenants/acme/balances"


@pytest.fixture
async def acme(api, context, catalog):
    await open_counters(context)
    await ledger.subscribed(context, "acme", "free")
    return api


async def test_every_metered_feature_of_the_plan_with_its_buckets_in_the_order_of_drawing(acme, context):
    held = grant(1, 50, starts=NOW - timedelta(days=1), ends=NOW + timedelta(days=1))
    await give(context, held)
    usage = {"tenantId": "acme", "serviceId": "s", "featureId": "ai-tokens", "quantity": 60}
    assert (await acme.post("/v1/usage", json=usage)).status_code == 202
    response = await acme.get(URL)
    assert response.status_code == 200
    answer = response.json()
    assert (answer["tenantId"], answer["asOf"]) == ("acme", "2026-11-22T10:00:00Z")
    assert [one["featureId"] for one in answer["balances"]] == ["ai-tokens", "api-calls"]
    assert answer["balances"][0]["buckets"][:2] == [
        {
            "bucket": "grt_1",
            "priority": 100,
            "granted": 50,
            "used": 50,
            "reserved": 0,
            "expired": 0,
            "carried": 0,
            "remaining": 0,
            "effectiveAt": "2026-11-21T10:00:00Z",
            "expiresAt": "2026-11-23T10:00:00Z",
        },
        {
            "bucket": "included",
            "priority": 100,
            "granted": 10_000,
            "used": 10,
            "reserved": 0,
            "expired": 0,
            "carried": 0,
            "remaining": 9_990,
            "effectiveAt": "2026-11-15T12:00:00Z",
            "expiresAt": "2026-12-15T12:00:00Z",
        },
    ]
    assert [one["bucket"] for one in answer["balances"][0]["buckets"][2:]] == ["overage", "excess"]


async def test_a_feature_that_has_left_the_catalog_keeps_its_books_for_who_has_it(acme, example_files):
    files = {path: text.partition("  api-calls:")[0] for path, text in example_files.items()}
    lines = example_files["features.yaml"].splitlines(keepends=True)
    start = next(place for place, line in enumerate(lines) if line.startswith("  api-calls:"))
    end = next(n for n, line in enumerate(lines) if n > start and not line.startswith("    "))
    files["features.yaml"] = "".join(lines[:start] + lines[end:])
    published = await acme.post("/v1/catalogs/publish", json={"files": files, "message": "no more calls"})
    assert published.status_code == 200, published.text
    answer = (await acme.get(URL)).json()
    assert [one["featureId"] for one in answer["balances"]] == ["ai-tokens", "api-calls"]


async def test_what_has_no_end_is_null(acme, context):
    await ledger.subscribed(context, "large", "enterprise")
    answer = (await acme.get("/v1/tenants/large/balances")).json()
    (tokens,) = [one for one in answer["balances"] if one["featureId"] == "ai-tokens"]
    included = tokens["buckets"][0]
    assert (included["bucket"], included["granted"], included["remaining"]) == ("included", None, None)


async def test_a_tenant_without_a_plan_has_no_balances(acme):
    await acme.put("/v1/tenants/new", json={"name": "New"})
    assert (await acme.get("/v1/tenants/new/balances")).json()["balances"] == []


async def test_an_unknown_tenant_is_not_found(acme):
    response = await acme.get("/v1/tenants/nobody/balances")
    assert (response.status_code, response.json()["title"]) == (404, "There is no such thing")


async def test_a_key_of_another_tenant_sees_nothing(acme, make_key):
    await acme.put("/v1/tenants/other", json={"name": "Other"})
    key = await make_key("manage", tenant_id="other")
    response = await acme.get(URL, headers={"authorization": f"Bearer {key}"})
    assert response.status_code == 403


async def test_without_counters_that_can_be_believed_the_answer_is_to_come_again(acme, context):
    await context.counters.link.send([("DEL", keyspace.fence(keyspace.shard_of("acme")))])
    response = await acme.get(URL)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert "counters" in response.json()["detail"]
