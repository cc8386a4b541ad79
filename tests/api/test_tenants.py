"""Tenants over HTTP: made, replaced, found, closed; repeated, concurrent and bad requests change nothing."""

import asyncio

import pytest

from policies import limits
from store import postgres

ACME = "/v1/tenants/acme"


def problem_of(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["detail"]
    return problem


async def lines(context):
    async with postgres.transaction(context.pool) as connection:
        return await postgres.scalars(connection, b"select action from audit order by seq", {})


async def test_a_put_makes_a_tenant_and_a_second_one_replaces_all_of_it(api):
    made = await api.put(ACME, json={"name": "Acme", "email": "a@acme.test", "metadata": {"crm": "17"}})
    assert made.status_code == 201
    assert made.json() == {
        "tenantId": "acme", "name": "Acme", "email": "a@acme.test", "metadata": {"crm": "17"},
        "createdAt": "2026-11-22T10:00:00Z", "updatedAt": "2026-11-22T10:00:00Z", "closedAt": None,
    }  # fmt: skip
    replaced = await api.put(ACME, json={"name": "Acme Ltd"})
    assert replaced.status_code == 200
    assert (replaced.json()["name"], replaced.json()["email"], replaced.json()["metadata"]) == (
        "Acme Ltd",
        "",
        {},
    )
    assert replaced.headers["etag"] != made.headers["etag"]
    got = await api.get(ACME)
    assert (got.json(), got.headers["etag"]) == (replaced.json(), replaced.headers["etag"])


async def test_a_put_that_changes_nothing_writes_nothing(api, context):
    first = await api.put(ACME, json={"name": "Acme"})
    before = await lines(context)
    second = await api.put(ACME, json={"name": "Acme"})
    assert (second.status_code, second.headers["etag"]) == (200, first.headers["etag"])
    assert await lines(context) == before


async def test_unknown_tenants_are_404(api):
    assert 'no tenant "acme"' in problem_of(await api.get(ACME), 404)["detail"]
    problem_of(await api.delete(ACME), 404)


async def test_if_match_lets_only_the_version_pass_that_it_names(api):
    etag = (await api.put(ACME, json={"name": "one"})).headers["etag"]
    moved = await api.put(ACME, json={"name": "two"}, headers={"if-match": etag})
    assert moved.status_code == 200
    problem_of(await api.put(ACME, json={"name": "three"}, headers={"if-match": etag}), 412)
    problem_of(await api.delete(ACME, headers={"if-match": etag}), 412)
    assert (await api.get(ACME)).json()["name"] == "two"
    listed = f'"0", {moved.headers["etag"]}'
    assert (await api.put(ACME, json={"name": "three"}, headers={"if-match": listed})).status_code == 200
    assert (await api.put(ACME, json={"name": "four"}, headers={"if-match": "*"})).status_code == 200


async def test_if_match_refuses_what_does_not_exist(api):
    problem_of(await api.put(ACME, json={}, headers={"if-match": "*"}), 412)
    problem_of(await api.get(ACME), 404)


async def test_a_repeated_request_gets_the_same_answer_and_does_nothing(api, context, clock):
    key = {"idempotency-key": "a b/1"}
    first = await api.put(ACME, json={"name": "Acme"}, headers=key)
    assert (await api.put(ACME, json={"name": "other"})).status_code == 200
    before = await lines(context)
    again = await api.put(ACME, json={"name": "Acme"}, headers=key)
    assert (again.status_code, again.content, again.headers["etag"]) == (
        201,
        first.content,
        first.headers["etag"],
    )
    assert await lines(context) == before
    assert (await api.get(ACME)).json()["name"] == "other"


async def test_the_same_key_with_another_request_is_a_mismatch(api):
    key = {"idempotency-key": "k"}
    await api.put(ACME, json={"name": "Acme"}, headers=key)
    other = problem_of(await api.put(ACME, json={"name": "Other"}, headers=key), 422)
    assert other["type"].endswith("/idempotency-mismatch")
    problem_of(await api.put("/v1/tenants/other", json={"name": "Acme"}, headers=key), 422)
    assert (await api.get(ACME)).json()["name"] == "Acme"


async def test_an_idempotency_key_is_one_callers_on_one_route_for_a_day(api, make_key, clock):
    key = {"idempotency-key": "k"}
    await api.put(ACME, json={"name": "Acme"}, headers=key)
    assert (await api.delete(ACME, headers=key)).json()["closedAt"] is not None
    own = {"authorization": f"Bearer {await make_key()}"}
    assert (await api.put("/v1/tenants/b", json={}, headers=key | own)).status_code == 201
    clock.at += limits.IDEMPOTENCY_HOURS * (clock.at - clock.at.replace(hour=9))
    assert (await api.put("/v1/tenants/c", json={}, headers=key)).status_code == 201


async def test_a_refusal_is_not_remembered(api):
    key = {"idempotency-key": "k"}
    problem_of(await api.delete(ACME, headers=key), 404)
    await api.put(ACME, json={})
    assert (await api.delete(ACME, headers=key)).status_code == 200


async def test_of_many_at_once_with_one_key_one_acts(api, context):
    key = {"idempotency-key": "k"}
    answers = await asyncio.gather(*(api.put(ACME, json={"name": "x"}, headers=key) for _ in range(6)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert (await lines(context)).count("tenant.create") == 1


async def test_of_many_at_once_without_a_key_one_creates(api, context):
    answers = await asyncio.gather(*(api.put(ACME, json={"name": f"{n}"}) for n in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert (await lines(context)).count("tenant.create") == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
async def test_an_idempotency_key_has_bounds(api, key):
    answer = await api.put(ACME, json={}, headers={"idempotency-key": key})
    assert problem_of(answer, 422)["errors"][0]["pointer"] == "Idempotency-Key"


async def test_with_postgres_away_a_write_is_503_and_says_when_to_retry(api, context):
    await api.put(ACME, json={})
    await context.pool.close()
    answer = await api.put(ACME, json={"name": "Acme"})
    problem_of(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1


async def test_closing_keeps_the_tenant_and_refuses_later_changes(api, context):
    await api.put(ACME, json={"name": "Acme"})
    closed = await api.delete(ACME)
    assert closed.status_code == 200
    assert closed.json()["closedAt"] == "2026-11-22T10:00:00Z"
    assert (await api.get(ACME)).json() == closed.json()
    assert "closed" in problem_of(await api.put(ACME, json={"name": "again"}), 409)["detail"]
    before = await lines(context)
    assert (await api.delete(ACME)).json() == closed.json()
    assert await lines(context) == before


async def test_the_list_finds_by_id_name_and_email_and_comes_in_pages(api):
    for number in range(5):
        await api.put(
            f"/v1/tenants/t{number}", json={"name": f"Number {number}", "email": "All@Example.test"}
        )
    await api.put("/v1/tenants/other", json={"name": "100% _sure_"})

    async def ids(**params):
        page = (await api.get("/v1/tenants", params=params)).json()
        return [item["tenantId"] for item in page["items"]], page["nextCursor"]

    assert await ids() == (["other", "t0", "t1", "t2", "t3", "t4"], None)
    assert await ids(query="number 3") == (["t3"], None)
    assert await ids(query="example.TEST", limit=5) == (["t0", "t1", "t2", "t3", "t4"], None)
    assert await ids(query="% _s") == (["other"], None)
    assert await ids(query="'; drop table tenants; --") == ([], None)
    seen, cursor = await ids(limit=4)
    assert seen == ["other", "t0", "t1", "t2"]
    assert await ids(limit=4, cursor=cursor) == (["t3", "t4"], None)


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"limit": 0}, "?limit"),
        ({"limit": "many"}, "?limit"),
        ({"limit": limits.LIST_LIMIT + 1}, "?limit"),
        ({"cursor": "!"}, "?cursor"),
        ({"cursor": "AAAA"}, "?cursor"),
        ({"query": "a\x00b"}, "?query"),
        ({"page": 2}, "?page"),
    ],
)
async def test_bad_parameters_of_the_list_are_named(api, params, pointer):
    assert problem_of(await api.get("/v1/tenants", params=params), 422)["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": 7}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"name": "two\nlines"}, "/name"),
        ({"name": "nul\x00"}, "/name"),
        ({"email": "nobody"}, "/email"),
        ({"email": "a@b\n"}, "/email"),
        ({"email": "a@" + "b" * 300}, "/email"),
        ({"metadata": {"a b": "1"}}, "/metadata/a b"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"metadata": {"a": "nul\x00"}}, "/metadata/a"),
        ({"metadata": {f"k{n}": "" for n in range(51)}}, "/metadata"),
        ({"nmae": "Acme"}, "/nmae"),
    ],
)
async def test_bad_fields_are_named_and_nothing_is_stored(api, body, pointer):
    assert problem_of(await api.put(ACME, json=body), 422)["errors"][0]["pointer"] == pointer
    problem_of(await api.get(ACME), 404)


