"""POST /v1/reservations: units are held, then settled for what was used, given up, or returned by the job."""

import asyncio
from datetime import timedelta

import pytest

from jobs import expire
from policies import limits
from tests.api.answers import instant, problem_of
from tests.api.test_main_job import ask, run_flush, subscribe, tell, worker
from tests.conftest import NOW, open_counters

NOBODY = "rsv_00" + 32 * "0"


@pytest.fixture
async def acme(api, context, catalog):
    """A tenant on free (10,000 tokens), on a server whose shards are open."""
    await open_counters(context)
    await subscribe(api, "acme", "free")
    return api


async def reserve(api, quantity=1, *, headers=None, **fields):
    body = {"tenantId": "acme", "serviceId": "tests", "featureId": "ai-tokens", "quantity": quantity}
    return await api.post("/v1/reservations", json=body | fields, headers=headers or {})


async def reserved(api, quantity, **fields) -> str:
    response = await reserve(api, quantity, **fields)
    assert response.status_code == 200, response.text
    return response.json()["reservationId"]


async def settle(api, reservation_id, quantity, **more):
    return await api.post(f"/v1/reservations/{reservation_id}/settle", json={"quantity": quantity}, **more)


async def release(api, reservation_id, **more):
    return await api.post(f"/v1/reservations/{reservation_id}/release", **more)


async def show(api, reservation_id):
    response = await api.get(f"/v1/reservations/{reservation_id}")
    assert response.status_code == 200, response.text
    return response.json()


async def stand(api):
    """What a check says is used, reserved and left."""
    decision = await ask(api)
    return decision["usage"], decision["reserved"], decision["remaining"]


async def run_expire(context):
    return await expire.run(worker(context), context.clock.now())


async def included(api):
    balances = (await api.get("/v1/tenants/acme/balances")).json()["balances"]
    (tokens,) = [one for one in balances if one["featureId"] == "ai-tokens"]
    return tokens["buckets"][0]


async def test_what_is_held_counts_at_once_and_is_shown_as_reserved(acme):
    response = await reserve(acme, 4_000, id="job-1", ttlSeconds=60)
    given = response.json()
    assert response.status_code == 200
    assert response.headers["metergate-durability"] == "standard"
    assert (given["allowed"], given["usage"], given["remaining"]) == (True, 0, 10_000)
    assert given["expiresAt"] == instant(NOW + timedelta(seconds=60))
    assert await stand(acme) == (0, 4_000, 6_000)
    assert (await ask(acme, quantity=6_001))["reason"] == "limit_reached"
    held = await show(acme, given["reservationId"])
    assert (held["state"], held["eventId"], held["held"]) == ("open", "job-1", 4_000)
    assert (held["quantity"], held["returned"], held["endedAt"]) == (None, None, None)


@pytest.mark.parametrize(("used", "returned"), [(0, 4_000), (1_500, 2_500), (4_000, 0), (12_000, 0)])
async def test_a_settle_counts_what_was_used_and_returns_the_rest(acme, context, used, returned):
    name = await reserved(acme, 4_000, id="job-1")
    response = await settle(acme, name, used)
    settled = response.json()
    assert response.status_code == 200
    assert (settled["state"], settled["quantity"], settled["returned"]) == ("settled", used, returned)
    assert await stand(acme) == (min(used, 10_000), 0, max(0, 10_000 - used))
    await run_flush(context)
    assert await show(acme, name) == settled
    events = (await acme.get("/v1/usage/events", params={"tenantId": "acme"})).json()["items"]
    assert [(one["id"], one["quantity"], one["timestamp"]) for one in events] == [
        ("job-1", used, instant(NOW))
    ]


async def test_a_settle_again_is_answered_the_same_and_counts_nothing(acme, context):
    name = await reserved(acme, 4_000)
    first = (await settle(acme, name, 1_500)).json()
    assert (await settle(acme, name, 1_500)).json() == first
    await run_flush(context)
    assert (await settle(acme, name, 1_500)).json() == first
    assert await stand(acme) == (1_500, 0, 8_500)


