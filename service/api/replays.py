"""Replays over HTTP: logged decisions run against files that are not published."""

from typing import Annotated, Final

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency

from policies import errors
from service.api import auth, catalogs, decode, management, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import publish, replaying
from service.usecases.replaying import Replayed, Span


class ReplayBody(catalogs.FilesBody, frozen=True, kw_only=True):
    """A catalog, and which logged decisions are run against it: of the last `7d` unless it says otherwise."""

    start: wire.Instant | None = msgspec.field(name="from", default=None)
    end: wire.Instant | None = msgspec.field(name="to", default=None)
    last: Annotated[str, msgspec.Meta(min_length=2, max_length=5, examples=["7d", "36h"])] | None = None
    tenant_id: wire.TenantId | None = None


@post("/v1/catalogs/replay", status_code=200, opt=auth.needs("manage") | openapi.takes(ReplayBody))
async def replay_catalog(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[Replayed]:
    """Tells which logged decisions these files would have answered otherwise. Nothing is published."""
    body = await decode.body(request, ReplayBody, strict_keys=True)
    if caller.tenant_id is not None:
        raise errors.ForbiddenError("This key belongs to a tenant; plans are not a tenant's to try out.")
    span = Span(
        start=body.start and wire.utc(body.start, "/from"),
        end=body.end and wire.utc(body.end, "/to"),
        last=body.last,
        tenant_id=body.tenant_id,
    )
    wanted = replaying.wanted(span, context.clock.now())
    examined = await publish.examine(catalogs.bounded(body.files))
    catalog = publish.publishable(examined, publish.broken(examined))  # only a publish is held to promises
    publish.refuse_new_meaning(context.catalogs.meanings, catalog)
    return management.shown(await replaying.apart(context, catalog, wanted))


ROUTES: Final = (replay_catalog,)
