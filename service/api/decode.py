"""How a request becomes a Struct, or a problem that says everything that is wrong with it.

In a route::

    class PutTenant(wire.Body, frozen=True):
        name: wire.Name | None = None

    @put("/v1/tenants/{tenant_id:str}", opt=auth.needs("manage") | openapi.takes(PutTenant))
    async def put_tenant(
        request: AnyRequest,
        tenant_id: FromPath[str],
        context: NamedDependency[Context],
        caller: NamedDependency[Caller],
    ) -> Response[bytes]:
        tenant_id = decode.path(tenant_id, wire.TenantId, "tenantId")
        auth.own_tenant(caller, tenant_id)
        body = await decode.body(request, PutTenant, strict_keys=True)
        ...

    ROUTES: Final = (put_tenant,)

Litestar's own decoding is not used: it takes any content type, fails on deep nesting with a 500, and tells
one error at a time in a shape of its own.
"""

import asyncio
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias, TypeVar
from urllib import parse

import msgspec
from litestar import Request
from litestar.types import HTTPScope, Receive

from policies import errors, limits
from service.api import exchange, findings, jsontext

AnyRequest: TypeAlias = Request[Any, Any, Any]
T = TypeVar("T", bound=msgspec.Struct)

_JSON: Final = "application/json"
_PLAIN: Final = _JSON.encode()
_FEW_DIGITS: Final = len(str(limits.BODY_BYTES))
_NDJSON: Final = "application/x-ndjson"
_QUERY_FIELDS: Final = 50


async def body(request: AnyRequest, kind: type[T], *, strict_keys: bool = False) -> T:
    """The body of a request as this Struct.

    `strict_keys` refuses a key that an object has twice (R46): always for management bodies.
    Errors: UnsupportedTypeError, TooLargeError, MalformedError, InvalidError with all wrong fields.
    """
    return document(await json_text(request.scope, request.receive), kind, strict_keys=strict_keys)


async def json_text(scope: HTTPScope, receive: Receive) -> bytes:
    """The body of a request that says that it is JSON, undecoded.

    Errors: UnsupportedTypeError, TooLargeError, MalformedError when it stays incomplete.
    """
    head = exchange.head(scope)
    if not is_plain(scope):
        json_only(scope)
    if len(head.get(b"content-length", b"")) < _FEW_DIGITS:  # surely no number above limits.BODY_BYTES
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            return _within(message.get("body", b""))
        return await _slowly(message, receive)
    return await read(scope, receive)


def is_plain(scope: HTTPScope) -> bool:
    """Whether a request says that it is JSON, and nothing beside."""
    head = exchange.head(scope)
    return head.get(b"content-type") == _PLAIN and b"content-encoding" not in head


def at_hand(scope: HTTPScope) -> bytes | None:
    """As `json_text` would give it, if our server has it already and it is plain JSON; else None.

    Errors: TooLargeError.
    """
    head = exchange.head(scope)
    if head.get(b"content-type") != _PLAIN or b"content-encoding" in head:
        return None
    extensions: Any = scope.get("extensions")
    if not extensions or len(head.get(b"content-length", b"")) >= _FEW_DIGITS:
        return None
    take = extensions.get(exchange.BODY)
    raw: bytes | None = take() if take is not None else None
    return raw if raw is None or len(raw) <= limits.BODY_BYTES else _within(raw)


def document(raw: bytes, kind: type[T], *, strict_keys: bool = False) -> T:
    """A whole JSON text as this Struct; as `body`, without the request."""
    jsontext.check(raw)
    value = part(raw, kind)
    if strict_keys and (twice := list(jsontext.duplicates(raw))):
        raise findings.invalid(twice[: limits.FIELD_ERRORS])
    return value


