"""The billing status over HTTP: set, run its course by the days of the plan, cleared."""

from datetime import timedelta

import pytest

from policies.payment.fact import PaymentFact, Rule
from service.usecases import payment_facts
from store import certify
from tests.api.answers import problem_of
from tests.conftest import NOW
from tests.store import ledger

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


async def status_of(api):
    response = await api.get(STATUS)
    assert response.status_code == 200, response.text
    return response.json()


def failed(at, **rest):
    rule = Rule(grace_days=7, restricted_days=14)
    return PaymentFact(
        kind="invoice", subject="inv_1", state="failed", seen_at=at, since=at, rule=rule, **rest
    )


async def test_it_is_shown_with_its_reason_and_what_comes_next(acme, context, clock):
    assert await status_of(acme) | {"tenantId": 0, "subscriptionId": 0} == {
        "tenantId": 0, "subscriptionId": 0, "status": "good", "since": None, "reason": "", "happenedAt": None,
        "message": "good", "next": [], "byHand": None, "flags": [], "unknown": [],
        "paymentsSay": {"status": "good", "reason": "", "happenedAt": None},
    }  # fmt: skip
    look = failed(NOW - DAY, reason="card declined")
    await payment_facts.note(context, ledger.ORDER, "acme", [look])
    view = await status_of(acme)
    assert (view["status"], view["since"]) == ("grace", "2026-11-22T10:00:00Z")
    assert view["happenedAt"] == "2026-11-21T10:00:00Z"
    assert view["message"] == (
        "payment failed (card declined) on 2026-11-21 10:00 UTC, overage ends on 2026-11-28 10:00 UTC, "
        "access ends on 2026-12-12 10:00 UTC"
    )
    assert [(one["status"], one["since"][:10]) for one in view["next"]] == [
        ("restricted", "2026-11-28"), ("suspended", "2026-12-12"),
    ]  # fmt: skip
    clock.at = NOW + 20 * DAY
    view = await status_of(acme)
    assert (view["status"], view["next"]) == ("suspended", [])
    assert view["message"] == "payment failed (card declined) on 2026-11-21 10:00 UTC"


async def test_a_word_by_hand_is_visible_and_ends_or_is_lifted(acme, context, clock):
    await payment_facts.note(context, ledger.ORDER, "acme", [failed(NOW)])
    until = "2026-11-25T10:00:00Z"
    await put(acme, "good", reason="paid by wire", until=until)
    view = await status_of(acme)
    assert (view["status"], view["paymentsSay"]["status"]) == ("good", "grace")
    assert view["byHand"] == {
        "status": "good", "reason": "paid by wire", "since": "2026-11-22T10:00:00Z", "until": until
    }  # fmt: skip
    assert view["next"][0]["status"] == "grace"
    clock.at = NOW + 3 * DAY
    view = await status_of(acme)
    assert (view["status"], view["byHand"]) == ("grace", None)
    problem_of(await lifted(acme), 404)
    await put(acme, "suspended", reason="fraud")
    assert (await status_of(acme))["byHand"]["until"] is None
    assert (await lifted(acme)).json()["billingStatus"] == "grace"
    assert (await status_of(acme))["byHand"] is None


async def lifted(api, **body):
    return await api.request("DELETE", STATUS, json={"reason": "cleared"} | body)


async def test_what_became_known_is_listed_page_by_page(acme, context, clock):
    await payment_facts.note(context, ledger.ORDER, "acme", [failed(NOW), failed(NOW + DAY, attempts=2)])
    await put(acme, "good", reason="paid by wire")
    first = (await acme.get(f"{STATUS}/history?limit=2")).json()
    rest = (await acme.get(f"{STATUS}/history?limit=2&cursor={first['nextCursor']}")).json()
    assert rest["nextCursor"] is None
    items = first["items"] + rest["items"]
    assert [(one["kind"], one["state"], one["attempts"]) for one in items] == [
        ("hand", "good", 0), ("invoice", "failed", 2), ("invoice", "failed", 0),
    ]  # fmt: skip
    assert items[2] == {
        "kind": "invoice", "subject": "inv_1", "state": "failed", "since": "2026-11-22T10:00:00Z",
        "seenAt": "2026-11-22T10:00:00Z", "notedAt": "2026-11-22T10:00:00Z", "dueAt": None, "endsAt": None,
        "attempts": 0, "reason": "", "link": "",
    }  # fmt: skip


async def test_what_nobody_knows_and_what_is_to_be_known_is_told(acme, context):
    def seen(kind, state):
        return PaymentFact(
            kind=kind, subject="x_1", state=state, seen_at=NOW, since=NOW, link="https://pay.example"
        )

    facts = [seen("subscription", "hibernating"), seen("invoice", "action_required")]
    await payment_facts.note(context, ledger.ORDER, "acme", facts)
    view = await status_of(acme)
    assert view["unknown"] == ["subscription x_1: hibernating"]
    assert [(one["flag"], one["link"]) for one in view["flags"]] == [
        ("action_required", "https://pay.example")
    ]


