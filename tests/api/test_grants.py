"""Grants over HTTP: given once, listed for ever, voided, never edited."""

from datetime import timedelta

import pytest

from policies import limits
from store import postgres, snapshot_source
from tests.api.answers import instant, problem_of
from tests.conftest import NOW

GRANTS = "/v1/tenants/acme/grants"
DAY = timedelta(days=1)

pytestmark = pytest.mark.usefixtures("catalog")


@pytest.fixture
async def acme(api):
    assert (await api.put("/v1/tenants/acme", json={"name": "Acme"})).status_code == 201
    assert (await api.post("/v1/tenants/acme/subscription", json={"planId": "pro"})).status_code == 201
    return api


async def granted(api, **body):
    wish = {"featureId": "ai-tokens", "quantity": 500, "reason": "sorry"} | body
    response = await api.post(GRANTS, json=wish)
    assert response.status_code == 201, response.text
    return response.json()


async def held(context):
    async with postgres.transaction(context.pool) as connection:
        return await snapshot_source.read(connection, "acme", now=NOW)


async def test_a_grant_is_shown_as_it_was_given_and_decides_from_then_on(acme, context):
    before = await held(context)
    response = await acme.post(
        GRANTS, json={"featureId": "ai-tokens", "quantity": "500", "reason": "sorry", "priority": 7}
    )
    view = response.json()
    assert view == {
        "grantId": view["grantId"], "tenantId": "acme", "featureId": "ai-tokens", "quantity": 500,
        "priority": 7, "effectiveAt": instant(NOW), "expiresAt": None, "createdAt": instant(NOW),
        "voidedAt": None, "reason": "sorry",
    }  # fmt: skip
    assert response.headers["etag"] == f'"{view["grantId"]}.0"'
    after = await held(context)
    assert [(one.id, one.quantity, one.priority) for one in after.grants] == [(view["grantId"], 500, 7)]
    assert after.version == before.version + 1


async def test_instants_come_in_any_zone_and_are_kept_in_utc(acme):
    view = await granted(acme, effectiveAt="2026-11-23T12:00:00+02:00", expiresAt="2026-12-01T00:00:00Z")
    assert (view["effectiveAt"], view["expiresAt"]) == ("2026-11-23T10:00:00Z", "2026-12-01T00:00:00Z")


