"""The API described in OpenAPI 3.1: what the framework knows of the routes, and what it cannot know.

A route says which body it reads, since we decode it ourselves:
`opt=auth.needs("manage") | openapi.takes(PutTenant)`.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from litestar import Litestar, Response, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig

from service.api import auth, given, problems
from service.api.health import VERSION

MEDIA_TYPE: Final = "application/vnd.oai.openapi+json"

_ASIDE: Final = "/framework"
"""Where the framework would serve its own description, in an application that serves nothing."""
_BODY: Final = "body"
_JSON: Final = "application/json"
_SCHEMAS: Final = "#/components/schemas/{name}"
_SCHEME: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def takes(*kinds: type[msgspec.Struct]) -> dict[str, object]:
    """For the `opt` of a route: its body is one of these Structs."""
    return {_BODY: kinds}


def document(routes: Sequence[HTTPRouteHandler]) -> dict[str, Any]:
    """The description of these routes, as JSON values."""
    described = Litestar(
        route_handlers=routes,
        openapi_config=OpenAPIConfig(title="Metergate", version=VERSION, path=_ASIDE),
        dependencies=given.DEPENDENCIES,
        logging_config=None,
    )
    found: dict[str, Any] = described.openapi_schema.to_schema()
    components = found.setdefault("components", {})
    components["securitySchemes"] = _SCHEME
    schemas = components.setdefault("schemas", {})
    for route, operation in _operations(described, found):
        _add_problems(operation)
        if auth.is_open(route):
            continue
        operation["security"] = [{name: []} for name in _SCHEME]
        _add_body(operation, route.opt.get(_BODY, ()), schemas)
    schemas |= msgspec.json.schema_components([problems.Problem], ref_template=_SCHEMAS)[1]
    found["paths"] = {_camel(path): item for path, item in found["paths"].items()}
    return found


def _operations(
    described: Litestar, found: dict[str, Any]
) -> Iterator[tuple[HTTPRouteHandler, dict[str, Any]]]:
    """Each route with what the framework says of it, which is changed in place."""
    for registered in described.routes:
        item = found["paths"].get(registered.path_format, {})
        for route in getattr(registered, "route_handlers", ()):
            for method in route.http_methods:
                if operation := item.get(method.lower()):
                    for parameter in operation.get("parameters", ()):
                        parameter["name"] = _camel(parameter["name"])
                    yield route, operation


def _add_problems(operation: dict[str, Any]) -> None:
    responses = operation.setdefault("responses", {})
    responses.pop("400", None)  # the framework's own error shape, which is never sent
    told = {"schema": {"$ref": _SCHEMAS.format(name="Problem")}}
    responses["default"] = {
        "description": "A problem; `type` names the page that explains it.",
        "content": {problems.MEDIA_TYPE: told},
    }


def _add_body(
    operation: dict[str, Any], kinds: Sequence[type[msgspec.Struct]], schemas: dict[str, Any]
) -> None:
    if not kinds:
        return
    references, components = msgspec.json.schema_components(kinds, ref_template=_SCHEMAS)
    schemas |= components
    schema = references[0] if len(kinds) == 1 else {"oneOf": list(references)}
    operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": schema}}}


def _camel(text: str) -> str:
    """`{tenant_id}` in Python is `{tenantId}` on the wire."""
    return re.sub(r"_([a-z])", lambda matched: matched[1].upper(), text)


@get("/schema/openapi.json", opt=auth.PUBLIC)
async def openapi(state: State) -> Response[bytes]:
    """This description."""
    return Response(_encoded(state.routes), media_type=MEDIA_TYPE)


@functools.cache
def _encoded(routes: tuple[HTTPRouteHandler, ...]) -> bytes:
    return msgspec.json.encode(document(routes))


ROUTES: Final = (openapi,)