async def test_settles_at_once_count_once(acme):
    name = await reserved(acme, 4_000)
    answers = await asyncio.gather(*(settle(acme, name, 1_500) for _ in range(16)))
    assert {one.status_code for one in answers} == {200}
    assert len({one.text for one in answers}) == 1
    assert await stand(acme) == (1_500, 0, 8_500)


async def test_a_settle_for_another_quantity_is_a_conflict(acme):
    name = await reserved(acme, 4_000)
    await settle(acme, name, 1_500)
    problem_of(await settle(acme, name, 1_501), 409)
    assert await stand(acme) == (1_500, 0, 8_500)


async def test_a_release_returns_all_and_again_the_same(acme, context):
    name = await reserved(acme, 4_000)
    first = await release(acme, name)
    assert first.status_code == 200
    assert (first.json()["state"], first.json()["returned"]) == ("released", 4_000)
    assert await stand(acme) == (0, 0, 10_000)
    assert (await release(acme, name, json={})).json() == first.json()
    problem_of(await settle(acme, name, 10), 409)
    await run_flush(context)
    assert await stand(acme) == (0, 0, 10_000)


async def test_a_release_after_the_settle_is_a_conflict(acme):
    name = await reserved(acme, 4_000)
    await settle(acme, name, 1_500)
    problem_of(await release(acme, name), 409)


async def test_what_is_abandoned_returns_by_itself(acme, context, clock):
    name = await reserved(acme, 4_000, ttlSeconds=60)
    clock.at = NOW + timedelta(seconds=59)
    assert await run_expire(context) == ""
    clock.at = NOW + timedelta(seconds=60)
    assert await stand(acme) == (0, 4_000, 6_000)  # checks never sweep
    assert await run_expire(context) == "1 reservations"
    assert await stand(acme) == (0, 0, 10_000)
    gone = await show(acme, name)
    assert (gone["state"], gone["returned"]) == ("expired", 4_000)
    assert (await release(acme, name)).json() == gone


async def test_what_fits_is_never_refused_because_of_what_has_expired(acme, clock):
    await reserved(acme, 10_000, ttlSeconds=60)
    assert not (await reserve(acme, 1)).json()["allowed"]
    clock.at = NOW + timedelta(seconds=60)
    use = {"tenantId": "acme", "serviceId": "tests", "featureId": "ai-tokens", "quantity": 10_000}
    assert (await acme.post("/v1/consume", json=use)).json()["consumed"]
    assert not (await reserve(acme, 1)).json()["allowed"]


async def test_a_settle_after_the_expiry_is_recorded_at_the_instant_of_the_reserve(acme, context, clock):
    name = await reserved(acme, 4_000, id="job-1", ttlSeconds=60)
    clock.at = NOW + timedelta(minutes=5)
    await run_expire(context)
    response = await settle(acme, name, 1_500)
    settled = response.json()
    assert (response.status_code, settled["state"], settled["quantity"]) == (200, "settled", 1_500)
    assert await stand(acme) == (1_500, 0, 8_500)
    assert (await settle(acme, name, 1_500)).json() == settled
    problem_of(await settle(acme, name, 2), 409)
    await run_flush(context)
    assert await stand(acme) == (1_500, 0, 8_500)
    events = (await acme.get("/v1/usage/events", params={"tenantId": "acme"})).json()["items"]
    assert [(one["id"], one["quantity"], one["timestamp"]) for one in events] == [
        ("job-1", 1_500, instant(NOW))
    ]


async def test_late_settles_at_once_count_once(acme, context, clock):
    name = await reserved(acme, 4_000, ttlSeconds=60)
    clock.at = NOW + timedelta(minutes=5)
    await run_expire(context)
    answers = await asyncio.gather(*(settle(acme, name, 1_500) for _ in range(8)))
    assert {one.status_code for one in answers} == {200}
    assert await stand(acme) == (1_500, 0, 8_500)