async def test_grants_are_listed_page_by_page_with_those_that_have_ended(acme, clock):
    ids = []
    for number in range(5):
        ids.append((await granted(acme, quantity=number + 1))["grantId"])
        clock.at += timedelta(milliseconds=1)
    await granted(acme, featureId="api-calls")
    await acme.post(f"{GRANTS}/{ids[0]}/void", json={"reason": "by mistake"})
    found, cursor = [], None
    while True:
        query = {"limit": 2, "featureId": "ai-tokens"} | ({"cursor": cursor} if cursor else {})
        page = (await acme.get(GRANTS, params=query)).json()
        found += page["items"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert [one["grantId"] for one in found] == ids
    assert [one["voidedAt"] is None for one in found] == [False, True, True, True, True]
    assert len((await acme.get(GRANTS)).json()["items"]) == 6


async def test_voiding_ends_a_grant_once(acme, clock, context):
    view = await granted(acme)
    path = f"{GRANTS}/{view['grantId']}/void"
    problem_of(await acme.post(path, json={}), 422, "/reason")
    clock.at += DAY
    voided = await acme.post(
        path, json={"reason": "by mistake"}, headers={"if-match": f'"{view["grantId"]}.0"'}
    )
    assert voided.json() == view | {"voidedAt": instant(clock.at)}
    version = (await held(context)).version
    clock.at += DAY
    assert (await acme.post(path, json={"reason": "again"})).json() == voided.json()
    assert (await held(context)).version == version
    problem_of(
        await acme.post(path, json={"reason": "r"}, headers={"if-match": f'"{view["grantId"]}.0"'}), 412
    )
    problem_of(await acme.post(f"{GRANTS}/grt_none/void", json={"reason": "r"}), 404)


async def test_a_grant_that_expired_cannot_be_voided(acme, clock):
    view = await granted(acme, expiresAt=instant(NOW + DAY))
    clock.at += DAY
    problem = problem_of(await acme.post(f"{GRANTS}/{view['grantId']}/void", json={"reason": "r"}), 409)
    assert "expired" in problem["detail"]


async def test_the_same_key_gives_the_same_grant_once(acme):
    headers = {"idempotency-key": "k1"}
    body = {"featureId": "ai-tokens", "quantity": 5, "reason": "sorry"}
    first = await acme.post(GRANTS, json=body, headers=headers)
    assert (await acme.post(GRANTS, json=body, headers=headers)).json() == first.json()
    problem_of(await acme.post(GRANTS, json=body | {"quantity": 6}, headers=headers), 422)
    assert len((await acme.get(GRANTS)).json()["items"]) == 1


async def test_bad_fields_are_named_and_nothing_is_stored(acme, context):
    before = await held(context)
    good = {"featureId": "ai-tokens", "quantity": 5, "reason": "sorry"}
    cases = [
        ({"reason": None}, "/reason"),
        ({"reason": ""}, "/reason"),
        ({"featureId": "ai-tokens2"}, "/featureId"),
        ({"featureId": "premium-voice-model"}, "/featureId"),
        ({"quantity": 0}, "/quantity"),
        ({"quantity": -1}, "/quantity"),
        ({"quantity": 1.5}, "/quantity"),
        ({"quantity": "1.5"}, "/quantity"),
        ({"quantity": 10**15 + 1}, "/quantity"),
        ({"priority": 1_001}, "/priority"),
        ({"priority": "high"}, "/priority"),
        ({"effectiveAt": "2026-11-22T10:00:00"}, "/effectiveAt"),
        ({"effectiveAt": "2026-01-01T00:00:00Z"}, "/effectiveAt"),
        ({"expiresAt": instant(NOW)}, "/expiresAt"),
        ({"amount": 5}, "/amount"),
    ]
    for wrong, pointer in cases:
        problem_of(await acme.post(GRANTS, json=good | wrong), 422, pointer)
    assert await held(context) == before
    assert 'Did you mean "ai-tokens"?' in (await acme.post(GRANTS, json=good | cases[2][0])).json()["detail"]


async def test_there_are_so_many_open_grants_and_no_more(acme, monkeypatch, clock):
    monkeypatch.setattr(limits, "GRANTS", 2)
    await granted(acme, expiresAt=instant(NOW + DAY))
    await granted(acme, effectiveAt=instant(NOW + 5 * DAY))
    body = {"featureId": "ai-tokens", "quantity": 5, "reason": "sorry"}
    assert "2 grants" in problem_of(await acme.post(GRANTS, json=body), 409)["detail"]
    clock.at += DAY
    await granted(acme)


async def test_a_tenant_that_is_unknown_or_closed_is_given_nothing(acme):
    body = {"featureId": "ai-tokens", "quantity": 5, "reason": "sorry"}
    problem_of(await acme.post("/v1/tenants/nobody/grants", json=body), 404)
    problem_of(await acme.get("/v1/tenants/nobody/grants"), 404)
    view = await granted(acme)
    await acme.delete("/v1/tenants/acme")
    problem_of(await acme.post(GRANTS, json=body), 409)
    problem_of(await acme.post(f"{GRANTS}/{view['grantId']}/void", json={"reason": "r"}), 409)
    assert len((await acme.get(GRANTS)).json()["items"]) == 1


SOLO = {
    "features.yaml": "features:\n  old-calls: {type: metered, name: Calls, unit: call, decimals: 2}\n",
    "plans/solo.yaml": 'plan: solo\nname: Solo\ncurrency: usd\nprice: "1.00"\ninterval: month\n'
    "features:\n  old-calls: {included: 5, interval: month}\n",
}


async def test_a_feature_that_the_catalog_dropped_can_be_granted_to_who_still_has_it(
    api, example_files, publish
):
    await publish(SOLO)
    assert (await api.put("/v1/tenants/acme", json={})).status_code == 201
    assert (await api.post("/v1/tenants/acme/subscription", json={"planId": "solo"})).status_code == 201
    await publish(example_files)
    assert (await granted(api, featureId="old-calls", quantity="1.25"))["quantity"] == "1.25"
    await api.put("/v1/tenants/other", json={})
    body = {"featureId": "old-calls", "quantity": 5, "reason": "sorry"}
    problem_of(await api.post("/v1/tenants/other/grants", json=body), 422, "/featureId")


async def test_no_more_grants_of_one_feature_are_given_than_a_draw_may_look_at(acme):
    """One that was voided makes room again, and another feature has its own."""
    ids = [(await granted(acme))["grantId"] for _ in range(limits.GRANTS_OF_FEATURE)]
    wish = {"featureId": "ai-tokens", "quantity": 500, "reason": "sorry"}
    detail = problem_of(await acme.post(GRANTS, json=wish), 409)["detail"]
    assert detail == "The tenant has 50 grants of ai-tokens that have not ended; void one that is used up."
    await granted(acme, featureId="api-calls")
    await acme.post(f"{GRANTS}/{ids[0]}/void", json={"reason": "used up"})
    await granted(acme)
