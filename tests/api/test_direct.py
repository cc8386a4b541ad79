"""The routes that are served before the framework's routing answer as every other route does."""

from datetime import timedelta

import pytest

from policies import limits
from service.api.app import make_app
from service.context import Context
from tests.api.echo import NOWHERE
from tests.api.test_problems import problem
from tests.conftest import open_counters

PATHS = ("/v1/check", "/v1/check/batch")
"""Those that change nothing; the others have tests of their own."""
ASK = {"tenantId": "acme", "featureId": "ai-tokens", "quantity": 150}
BODIES = {"/v1/check": ASK, "/v1/check/batch": {"checks": [ASK, ASK]}}
PLAIN = {"content-type": "application/json"}


@pytest.fixture
async def acme(api, context: Context, catalog):
    """A tenant on free, on a server whose shards are open."""
    await open_counters(context)
    await api.put("/v1/tenants/acme", json={"name": "Acme"})
    await api.post(
        "/v1/tenants/acme/subscription", json={"planId": "free", "startAt": "2026-11-01T00:00:00Z"}
    )
    return api


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def test_the_routes_that_are_asked_most_are_direct():
    others = ("/v1/consume", "/v1/reservations", "/v1/usage")
    assert sorted(make_app(NOWHERE).direct) == sorted([*PATHS, *others])


@pytest.mark.parametrize("path", PATHS)
async def test_the_frameworks_spelling_of_a_path_gets_the_same_answer(acme, path):
    """`/v1/check/` is matched by the framework; both go through one act."""
    direct = await acme.post(path, json=BODIES[path], headers={"x-request-id": "mine"})
    framework = await acme.post(path + "/", json=BODIES[path], headers={"x-request-id": "mine"})
    assert (direct.status_code, framework.status_code) == (200, 200)
    assert dict(direct.headers) == dict(framework.headers)
    made = ("decisionId",)

    def decisions(answer) -> list[dict]:
        told = answer.json()
        return [{k: v for k, v in one.items() if k not in made} for one in told.get("decisions", [told])]

    assert decisions(direct) == decisions(framework)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("headers", "content", "expected"),
    [
        (PLAIN, b"", (400, "malformed")),
        (PLAIN, b"{nope", (400, "malformed")),
        (PLAIN, b"\xef\xbb\xbf{}", (400, "malformed")),
        (PLAIN, b"{}", (422, "invalid")),
        (PLAIN, b" " * (limits.BODY_BYTES + 1), (413, "too-large")),
        (PLAIN, b"[" * 5_000, (400, "malformed")),
        ({}, b"{}", (415, "unsupported-type")),
        ({"content-type": "text/plain"}, b"{}", (415, "unsupported-type")),
        ({"content-type": "application/json; charset=latin-1"}, b"{}", (415, "unsupported-type")),
        (PLAIN | {"content-encoding": "gzip"}, b"{}", (415, "unsupported-type")),
        (PLAIN | {"authorization": "Basic x"}, b"{", (401, "unauthorized")),
        (PLAIN | {"x-api-key": "mg_other"}, b"{", (401, "unauthorized")),
    ],
)
async def test_what_is_wrong_is_the_same_problem(acme, path, headers, content, expected):
    for spelling in (path, path + "/"):
        problem(await acme.post(spelling, content=content, headers=headers), *expected)


@pytest.mark.parametrize("path", PATHS)
async def test_other_methods_are_the_frameworks(acme, path):
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        answer = await acme.request(method, path)
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == {"POST", "OPTIONS"}
    assert (await acme.options(path)).status_code == 204


@pytest.mark.parametrize("path", PATHS)
async def test_they_are_measured_and_named_like_the_others(acme, path):
    named = await acme.post(path, json=BODIES[path], headers={"x-request-id": "find-me"})
    bad = await acme.post(path, json={}, headers={"x-request-id": "a b"})
    assert named.headers.get_list("x-request-id") == ["find-me"]
    assert bad.json()["requestId"] == bad.headers["x-request-id"] != "a b"
    told = (await acme.get("/metrics")).text
    for status in (200, 422):
        assert f'requests_total{{method="POST",route="{path}",status="{status}"}} 1.0' in told
    assert f'request_duration_seconds_count{{method="POST",route="{path}"}} 2.0' in told
    given = len(named.json().get("decisions", [0]))
    assert f'decisions_total{{degraded="0",outcome="allowed",reason="within_limit"}} {given}.0' in told
    assert 'problems_total{problem="invalid"} 1.0' in told


async def test_a_fault_of_ours_tells_nothing_but_its_id(acme, context, caplog):
    context.catalogs.active = object()
    answer = await acme.post("/v1/check", json=ASK, headers={"x-request-id": "find-me"})
    problem(answer, 500, "internal")
    assert "object" not in answer.text
    assert "find-me POST /v1/check failed" in caplog.text


