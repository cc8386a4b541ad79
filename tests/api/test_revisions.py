"""Events are amended and voided over HTTP: what was counted follows, and how it came to that is kept."""

import asyncio

import pytest

from store import postgres
from tests.api.answers import problem_of
from tests.conftest import open_counters

EVENT = "/v1/usage/s/e1"
USE = {"tenantId": "acme", "serviceId": "s", "featureId": "ai-tokens"}


@pytest.fixture
async def acme(api, context, catalog):
    """A tenant on free (10,000 tokens) with an event `e1` of 400 tokens."""
    await open_counters(context)
    await api.put("/v1/tenants/acme", json={"name": "Acme"})
    await api.post(
        "/v1/tenants/acme/subscription", json={"planId": "free", "startAt": "2026-11-01T00:00:00Z"}
    )
    await report(api, "e1", 400, entityId="u1", properties={"model": "small"})
    return api


async def report(api, name: str, quantity, **fields) -> dict:
    response = await api.post("/v1/usage", json=USE | {"id": name, "quantity": quantity} | fields)
    assert response.status_code == 202, response.text
    return response.json()


async def amend(api, quantity, path: str = EVENT, headers=None, **fields):
    body = {"tenantId": "acme", "quantity": quantity, "reason": "miscounted"} | fields
    return await api.post(f"{path}/amend", json=body, headers=headers)


async def void(api, path: str = EVENT, headers=None, **fields):
    body = {"tenantId": "acme", "reason": "never happened"} | fields
    return await api.post(f"{path}/void", json=body, headers=headers)


async def usage(api) -> int:
    response = await api.post("/v1/check", json={"tenantId": "acme", "featureId": "ai-tokens"})
    return response.json()["usage"]


async def reported(api) -> tuple[int, int]:
    report = (await api.get("/v1/reports/usage?tenantId=acme&featureId=ai-tokens")).json()
    return report["total"], report["events"]


async def audited(context) -> list[tuple]:
    query = (
        b"select actor, action, subject, before, after, reason from audit "
        b"where action like 'usage.%%' order by seq"
    )
    async with postgres.transaction(context.pool) as connection:
        cursor = await connection.execute(query, {})
        return await cursor.fetchall()


async def test_an_amended_event_shows_what_holds_and_everything_follows(acme, context):
    answer = await amend(acme, 150)
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    told = answer.json()
    assert (told["quantity"], told["revision"], told["voided"]) == (150, 2, False)
    assert (told["entityId"], told["properties"], told["planId"]) == ("u1", {"model": "small"}, "free")
    assert await usage(acme) == 150
    assert await reported(acme) == (150, 1)
    (listed,) = (await acme.get("/v1/usage/events?tenantId=acme")).json()["items"]
    assert listed == told
    await amend(acme, 500, reason="found the rest")
    shown = await acme.get(f"{EVENT}?tenantId=acme")
    assert shown.headers["etag"] == '"3"'
    versions = [
        (one["revision"], one["kind"], one["quantity"], one["reason"]) for one in shown.json()["revisions"]
    ]
    assert versions == [
        (1, "report", 400, None),
        (2, "amend", 150, "miscounted"),
        (3, "amend", 500, "found the rest"),
    ]
    assert shown.json()["revisions"][2]["actor"].startswith("key:")
    assert (await usage(acme), await reported(acme)) == (500, (500, 1))


async def test_a_voided_event_counts_nothing_and_stays_visible(acme):
    await report(acme, "e2", 30)
    told = (await void(acme)).json()
    assert (told["quantity"], told["revision"], told["voided"]) == (0, 2, True)
    assert (await usage(acme), await reported(acme)) == (30, (30, 1))
    items = (await acme.get("/v1/usage/events?tenantId=acme")).json()["items"]
    assert sorted((one["id"], one["quantity"], one["voided"]) for one in items) == [
        ("e1", 0, True),
        ("e2", 30, False),
    ]
    again = await report(acme, "e1", 400, entityId="u1", properties={"model": "small"})
    assert again["duplicates"] == 1  # its id stays used
    assert await usage(acme) == 30


async def test_who_did_it_and_why_is_in_the_audit_once(acme, context):
    await amend(acme, 150)
    await amend(acme, 150)
    await void(acme)
    first, second, third = (
        {"featureId": "ai-tokens", "at": "2026-11-22T10:00:00Z", "revision": number, "quantity": quantity}
        for number, quantity in ((1, 400), (2, 150), (3, 0))
    )
    lines = await audited(context)
    assert [line[1:] for line in lines] == [
        ("usage.amend", "s/e1", first, second, "miscounted"),
        ("usage.void", "s/e1", second, third, "never happened"),
    ]
    assert all(line[0].startswith("key:") for line in lines)


