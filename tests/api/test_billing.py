"""The billing status over HTTP: set, run its course by the days of the plan, cleared."""

from datetime import timedelta

import pytest

from tests.api.answers import problem_of
from tests.conftest import NOW

SUBSCRIPTION = "/v1/tenants/acme/subscription"
STATUS = "/v1/tenants/acme/billing-status"
DAY = timedelta(days=1)

pytestmark = pytest.mark.usefixtures("catalog")


@pytest.fixture
async def acme(api):
    assert (await api.put("/v1/tenants/acme", json={"name": "Acme"})).status_code == 201
    assert (await api.post(SUBSCRIPTION, json={"planId": "pro"})).status_code == 201
    return api


async def put(api, status, **body):
    response = await api.put(STATUS, json={"status": status, "reason": "payment failed"} | body)
    assert response.status_code == 200, response.text
    return response.json()


async def shown(api):
    return (await api.get(SUBSCRIPTION)).json()


async def test_a_status_runs_its_course_without_a_further_call(acme, clock, catalog):
    plan = catalog.plans["pro"]
    assert (plan.grace_days, plan.restricted_days) == (7, 14)
    view = await put(acme, "grace", schedule=True)
    assert view["billingStatus"] == "grace"
    assert view["billing"] == [
        {"status": "grace", "since": "2026-11-22T10:00:00Z", "reason": "payment failed"},
        {"status": "restricted", "since": "2026-11-29T10:00:00Z", "reason": "7 days of grace over"},
        {"status": "suspended", "since": "2026-12-13T10:00:00Z", "reason": "14 days of restricted use over"},
    ]
    told = []
    for day in (6, 7, 20, 21):
        clock.at = NOW + day * DAY
        told.append((await shown(acme))["billingStatus"])
    assert told == ["grace", "restricted", "restricted", "suspended"]


async def test_without_a_schedule_it_stays_until_somebody_says_otherwise(acme, clock):
    assert [fact["status"] for fact in (await put(acme, "grace"))["billing"]] == ["grace"]
    clock.at += 300 * DAY
    assert (await shown(acme))["billingStatus"] == "grace"


async def test_good_ends_the_course_and_the_past_stays(acme, clock):
    await put(acme, "grace", schedule=True)
    clock.at += DAY
    view = await put(acme, "good", reason="paid")
    assert [(fact["status"], fact["since"]) for fact in view["billing"]] == [
        ("grace", "2026-11-22T10:00:00Z"), ("good", "2026-11-23T10:00:00Z"),
    ]  # fmt: skip
    clock.at += 90 * DAY
    assert (await shown(acme))["billingStatus"] == "good"


async def test_the_same_word_twice_gives_no_second_grace_and_writes_nothing(acme, clock):
    first = await put(acme, "grace", schedule=True)
    etag = (await acme.get(SUBSCRIPTION)).headers["etag"]
    clock.at += 3 * DAY
    assert (await put(acme, "grace", schedule=True, reason="failed again"))["billing"] == first["billing"]
    assert (await acme.get(SUBSCRIPTION)).headers["etag"] == etag


async def test_it_is_a_change_of_the_subscription_like_any_other(acme):
    etag = (await acme.get(SUBSCRIPTION)).headers["etag"]
    body = {"status": "paused", "reason": "asked to"}
    headers = {"if-match": etag, "idempotency-key": "k"}
    first = await acme.put(STATUS, json=body, headers=headers)
    assert first.status_code == 200
    assert first.headers["etag"] != etag
    assert (await acme.put(STATUS, json=body, headers=headers)).json() == first.json()
    problem_of(await acme.put(STATUS, json=body, headers={"if-match": etag}), 412)


async def test_a_subscription_that_has_not_begun_has_a_status_and_one_that_has_ended_has_none(acme, clock):
    await acme.post(f"{SUBSCRIPTION}/cancel", json={"when": "now"})
    body = {"status": "grace", "reason": "r"}
    assert "ended" in problem_of(await acme.put(STATUS, json=body), 409)["detail"]
    clock.at += DAY
    later = (clock.at + DAY).isoformat()
    await acme.post(SUBSCRIPTION, json={"planId": "pro", "startAt": later})
    assert (await put(acme, "pending", reason="first payment"))["billingStatus"] == "pending"


async def test_bad_requests_are_named(acme):
    cases = [
        ({"status": "grace"}, 422, "/reason"),
        ({"status": "gud", "reason": "r"}, 422, "/status"),
        ({"status": "grace", "reason": "r", "schedule": "yes"}, 422, "/schedule"),
        ({"status": "grace", "reason": "r", "days": 5}, 422, "/days"),
    ]
    for body, status, pointer in cases:
        problem_of(await acme.put(STATUS, json=body), status, pointer)
    good = {"status": "grace", "reason": "r"}
    problem_of(await acme.put("/v1/tenants/nobody/billing-status", json=good), 404)
    await acme.put("/v1/tenants/bare", json={})
    problem_of(await acme.put("/v1/tenants/bare/billing-status", json=good), 404)
    assert (await shown(acme))["billing"] == []