def part(raw: bytes | msgspec.Raw, kind: type[T], pointer: str = "") -> T:
    """A part of a text that `document` has let through (an item kept as msgspec.Raw) as this Struct.

    Errors: MalformedError, InvalidError; their pointers start with the one given.
    """
    decode = _decoder(kind)
    try:
        return decode(raw)
    except msgspec.ValidationError as error:
        text = bytes(raw)
        raise _invalid(jsontext.loose(text), kind, pointer, error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise jsontext.malformed(error, bytes(raw)) from error


def well_formed(parts: Sequence[bytes], kind: type[T]) -> list[T] | None:
    """All parts as this Struct, or None where one is not well formed: `document` then says what is wrong.

    The Struct and what is in it take no unknown fields, and nothing that nests without end: that is how a
    text that `document` has not looked at is safe here.
    """
    decode = _decoder(kind)
    try:
        return [decode(part) for part in parts]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


async def ndjson(request: AnyRequest) -> list[tuple[int, bytes]]:
    """The lines of a body with their numbers from 0; empty lines are left out but counted.

    Each line is yet to be decoded with `document`, so that a bad one does not spoil the others.
    Errors: UnsupportedTypeError, TooLargeError for the body or for more than limits.USAGE_BATCH lines.
    """
    _check_type(request.scope, lambda kind: kind == _NDJSON, _NDJSON)
    raw = await read(request.scope, request.receive)
    if raw.count(b"\n") > limits.USAGE_BATCH:
        raise errors.TooLargeError(f"One body has at most {limits.USAGE_BATCH:,} lines.")
    lines = [(number, line.strip()) for number, line in enumerate(raw.split(b"\n"))]
    if not any(line for _, line in lines):
        raise errors.MalformedError("The body is empty; lines of JSON were expected.")
    if sum(1 for _, line in lines if line) > limits.USAGE_BATCH:
        raise errors.TooLargeError(f"One body has at most {limits.USAGE_BATCH:,} lines.")
    return [(number, line) for number, line in lines if line]


def query(request: AnyRequest, kind: type[T]) -> T:
    """The parameters of the query as this Struct; unknown and repeated ones are refused.

    Errors: InvalidError, with `?limit` as the pointer.
    """
    values: dict[str, str] = {}
    found: list[errors.FieldError] = []
    for name, value in _parameters(request.scope["query_string"]):
        if name in values:
            found.append(errors.FieldError(f"/{name}", "This parameter is given twice."))
        values[name] = value
    found += findings.find(values, kind, strict=False)
    if found:
        raise findings.invalid([errors.FieldError("?" + each.pointer[1:], each.message) for each in found])
    return msgspec.convert(values, kind, strict=False)


def path(value: str, kind: object, name: str) -> str:
    """A part of the path that must be of this type of `wire`.

    Errors: InvalidError, with `{tenantId}` as the pointer.
    """
    if found := findings.find(value, kind, f"{{{name}}}"):
        raise findings.invalid(found)
    return value


def media_type(scope: HTTPScope) -> str:
    """The content type without its parameters, in small letters; empty when there is none."""
    return _header(scope, b"content-type").partition(";")[0].strip().lower()


def json_only(scope: HTTPScope) -> None:
    """Refuses what does not say that it is JSON.

    Errors: UnsupportedTypeError.
    """
    _check_type(scope, lambda kind: kind == _JSON or kind.endswith("+json"), _JSON)


def _check_type(scope: HTTPScope, taken: Callable[[str], bool], wanted: str) -> None:
    whole = _header(scope, b"content-type")
    if whole != wanted:  # the common case has no parameters
        kind, *parameters = (each.strip().lower() for each in whole.split(";"))
        if not taken(kind):
            given = f"`{findings.shown(kind)}`" if kind else "none"
            raise errors.UnsupportedTypeError(f"The content type must be {wanted}, not {given}.")
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "charset" and value.strip('"') not in ("utf-8", "utf8", "us-ascii"):
                raise errors.UnsupportedTypeError("The charset must be utf-8.")
    if (encoding := _header(scope, b"content-encoding")) not in ("", "identity"):
        raise errors.UnsupportedTypeError(
            f"Content-Encoding `{findings.shown(encoding)}` is not read; send plain."
        )


async def read(scope: HTTPScope, receive: Receive, *, most: int = limits.BODY_BYTES) -> bytes:
    """The body, never holding more than so many bytes of it.

    Errors: TooLargeError; MalformedError when it stays incomplete.
    """
    announced = _header(scope, b"content-length")
    if announced.isdigit() and (len(announced) > len("9" * 12) or int(announced) > most):
        raise _too_large(most)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return _within(message.get("body", b""), most)
    return await _slowly(message, receive, most)


async def _slowly(message: Any, receive: Receive, most: int = limits.BODY_BYTES) -> bytes:
    """A body of several messages, of which this is the first."""
    try:
        async with asyncio.timeout(limits.BODY_SECONDS):
            return await _rest(message, receive, most)
    except TimeoutError as error:
        raise errors.MalformedError(
            f"The body did not arrive within {limits.BODY_SECONDS} seconds."
        ) from error


async def _rest(message: Any, receive: Receive, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()
    raise errors.MalformedError("The connection ended before the body did.")


def _within(raw: bytes, most: int = limits.BODY_BYTES) -> bytes:
    if len(raw) > most:
        raise _too_large(most)
    return raw


def _too_large(most: int) -> errors.TooLargeError:
    return errors.TooLargeError(f"A body has at most {most:,} bytes; send it in parts.")


def _header(scope: HTTPScope, name: bytes) -> str:
    return exchange.head(scope).get(name, b"").decode("latin-1")


def _parameters(raw: bytes) -> Iterable[tuple[str, str]]:
    try:
        return parse.parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_QUERY_FIELDS
        )
    except ValueError as error:  # not UTF-8 (a UnicodeError is one), or too many
        raise errors.MalformedError(
            f"The query is not readable: percent-encoded UTF-8, at most {_QUERY_FIELDS} parameters."
        ) from error


@functools.cache
def _made(kind: type[msgspec.Struct]) -> Any:
    return msgspec.json.Decoder(kind).decode


def _decoder(kind: type[T]) -> Callable[[bytes | msgspec.Raw], T]:
    decode: Callable[[bytes | msgspec.Raw], T] = _made(kind)
    return decode


def _invalid(
    value: object, kind: type[msgspec.Struct], pointer: str, error: msgspec.ValidationError
) -> errors.InvalidError:
    found = findings.find(value, kind, pointer)
    return findings.invalid(found or [errors.FieldError(pointer, str(error))])
