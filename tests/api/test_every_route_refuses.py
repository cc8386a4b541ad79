"""Whatever is sent to any route of the API: a problem that helps, never a 500, and nothing is stored."""

import json
import re

import pytest

from policies import limits
from service.api.app import make_app
from store import postgres
from tests.api.echo import NOWHERE
from tests.conftest import open_counters

JSON = {"content-type": "application/json"}
SIGNED = "/v1/stripe/webhook"
"""Asks for a signature in the place of a key (tests/stripe_world/test_webhook.py)."""
NASTY_IDS = (
    '"; permit(principal, action, resource);',
    "a\x00b",
    "a\nb",
    "ä" * 200,
    "x" * 10_000,
    "../../etc",
)


def routes(*methods: str) -> list[tuple[str, str]]:
    """Every route that takes one of the methods, with a plain id for each part of its path."""
    found = []
    for route in make_app(NOWHERE).routes:
        for handler in getattr(route, "route_handlers", ()):
            found += [
                (method, re.sub(r"\{[^}]*\}", "acme", route.path_format))
                for method in sorted(handler.http_methods)
                if method in methods
            ]
    return sorted(set(found))


FIELDS = ("tenantId", "featureId", "planId", "name", "scopes", "quantity", "checks", "events")
BODIES = {
    "empty": b"",
    "not JSON": b"{nope",
    "a number": b"17",
    "a list": b"[]",
    "null": b"null",
    "an unknown field": b'{"colour": "red"}',
    "wrong types": json.dumps({field: {"a": []} for field in FIELDS}).encode(),
    "5,000 nested lists": b'{"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "no UTF-8": b'{"name": "\xff\xfe"}',
    "NaN": b'{"quantity": NaN}',
}  # fmt: skip


async def counted(context) -> dict[str, int]:
    """Rows by table, and the journal's length."""
    async with postgres.transaction(context.pool) as connection:
        tables = await postgres.scalars(
            connection,
            b"select relname from pg_class "
            b"where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')",
            {},
        )
        found = {}
        for table in tables:
            (found[table],) = await postgres.scalars(connection, f"select count(*) from {table}".encode(), {})
    keys = (await context.counters.link.send([("KEYS", "*")])).values[0]
    return found | {
        "keys": sum(not key.startswith(b"s:") for key in keys)
    }  # copies for reading are nothing new


@pytest.fixture
async def ready(api, context, catalog):
    """An instance that could do it all."""
    await open_counters(context)
    assert (await api.put("/v1/tenants/acme", json={"name": "Acme"})).status_code == 201
    return api


def helps(response) -> None:
    assert 400 <= response.status_code < 500, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert len(problem["detail"]) > 10
    assert problem["requestId"] == response.headers["x-request-id"]


async def test_bad_bodies(ready, context):
    before = await counted(context)
    takes_nothing = {("POST", "/v1/tenants/acme/subscription/resume"), ("POST", "/v1/keys/acme/revoke")}
    for method, path in routes("POST", "PUT", "PATCH"):
        for name, body in BODIES.items():
            response = await ready.request(method, path, content=body, headers=JSON)
            assert response.status_code < 500, (method, path, name, response.text)
            assert response.status_code >= 400 or (method, path) in takes_nothing, (method, path, name)
            if response.status_code >= 400:
                helps(response)
    assert await counted(context) == before


async def test_bodies_that_are_too_large_or_of_another_type(ready, context):
    before = await counted(context)
    for method, path in routes("POST", "PUT", "PATCH"):
        large = await ready.request(method, path, content=b" " * (limits.BODY_BYTES + 1), headers=JSON)
        other = await ready.request(method, path, content=b"<a/>", headers={"content-type": "text/xml"})
        for response in (large, other):
            helps(response)
        assert other.status_code in (404, 415, 422)
    assert await counted(context) == before


@pytest.mark.parametrize("nasty", NASTY_IDS, ids=ascii)
async def test_ids_that_are_none(ready, context, nasty):
    """An id never reaches Cedar, SQL or a key's name as anything but an id."""
    before = await counted(context)
    check = {"tenantId": "acme", "featureId": "ai-tokens"}
    usage = check | {"serviceId": "s", "quantity": 1}
    for field in ("tenantId", "featureId", "entityId"):
        helps(await ready.post("/v1/check", json=check | {field: nasty}))
    for field in ("tenantId", "featureId", "entityId", "serviceId", "id"):
        helps(await ready.post("/v1/usage", json=usage | {field: nasty}))
    helps(await ready.post("/v1/check", json=check | {"context": {"__entity": nasty}}))
    helps(await ready.post("/v1/check", json=check | {"context": {nasty: "eu"}}))
    assert await counted(context) == before


