"""The API described in OpenAPI 3.1: made from what the routes declare, so that it says what they do.

The answer is the Struct of the handler's annotation. What is read of a request is named in `opt`, since we
decode it ourselves: `opt=auth.needs("manage") | openapi.takes(PutTenant) | openapi.writes()`.
"""

import functools
import re
import typing
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from typing import Any, Final

import msgspec
from litestar import Response, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from policies import limits
from service.api import auth, problems, wire
from service.config import Durability

MEDIA_TYPE: Final = "application/vnd.oai.openapi+json"

_BODY: Final = "body"
_QUERY: Final = "query"
_WRITES: Final = "writes"
_ANSWERS: Final = "answers"
(_NEEDS,) = auth.PUBLIC
_JSON: Final = "application/json"
_NDJSON: Final = "application/x-ndjson"
_SCHEMAS: Final = "#/components/schemas/{name}"
_SCHEME: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_PATH: Final = {
    "tenantId": (wire.TenantId, "The tenant."),
    "decisionId": (wire.CallerId, "The decision, by its id."),
    "eventId": (wire.EventId, "The event, by the id that it was reported with."),
    "featureId": (wire.CatalogId, "The feature."),
    "grantId": (wire.CallerId, "The grant."),
    "reservationId": (wire.CallerId, "The reservation, as it was answered."),
    "serviceId": (wire.ServiceId, "The service that reported it."),
    "invoiceId": (wire.CallerId, "The invoice, by its id; not its number."),
    "disputeId": (wire.CallerId, "The dispute, by the payment provider's id."),
    "planId": (wire.CallerId, "The plan of what is to be done, by its id."),
    "keyId": (wire.CallerId, "The key, by its id; never its secret."),
}
_SAID: Final = {
    200: "The request was carried out, and this is its answer.",
    201: "It was made, and this is how it stands.",
    202: "The events were read, and this is what became of them.",
    503: "Nothing can be answered now.",
}
_TEXT: Final[dict[str, object]] = {"type": "string"}
_HEADERS: Final[dict[str, tuple[str, dict[str, object]]]] = {
    "ETag": ("The version of what is shown, for `If-Match`.", _TEXT),
    "Metergate-Durability": (
        "How safe the counted events are against the loss of a server.",
        {"type": "string", "enum": sorted(typing.get_args(Durability))},
    ),
}
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repeating a request with the same key changes nothing and gives the first answer again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": limits.IDEMPOTENCY_KEY_LENGTH},
}
_IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "Only if it still has this ETag; else the answer is 412 and nothing changes.",
    "schema": _TEXT,
}


class _Taken(msgspec.Struct, frozen=True):
    kinds: tuple[type[msgspec.Struct], ...]
    required: bool
    lines: bool


class _Answered(msgspec.Struct, frozen=True):
    statuses: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


def takes(*kinds: type[msgspec.Struct], required: bool = True, lines: bool = False) -> dict[str, object]:
    """For the `opt` of a route: its body is one of these Structs; with `lines`, also many of the first."""
    return {_BODY: _Taken(kinds, required, lines)}


def asks(kind: type[msgspec.Struct]) -> dict[str, object]:
    """For the `opt` of a route: its query is this Struct, as `decode.query` reads it."""
    return {_QUERY: kind}


def writes(*, if_match: bool = True) -> dict[str, object]:
    """For the `opt` of a route: it heeds the headers that `management.order` reads, and answers an ETag.

    `if_match=False` where there is nothing yet that could have an ETag.
    """
    return {_WRITES: [_IDEMPOTENCY_KEY, _IF_MATCH] if if_match else [_IDEMPOTENCY_KEY]}


def answers(*statuses: int, headers: Sequence[str] = (), types: Sequence[str] = ()) -> dict[str, object]:
    """For the `opt` of a route: what its answers have beyond one status with one JSON text."""
    return {_ANSWERS: _Answered(statuses, tuple(headers), tuple(types))}


def document(routes: Sequence[HTTPRouteHandler]) -> dict[str, Any]:
    """The description of these routes, as JSON values."""
    schemas = _Schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for path in route.paths:
            item = paths.setdefault(_camel(re.sub(r":\w+}", "}", path)), {})
            for method in sorted(route.http_methods):
                item[method.lower()] = _operation(route, path, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Metergate", "version": metadata.version("metergate")},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas.components, "securitySchemes": _SCHEME},
    }


class _Schemas:
    """The schemas of all types of these routes, made at once: two Structs of one name get two names."""

    def __init__(self, routes: Iterable[HTTPRouteHandler]) -> None:
        kinds: list[Any] = [problems.Problem]
        for route in routes:
            kinds += [_returned(route), *_taken(route).kinds]
        kinds = list(dict.fromkeys(kind for kind in kinds if kind not in (None, bytes)))
        found, components = msgspec.json.schema_components(
            kinds, schema_hook=_anything, ref_template=_SCHEMAS
        )
        self._found: dict[Any, Any] = dict(zip(kinds, _plain(found), strict=True))
        self.components: dict[str, Any] = _plain(components)

    def of(self, kind: object) -> dict[str, Any]:
        """The schema of one of them; of bytes, that it is JSON."""
        schema: dict[str, Any] = self._found.get(kind, {"type": "object"})
        return schema


def _anything(kind: type) -> dict[str, Any]:
    """The schema of what Python calls an object, which JSON Schema has no name for."""
    if kind is not object:
        raise NotImplementedError
    return {"description": "Any value."}


