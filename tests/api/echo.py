"""Routes that give back what they were sent: they show the HTTP face alone, without a product behind it."""

import sys
from typing import Annotated, Final, Literal

import msgspec
from litestar import Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from policies import errors
from service.api import auth, decode, openapi, server, wire
from service.api.app import make_app
from service.api.decode import AnyRequest
from service.config import Config
from service.context import Caller


class Echo(wire.Body, frozen=True):
    tenant_id: wire.TenantId
    feature_id: wire.CatalogId | None = None
    quantity: wire.Quantity = 1
    at: wire.Instant | None = None
    context: wire.Context | None = None
    metadata: wire.Metadata | None = None
    name: wire.Name | None = None
    when: Literal["now", "renewal"] = "now"
    explain: bool = False


class Echoes(wire.Body, frozen=True):
    echoes: Annotated[list[Echo], msgspec.Meta(max_length=10)]


class Page(wire.Body, frozen=True):
    limit: wire.Limit = 100
    cursor: wire.Cursor | None = None
    since: wire.Instant | None = None


@post("/echo", status_code=200, opt=auth.PUBLIC | openapi.takes(Echo))
async def echo(request: AnyRequest) -> Echo:
    return await decode.body(request, Echo)


@post("/echo/strict", status_code=200, opt=auth.PUBLIC | openapi.takes(Echo))
async def echo_strict(request: AnyRequest) -> Echo:
    return await decode.body(request, Echo, strict_keys=True)


@post("/echoes", status_code=200, opt=auth.PUBLIC | openapi.takes(Echoes))
async def echoes(request: AnyRequest) -> Echoes:
    return await decode.body(request, Echoes)


@post("/lines", status_code=200, opt=auth.PUBLIC)
async def lines(request: AnyRequest) -> list[tuple[int, int]]:
    return [(number, len(line)) for number, line in await decode.ndjson(request)]


@get("/page", opt=auth.PUBLIC)
async def page(request: AnyRequest) -> Page:
    return decode.query(request, Page)


@get("/native", opt=auth.PUBLIC)
async def native(limit: FromQuery[int]) -> int:
    return limit


@put("/closed/{tenant_id:str}", opt=auth.needs("check", "report") | openapi.takes(Echo))
async def closed(
    request: AnyRequest, tenant_id: FromPath[str], caller: NamedDependency[Caller]
) -> Response[dict[str, object]]:
    tenant_id = decode.path(tenant_id, wire.TenantId, "tenantId")
    auth.own_tenant(caller, tenant_id)
    body = await decode.body(request, Echo)
    return Response({"actor": caller.actor, "requestId": caller.request_id, "tenantId": body.tenant_id})


@get("/broken", opt=auth.PUBLIC)
async def broken() -> None:
    raise RuntimeError("a password that must not get out")


@get("/busy", opt=auth.PUBLIC)
async def busy() -> None:
    raise errors.UnavailableError("Not now.", retry_after_s=2)


ROUTES: Final = (echo, echo_strict, echoes, lines, page, native, closed, broken, busy)

NOWHERE: Final = Config(
    database_url="postgresql:///metergate?host=/nonexistent", redis_url="unix:///nonexistent/valkey.sock"
)
"""An instance whose servers are away."""


def main() -> None:
    """Serves these routes on a free port, and says which."""
    listening = server.listen("127.0.0.1", 0)
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    server.make_server(make_app(NOWHERE, routes=ROUTES)).run(sockets=[listening])


if __name__ == "__main__":
    main()