@pytest.mark.parametrize("tenant_id", ["a%20b", "%22quote", "a%00b", "-a", "x" * 10_000, "a%0A", "%D9%A3"])
async def test_ids_that_cannot_be_are_refused(api, tenant_id):
    answer = await api.put(f"/v1/tenants/{tenant_id}", json={})
    assert problem_of(answer, 422)["errors"][0]["pointer"] == "{tenantId}"


@pytest.mark.parametrize("scopes", [("check",), ("report",), ("read",), ("operate",)])
async def test_only_manage_manages(api, make_key, scopes):
    headers = {"authorization": f"Bearer {await make_key(*scopes)}"}
    for method, path in (("PUT", ACME), ("GET", ACME), ("DELETE", ACME), ("GET", "/v1/tenants")):
        problem_of(await api.request(method, path, headers=headers, content=b"{}"), 403)


async def test_a_key_of_one_tenant_touches_and_sees_no_other(api, make_key):
    await api.put(ACME, json={"name": "Acme"})
    await api.put("/v1/tenants/beta", json={"name": "Beta"})
    own = {"authorization": f"Bearer {await make_key('manage', tenant_id='acme')}"}
    assert (await api.put(ACME, json={"name": "Own"}, headers=own)).status_code == 200
    for method in ("PUT", "GET", "DELETE"):
        problem_of(await api.request(method, "/v1/tenants/beta", headers=own, content=b"{}"), 403)
    listed = (await api.get("/v1/tenants", headers=own)).json()["items"]
    assert [item["tenantId"] for item in listed] == ["acme"]
