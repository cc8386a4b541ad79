"""One event over HTTP: look at it with its versions, amend it, void it."""

from typing import Annotated, Final

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from policies import errors, limits
from service.api import auth, decode, management, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import events, revise
from service.usecases.events import EventHistory, EventName, EventView

_PATH: Final = "/v1/usage/{service_id:str}/{event_id:str}"

Revision = Annotated[
    int, Meta(ge=1, le=limits.REVISIONS, description="The version that the caller has seen.")
]


class EventQuery(wire.Body, frozen=True, kw_only=True):
    """Whose event it is; a key of one tenant need not say."""

    tenant_id: Annotated[wire.TenantId | None, Meta(description="Whose event.")] = None


class VoidEventBody(wire.Body, frozen=True, kw_only=True):
    """Why the event counts no more. A key that is bound to one tenant need not say whose event it is."""

    tenant_id: wire.TenantId | None = None
    reason: wire.Reason
    revision: Revision | None = None


class AmendEventBody(VoidEventBody, frozen=True, kw_only=True):
    """The quantity that the event should have been reported with."""

    quantity: wire.Quantity


@get(_PATH, opt=auth.needs("read") | openapi.asks(EventQuery))
async def get_event(
    request: AnyRequest,
    service_id: FromPath[str],
    event_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[EventHistory]:
    """Shows an event as it stands, with all its versions."""
    asked = decode.query(request, EventQuery)
    name = _name(caller, service_id, event_id, asked.tenant_id, "?tenantId")
    found = await events.history(context, name)
    return management.shown(found, etag=revise.etag(found.revision))


@post(
    _PATH + "/amend",
    status_code=200,
    opt=auth.needs("manage") | openapi.takes(AmendEventBody) | openapi.writes(),
)
async def amend_event(
    request: AnyRequest,
    service_id: FromPath[str],
    event_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[EventView]:
    """Gives an event another quantity. Units go back to the buckets they came from, or more are drawn.

    No limit refuses it, since it has already happened. Both versions are kept.
    """
    body = await decode.body(request, AmendEventBody, strict_keys=True)
    name = _name(caller, service_id, event_id, body.tenant_id, "/tenantId")
    wish = revise.Wish(quantity=body.quantity, reason=body.reason, revision=body.revision)
    reply = await revise.revise(context, management.order(request, caller), name, wish)
    return management.replied(reply, EventView)


@post(
    _PATH + "/void",
    status_code=200,
    opt=auth.needs("manage") | openapi.takes(VoidEventBody) | openapi.writes(),
)
async def void_event(
    request: AnyRequest,
    service_id: FromPath[str],
    event_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[EventView]:
    """Takes an event back, as if it had not happened. It stays visible, and its id stays used."""
    body = await decode.body(request, VoidEventBody, strict_keys=True)
    name = _name(caller, service_id, event_id, body.tenant_id, "/tenantId")
    wish = revise.Wish(quantity=None, reason=body.reason, revision=body.revision)
    reply = await revise.revise(context, management.order(request, caller), name, wish)
    return management.replied(reply, EventView)


def _name(caller: Caller, service_id: str, event_id: str, said: str | None, pointer: str) -> EventName:
    """Which event is meant: an id is unique per tenant and service."""
    service_id = decode.path(service_id, wire.ServiceId, "serviceId")
    event_id = decode.path(event_id, wire.EventId, "eventId")
    tenant_id = said or caller.tenant_id
    if tenant_id is None:
        raise errors.invalid(pointer, "Say whose event it is: ids are unique per tenant and service.")
    auth.own_tenant(caller, tenant_id)
    return EventName(tenant_id, service_id, event_id)


ROUTES: Final = (get_event, amend_event, void_event)