async def test_a_decision_says_why_and_what_comes_next(acme, context):
    await certify.certify(context.pool, context.counters.link, now=NOW)
    await payment_facts.note(context, ledger.ORDER, "acme", [failed(NOW - 10 * DAY)])
    body = {"tenantId": "acme", "featureId": "ai-tokens", "quantity": 1_000_001, "explain": True}
    decision = (await acme.post("/v1/check", json=body)).json()
    said = "payment failed on 2026-11-12 10:00 UTC, access ends on 2026-12-03 10:00 UTC"
    assert decision["message"].endswith(f"; {said}")
    assert decision["derivation"]["billing"] == {
        "status": "restricted", "since": "2026-11-22T10:00:00Z", "reason": "payment failed",
        "happenedAt": "2026-11-12T10:00:00Z", "message": said,
        "next": [{"status": "suspended", "since": "2026-12-03T10:00:00Z"}],
    }  # fmt: skip
    assert decision["reason"] == "payment_required"


async def test_a_subscription_that_is_over_has_ended(acme):
    await acme.post(f"{SUBSCRIPTION}/cancel", json={"when": "now"})
    view = await status_of(acme)
    assert (view["status"], view["message"]) == ("ended", "the subscription has ended")


async def test_bad_questions_about_it_are_named(acme, context):
    problem_of(await acme.get("/v1/tenants/nobody/billing-status"), 404)
    await acme.put("/v1/tenants/bare", json={})
    problem_of(await acme.get("/v1/tenants/bare/billing-status"), 404)
    problem_of(await acme.get("/v1/tenants/nobody/billing-status/history"), 404)
    problem_of(await acme.get(f"{STATUS}/history?cursor=aW52XzE"), 422, "?cursor")
    problem_of(await acme.get(f"{STATUS}/history?limit=0"), 422, "?limit")
    past = {"status": "good", "reason": "r", "until": "2026-11-22T09:59:00Z"}
    problem_of(await acme.put(STATUS, json=past), 422, "/until")
    problem_of(await acme.request("DELETE", STATUS, json={}), 422, "/reason")
    assert (await shown(acme))["billing"] == []


def disputed(state, at=NOW):
    return PaymentFact(kind="dispute", subject="dp_1", state=state, seen_at=at, since=at)


async def settle(api, outcome, dispute_id="dp_1", **headers):
    body = {"outcome": outcome, "reason": "the bank wrote"}
    return await api.post(f"/v1/tenants/acme/disputes/{dispute_id}/settle", json=body, headers=headers)


async def test_a_dispute_that_was_lost_is_settled_by_hand_and_stays_so(acme, context, clock):
    """Also when the provider is looked at again, and still has it as lost."""
    await payment_facts.note(context, ledger.ORDER, "acme", [disputed("needs_response")])
    assert "is needs_response" in problem_of(await settle(acme, "settled"), 409)["detail"]
    lost = await settle(acme, "lost")
    assert (lost.status_code, lost.json()["status"]) == (200, "suspended")
    assert [one["flag"] for one in lost.json()["flags"]] == ["dispute_lost"]
    assert (await settle(acme, "settled")).json()["status"] == "good"
    clock.at += DAY
    await payment_facts.note(context, ledger.ORDER, "acme", [disputed("lost", clock.at)])
    view = await status_of(acme)
    assert (view["status"], view["flags"]) == ("good", [])
    items = (await acme.get(f"{STATUS}/history")).json()["items"]
    assert [(one["state"], one["reason"]) for one in items] == [
        ("lost", ""), ("settled", "the bank wrote"), ("lost", "the bank wrote"), ("needs_response", ""),
    ]  # fmt: skip


async def test_a_dispute_that_was_won_by_hand_opens_again_until_more_is_seen(acme, context, clock):
    await payment_facts.note(context, ledger.ORDER, "acme", [disputed("under_review")])
    assert (await status_of(acme))["status"] == "restricted"
    first = await settle(acme, "won", **{"idempotency-key": "k"})
    assert first.json()["status"] == "good"
    assert (await settle(acme, "won", **{"idempotency-key": "k"})).json() == first.json()
    assert "won already" in problem_of(await settle(acme, "won"), 409)["detail"]
    clock.at += DAY
    await payment_facts.note(context, ledger.ORDER, "acme", [disputed("lost", clock.at)])
    assert (await status_of(acme))["status"] == "suspended"


async def test_of_disputes_that_nobody_knows_nothing_is_said(acme):
    problem_of(await settle(acme, "won"), 404)
    problem_of(await settle(acme, "gone"), 422, "/outcome")
    problem_of(await settle(acme, "won", **{"if-match": '"x"'}), 412)
