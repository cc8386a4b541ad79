"""A batch answers each of its questions as if it had come alone, whoever they are about; it has a bound."""

from itertools import cycle, islice, product

import pytest

from policies import limits
from tests.conftest import open_counters
from tests.store import ledger

URL = "/v1/check/batch"
UNIQUE = ("decisionId", "asOf")


@pytest.fixture
async def many(api, context, catalog):
    """Tenants on every plan, one without any, and one that is closed; `nobody` is not known."""
    await open_counters(context)
    for plan_id in catalog.plans:
        await ledger.subscribed(context, f"on-{plan_id}", plan_id)
        usage = {"tenantId": f"on-{plan_id}", "serviceId": "s", "featureId": "ai-tokens", "quantity": 9_999}
        assert (await api.post("/v1/usage", json=usage | {"entityId": "u1"})).status_code == 202
    await api.put("/v1/tenants/bare", json={"name": "Bare"})
    await ledger.subscribed(context, "shut", "pro")
    assert (await api.delete("/v1/tenants/shut")).status_code == 200
    return [*(f"on-{plan_id}" for plan_id in catalog.plans), "bare", "shut", "nobody"]


async def test_a_thousand_questions_about_many_tenants(api, many, catalog):
    asked = [
        {"tenantId": tenant_id, "featureId": feature_id, "quantity": quantity}
        for tenant_id, feature_id, quantity in product(many, [*catalog.features, "nothing"], (0, 2))
    ]
    checks = list(islice(cycle(asked), limits.CHECK_BATCH))
    answer = await api.post(URL, json={"checks": checks})
    assert answer.status_code == 200, answer.text
    found = [without(decision) for decision in answer.json()["decisions"]]
    assert len(found) == limits.CHECK_BATCH
    alone = [without((await api.post("/v1/check", json=question)).json()) for question in asked]
    assert found == list(islice(cycle(alone), limits.CHECK_BATCH))
    assert {decision["outcome"] for decision in alone} == {"allowed", "denied"}


async def test_one_question_more_is_refused(api, many):
    question = {"tenantId": "bare", "featureId": "ai-tokens"}
    answer = await api.post(URL, json={"checks": [question] * (limits.CHECK_BATCH + 1)})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/checks")


def without(decision):
    return {name: value for name, value in decision.items() if name not in UNIQUE}
