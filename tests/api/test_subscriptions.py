"""A tenant's subscription over HTTP: its plan, its periods, its end; each act is allowed or told why not."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from store import postgres, snapshot_source
from tests.api.answers import instant, problem_of
from tests.conftest import NOW

ACME = "/v1/tenants/acme"
SUBSCRIPTION = f"{ACME}/subscription"
DAY = timedelta(days=1)

pytestmark = pytest.mark.usefixtures("catalog")


@pytest.fixture
async def acme(api):
    assert (await api.put(ACME, json={"name": "Acme"})).status_code == 201
    return api


async def subscribed(api, **body):
    response = await api.post(SUBSCRIPTION, json={"planId": "pro"} | body)
    assert response.status_code == 201, response.text
    return response.json()


async def act(api, name, **body):
    response = await api.post(f"{SUBSCRIPTION}/{name}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def version_of(context):
    async with postgres.transaction(context.pool) as connection:
        return (await snapshot_source.read(connection, "acme", now=NOW)).version


async def test_a_subscription_begins_now_and_is_anchored_there(acme, catalog):
    view = await subscribed(acme)
    version = catalog.plans["pro"].version
    assert view == {
        "subscriptionId": view["subscriptionId"], "tenantId": "acme", "state": "active",
        "planId": "pro", "planVersion": version, "addons": [], "billingStatus": "good", "billing": [],
        "anchoredAt": "2026-11-22T10:00:00Z", "createdAt": "2026-11-22T10:00:00Z",
        "trialEndsAt": None, "endsAt": None,
        "currentPeriod": {"start": "2026-11-22T10:00:00Z", "end": "2026-12-22T10:00:00Z"},
        "phases": [
            {"planId": "pro", "planVersion": version, "start": view["createdAt"], "end": None, "addons": []},
        ],
    }  # fmt: skip
    got = await acme.get(SUBSCRIPTION)
    assert got.json() == view
    assert got.headers["etag"] == f'"{view["subscriptionId"]}.1"'


async def test_months_from_the_31st_are_clamped_and_come_back(acme, clock):
    clock.at = datetime(2026, 1, 31, 9, tzinfo=UTC)
    await subscribed(acme)
    ends = []
    for at in ("2026-02-01", "2026-03-01", "2026-04-01", "2028-02-15"):
        clock.at = datetime.fromisoformat(at).replace(tzinfo=UTC)
        ends.append((await acme.get(SUBSCRIPTION)).json()["currentPeriod"]["end"])
    assert ends == [
        "2026-02-28T09:00:00Z", "2026-03-31T09:00:00Z", "2026-04-30T09:00:00Z", "2028-02-29T09:00:00Z",
    ]  # fmt: skip


async def test_start_anchor_and_trial_are_as_asked_for_in_utc(acme, clock):
    view = await subscribed(
        acme, startAt="2026-11-20T12:00:00+02:00", anchor="2020-01-31T00:00:00Z", trial=True
    )
    assert view["phases"][0]["start"] == "2026-11-20T10:00:00Z"
    assert view["anchoredAt"] == "2020-01-31T00:00:00Z"
    assert view["currentPeriod"] == {"start": "2026-10-31T00:00:00Z", "end": "2026-11-30T00:00:00Z"}
    assert view["trialEndsAt"] == "2026-12-04T10:00:00Z"


async def test_a_start_in_the_future_is_pending_until_then(acme, clock):
    view = await subscribed(acme, startAt=instant(clock.at + DAY))
    assert (view["state"], view["planId"], view["currentPeriod"]) == ("pending", "pro", None)
    clock.at += DAY
    view = (await acme.get(SUBSCRIPTION)).json()
    assert (view["state"], view["currentPeriod"]["start"]) == ("active", instant(clock.at))


async def test_there_is_one_live_subscription_at_most(acme, clock):
    await subscribed(acme, planId="free")
    assert "active" in problem_of(await acme.post(SUBSCRIPTION, json={"planId": "pro"}), 409)["detail"]
    await act(acme, "cancel", when="now")
    clock.at += DAY
    again = await subscribed(acme, startAt=instant(clock.at + DAY))
    assert "pending" in problem_of(await acme.post(SUBSCRIPTION, json={"planId": "pro"}), 409)["detail"]
    assert again["state"] == "pending"


async def test_of_many_at_once_one_subscribes(acme):
    answers = await asyncio.gather(*(acme.post(SUBSCRIPTION, json={"planId": "pro"}) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5


async def test_a_new_subscription_cannot_reach_back_over_an_old_one(acme, clock):
    await subscribed(acme)
    clock.at += 2 * DAY
    await act(acme, "cancel", when="now")
    ended = clock.at
    clock.at += DAY
    body = {"planId": "free", "startAt": instant(ended - timedelta(seconds=1))}
    problem_of(await acme.post(SUBSCRIPTION, json=body), 422, "/startAt")
    view = await subscribed(acme, planId="free", startAt=instant(ended))
    assert view["state"] == "active"


async def test_a_change_now_keeps_anchor_and_period(acme, clock):
    before = await subscribed(acme)
    clock.at += 3 * DAY
    view = await act(acme, "change", planId="starter", when="now")
    assert (view["planId"], view["currentPeriod"]) == ("starter", before["currentPeriod"])
    assert view["anchoredAt"] == before["anchoredAt"]
    assert [phase["planId"] for phase in view["phases"]] == ["pro", "starter"]
    assert view["phases"][0]["end"] == view["phases"][1]["start"] == instant(clock.at)


async def test_a_change_at_renewal_takes_effect_at_its_instant_without_a_write(acme, clock, context):
    await subscribed(acme)
    view = await act(acme, "change", planId="free", when="renewal")
    assert (view["planId"], view["phases"][1]["start"]) == ("pro", "2026-12-22T10:00:00Z")
    version = await version_of(context)
    clock.at = datetime(2026, 12, 22, 10, tzinfo=UTC)
    assert (await acme.get(SUBSCRIPTION)).json()["planId"] == "free"
    assert await version_of(context) == version


async def test_a_scheduled_change_is_replaced_and_taken_back(acme):
    first = await subscribed(acme)
    await act(acme, "change", planId="free", when="renewal")
    replaced = await act(acme, "change", planId="starter", when="renewal")
    assert [phase["planId"] for phase in replaced["phases"]] == ["pro", "starter"]
    assert (await act(acme, "change", planId="pro", when="renewal"))["phases"] == first["phases"]


async def test_a_change_without_a_plan_moves_to_its_newest_version(
    acme, context, clock, example_files, publish
):
    first = await subscribed(acme)
    dearer = example_files | {
        "plans/pro.yaml": example_files["plans/pro.yaml"].replace('price: "49.00"', 'price: "59.00"')
    }
    newer = await publish(dearer)
    assert (await acme.get(SUBSCRIPTION)).json()["planVersion"] == first["planVersion"]
    clock.at += DAY
    view = await act(acme, "change", when="now")
    assert view["planVersion"] == newer.plans["pro"].version != first["planVersion"]


async def test_a_plan_that_is_no_longer_sold_keeps_who_is_on_it(acme, context, clock, example_files, publish):
    await subscribed(acme, planId="starter")
    without = {path: text for path, text in example_files.items() if path != "plans/starter.yaml"}
    without["addons/token-pack.yaml"] = without["addons/token-pack.yaml"].replace("starter, ", "")
    without["features.yaml"] = without["features.yaml"].replace("starter, ", "")
    await publish(without)
    context.catalogs._forget()
    assert (await acme.get(SUBSCRIPTION)).json()["currentPeriod"] is not None
    problem_of(await acme.post(f"{SUBSCRIPTION}/change", json={"when": "now"}), 422, "/planId")
    assert (await act(acme, "cancel"))["endsAt"] == "2026-12-22T10:00:00Z"


async def test_a_cancel_is_at_the_end_of_the_period_unless_told_otherwise(acme, clock):
    await subscribed(acme)
    response = await acme.post(f"{SUBSCRIPTION}/cancel")
    assert response.status_code == 200
    assert (response.json()["state"], response.json()["endsAt"]) == ("active", "2026-12-22T10:00:00Z")
    clock.at = datetime(2026, 12, 22, 10, tzinfo=UTC)
    view = (await acme.get(SUBSCRIPTION)).json()
    assert (view["state"], view["planId"], view["currentPeriod"]) == ("ended", "pro", None)


async def test_a_trial_that_is_cancelled_ends_with_the_trial(acme, clock):
    ends = instant(clock.at + 14 * DAY)
    assert (await subscribed(acme, trial=True))["trialEndsAt"] == ends
    clock.at += 3 * DAY
    assert (await act(acme, "cancel"))["endsAt"] == ends
    clock.at += 11 * DAY
    assert (await acme.get(SUBSCRIPTION)).json()["state"] == "ended"


async def test_a_scheduled_end_is_taken_back_by_resume(acme):
    first = await subscribed(acme)
    await act(acme, "cancel")
    view = await act(acme, "resume")
    assert view == first


async def test_a_pending_subscription_that_is_cancelled_never_begins(acme, clock):
    await subscribed(acme, startAt=instant(clock.at + DAY))
    view = await act(acme, "cancel")
    assert (view["state"], view["phases"], view["planId"], view["endsAt"]) == ("ended", [], None, None)
    assert (await subscribed(acme, planId="free"))["state"] == "active"


async def test_what_the_state_does_not_allow_is_409_and_changes_nothing(acme, context):
    await subscribed(acme)
    version = await version_of(context)
    assert (
        "no end is scheduled" in problem_of(await acme.post(f"{SUBSCRIPTION}/resume"), 409)["detail"].lower()
    )
    assert await version_of(context) == version
    await act(acme, "cancel", when="now")
    for name, body in (("change", {"planId": "free", "when": "now"}), ("cancel", {}), ("resume", {})):
        assert "ended" in problem_of(await acme.post(f"{SUBSCRIPTION}/{name}", json=body), 409)["detail"]


async def test_a_cancel_of_what_ends_already_writes_nothing(acme, context):
    await subscribed(acme)
    await act(acme, "cancel")
    version, etag = await version_of(context), (await acme.get(SUBSCRIPTION)).headers["etag"]
    again = await acme.post(f"{SUBSCRIPTION}/cancel")
    assert (again.status_code, again.headers["etag"]) == (200, etag)
    assert await version_of(context) == version


async def test_if_match_and_idempotency_key_guard_a_change(acme):
    await subscribed(acme)
    etag = (await acme.get(SUBSCRIPTION)).headers["etag"]
    headers = {"if-match": etag, "idempotency-key": "k"}
    body = {"planId": "free", "when": "now"}
    first = await acme.post(f"{SUBSCRIPTION}/change", json=body, headers=headers)
    again = await acme.post(f"{SUBSCRIPTION}/change", json=body, headers=headers)
    assert (again.status_code, again.content) == (first.status_code, first.content) == (200, first.content)
    stale = await acme.post(f"{SUBSCRIPTION}/cancel", headers={"if-match": etag})
    assert first.headers["etag"] in problem_of(stale, 412)["detail"]


async def test_closing_a_tenant_ends_its_subscription(acme, clock):
    await subscribed(acme)
    clock.at += DAY
    await acme.delete(ACME)
    view = (await acme.get(SUBSCRIPTION)).json()
    assert (view["state"], view["endsAt"]) == ("ended", instant(clock.at))
    assert "closed" in problem_of(await acme.post(SUBSCRIPTION, json={"planId": "free"}), 409)["detail"]


async def test_every_change_raises_the_snapshot_version_and_reaches_the_cache(acme, context):
    before = await version_of(context)
    await subscribed(acme)
    assert context.snapshots.cached("acme") is None
    loaded = await context.snapshots.load("acme")
    assert loaded.version == before + 1
    await act(acme, "change", planId="free", when="now")
    assert context.snapshots.cached("acme") is None
    assert (await context.snapshots.load("acme")).version == before + 2


async def test_unknown_things_are_named(acme):
    problem_of(await acme.post("/v1/tenants/nobody/subscription", json={"planId": "pro"}), 404)
    problem_of(await acme.get("/v1/tenants/nobody/subscription"), 404)
    assert "no subscription" in problem_of(await acme.get(SUBSCRIPTION), 404)["detail"]
    for name, body in (("change", {"when": "now"}), ("cancel", {}), ("resume", {})):
        problem_of(await acme.post(f"{SUBSCRIPTION}/{name}", json=body), 404)
    unknown = problem_of(await acme.post(SUBSCRIPTION, json={"planId": "prro"}), 422, "/planId")
    assert 'Did you mean "pro"?' in unknown["detail"]


async def test_bad_fields_are_named_and_nothing_is_stored(acme):
    cases = [
        ({}, "/planId"),
        ({"planId": 7}, "/planId"),
        ({"planId": "PRO"}, "/planId"),
        ({"planId": 'pro"'}, "/planId"),
        ({"planId": "pro", "startAt": "2026-11-22T10:00:00"}, "/startAt"),
        ({"planId": "pro", "startAt": "2024-11-22T10:00:00Z"}, "/startAt"),
        ({"planId": "pro", "startAt": "2029-11-22T10:00:00Z"}, "/startAt"),
        ({"planId": "pro", "startAt": "0001-01-01T00:00:00+14:00"}, "/startAt"),
        ({"planId": "pro", "startAt": 1763805600}, "/startAt"),
        ({"planId": "pro", "anchor": "1950-01-01T00:00:00Z"}, "/anchor"),
        ({"planId": "pro", "anchor": "9999-12-31T23:59:59Z"}, "/anchor"),
        ({"planId": "pro", "anchor": "calendar"}, "/anchor"),
        ({"planId": "free", "trial": True}, "/trial"),
        ({"planId": "pro", "trial": "yes"}, "/trial"),
        ({"planId": "pro", "addons": [{"addonId": "no-pack"}]}, "/addons/0/addonId"),
        ({"planId": "pro", "addons": [{"addonId": "token-pack", "quantity": 0}]}, "/addons/0/quantity"),
        ({"planId": "pro", "plan": "pro"}, "/plan"),
    ]
    for body, pointer in cases:
        problem_of(await acme.post(SUBSCRIPTION, json=body), 422, pointer)
    problem_of(await acme.get(SUBSCRIPTION), 404)


async def test_bad_fields_of_a_change_are_named(acme):
    await subscribed(acme)
    cases = [
        ("change", {}, "/when"),
        ("change", {"when": "later"}, "/when"),
        ("change", {"when": "now", "planId": "fre"}, "/planId"),
        ("change", {"when": "now", "addons": [{"addonId": "no-pack"}]}, "/addons/0/addonId"),
        ("cancel", {"when": "renewal"}, "/when"),
        ("resume", {"when": "now"}, "/when"),
    ]
    for name, body, pointer in cases:
        problem_of(await acme.post(f"{SUBSCRIPTION}/{name}", json=body), 422, pointer)


async def test_only_manage_manages_and_only_its_own_tenant(acme, make_key):
    await acme.put("/v1/tenants/beta", json={})
    reader = {"authorization": f"Bearer {await make_key('check', 'report', 'read', 'operate')}"}
    other = {"authorization": f"Bearer {await make_key('manage', tenant_id='beta')}"}
    for headers in (reader, other):
        for path in ("", "/change", "/cancel", "/resume"):
            problem_of(await acme.post(SUBSCRIPTION + path, json={"planId": "pro"}, headers=headers), 403)
        problem_of(await acme.get(SUBSCRIPTION, headers=headers), 403)