async def test_a_settle_of_long_ago_is_a_conflict(acme, context, clock):
    name = await reserved(acme, 4_000, ttlSeconds=60)
    clock.at = NOW + timedelta(days=limits.EVENT_AGE_DAYS, seconds=1)
    await run_expire(context)
    problem_of(await settle(acme, name, 1), 409)


async def test_what_does_not_fit_is_denied_and_nothing_is_held(acme):
    response = await reserve(acme, 10_001)
    given = response.json()
    assert (response.status_code, given["allowed"], given["reason"]) == (200, False, "limit_reached")
    assert "reservationId" not in given
    assert "expiresAt" not in given
    assert await stand(acme) == (0, 0, 10_000)


async def test_the_same_key_gets_the_same_answer_to_the_letter(acme, context):
    first = await reserve(acme, 100, headers={"Idempotency-Key": "k1"})
    await reserved(acme, 50)
    assert (await reserve(acme, 100, headers={"Idempotency-Key": "k1"})).content == first.content
    await settle(acme, first.json()["reservationId"], 70)
    await run_flush(context)
    assert (await reserve(acme, 100, id="k1")).content == first.content
    assert await stand(acme) == (70, 50, 9_880)


async def test_the_same_key_with_another_body_or_of_a_use_is_refused(acme):
    await reserved(acme, 100, id="k1")
    for other in ({"quantity": 101}, {"ttlSeconds": 299}):
        problem = problem_of(await reserve(acme, **({"quantity": 100, "id": "k1"} | other)), 422)
        assert problem["type"].endswith("/idempotency-mismatch")
    await tell(acme, 5, id="k2")
    problem = problem_of(await reserve(acme, 5, id="k2"), 422)
    assert problem["type"].endswith("/idempotency-mismatch")


async def test_a_key_is_forgotten_after_a_day_and_then_refused(acme, clock):
    await reserve(acme, 100, id="k1")
    clock.at = NOW + timedelta(hours=24, seconds=1)
    problem = problem_of(await reserve(acme, 100, id="k1"), 409)
    assert problem["type"].endswith("/idempotency-key-expired")


async def test_the_books_close_while_something_is_held(acme):
    name = await reserved(acme, 4_000)
    await tell(acme, 500)
    bucket = await included(acme)
    assert (bucket["granted"], bucket["used"], bucket["reserved"], bucket["remaining"]) == (
        10_000,
        500,
        4_000,
        5_500,
    )
    await settle(acme, name, 100)
    bucket = await included(acme)
    assert (bucket["used"], bucket["reserved"], bucket["remaining"]) == (600, 0, 9_400)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"ttlSeconds": 86_401}, "/ttlSeconds"),
        ({"ttlSeconds": 0}, "/ttlSeconds"),
        ({"quantity": 0}, "/quantity"),
        ({"quantity": -1}, "/quantity"),
        ({"quantity": "1.5"}, "/quantity"),
        ({"quantity": 10**15 + 1}, "/quantity"),
        ({"featureId": "max-projects"}, "/featureId"),
        ({"featureId": "premium-voice-model"}, "/featureId"),
        ({"featureId": "api-calls", "quantity": 2}, "/quantity"),
        ({"timestamp": "2026-11-21T10:00:00Z"}, "/timestamp"),
        ({"entityId": "no id"}, "/entityId"),
        ({"properties": {"who": "me"}}, "/properties/who"),
        ({"ttl": 5}, "/ttl"),
    ],
)
async def test_bad_input_is_named_and_holds_nothing(acme, fields, pointer):
    problem_of(await reserve(acme, **fields), 422, pointer)
    assert await stand(acme) == (0, 0, 10_000)


