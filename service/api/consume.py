"""Consuming: a use is decided and counted in one step."""

import re
from typing import Final

from litestar import Response, post
from litestar.di import NamedDependency

from policies import errors, limits
from policies.decision import Decision
from service import ids
from service.api import auth, decisions, decode, direct, exchange, management, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.telemetry import Telemetry
from service.usecases import consume
from service.usecases.fitting import Wanted

_KEY: Final = b"idempotency-key"
_ID: Final = re.compile(limits.ID_PATTERN)


class UseBody(wire.Body, frozen=True, kw_only=True):
    """A use, whether it is now or to come."""

    id: wire.EventId | None = None
    tenant_id: wire.TenantId
    service_id: wire.ServiceId
    feature_id: wire.CatalogId
    quantity: wire.Quantity = 1
    timestamp: wire.Instant | None = None
    entity_id: wire.EntityId | None = None
    context: wire.Context | None = None
    properties: wire.Properties | None = None


class ConsumeBody(UseBody, frozen=True, kw_only=True):
    """A use that is asked for. `id` is unique per tenant and service, as that of an event of usage.

    It may stand in the header Idempotency-Key instead; without either, one is made.
    """


class ConsumeDecision(Decision, frozen=True, kw_only=True, rename="camel"):
    """The decision, its numbers as they stood before the use."""

    consumed: bool
    """It was counted, under `eventId`."""
    event_id: str | None


async def answer(
    context: Context, caller: Caller, raw: bytes, head: direct.Head, telemetry: Telemetry
) -> bytes:
    """The answer to one use, both as JSON."""
    body = decode.document(raw, ConsumeBody)
    auth.own_tenant(caller, body.tenant_id)
    use = wanted(body, head)
    given = await consume.consume(context, use)
    decision = given.decision
    telemetry.decided(decision.outcome, decision.reason, degraded=decision.degraded)
    if given.consumed:
        telemetry.count("metergate_events_total", "consumed")
    rest = b',"consumed":true,"eventId":"%s"}' if given.consumed else b',"consumed":false,"eventId":null}'
    told = rest % use.event_id.encode() if given.consumed else rest
    return decisions.encode(decision)[:-1] + told


def wanted(body: UseBody, head: direct.Head, *, seconds: int | None = None) -> Wanted:
    """What is asked for, and under which id. Errors: InvalidError for an id that is none, or two of them."""
    return Wanted(
        event_id=_event_id(body.id, head.get(_KEY)),
        tenant_id=body.tenant_id,
        service_id=body.service_id,
        feature_id=body.feature_id,
        quantity=body.quantity,
        entity_id=body.entity_id,
        context=body.context,
        properties=body.properties,
        timestamp=None if body.timestamp is None else wire.utc(body.timestamp, "/timestamp"),
        seconds=seconds,
    )


def _event_id(given: str | None, key: bytes | None) -> str:
    """The id in the body, or the Idempotency-Key, or one that is made.

    Errors: InvalidError for a key that is no event's id, or that is not the body's.
    """
    if key is None:
        return given or ids.EVENTS.new()
    name = key.decode("latin-1")
    if _ID.fullmatch(name) is None:
        detail = "The Idempotency-Key of a use is an event's id: letters, digits and . _ : @ + = ~ - only."
        raise errors.invalid("Idempotency-Key", detail)
    if given is not None and given != name:
        raise errors.invalid("/id", "The id in the body and the Idempotency-Key differ: give one of them.")
    return name


@post(
    "/v1/consume",
    status_code=200,
    opt=auth.needs("check", "report")
    | openapi.takes(ConsumeBody)
    | openapi.answers(headers=["Metergate-Durability"])
    | direct.served(answer, acknowledges=True),
)
async def consume_one(
    request: AnyRequest,
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
    telemetry: NamedDependency[Telemetry],
) -> Response[ConsumeDecision]:
    """Counts a use if all of it fits, and says so; else it is denied, and nothing is counted."""
    raw = await decode.json_text(request.scope, request.receive)
    body = await answer(context, caller, raw, exchange.head(request.scope), telemetry)
    return management.told(body, ConsumeDecision)


ROUTES: Final = (consume_one,)
