"""Reservations: units are held for a use to come, then settled for what it was, or given up."""

from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from policies import limits
from policies.decision import Decision
from service.api import auth, consume, decisions, decode, direct, exchange, management, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.telemetry import Telemetry
from service.usecases import reservations, reserve
from service.usecases.reservations import ReservationView, Told

_DURABILITY: Final = "Metergate-Durability"


class ReserveBody(consume.UseBody, frozen=True, kw_only=True):
    """A use that is to come. `id` is that of the usage that it becomes, unique per tenant and service.

    It may stand in the header Idempotency-Key instead; without either, one is made.
    """

    ttl_seconds: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=limits.RESERVATION_SECONDS,
            description="How long it is held at most; a use that takes longer is settled all the same.",
        ),
    ] = limits.RESERVATION_SECONDS_DEFAULT


class ReserveDecision(Decision, frozen=True, kw_only=True, rename="camel"):
    """The decision, its numbers as they stood before; what was reserved, if anything was."""

    reservation_id: str | msgspec.UnsetType = msgspec.UNSET
    expires_at: wire.Instant | msgspec.UnsetType = msgspec.UNSET


class SettleBody(wire.Body, frozen=True, kw_only=True):
    """What was really used: nothing, less than was held, or more."""

    quantity: wire.Quantity


class ReleaseBody(wire.Body, frozen=True, kw_only=True):
    """There is nothing to say; the body may be left out."""


async def answer(
    context: Context, caller: Caller, raw: bytes, head: direct.Head, telemetry: Telemetry
) -> bytes:
    """The answer to one wish, both as JSON."""
    body = decode.document(raw, ReserveBody)
    auth.own_tenant(caller, body.tenant_id)
    wanted = consume.wanted(body, head, seconds=body.ttl_seconds)
    given = await reserve.reserve(context, wanted)
    decision = given.decision
    telemetry.decided(decision.outcome, decision.reason, degraded=decision.degraded)
    said = decisions.encode(decision)
    if given.reservation_id is None:
        return said
    held = msgspec.json.encode({"reservationId": given.reservation_id, "expiresAt": given.expires_at})
    return said[:-1] + b"," + held[1:]


@post(
    "/v1/reservations",
    status_code=200,
    opt=auth.needs("check", "report")
    | openapi.takes(ReserveBody)
    | openapi.answers(headers=[_DURABILITY])
    | direct.served(answer, acknowledges=True),
)
async def reserve_one(
    request: AnyRequest,
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
    telemetry: NamedDependency[Telemetry],
) -> Response[ReserveDecision]:
    """Holds units if all of them fit, and says so; else it is denied, and nothing is held."""
    raw = await decode.json_text(request.scope, request.receive)
    body = await answer(context, caller, raw, exchange.head(request.scope), telemetry)
    return management.told(body, ReserveDecision)


@post(
    "/v1/reservations/{reservation_id:str}/settle",
    status_code=200,
    opt=auth.needs("report") | openapi.takes(SettleBody) | openapi.answers(headers=[_DURABILITY]),
)
async def settle(
    request: AnyRequest,
    reservation_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
    telemetry: NamedDependency[Telemetry],
) -> Response[ReservationView]:
    """Counts what was really used, also past a limit and after the expiry; the same again changes nothing."""
    body = await decode.body(request, SettleBody)
    view = await reservations.settle(context, _told(reservation_id, caller), body.quantity)
    telemetry.count("metergate_events_total", "settled")
    return _shown(context, view)


@post(
    "/v1/reservations/{reservation_id:str}/release",
    status_code=200,
    opt=auth.needs("report")
    | openapi.takes(ReleaseBody, required=False)
    | openapi.answers(headers=[_DURABILITY]),
)
async def release(
    request: AnyRequest,
    reservation_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[ReservationView]:
    """Gives back all that is held; the same again changes nothing."""
    await management.optional_body(request, ReleaseBody)
    return _shown(context, await reservations.release(context, _told(reservation_id, caller)))


@get("/v1/reservations/{reservation_id:str}", opt=auth.needs("check"))
async def show(
    reservation_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[ReservationView]:
    """Shows what became of a reservation, while it is open and for some weeks after."""
    return management.shown(await reservations.show(context, _told(reservation_id, caller)))


def _told(reservation_id: str, caller: Caller) -> Told:
    return Told(decode.path(reservation_id, wire.CallerId, "reservationId"), caller.tenant_id)


def _shown(context: Context, view: ReservationView) -> Response[ReservationView]:
    response = management.shown(view)
    response.headers[_DURABILITY] = context.config.durability
    return response


ROUTES: Final = (reserve_one, settle, release, show)