@pytest.mark.parametrize("quantity", [-1, "1.5", 1.5, 10**15 + 1, None])
async def test_a_settle_for_no_quantity_is_refused_and_ends_nothing(acme, quantity):
    name = await reserved(acme, 100)
    problem_of(await settle(acme, name, quantity), 422, "/quantity")
    assert await stand(acme) == (0, 100, 9_900)


async def test_a_feature_that_counts_calls_is_settled_for_one_or_none(acme, context):
    name = await reserved(acme, 1, featureId="api-calls")
    problem_of(await settle(acme, name, 2), 422, "/quantity")
    assert (await settle(acme, name, 0)).json()["returned"] == 1
    assert (await ask(acme, "api-calls"))["usage"] == 0


@pytest.mark.parametrize("name", [NOBODY, "rsv_1", "job-1"])
async def test_a_reservation_that_nobody_made_is_404(acme, name):
    problem_of(await settle(acme, name, 1), 404)
    problem_of(await release(acme, name), 404)
    problem_of(await acme.get(f"/v1/reservations/{name}"), 404)


@pytest.mark.parametrize("ended", [False, True])
async def test_another_tenants_reservation_is_404_and_stays(acme, make_key, ended):
    name = await reserved(acme, 100)
    if ended:
        await release(acme, name)
    await subscribe(acme, "other", "free")
    key = {"Authorization": f"Bearer {await make_key('check', 'report', tenant_id='other')}"}
    problem_of(await settle(acme, name, 1, headers=key), 404)
    problem_of(await release(acme, name, headers=key), 404)
    problem_of(await acme.get(f"/v1/reservations/{name}", headers=key), 404)
    problem_of(await reserve(acme, headers=key), 403)
    assert (await show(acme, name))["state"] == ("released" if ended else "open")


async def test_a_closed_fence_is_503_with_the_time_to_come_again(acme, context):
    name = await reserved(acme, 100)
    await context.counters.link.send([("FLUSHALL",)])
    for response in (await reserve(acme), await settle(acme, name, 1), await release(acme, name)):
        problem_of(response, 503)
        assert int(response.headers["retry-after"]) > 0


async def test_a_tenant_has_only_so_many_open_ones_at_a_time(acme, monkeypatch, clock):
    monkeypatch.setattr(limits, "RESERVATIONS_OPEN", 2)
    await reserved(acme, 1, ttlSeconds=60)
    name = await reserved(acme, 1)
    problem_of(await reserve(acme), 409)
    await settle(acme, name, 1)
    await reserved(acme, 1)
    clock.at = NOW + timedelta(seconds=60)  # what has expired does not count
    await reserved(acme, 1)


async def test_a_settled_reservation_is_amended_and_voided_as_any_usage(acme, context):
    name = await reserved(acme, 4_000, id="job-1")
    reason = {"tenantId": "acme", "reason": "miscounted"}
    assert (await acme.post("/v1/usage/tests/job-1/void", json=reason)).status_code in (404, 409)
    await settle(acme, name, 1_500)
    amended = await acme.post("/v1/usage/tests/job-1/amend", json=reason | {"quantity": 700})
    assert amended.status_code == 200, amended.text
    assert await stand(acme) == (700, 0, 9_300)
    assert (await acme.post("/v1/usage/tests/job-1/void", json=reason)).status_code == 200
    assert await stand(acme) == (0, 0, 10_000)
    assert (await show(acme, name))["quantity"] == 1_500  # how it was settled


async def test_what_moved_among_the_buckets_when_a_hold_came_back_shows_in_the_past_too(acme, context):
    """Excess that others ran into because of the hold is none any more."""
    name = await reserved(acme, 10_000)
    await tell(acme, 300)
    await release(acme, name)
    now = await ask(acme)
    then = await ask(acme, at=instant(NOW))
    assert (now["usage"], now["remaining"]) == (then["usage"], then["remaining"]) == (300, 9_700)
