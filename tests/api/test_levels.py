"""Levels over HTTP: the highest number of seats, and how many users there were (R21)."""

from datetime import timedelta

import pytest

from tests.api.answers import problem_of
from tests.api.test_main_job import ask, run_flush, subscribe
from tests.conftest import NOW, open_counters
from tests.store.test_meters import leveled

MONTHS = ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")


@pytest.fixture
async def acme(api, context, publish, example_files):
    """A tenant on free (10 seats, 3 users a month from the first on), on a server whose shards are open."""
    await publish(leveled(example_files))
    await open_counters(context)
    await subscribe(api, "acme", "free")
    return api


def event(feature_id, quantity=1, **fields):
    return {
        "tenantId": "acme",
        "serviceId": "tests",
        "featureId": feature_id,
        "quantity": quantity,
        **fields,
    }


def met(name, **fields):
    return event("users", properties={"user_id": name}, **fields)


async def tell(api, *events):
    response = await api.post("/v1/usage", json={"events": list(events)})
    assert response.status_code == 202, response.text
    return response.json()


async def report(api, **wanted):
    response = await api.get("/v1/reports/usage", params={"tenantId": "acme"} | wanted)
    assert response.status_code == 200, response.text
    return response.json()


async def test_seats_are_reported_asked_for_and_consumed_by_how_many_there_are(acme):
    assert (await tell(acme, event("seats", 7), event("seats", 5)))["accepted"] == 2
    assert (await ask(acme, "seats", quantity=10))["allowed"]
    refused = await ask(acme, "seats", quantity=11)
    assert (refused["allowed"], refused["usage"], refused["requested"]) == (False, "7", "11")
    assert refused["message"] == "Limit reached: 11 asked, 10 seats at most; resets 2026-12-01"
    taken = (await acme.post("/v1/consume", json=event("seats", 9))).json()
    assert (taken["consumed"], taken["usage"], taken["remaining"]) == (True, "7", "3")
    assert (await ask(acme, "seats"))["usage"] == "9"


async def test_users_are_counted_once_and_whoever_was_counted_is_let_in(acme):
    assert (await tell(acme, met("ada"), met("ada"), met("bob")))["accepted"] == 3
    assert (await ask(acme, "users"))["remaining"] == 1
    for name, consumed in (("cyd", True), ("dan", False), ("ada", True)):
        given = (await acme.post("/v1/consume", json=met(name))).json()
        assert (given["consumed"], given["allowed"]) == (consumed, consumed)
    assert not (await ask(acme, "users"))["allowed"]
    balances = (await acme.get("/v1/tenants/acme/balances")).json()["balances"]
    (users,) = (one for one in balances if one["featureId"] == "users")
    assert (users["buckets"][0]["used"], users["buckets"][0]["remaining"]) == (3, 0)


async def test_a_level_begins_anew_with_the_period(acme, clock):
    await tell(acme, event("seats", 7), met("ada"))
    clock.at = NOW + timedelta(days=10)
    assert [(await ask(acme, name))["usage"] for name in ("seats", "users")] == ["0", 0]
    await tell(acme, event("seats", 4), met("ada"))
    assert [(await ask(acme, name))["usage"] for name in ("seats", "users")] == ["4", 1]


async def test_reports_add_up_hours_to_the_level_and_total_whole_periods_only(acme, context, clock):
    await tell(acme, event("seats", 4), met("ada"))
    clock.at = NOW + timedelta(hours=2)
    await tell(acme, event("seats", 7), met("ada"), met("bob"))
    clock.at = NOW + timedelta(days=10)
    await tell(acme, event("seats", 5), met("ada"))
    await run_flush(context)
    first, second, third = MONTHS
    for feature_id, november, both in (("seats", "7", "12"), ("users", 2, 3)):
        asked = {"featureId": feature_id, "from": first, "step": "day"}
        assert (await report(acme, **asked, to=second))["total"] == november
        assert (await report(acme, **asked, to=third))["total"] == both
        parts = await report(acme, **asked, to="2026-11-23T00:00:00Z")
        assert (parts["total"], parts["events"]) == (None, 3 if feature_id == "users" else 2)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (event("users"), "/properties/user_id"),
        (event("users", properties={"user_id": ""}), "/properties/user_id"),
        (event("users", properties={"user": "ada"}), "/properties/user"),
        (event("seats", properties={"user_id": "ada"}), "/properties/user_id"),
        (event("seats", "1.55"), "/quantity"),
        (event("seats", 10**15), "/quantity"),
    ],
)
async def test_bad_input_is_named_and_changes_nothing(acme, body, pointer):
    problem_of(await acme.post("/v1/usage", json=body), 422, pointer)
    problem_of(await acme.post("/v1/consume", json=body), 422, pointer)
    assert [(await ask(acme, name))["usage"] for name in ("seats", "users")] == ["0", 0]


async def test_nothing_is_granted_of_a_level(acme):
    body = {"featureId": "users", "quantity": 5, "reason": "sorry"}
    problem_of(await acme.post("/v1/tenants/acme/grants", json=body), 422, "/featureId")
    body = {"included": 5, "reason": "sorry"}
    response = await acme.put("/v1/tenants/acme/overrides/users", json=body)
    assert response.status_code in (200, 201), response.text
    assert (await ask(acme, "users"))["granted"] == 5


async def test_who_is_above_a_lowered_level_is_told_before_a_publish(acme, context, example_files):
    await tell(acme, event("seats", 7), met("ada"), met("bob"))
    await run_flush(context)
    files = leveled(example_files)
    fewer = files["plans/free.yaml"].replace("users: {included: 3}", "users: {included: 1}")
    answer = await acme.post("/v1/catalogs/diff", json={"files": files | {"plans/free.yaml": fewer}})
    assert answer.status_code == 200, answer.text
    (change,) = (one for one in answer.json()["changes"] if "users" in one["sentence"])
    assert change["above"] == 1


async def test_nothing_of_a_level_can_be_reserved(acme):
    for wanted in (event("seats", 2), met("ann")):
        problem_of(await acme.post("/v1/reservations", json=wanted), 422, "/featureId")


async def test_overage_of_a_level_is_owed_once_however_often_it_is_reported(acme):
    await subscribe(acme, "shop", "pro")
    for _ in range(3):
        await tell(acme, event("seats", 22) | {"tenantId": "shop"})
    preview = (await acme.get("/v1/tenants/shop/invoices/preview")).json()
    owed = [(line["quantity"], line["amount"]) for line in preview["lines"] if line["kind"] == "overage"]
    assert owed == [("2", 200)]
