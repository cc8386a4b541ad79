"""The clock over HTTP, where it may be moved: only with METERGATE_TEST_CLOCK are these routes there."""

from typing import Final

from litestar import Response, get, post
from litestar.di import NamedDependency

from service.api import auth, decode, management, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import move_clock
from service.usecases.move_clock import ClockView

_PATH: Final = "/test/clock"


class ClockBody(wire.Body, frozen=True):
    """Where to."""

    now: wire.Instant


@get(_PATH, opt=auth.needs("operate"))
async def show_clock(context: NamedDependency[Context]) -> Response[ClockView]:
    """Says what the service's clock says."""
    return management.shown(move_clock.shown(context))


@post(_PATH, status_code=200, opt=auth.needs("operate") | openapi.takes(ClockBody))
async def set_clock(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[ClockView]:
    """Moves the clock of the API and the jobs to an instant, from which it goes on; 409 for a past one."""
    order = management.order(request, caller)
    body = await decode.body(request, ClockBody, strict_keys=True)
    reply = await move_clock.move(context, order, wire.utc(body.now, "/now"))
    return management.replied(reply, ClockView)


ROUTES: Final = (show_clock, set_clock)
