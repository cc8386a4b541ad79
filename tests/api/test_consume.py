"""POST /v1/consume: one call that decides and counts."""

import asyncio
from datetime import timedelta

import pytest

from tests.api.answers import problem_of
from tests.api.test_main_job import ask, run_flush, subscribe
from tests.conftest import NOW, open_counters


@pytest.fixture
async def acme(api, context, catalog):
    """A tenant on free (10,000 tokens), on a server whose shards are open."""
    await open_counters(context)
    await subscribe(api, "acme", "free")
    return api


async def consume(api, quantity=1, *, headers=None, **fields):
    body = {"tenantId": "acme", "serviceId": "tests", "featureId": "ai-tokens", "quantity": quantity}
    return await api.post("/v1/consume", json=body | fields, headers=headers or {})


async def test_a_use_is_decided_and_counted_in_one_call(acme):
    response = await consume(acme, 100, id="u1")
    given = response.json()
    assert response.status_code == 200
    assert response.headers["metergate-durability"] == "standard"
    assert (given["allowed"], given["consumed"], given["eventId"]) == (True, True, "u1")
    assert (given["usage"], given["remaining"], given["requested"]) == (0, 10_000, 100)
    assert (await ask(acme))["usage"] == 100


async def test_what_does_not_fit_is_denied_and_not_counted(acme):
    given = (await consume(acme, 10_001)).json()
    assert (given["allowed"], given["consumed"], given["eventId"]) == (False, False, None)
    assert given["reason"] == "limit_reached"
    assert (await ask(acme))["usage"] == 0


async def test_clients_at_once_get_exactly_what_there_is(acme):
    given = [one.json() for one in await asyncio.gather(*(consume(acme, 300) for _ in range(64)))]
    assert sum(one["consumed"] for one in given) == 33
    assert (await ask(acme))["remaining"] == 100


async def test_the_same_key_gets_the_same_answer_to_the_letter_also_after_a_flush(acme, context):
    first = await consume(acme, 100, headers={"Idempotency-Key": "k1"})
    await consume(acme, 50)
    assert (await consume(acme, 100, headers={"Idempotency-Key": "k1"})).content == first.content
    await run_flush(context)
    assert (await consume(acme, 100, id="k1")).content == first.content
    assert (await ask(acme))["usage"] == 150


async def test_a_key_gets_its_answer_also_when_nothing_would_be_counted_any_more(acme, clock):
    first = await consume(acme, 100, id="k1")
    clock.at = NOW + timedelta(minutes=1)
    billing = {"status": "suspended", "reason": "did not pay"}
    assert (await acme.put("/v1/tenants/acme/billing-status", json=billing)).is_success
    assert (await consume(acme, 100, id="k2")).json()["reason"] == "payment_required"
    assert (await consume(acme, 100, id="k1")).content == first.content
    problem_of(await consume(acme, 101, id="k1"), 422)


async def test_a_key_is_forgotten_after_a_day_and_then_refused(acme, clock):
    await consume(acme, 100, id="k1")
    clock.at = NOW + timedelta(hours=24, seconds=1)
    problem = problem_of(await consume(acme, 100, id="k1"), 409)
    assert problem["type"].endswith("/idempotency-key-expired")
    assert (await ask(acme))["usage"] == 100


async def test_the_same_key_with_another_body_is_refused(acme):
    await consume(acme, 100, id="k1")
    problem = problem_of(await consume(acme, 101, id="k1"), 422)
    assert problem["type"].endswith("/idempotency-mismatch")


@pytest.mark.parametrize(
    ("fields", "headers", "pointer"),
    [
        ({"id": "one"}, {"Idempotency-Key": "two"}, "/id"),
        ({}, {"Idempotency-Key": "no id"}, "Idempotency-Key"),
        ({"quantity": 0}, {}, "/quantity"),
        ({"quantity": -1}, {}, "/quantity"),
        ({"quantity": 1.5}, {}, "/quantity"),
        ({"featureId": "max-projects"}, {}, "/featureId"),
        ({"timestamp": "2026-11-21T10:00:00Z"}, {}, "/timestamp"),
        ({"explain": True}, {}, "/explain"),
    ],
)
async def test_bad_input_is_named_and_changes_nothing(acme, fields, headers, pointer):
    problem_of(await consume(acme, headers=headers, **fields), 422, pointer)
    assert (await ask(acme))["usage"] == 0


async def test_a_closed_fence_is_503_with_the_time_to_come_again(api, context, catalog):
    await subscribe(api, "acme", "free")  # no shard is open yet
    response = await consume(api, 1)
    problem_of(response, 503)
    assert int(response.headers["retry-after"]) > 0


async def test_it_needs_both_scopes_and_the_keys_own_tenant(acme, make_key):
    for scopes in (["check"], ["report"]):
        key = await make_key(*scopes)
        problem_of(await consume(acme, headers={"Authorization": f"Bearer {key}"}), 403)
    await subscribe(acme, "other", "free")
    bound = await make_key("check", "report", tenant_id="other")
    problem_of(await consume(acme, headers={"Authorization": f"Bearer {bound}"}), 403)
