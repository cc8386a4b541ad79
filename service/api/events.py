"""Lists of events: what was counted, and what was rejected and why."""

from typing import Annotated, Final

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from policies import limits
from service.api import auth, decode, management, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import events
from service.usecases.events import EventPage, RejectedPage


class EventsQuery(wire.Body, frozen=True, kw_only=True):
    """Whose events, and which part of the list."""

    tenant_id: Annotated[wire.TenantId, msgspec.Meta(description="Whose events.")]
    feature_id: Annotated[wire.CatalogId | None, msgspec.Meta(description="Only those of this feature.")] = (
        None
    )
    limit: wire.Limit = limits.LIST_LIMIT_DEFAULT
    cursor: wire.Cursor | None = None


class RejectedQuery(wire.Body, frozen=True, kw_only=True):
    """Whose rejected events, and which part of the list."""

    tenant_id: Annotated[
        wire.TenantId | None,
        msgspec.Meta(description="Only those of this tenant; else of all that the key sees."),
    ] = None
    limit: wire.Limit = limits.LIST_LIMIT_DEFAULT
    cursor: wire.Cursor | None = None


@get("/v1/usage/events", opt=auth.needs("read") | openapi.asks(EventsQuery))
async def list_events(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[EventPage]:
    """Lists a tenant's events, newest first, as far as they have been flushed."""
    wanted = decode.query(request, EventsQuery)
    auth.own_tenant(caller, wanted.tenant_id)
    page = await events.counted(
        context,
        wanted.tenant_id,
        feature_id=wanted.feature_id,
        after=management.after(wanted.cursor),
        limit=wanted.limit,
    )
    cursor = management.cursor(page.next_cursor)
    return management.shown(msgspec.structs.replace(page, next_cursor=cursor))


@get("/v1/usage/rejected", opt=auth.needs("read") | openapi.asks(RejectedQuery))
async def list_rejected(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[RejectedPage]:
    """Lists events of batches that did not count, newest first, for as long as they are kept."""
    wanted = decode.query(request, RejectedQuery)
    tenant_id = wanted.tenant_id or caller.tenant_id
    if tenant_id is not None:
        auth.own_tenant(caller, tenant_id)
    page = await events.rejected(
        context, tenant_id, after=management.after(wanted.cursor), limit=wanted.limit
    )
    cursor = management.cursor(page.next_cursor)
    return management.shown(msgspec.structs.replace(page, next_cursor=cursor))


ROUTES: Final = (list_events, list_rejected)
