"""Whatever is sent, the answer is a problem that says what is wrong, and never a 500."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from litestar.testing import AsyncTestClient

from policies import errors, limits
from service.api import decode, findings, jsontext, wire
from service.api.app import Metergate
from tests.api.echo import Echo, Echoes

Client = AsyncTestClient[Metergate]

JSON = {"content-type": "application/json"}
DEEP = 5_000


async def post(
    client: Client, body: bytes, path: str = "/echo", **headers: str
) -> tuple[int, dict[str, Any]]:
    """Posts it as JSON unless told otherwise, and holds every refusal to the shape that all have."""
    sent = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await client.post(path, content=body, headers=sent)
    told = answer.json()
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert told["status"] == answer.status_code
        assert told["detail"]
        assert told["requestId"] == answer.headers["x-request-id"]
    return answer.status_code, told


def body(**fields: object) -> bytes:
    return json.dumps({"tenantId": "acme"} | fields).encode()


def pointers(told: dict[str, Any]) -> list[str]:
    return [each["pointer"] for each in told["errors"]]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        pytest.param(b"", "empty", id="an empty body"),
        pytest.param(b"  \n", "no valid JSON", id="blanks"),
        pytest.param(b'{"tenantId": acme}', "line 1, column 14", id="no JSON, with the place"),
        pytest.param(b'{"tenantId":\n\n  acme}', "line 3, column 3", id="the place counts lines"),
        pytest.param(b'{"tenantId":"acme"', "no valid JSON", id="cut off"),
        pytest.param(b'{"tenantId":"acme"} {}', "trailing", id="two documents"),
        pytest.param(b'{"tenantId":"acme","quantity":NaN}', "no valid JSON", id="NaN"),
        pytest.param(b'{"tenantId":"acme","quantity":Infinity}', "no valid JSON", id="Infinity"),
        pytest.param(b'{"tenantId":"acme","quantity":01}', "no valid JSON", id="a leading zero"),
        pytest.param(b'{"tenantId":"\\ud800 "}', "no valid JSON", id="half of a surrogate pair"),
        pytest.param(b'{"tenantId":"ac\x00me"}', "no valid JSON", id="a raw control character"),
        pytest.param(b'{"tenantId":"ac\xffme"}', "UTF-8", id="no UTF-8"),
        pytest.param(b'{"tenantId":"acme","\xff":1}', "UTF-8", id="no UTF-8 in a key"),
        pytest.param('{"tenantId":"acme"}'.encode("utf-16"), "no valid JSON", id="UTF-16"),
        pytest.param(b'\xef\xbb\xbf{"tenantId":"acme"}', "byte order mark", id="a byte order mark"),
        pytest.param(
            b'{"quantity":' + b"9" * 30 + b", acme}", "line 1, column 45", id="none behind a huge number"
        ),
        pytest.param(
            b'{"quantity":' + b"9" * 30 + b',"\xff":1}', "UTF-8", id="no UTF-8 behind a huge number"
        ),
        pytest.param(b"[" * DEEP, "nested more than 32", id="arrays never closed"),
        pytest.param(b"[" * DEEP + b"]" * DEEP, "nested more than 32", id="nested arrays"),
        pytest.param(b'{"a":' * DEEP + b"1" + b"}" * DEEP, "nested more than 32", id="nested objects"),
        pytest.param(b'{"tenantId":"a\\"","x":' + b"[" * DEEP, "nested more", id="nested behind a quote"),
    ],
)
async def test_what_is_no_json_is_400_and_says_where(face_client: Client, raw: bytes, said: str):
    status, told = await post(face_client, raw)
    assert (status, told["type"]) == (400, "https://metergate.dev/problems/malformed")
    assert said in told["detail"]


@pytest.mark.parametrize(
    ("raw", "pointer", "said"),
    [
        pytest.param(b"[]", "", "an object, not a list", id="not an object"),
        pytest.param(b"null", "", "an object, not null", id="null"),
        pytest.param(b"{}", "/tenantId", "is needed", id="a missing field"),
        pytest.param(body(tenantid="x"), "/tenantid", "mean `tenantId`", id="an unknown field"),
        pytest.param(body(tenantId=7), "/tenantId", "a text, not a whole number", id="a wrong type"),
        pytest.param(body(tenantId=None), "/tenantId", "a text, not null", id="null for a text"),
        pytest.param(body(tenantId=""), "/tenantId", "made of letters", id="an empty id"),
        pytest.param(body(tenantId="a" * 10_000), "/tenantId", "this has 10,000", id="an id of 10 kB"),
        pytest.param(body(tenantId='a"; permit(principal'), "/tenantId", "made of", id="quotes in an id"),
        pytest.param(body(tenantId="a\x00b"), "/tenantId", "made of", id="a null character in an id"),
        pytest.param(body(tenantId="acme\n"), "/tenantId", "made of", id="a line feed after an id"),
        pytest.param(body(tenantId="../acme"), "/tenantId", "made of", id="slashes in an id"),
        pytest.param(
            body(tenantId="\u0430cme"), "/tenantId", "made of", id="letters that only look the same"
        ),
        pytest.param(body(featureId="AI"), "/featureId", "small letters", id="capitals in a feature"),
        pytest.param(body(featureId='x"'), "/featureId", "small letters", id="quotes in a feature"),
        pytest.param(body(featureId="f" * 10_000), "/featureId", "63", id="a feature of 10 kB"),
        pytest.param(body(quantity=-1), "/quantity", "not negative", id="a negative quantity"),
        pytest.param(body(quantity=2**53), "/quantity", "at most 9,007", id="a huge quantity"),
        pytest.param(body(quantity=10**30), "/quantity", "at most 9,007", id="one beyond 64 bits"),
        pytest.param(
            b'{"tenantId":"a","quantity":' + b"9" * 9_999 + b"}", "/quantity", "at most", id="9,999 digits"
        ),
        pytest.param(body(quantity=1.5), "/quantity", 'in quotes such as "1.5"', id="a float"),
        pytest.param(b'{"tenantId":"a","quantity":1.0}', "/quantity", "never a float", id="a whole float"),
        pytest.param(b'{"tenantId":"a","quantity":1e400}', "/quantity", "", id="a float beyond all"),
        pytest.param(body(quantity="9" * 41), "/quantity", "characters", id="a long text as quantity"),
        pytest.param(body(quantity=True), "/quantity", "not true or false", id="true as quantity"),
        pytest.param(body(at="2026-11-22T10:00:00"), "/at", '"2026-11-22T10:00:00Z" is UTC', id="naive"),
        pytest.param(body(at="2026-11-22"), "/at", "RFC 3339", id="a date"),
        pytest.param(body(at=1795341600), "/at", "RFC 3339", id="unix seconds"),
        pytest.param(body(at="2026-13-45T10:00:00Z"), "/at", "RFC 3339", id="no such day"),
        pytest.param(body(context={"__entity": "x"}), "/context/__entity", "reserved", id="two underscores"),
        pytest.param(body(context={"a b": "x"}), "/context/a b", "letters", id="a blank in a key"),
        pytest.param(body(context={"a/~b": "x"}), "/context/a~1~0b", "letters", id="a pointer escapes"),
        pytest.param(body(context={"a": 1}), "/context/a", "a text, not", id="a number in the context"),
        pytest.param(body(context={"a": "x" * 257}), "/context/a", "at most 256", id="a long value"),
        pytest.param(
            body(context={f"k{n}": "" for n in range(17)}), "/context", "17 keys; at most 16", id="17 keys"
        ),
        pytest.param(body(context={"k" * 9_999: ""}), "/context/" + "k" * 256 + "…", "63", id="a long key"),
        pytest.param(body(metadata={"a": "x\x00"}), "/metadata/a", "U+0000", id="a null character in a text"),
        pytest.param(body(name=""), "/name", "0 characters; at least 1", id="an empty name"),
        pytest.param(body(metadata={"a": "x" * 501}), "/metadata/a", "at most 500", id="long metadata"),
        pytest.param(body(name="two\nlines"), "/name", "one line", id="a name of two lines"),
        pytest.param(body(when="renewl"), "/when", "mean `renewal`", id="not one of the choices"),
        pytest.param(body(explain="yes"), "/explain", "true or false, not a text", id="a text for a switch"),
    ],
)
async def test_a_wrong_field_is_422_with_its_pointer(
    face_client: Client, raw: bytes, pointer: str, said: str
):
    status, told = await post(face_client, raw)
    assert (status, told["type"]) == (422, "https://metergate.dev/problems/invalid")
    assert pointers(told) == [pointer]
    assert said in told["errors"][0]["message"]
    assert told["detail"].endswith(told["errors"][0]["message"])


async def test_all_wrong_fields_are_told_at_once(face_client: Client):
    raw = b'{"echoes":[{"tenantId":"a"},{"quantity":-1,"at":"now"},3,{"tenantId":"b","context":{"__x":1}}]}'
    status, told = await post(face_client, raw, "/echoes")
    assert status == 422
    assert pointers(told) == [
        "/echoes/1/tenantId",
        "/echoes/1/quantity",
        "/echoes/1/at",
        "/echoes/2",
        "/echoes/3/context/__x",
        "/echoes/3/context/__x",
    ]
    assert (
        told["detail"] == "6 fields are not valid: /echoes/1/tenantId, /echoes/1/quantity, /echoes/1/at, …."
    )


async def test_a_list_that_is_too_long_is_told_once(face_client: Client):
    status, told = await post(face_client, json.dumps({"echoes": [{}] * 11}).encode(), "/echoes")
    assert (status, pointers(told)) == (422, ["/echoes"])
    assert "11 items; at most 10" in told["detail"]


async def test_the_number_of_findings_is_bounded(face_client: Client):
    status, told = await post(face_client, json.dumps({f"f{n}": 1 for n in range(5_000)}).encode())
    assert (status, len(told["errors"])) == (422, limits.FIELD_ERRORS)
    assert told["detail"].startswith("100 or more fields")


async def test_a_key_that_stands_twice_is_refused_where_that_is_asked_for(face_client: Client):
    raw = b'{"tenantId":"a","tenantId":"b","context":{"x":"1","y":"2","x":"1"}}'
    status, told = await post(face_client, raw, "/echo/strict")
    assert (status, pointers(told)) == (422, ["/tenantId", "/context/x"])
    status, told = await post(face_client, raw)
    assert (status, told["tenantId"]) == (200, "b")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", "not none"),
        ("text/plain", "not `text/plain`"),
        ("application/x-www-form-urlencoded", "must be application/json"),
        ("application/jsonx", "must be application/json"),
        ("multipart/form-data; boundary=json", "must be application/json"),
        ("application/json; charset=latin1", "utf-8"),
        ("application/" + "x" * 5_000, "…"),
    ],
)
async def test_another_content_type_is_415(face_client: Client, header: str, said: str):
    status, told = await post(face_client, body(), content_type=header)
    assert (status, told["type"]) == (415, "https://metergate.dev/problems/unsupported-type")
    assert said in told["detail"]


@pytest.mark.parametrize(
    "header",
    ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"', "application/cloudevents+json"],
)
async def test_ways_to_say_json(face_client: Client, header: str):
    assert (await post(face_client, body(), content_type=header))[0] == 200


async def test_a_compressed_body_is_415(face_client: Client):
    status, told = await post(face_client, b"\x1f\x8b", content_encoding="gzip")
    assert (status, "gzip" in told["detail"]) == (415, True)


async def test_a_body_over_the_bound_is_413(face_client: Client):
    within = body(name="x" * 10) + b" " * (limits.BODY_BYTES - len(body(name="x" * 10)))
    assert (await post(face_client, within))[0] == 200
    status, told = await post(face_client, within + b" ")
    assert (status, told["type"]) == (413, "https://metergate.dev/problems/too-large")
    assert f"{limits.BODY_BYTES:,}" in told["detail"]


async def test_a_flood_of_brackets_is_413(face_client: Client):
    flood = b'{"a":[' + b"[]," * (limits.BODY_CONTAINERS + 1) + b"[]]}"
    assert (await post(face_client, flood))[0] == 413


async def test_brackets_in_texts_do_not_count(face_client: Client):
    text = '[{"\\' * 50
    status, told = await post(face_client, body(context={"a": text}))
    assert (status, told["context"]) == (200, {"a": text})


async def test_lines_are_bounded_and_numbered(face_client: Client):
    ndjson = {"content_type": "application/x-ndjson"}
    assert await post(face_client, b'{"a":1}\n\r\n {} \n', "/lines", **ndjson) == (200, [[0, 7], [2, 2]])
    most = b"{}\n" * limits.USAGE_BATCH
    assert (await post(face_client, most, "/lines", **ndjson))[0] == 200
    assert (await post(face_client, most + b"{}", "/lines", **ndjson))[0] == 413
    assert (await post(face_client, b"\n \n", "/lines", **ndjson))[0] == 400
    assert (await post(face_client, b"{}", "/lines"))[0] == 415


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/page?limit=x", {"?limit": "a whole number"}),
        ("/page?limit=0", {"?limit": "from 1 to 1,000"}),
        ("/page?limit=1001&limt=5", {"?limit": "from 1", "?limt": "mean `limit`"}),
        ("/page?limit=5&limit=6", {"?limit": "given twice"}),
        ("/page?since=2026-11-22T10:00:00", {"?since": "no zone"}),
        ("/page?cursor=", {"?cursor": "at least 1"}),
        ("/native?limit=x", {"?limit": "int"}),
        ("/native", {"?limit": "is needed"}),
    ],
)
async def test_a_wrong_parameter_is_422_with_its_name(face_client: Client, path: str, found: dict[str, str]):
    answer = await face_client.get(path)
    assert answer.status_code == 422
    told = {each["pointer"]: each["message"] for each in answer.json()["errors"]}
    assert told.keys() == found.keys()
    assert all(said in told[pointer] for pointer, said in found.items())


@pytest.mark.parametrize("query", ["cursor=%FF", "&".join(f"f{n}=" for n in range(60))])
async def test_a_query_that_cannot_be_read_is_refused(face_client: Client, query: str):
    assert (await face_client.get(f"/page?{query}")).status_code in (400, 422)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)
NEAR = st.fixed_dictionaries(
    {},
    optional={
        "tenantId": st.sampled_from(["acme", "", "a b", 5]) | ANY_JSON,
        "quantity": st.integers() | st.text(max_size=50) | ANY_JSON,
        "at": st.datetimes().map(str) | st.just("2026-11-22T10:00:00Z") | ANY_JSON,
        "context": st.dictionaries(st.text(max_size=3), st.text(max_size=3)) | ANY_JSON,
        "when": st.sampled_from(["now", "then"]) | ANY_JSON,
        "explain": st.booleans() | ANY_JSON,
        "extra": ANY_JSON,
    },
)


@settings(deadline=None)
@given(NEAR)
def test_findings_are_told_exactly_when_the_decoder_refuses(value: object):
    """Both passes agree, so a refusal always says something and what is taken is never called wrong."""
    try:
        msgspec.convert(value, Echo)
    except msgspec.ValidationError:
        assert findings.find(value, Echo)
    else:
        assert findings.find(value, Echo) == []


@settings(deadline=None)
@given(st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_struct_or_a_problem_of_the_callers(raw: bytes):
    refused = None
    try:
        decode.document(raw, Echoes, strict_keys=True)
    except errors.ProblemError as error:
        refused = error
    assert refused is None or 400 <= refused.status < 500


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max((depth(item) for item in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


BRACKETS = st.recursive(
    st.sampled_from(['[{"\\', '\\"', "]", '"', "\\\\", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from('[{"\\'), inner, max_size=2),
    max_leaves=30,
)


@settings(deadline=None)
@given(BRACKETS, st.integers(0, 6))
def test_the_fast_measure_of_depth_is_right(value: object, bound: int):
    raw = json.dumps(value).encode()
    assert jsontext._too_deep(jsontext._brackets(raw), bound) == (depth(value) > bound)


def test_an_instant_that_utc_does_not_have_is_422():
    at = msgspec.convert("0001-01-01T00:00:00+14:00", wire.Instant)
    with pytest.raises(errors.InvalidError) as refused:
        wire.utc(at, "/at")
    assert [each.pointer for each in refused.value.errors] == ["/at"]