def _plain(schema: Any) -> Any:
    """The same schema in the words of JSON instead of Python's: there `$` is the very end, None is null."""
    if isinstance(schema, list | tuple):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(value) for key, value in schema.items()}
    if isinstance(pattern := plain.get("pattern"), str):
        plain["pattern"] = re.sub(r"\\Z$", "$", pattern.removesuffix(wire.END))
    if isinstance(description := plain.get("description"), str):
        plain["description"] = re.sub(r"\b(None|True|False)\b", _json_word, description)
    return plain


def _json_word(matched: re.Match[str]) -> str:
    return {"None": "null"}.get(matched[0], matched[0].lower())


def _operation(route: HTTPRouteHandler, path: str, schemas: _Schemas) -> dict[str, Any]:
    summary, description = _told(route)
    operation: dict[str, Any] = {
        "operationId": _camel(route.fn.__name__),
        "summary": summary,
        "description": description,
        "parameters": list(_parameters(route, path)),
        "responses": _responses(route, schemas),
    }
    if not auth.is_open(route):
        operation["security"] = [{name: []} for name in _SCHEME]
    if (taken := _taken(route)).kinds:
        operation["requestBody"] = _body(taken, schemas)
    return {key: value for key, value in operation.items() if value not in ("", [])}


def _told(route: HTTPRouteHandler) -> tuple[str, str]:
    """The handler's first sentence, and the rest of what it says with the scopes that it needs."""
    text = " ".join((route.fn.__doc__ or route.fn.__name__).split())
    summary, _, rest = text.partition(". ")
    names = " and ".join(f"`{scope}`" for scope in sorted(typing.cast("set[str]", route.opt[_NEEDS])))
    needs = f"Needs the scope {names}." if names else "Needs no key."
    return summary.rstrip(".") + ".", f"{rest} {needs}".strip()


def _parameters(route: HTTPRouteHandler, path: str) -> Iterator[dict[str, Any]]:
    for name in map(_camel, re.findall(r"{(\w+)", path)):
        named, description = _PATH[name]
        schema = _plain(msgspec.json.schema(named)) | {"description": description}
        yield _parameter(name, "path", schema, required=True)
    if kind := route.opt.get(_QUERY):
        (found,), components = msgspec.json.schema_components([kind])
        described = _plain(components)[found["$ref"].rpartition("/")[2]]
        for name, schema in described["properties"].items():
            yield _parameter(name, "query", _given(schema), required=name in described["required"])
    yield from route.opt.get(_WRITES, ())


def _parameter(name: str, place: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    description = schema.pop("description", "")
    return {"name": name, "in": place, "required": required, "description": description, "schema": schema}


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """What a parameter is when it is there: null cannot be sent in a query."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf" and value is not None}
    given: dict[str, Any] = kinds[0] | rest
    return given


def _body(taken: _Taken, schemas: _Schemas) -> dict[str, Any]:
    found = [schemas.of(kind) for kind in taken.kinds]
    content = {_JSON: {"schema": found[0] if len(found) == 1 else {"oneOf": found}}}
    if taken.lines:
        lines = f"One `{taken.kinds[0].__name__}` as JSON on each line."
        content[_NDJSON] = {"schema": {"type": "string", "description": lines}}
    return {"required": taken.required, "content": content}


def _responses(route: HTTPRouteHandler, schemas: _Schemas) -> dict[str, Any]:
    answered: _Answered = route.opt.get(_ANSWERS, _Answered())
    names = answered.headers + (("ETag",) if _WRITES in route.opt else ())
    headers = {name: {"description": _HEADERS[name][0], "schema": _HEADERS[name][1]} for name in names}
    content = _content(route, answered, schemas)
    found: dict[str, Any] = {
        str(status): {"description": _SAID[status], "headers": headers, "content": content}
        for status in sorted({route.status_code, *answered.statuses})
    }
    found["default"] = {
        "description": "A problem; `type` names the page that explains it.",
        "content": {problems.MEDIA_TYPE: {"schema": schemas.of(problems.Problem)}},
    }
    return found


def _content(route: HTTPRouteHandler, answered: _Answered, schemas: _Schemas) -> dict[str, Any]:
    texts = {kind: {"schema": _TEXT} for kind in answered.types}
    if _returned(route) is None:
        return texts
    kind = str(route.media_type or _JSON)
    return {kind: {"schema": _TEXT if kind.startswith("text/") else schemas.of(_returned(route))}} | texts


def _returned(route: HTTPRouteHandler) -> Any:
    """The type of the answer: the T of a Response[T]."""
    kind = typing.get_type_hints(route.fn, include_extras=True).get("return")
    if typing.get_origin(kind) is Response:
        (kind,) = typing.get_args(kind)
    return None if kind is type(None) else kind


def _taken(route: HTTPRouteHandler) -> _Taken:
    taken: _Taken = route.opt.get(_BODY, _Taken((), required=False, lines=False))
    return taken


def _camel(text: str) -> str:
    """`{tenant_id}` in Python is `{tenantId}` on the wire."""
    return re.sub(r"_([a-z])", lambda matched: matched[1].upper(), text)


@get("/schema/openapi.json", opt=auth.PUBLIC, media_type=MEDIA_TYPE)
async def openapi(state: State) -> Response[bytes]:
    """Shows this description of the API."""
    return Response(_encoded(state.routes), media_type=MEDIA_TYPE)


@functools.cache
def _encoded(routes: tuple[HTTPRouteHandler, ...]) -> bytes:
    return msgspec.json.encode(document(routes))


ROUTES: Final = (openapi,)