async def test_the_same_request_answers_the_same(acme, context):
    key = {"idempotency-key": "one"}
    first = await amend(acme, 150, headers=key)
    await amend(acme, 90)
    again = await amend(acme, 150, headers=key)
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    assert await usage(acme) == 90
    problem_of(await amend(acme, 151, headers=key), 422)
    problem_of(await void(acme, headers=key), 422)
    # as if the process had died before it could keep the answer
    async with postgres.transaction(context.pool) as connection:
        await connection.execute(b"delete from idempotency_keys")
    again = await amend(acme, 150, headers=key)
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    assert problem_of(await amend(acme, 151, headers=key), 422)["type"].endswith("idempotency-mismatch")
    assert len(await audited(context)) == 2


async def test_a_named_revision_recognises_a_repetition_too(acme):
    first = await void(acme, revision=1)
    again = await void(acme, revision=1)
    assert (first.status_code, again.content) == (200, first.content)
    assert "revision 2, not at 1" in problem_of(await amend(acme, 3, revision=1), 409)["detail"]


async def test_a_revision_that_is_not_the_present_one_is_refused(acme):
    await amend(acme, 150)
    assert "at revision 2, not at 1" in problem_of(await amend(acme, 7, revision=1), 409)["detail"]
    assert "at revision 2, not at 3" in problem_of(await void(acme, revision=3), 409)["detail"]
    assert problem_of(await amend(acme, 7, headers={"if-match": '"1"'}), 412)["type"].endswith(
        "stale-version"
    )
    assert (await amend(acme, 7, revision=2, headers={"if-match": '"2"'})).json()["revision"] == 3
    assert await usage(acme) == 7


async def test_of_many_at_once_one_is_kept_for_each_revision(acme):
    answers = await asyncio.gather(*(amend(acme, quantity, revision=1) for quantity in range(8)))
    kept = [one.json() for one in answers if one.status_code == 200]
    assert [one["revision"] for one in kept] == [2]
    assert {one.status_code for one in answers} == {200, 409}
    assert (await usage(acme), await reported(acme)) == (kept[0]["quantity"], (kept[0]["quantity"], 1))


async def test_the_same_at_once_is_one(acme):
    answers = await asyncio.gather(*(void(acme) for _ in range(5)))
    assert [one.json()["revision"] for one in answers if one.status_code == 200]
    assert {one.status_code for one in answers} <= {200, 409}
    assert (await usage(acme), await reported(acme)) == (0, (0, 0))


async def test_the_quantity_that_it_has_changes_nothing(acme, context):
    told = (await amend(acme, 400)).json()
    assert (told["quantity"], told["revision"]) == (400, 1)
    assert await audited(context) == []


async def test_what_cannot_be_is_refused_and_nothing_changes(acme, context):
    await report(acme, "call", 3, featureId="api-calls")
    problem_of(await amend(acme, -1), 422, "/quantity")
    problem_of(await amend(acme, 10**15 + 1), 422, "/quantity")
    problem_of(await amend(acme, "1.5"), 422, "/quantity")
    problem_of(await amend(acme, 1.5), 422, "/quantity")
    problem_of(await amend(acme, 5, reason=""), 422, "/reason")
    problem_of(await amend(acme, 5, revision=0), 422, "/revision")
    problem_of(await amend(acme, 5, colour="red"), 422, "/colour")
    problem_of(await acme.post(f"{EVENT}/amend", json={"quantity": 1, "reason": "r"}), 422, "/tenantId")
    problem_of(await acme.get(EVENT), 422, "?tenantId")
    problem_of(await amend(acme, 1, "/v1/usage/s/nothing"), 404)
    problem_of(await void(acme, "/v1/usage/other/e1"), 404)
    problem_of(await void(acme, tenantId="umbrella"), 404)
    problem_of(await acme.get("/v1/usage/s/nothing?tenantId=acme"), 404)
    assert "counts events" in problem_of(await amend(acme, 5, "/v1/usage/s/call"), 422, "/quantity")["detail"]
    assert await audited(context) == []
    assert await usage(acme) == 400


async def test_what_was_voided_stays_so(acme):
    await void(acme)
    assert "revision 2" in problem_of(await void(acme), 409)["detail"]
    problem_of(await void(acme, revision=2), 409)
    problem_of(await amend(acme, 5), 409)
    assert await usage(acme) == 0


