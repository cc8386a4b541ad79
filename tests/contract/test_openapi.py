"""The description of the API says what the routes do: bodies, queries, headers, scopes, answers."""

import ast
import inspect
import re
import textwrap
import typing
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler

from service.api import app, openapi, reports
from service.usecases.report import Report, Series

ROUTES = [route for router in app.ROUTERS for route in router]
DOCUMENT: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(openapi.document(ROUTES)))
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}
SCHEMAS = DOCUMENT["components"]["schemas"]


def _all(value: Any, key: str) -> list[str]:
    """Every text that stands under this key, however deep."""
    if isinstance(value, list):
        return [found for each in value for found in _all(each, key)]
    if not isinstance(value, dict):
        return []
    here = [value[key]] if isinstance(value.get(key), str) else []
    return here + [found for each in value.values() for found in _all(each, key)]


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return SCHEMAS[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _called(route: HTTPRouteHandler) -> dict[str, str]:
    """What a handler calls of `decode` and `management`, with the Struct that it names, if any."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(route.fn)))
    return {
        ast.unparse(node.func): next((ast.unparse(each) for each in node.args[1:2]), "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }


def _parameters(operation: dict[str, Any], place: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in operation.get("parameters", ()) if each["in"] == place}


def test_every_reference_leads_to_a_schema():
    references = _all(DOCUMENT, "$ref")
    assert references
    assert {each.removeprefix("#/components/schemas/") for each in references} <= SCHEMAS.keys()


def test_every_route_is_described():
    described = {
        f"{method} {re.sub(r'_([a-z])', lambda m: m[1].upper(), re.sub(r':[a-z]+}', '}', path))}"
        for route in ROUTES
        for path in route.paths
        for method in route.http_methods
    }
    assert described == OPERATIONS.keys()
    assert sum(" /v1/" in each for each in described) > 20


def test_every_operation_has_an_id_of_its_own():
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_in_plain_words_what_it_does_needs_and_answers(name):
    operation = OPERATIONS[name]
    assert re.fullmatch(r"[A-Z`].* .*\.", operation["summary"])
    assert re.search(r"Needs (the scope `\w+`( and `\w+`)?|no key)\.$", operation["description"])
    assert ("security" in operation) == ("the scope" in operation["description"])
    for response in operation["responses"].values():
        assert response["description"].endswith(".")
        for kind, told in response["content"].items():
            if not kind.startswith("text/"):
                schema = _resolved(told["schema"])
                assert schema["type"] == "object"
                assert "/v1/" not in name or schema["properties"]
    for parameter in operation.get("parameters", ()):
        assert parameter["description"].endswith(".")
        assert parameter["schema"]
        assert {"type": "null"} not in parameter["schema"].get("anyOf", [])
    assert set(_parameters(operation, "path")) == set(re.findall(r"{(\w+)}", name))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.fn.__name__)
def test_a_route_declares_what_it_reads(route):
    called = _called(route)
    asked = route.opt.get("query")
    assert called.get("decode.query") == (asked.__name__ if asked else None)
    if read := called.get("decode.body") or called.get("management.optional_body"):
        assert read in {kind.__name__ for kind in route.opt["body"].kinds}
        assert route.opt["body"].required == ("decode.body" in called)
    assert ("management.order" in called) == ("writes" in route.opt)


def test_the_parameters_of_the_report_are_those_that_it_reads():
    found = _parameters(OPERATIONS["GET /v1/reports/usage"], "query")
    assert found.keys() == {"tenantId", "featureId", "from", "to", "step", "groupBy"}
    assert not any(each["required"] for each in found.values())
    assert set(found["step"]["schema"]["enum"]) == {"hour", "day", "month"}
    assert found["step"]["schema"]["default"] == "day"
    assert found["from"]["schema"] == {"type": "string", "format": "date-time"}
    assert _parameters(OPERATIONS["GET /v1/usage/events"], "query")["tenantId"]["required"]


def test_types_and_headers_beyond_json_are_told():
    usage = OPERATIONS["POST /v1/usage"]
    assert usage["requestBody"]["content"].keys() == {"application/json", "application/x-ndjson"}
    assert usage["responses"]["202"]["headers"].keys() == {"Metergate-Durability"}
    report = OPERATIONS["GET /v1/reports/usage"]["responses"]["200"]["content"]
    assert report.keys() == {"application/json", "text/csv", "text/plain"}
    put = OPERATIONS["PUT /v1/tenants/{tenantId}"]
    assert _parameters(put, "header").keys() == {"Idempotency-Key", "If-Match"}
    assert put["responses"].keys() == {"200", "201", "default"}
    assert put["responses"]["201"]["headers"].keys() == {"ETag"}
    assert OPERATIONS["GET /v1/tenants/{tenantId}"]["responses"]["200"]["headers"].keys() == {"ETag"}
    assert OPERATIONS["GET /health/ready"]["responses"].keys() == {"200", "503", "default"}


@pytest.mark.usefixtures("catalog")
async def test_a_check_answers_what_its_schema_says(api):
    content = OPERATIONS["POST /v1/check"]["responses"]["200"]["content"]
    schema = _resolved(content["application/json"]["schema"])
    response = await api.post("/v1/check", json={"tenantId": "nobody", "featureId": "ai-tokens"})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert set(schema["required"]) <= answer.keys() <= schema["properties"].keys()
    assert {"allowed", "outcome", "reason", "remaining", "decisionId"} <= set(schema["required"])
    assert answer["outcome"] in _resolved(schema["properties"]["outcome"])["enum"]
    assert answer["reason"] in _resolved(schema["properties"]["reason"])["enum"]


def test_every_pattern_is_one_that_re2_knows():
    patterns = _all(DOCUMENT, "pattern")
    assert patterns
    for pattern in patterns:
        assert not re.search(r"\(\?[!=<]|\\Z", pattern)


def test_descriptions_speak_of_json_not_of_python():
    for description in _all(DOCUMENT, "description"):
        assert not re.search(r"\b(None|True|False)\b", description)


def test_two_structs_of_one_name_are_two_schemas():
    """Else one of them would be described as the other."""
    kinds = {
        kind
        for route in ROUTES
        for kind in typing.get_args(typing.get_type_hints(route.fn)["return"])
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    }
    for kind in kinds:
        short, full = kind.__name__, f"{kind.__module__}.{kind.__name__}"
        schema = SCHEMAS[full if full in SCHEMAS else short]
        assert schema["properties"].keys() == {field.encode_name for field in msgspec.structs.fields(kind)}


NOON = datetime(2026, 11, 22, tzinfo=UTC)


def test_a_chart_has_one_scale_and_names_what_has_no_key():
    series = [Series("a", [(NOON, 100)]), Series("", [(NOON, 50)])]
    report = Report(series=series, total=150, events=2, flushed_through=None)
    for step, shown in (("hour", "2026-11-22 00:00"), ("day", "2026-11-22"), ("month", "2026-11")):
        lines = reports._as_chart(report, step).decode().splitlines()
        bars = [line for line in lines if line.startswith(f"  {shown}  ")]
        assert [line.count("█") for line in bars] == [50, 25]
        assert lines[3] == "(none)"