@pytest.mark.parametrize(
    "quantity",
    [-1, 2**53, 10**30, 1.5, "1.5", "-1", "1e3", "٣", "", True, None, [], {}, " 1", "0x10"],
    ids=repr,
)
async def test_quantities_that_are_none(ready, context, quantity):
    before = await counted(context)
    check = {"tenantId": "acme", "featureId": "ai-tokens", "quantity": quantity}
    helps(await ready.post("/v1/check", json=check))
    helps(await ready.post("/v1/usage", json=check | {"serviceId": "s"}))
    batch = await ready.post("/v1/usage", json={"events": [check | {"serviceId": "s"}]})
    assert batch.json()["rejected"] == 1
    async with postgres.transaction(context.pool) as connection:
        await connection.execute(b"delete from usage_rejected")
    assert await counted(context) == before


@pytest.mark.parametrize(
    "timestamp",
    [
        "2026-11-22T10:00:00",
        "2026-11-22T10:06:00Z",
        "2026-10-18T09:59:59Z",
        "yesterday",
        "0001-01-01T00:00:00+14:00",
        5,
    ],
)
async def test_instants_that_cannot_be(ready, context, timestamp):
    """Naive, ahead of the clock, older than events may be, no instant at all."""
    before = await counted(context)
    event = {
        "tenantId": "acme",
        "serviceId": "s",
        "featureId": "ai-tokens",
        "quantity": 1,
        "timestamp": timestamp,
    }
    helps(await ready.post("/v1/usage", json=event))
    assert await counted(context) == before


async def test_keys_that_open_nothing(ready, make_key, context):
    """No key, a wrong one, one without the scope: before a body is read."""
    weak = {"authorization": f"Bearer {await make_key('read')}"}
    for method, path in routes("GET", "POST", "PUT", "DELETE"):
        if not path.startswith("/v1") or path == SIGNED:
            continue
        none = await ready.request(method, path, headers={"authorization": ""})
        wrong = await ready.request(method, path, headers={"authorization": "Bearer mg_nothing"})
        assert (none.status_code, wrong.status_code) == (401, 401), (method, path)
        helps(none)
        if method != "GET":
            assert (await ready.request(method, path, headers=weak)).status_code == 403, (method, path)


async def test_a_key_of_one_tenant_reaches_no_other(ready, make_key, context):
    await ready.put("/v1/tenants/other", json={"name": "Other"})
    bound = {"authorization": f"Bearer {await make_key(tenant_id='other')}"}
    for method, path in routes("GET", "PUT", "DELETE", "POST"):
        if "/tenants/acme" in path:
            response = await ready.request(method, path, headers=bound | JSON, content=b"{}")
            assert response.status_code == 403, (method, path, response.text)
    check = {"tenantId": "acme", "featureId": "ai-tokens"}
    event = check | {"serviceId": "s", "quantity": 1}
    assert (await ready.post("/v1/check", json=check, headers=bound)).status_code == 403
    assert (await ready.post("/v1/usage", json=event, headers=bound)).status_code == 403
    report = await ready.get("/v1/reports/usage?tenantId=acme&featureId=ai-tokens", headers=bound)
    assert report.status_code == 403
    batch = await ready.post(
        "/v1/usage", json={"events": [event, event | {"tenantId": "other"}]}, headers=bound
    )
    assert (batch.json()["accepted"], batch.json()["rejected"]) == (1, 1)


@pytest.mark.parametrize(
    "query",
    ["step=year", "from=2026-11-22T10:00:00", "from=2026-11-22T10:00:30Z", "featureId=nothing", "limit=5",
     "from=2026-11-22T10:00:00Z&to=2026-11-22T10:00:00Z", "groupBy=tenant", "tenantId=%22",
     "step=hour&step=day",
     "featureId=ai-tokens&from=1970-01-01T00:00:00Z&step=hour", "from=0001-01-01T00:00:00%2B14:00"],
)  # fmt: skip
async def test_reports_that_cannot_be(ready, query):
    helps(await ready.get(f"/v1/reports/usage?{query}"))
