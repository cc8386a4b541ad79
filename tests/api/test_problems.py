"""Every answer carries a request id, and every error has one shape, wherever it was raised."""

import logging
import re

import httpx
import msgspec
import pytest
from litestar import get
from litestar.testing import AsyncTestClient

from policies import errors
from service import telemetry
from service.api import auth, problems
from service.api.app import Metergate, make_app
from service.context import Context
from service.usecases import keys
from tests.api import echo
from tests.conftest import MakeKey, open_counters

Client = AsyncTestClient[Metergate]

BODY = {"tenantId": "acme"}


def problem(answer: httpx.Response, status: int, slug: str) -> problems.Problem:
    """Holds an answer to the one shape of errors."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    told = msgspec.json.decode(answer.content, type=problems.Problem)
    assert (told.type, told.status) == (f"https://metergate.dev/problems/{slug}", status)
    assert told.request_id == answer.headers["x-request-id"]
    assert told.detail
    return told


# --- what is raised before, in and behind a route ---------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/v2/check", "/health", "/schema", "/schema/x", "/%22%00", "/" + "x" * 5_000]
)
async def test_an_unknown_path_is_a_problem(face_client: Client, path: str):
    problem(await face_client.get(path), 404, "not-found")


@pytest.mark.parametrize("method", ["GET", "DELETE", "BREW", "HEAD"])
async def test_a_wrong_method_is_a_problem_that_lists_the_right_ones(face_client: Client, method: str):
    answer = await face_client.request(method, "/echo")
    assert set(answer.headers["allow"].split(", ")) == {"POST", "OPTIONS"}
    if method != "HEAD":
        assert "POST" in problem(answer, 405, "method-not-allowed").detail


async def test_a_fault_of_ours_tells_nothing_but_its_id(
    face_client: Client, caplog: pytest.LogCaptureFixture
):
    answer = await face_client.get("/broken", headers={"x-request-id": "find-me"})
    problem(answer, 500, "internal")
    assert "password" not in answer.text
    assert "RuntimeError" not in answer.text
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "find-me" in record.getMessage()
    assert record.exc_info
    assert "password" in str(record.exc_info[1])


async def test_what_cannot_be_done_now_says_when(face_client: Client):
    answer = await face_client.get("/busy")
    problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "2"


async def test_the_framework_has_no_error_shape_of_its_own_left(face_client: Client):
    told = problem(await face_client.get("/native?limit=x"), 422, "invalid")
    assert [each.pointer for each in told.errors] == ["?limit"]


# --- the request id ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/broken", "/echo", "/closed/acme"])
async def test_a_request_id_is_echoed_everywhere(face_client: Client, path: str):
    answer = await face_client.get(path, headers={"x-request-id": "abc-123"})
    assert answer.headers.get_list("x-request-id") == ["abc-123"]


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "ünd", "a\x7fb"])
async def test_an_id_that_is_unfit_is_replaced(face_client: Client, sent: str):
    answer = await face_client.get("/healthz", headers={"x-request-id": sent.encode("latin-1")})
    assert re.fullmatch(r"req_[0-9a-f]{24}", answer.headers["x-request-id"])


async def test_two_requests_have_two_ids(face_client: Client):
    first, second = await face_client.get("/healthz"), await face_client.get("/healthz")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


# --- keys -------------------------------------------------------------------------------------------

GOOD = keys.new_secret()


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([], "Send a key"),
        ([("authorization", "Bearer ")], "not a key"),
        ([("authorization", "Basic dTpw")], "must be Bearer"),
        ([("authorization", GOOD)], "must be Bearer"),
        ([("x-api-key", "mg_guess")], "not a key"),
        ([("x-api-key", GOOD[:-1] + ("a" if GOOD[-1] != "a" else "b"))], "not a key"),
        ([("x-api-key", "mg_" + "x" * 10_000)], "not a key"),
        ([("x-api-key", "mg_'; drop table api_keys; --")], "not a key"),
        ([("x-api-key", "mg_ümlaut")], "not a key"),
        ([("x-api-key", GOOD), ("authorization", f"Bearer {keys.new_secret()}")], "Two different"),
    ],
)
async def test_without_a_good_key_it_is_401(face_client: Client, headers: list[tuple[str, str]], said: str):
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    answer = await face_client.put("/closed/acme", json=BODY, headers=sent)
    assert said in problem(answer, 401, "unauthorized").detail
    assert answer.headers["www-authenticate"] == 'Bearer realm="metergate"'


def test_one_header_twice_is_401_too():
    with pytest.raises(errors.UnauthorizedError, match="Two different"):
        auth.secret([(b"x-api-key", b"one"), (b"x-api-key", b"two")])


async def test_the_key_comes_before_the_body(face_client: Client):
    """Who has no key learns nothing about what a route reads."""
    problem(await face_client.put("/closed/acme", content=b"\xff"), 401, "unauthorized")


async def test_a_key_that_cannot_be_looked_up_is_503_not_401(face_client: Client):
    answer = await face_client.put("/closed/acme", json=BODY, headers={"x-api-key": GOOD})
    problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1


async def client_of(context: Context) -> httpx.AsyncClient:
    app = make_app(context=context, routes=echo.ROUTES)
    app.state.context = context
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://metergate")


async def test_a_key_opens_what_its_scopes_say(context: Context, make_key: MakeKey):
    async with await client_of(context) as client:
        both, one = await make_key("check", "report"), await make_key("check")
        for headers in ({"x-api-key": both}, {"authorization": f"bearer {both}"}):
            answer = await client.put("/closed/acme", json=BODY, headers=headers)
            assert answer.status_code == 200
            assert answer.json()["requestId"] == answer.headers["x-request-id"]
        answer = await client.put(
            "/closed/acme", json=BODY, headers={"x-api-key": both, "authorization": f"Bearer {both}"}
        )
        assert answer.status_code == 200
        answer = await client.put("/closed/acme", json=BODY, headers={"x-api-key": one})
        assert "`report`" in problem(answer, 403, "forbidden").detail
        answer = await client.put("/closed/acme", json=BODY, headers={"x-api-key": keys.new_secret()})
        problem(answer, 401, "unauthorized")


async def test_a_bound_key_stays_with_its_tenant(context: Context, make_key: MakeKey, api: httpx.AsyncClient):
    assert (await api.put("/v1/tenants/acme", json={})).is_success
    async with await client_of(context) as client:
        headers = {"x-api-key": await make_key("check", "report", tenant_id="acme")}
        assert (await client.put("/closed/acme", json=BODY, headers=headers)).status_code == 200
        problem(await client.put("/closed/other", json=BODY, headers=headers), 403, "forbidden")
        answer = await client.put("/closed/%22%0A", json=BODY, headers=headers)
        assert problem(answer, 422, "invalid").errors[0].pointer == "{tenantId}"


def test_a_route_that_does_not_say_what_it_needs_is_not_served():
    @get("/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(AssertionError, match="forgotten"):
        make_app(echo.NOWHERE, routes=(forgotten,))


async def test_the_methods_of_a_path_are_told_without_a_key(face_client: Client):
    answer = await face_client.options("/closed/acme")
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (204, {"PUT", "OPTIONS"})


# --- health, metrics, description -------------------------------------------------------------------


async def test_alive_without_anything_behind_it(face_client: Client):
    assert (await face_client.get("/health/live")).json() == {"status": "live"}
    assert (await face_client.get("/healthz")).text == "ok"


async def test_unready_says_what_is_away_and_no_address(face_client: Client):
    answer = await face_client.get("/health/ready")
    told = answer.json()
    assert (answer.status_code, told["status"], told["durability"]) == (503, "unready", "standard")
    assert [each["part"] for each in told["findings"]] == ["postgres", "redis", "catalog"]
    assert "nonexistent" not in answer.text


async def test_ready_with_everything(api: httpx.AsyncClient, context: Context, catalog: object):
    await open_counters(context)
    answer = await api.get("/health/ready")
    told = answer.json()
    assert (answer.status_code, told["status"], told["findings"]) == (200, "ready", [])
    assert told["catalog"].startswith("sha256:")
    assert told["versions"].keys() == {"metergate", "redis"}
    measured = (await api.get("/metrics")).text
    assert "metergate_journal_entries 0.0" in measured
    assert "metergate_inbox_events 0.0" in measured
    assert 'metergate_incidents_open{kind="entries-lost"} 0.0' in measured
    assert re.search(r"^metergate_redis_used_bytes [1-9]", measured, re.MULTILINE)


async def test_closed_shards_are_told_but_turn_nobody_away(api: httpx.AsyncClient, catalog: object):
    """Boolean and static features can be answered; a balancer must not end that too."""
    answer = await api.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert [each["part"] for each in answer.json()["findings"]] == ["counters"]


async def test_no_catalog_is_unready(api: httpx.AsyncClient):
    answer = await api.get("/health/ready")
    assert answer.status_code == 503
    assert [each["part"] for each in answer.json()["findings"]] == ["counters", "catalog"]


async def test_requests_are_counted_by_template_and_never_by_path():
    async with AsyncTestClient(make_app(echo.NOWHERE, routes=echo.ROUTES)) as client:
        await client.put("/closed/secret-name", json=BODY)
        await client.get("/unknown-name")
        await client.request("BREW", "/healthz")
        text = (await client.get("/metrics")).text
    assert 'requests_total{method="PUT",route="/closed/{tenant_id}",status="401"} 1.0' in text
    assert 'requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
    assert 'requests_total{method="other",route="unmatched",status="405"} 1.0' in text
    assert 'problems_total{problem="unauthorized"} 1.0' in text
    assert "secret-name" not in text
    assert "unknown-name" not in text


def test_names_of_metrics_follow_the_rules_of_prometheus():
    for metric in telemetry.TABLE:
        assert re.fullmatch(r"metergate_[a-z_]+", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert not {"tenant", "tenant_id", "path"} & set(metric.labels)
    names = [metric.name for metric in telemetry.TABLE]
    assert len(set(names)) == len(names)


async def test_the_description_says_bodies_keys_and_problems(face_client: Client):
    answer = await face_client.get("/schema/openapi.json")
    described = answer.json()
    assert described["openapi"].startswith("3.1")
    put = described["paths"]["/closed/{tenantId}"]["put"]
    assert [each["name"] for each in put["parameters"]] == ["tenantId"]
    assert put["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Echo"
    }
    assert put["security"] == [{"bearer": []}, {"header": []}]
    assert put["responses"]["default"]["content"].keys() == {"application/problem+json"}
    assert described["components"]["schemas"]["Echo"]["additionalProperties"] is False
    assert "tenantId" in described["components"]["schemas"]["Echo"]["properties"]
    assert "security" not in described["paths"]["/healthz"]["get"]
    assert not re.search(r"https?://", answer.text.replace("https://metergate.dev", ""))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 500, 503])
def test_every_status_of_the_contract_has_a_problem(status: int):
    assert status in {kind.status for kind in [errors.ProblemError, *errors.ProblemError.__subclasses__()]}