async def test_a_header_that_was_shown_is_believed_no_longer_than_its_key(acme, make_key, clock, context):
    """A revocation elsewhere holds after KEY_SECONDS, one here at once, an expiry at its instant."""
    made = await acme.post(
        "/v1/keys", json={"name": "x", "scopes": ["check"], "expiresAt": "2026-11-22T10:00:04Z"}
    )
    shown = bearer(made.json()["secret"])

    async def status() -> int:
        return (await acme.post("/v1/check", json=ASK, headers=shown)).status_code

    assert [await status(), await status()] == [200, 200]
    clock.at += timedelta(seconds=3)
    assert await status() == 200
    clock.at += timedelta(seconds=1)
    assert await status() == 401

    shown = bearer(await make_key("check"))
    assert [await status(), await status()] == [200, 200]
    async with context.pool.connection() as connection:
        await connection.execute(b"update api_keys set revoked_at = now()")
    clock.at += timedelta(seconds=limits.KEY_SECONDS - 1)
    assert await status() == 200
    clock.at += timedelta(seconds=1)
    assert await status() == 401


async def test_a_key_that_is_revoked_here_opens_nothing_more(acme):
    made = (await acme.post("/v1/keys", json={"name": "x", "scopes": ["check"]})).json()
    shown = bearer(made["secret"])
    assert (await acme.post("/v1/check", json=ASK, headers=shown)).status_code == 200
    await acme.post(f"/v1/keys/{made['keyId']}/revoke")
    problem(await acme.post("/v1/check", json=ASK, headers=shown), 401, "unauthorized")


async def test_a_key_without_the_scope_stays_without_it(acme, make_key):
    shown = bearer(await make_key("report"))
    for _ in range(2):
        told = problem(await acme.post("/v1/check", json=ASK, headers=shown), 403, "forbidden")
        assert "`check`" in told.detail


EVENT = {"id": "e1", "tenantId": "acme", "serviceId": "s", "featureId": "ai-tokens", "quantity": 7}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(EVENT | {"id": "e1"}, ("accepted", []), id="accepted"),
        pytest.param(EVENT | {"id": "old"}, ("duplicates", ["old"]), id="came before"),
        pytest.param(EVENT | {"timestamp": "2026-11-05T10:00:00Z"}, ("accepted", []), id="late"),
        pytest.param(
            EVENT | {"featureId": "api-calls", "quantity": 1}, ("accepted", []), id="another feature"
        ),
    ],
)
async def test_a_single_event_is_answered_as_one_of_a_batch(acme, event, expected):
    """One of a batch is answered by the framework: the same counts, the same lines."""
    await acme.post("/v1/usage", json=EVENT | {"id": "old"})
    direct = await acme.post("/v1/usage", json=event)
    framework = await acme.post("/v1/usage", json={"events": [event | {"id": f"{event['id']}-2"}]})
    assert (direct.status_code, framework.status_code) == (202, 202)
    counted, lines = expected
    told = direct.json()
    assert [told[name] for name in ("accepted", "duplicates", "rejected", "retry")].count(1) == 1
    assert told[counted] == 1
    assert [line["id"] for line in told["results"]] == lines
    assert direct.headers["metergate-durability"] == framework.headers["metergate-durability"] == "standard"
    assert set(direct.headers) == set(framework.headers)


async def test_an_event_without_an_id_gets_one_by_either_way(acme):
    without = {key: value for key, value in EVENT.items() if key != "id"}
    (direct,) = (await acme.post("/v1/usage", json=without)).json()["results"]
    (framework,) = (await acme.post("/v1/usage", json={"events": [without]})).json()["results"]
    assert direct["id"] != framework["id"]
    assert direct["status"] == framework["status"] == "accepted"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(EVENT | {"tenantId": "nobody"}, (422, "invalid"), id="no such tenant"),
        pytest.param(EVENT | {"featureId": "nothing"}, (422, "invalid"), id="no such feature"),
        pytest.param(EVENT | {"properties": {"who": "me"}}, (422, "invalid"), id="not declared"),
        pytest.param(EVENT | {"quantity": "1.5"}, (422, "invalid"), id="decimals"),
        pytest.param(EVENT | {"id": "old", "quantity": 8}, (422, "idempotency-mismatch"), id="another body"),
        pytest.param(EVENT | {"quantity": -1}, (422, "invalid"), id="told by the framework"),
    ],
)
async def test_a_single_event_that_cannot_count_is_a_problem(acme, event, expected):
    await acme.post("/v1/usage", json=EVENT | {"id": "old"})
    problem(await acme.post("/v1/usage", json=event), *expected)


async def test_a_bound_key_reports_for_its_tenant_alone(acme, make_key):
    shown = bearer(await make_key("report", tenant_id="acme"))
    assert (await acme.post("/v1/usage", json=EVENT, headers=shown)).status_code == 202
    other = await acme.post("/v1/usage", json=EVENT | {"tenantId": "other"}, headers=shown)
    problem(other, 403, "forbidden")