async def test_an_event_of_a_feature_that_counts_events_can_be_voided(acme):
    await report(acme, "call", 3, featureId="api-calls")
    assert (await void(acme, "/v1/usage/s/call")).json()["voided"] is True
    report_ = (await acme.get("/v1/reports/usage?tenantId=acme&featureId=api-calls")).json()
    assert (report_["total"], report_["events"]) == (0, 0)


async def test_an_event_that_is_not_kept_any_more_cannot_be_changed(acme, context):
    await acme.get(f"{EVENT}?tenantId=acme")  # flushed
    async with postgres.transaction(context.pool) as connection:
        await connection.execute(b"delete from usage_events")
    for answer in (await amend(acme, 1), await void(acme), await acme.get(f"{EVENT}?tenantId=acme")):
        assert "not kept any more" in problem_of(answer, 409)["detail"]
    assert await usage(acme) == 400


async def test_a_key_of_one_tenant_says_whose_event_it_is(acme, make_key):
    await acme.put("/v1/tenants/umbrella", json={})
    own = {"authorization": f"Bearer {await make_key('manage', 'read', tenant_id='acme')}"}
    other = {"authorization": f"Bearer {await make_key('manage', 'read', tenant_id='umbrella')}"}
    weak = {"authorization": f"Bearer {await make_key('report', 'read')}"}
    body = {"quantity": 9, "reason": "r"}
    assert (await acme.post(f"{EVENT}/amend", json=body, headers=own)).json()["quantity"] == 9
    assert (await acme.get(EVENT, headers=own)).json()["revision"] == 2
    problem_of(await amend(acme, 5, headers=other), 403)
    problem_of(await acme.post(f"{EVENT}/amend", json=body, headers=other), 404)
    problem_of(await amend(acme, 5, headers=weak), 403)


async def test_a_version_has_its_last_number(acme, context):
    await acme.get(f"{EVENT}?tenantId=acme")
    async with postgres.transaction(context.pool) as connection:
        await connection.execute(b"update usage_events set revision = 1000")
    problem_of(await amend(acme, 1), 409)


async def test_a_replay_of_a_use_answers_as_it_was_answered(acme):
    """Its decision was on the quantity of then."""
    use = USE | {"id": "c1", "quantity": 70}
    first = await acme.post("/v1/consume", json=use)
    await amend(acme, 20, "/v1/usage/s/c1")
    await amend(acme, 25, "/v1/usage/s/c1")
    again = await acme.post("/v1/consume", json=use)
    assert (first.status_code, again.content) == (200, first.content)
    assert await usage(acme) == 425


async def drawn(context) -> tuple[dict, dict]:
    """By bucket: the draws of all events and what became of them, and the counters of Postgres."""
    draws = (
        b"select coalesce(sum(drawn_included), 0)::int, coalesce(sum(drawn_excess), 0)::int from usage_draws"
    )
    counters = b"select right(field, 2), used::int from usage_counters where field ~ ':[ix]$'"
    async with postgres.transaction(context.pool) as connection:
        included, excess = await (await connection.execute(draws)).fetchone()
        found = dict(await (await connection.execute(counters)).fetchall())
    return {":i": included, ":x": excess}, found


async def end(api, held: dict, how: str, **body) -> None:
    response = await api.post(f"/v1/reservations/{held['reservationId']}/{how}", json=body)
    assert response.status_code == 200, response.text


async def test_what_a_release_gave_to_others_is_remembered(acme, context):
    """8,400 stand; 6,000 more go past the right; the hold's units then come off that first."""
    await void(acme)
    held = await acme.post("/v1/reservations", json=USE | {"quantity": 8_000})
    assert held.json()["allowed"], held.text
    await report(acme, "e3", 6_000)
    await end(acme, held.json(), "release")
    await acme.get("/v1/usage/s/e3?tenantId=acme")
    assert await drawn(context) == ({":i": 6_000, ":x": 0}, {":i": 6_000, ":x": 0})
    await void(acme, "/v1/usage/s/e3")
    assert await drawn(context) == ({":i": 0, ":x": 0}, {":i": 0, ":x": 0})


async def test_a_settled_reservation_is_an_event_like_any_other(acme, context):
    held = (await acme.post("/v1/reservations", json=USE | {"id": "r1", "quantity": 500})).json()
    path = "/v1/usage/s/r1"
    assert "reserved and not used" in problem_of(await void(acme, path), 409)["detail"]
    await end(acme, held, "settle", quantity=300)
    assert (await amend(acme, 120, path)).json()["quantity"] == 120
    assert await usage(acme) == 520
    assert (await void(acme, path)).json()["voided"]
    assert (await usage(acme), await reported(acme)) == (400, (400, 1))
