"""Where the payment provider tells us that something has happened."""

from typing import Final

from litestar import post
from litestar.di import NamedDependency

from policies import limits
from service.api import auth, decode, wire
from service.api.decode import AnyRequest
from service.context import Context
from service.usecases import payment_notices


class Taken(wire.Answer, frozen=True):
    """The notice is kept."""

    known: bool
    """It had come before."""


@post("/v1/stripe/webhook", opt=auth.PUBLIC, status_code=200)
async def stripe_webhook(request: AnyRequest, context: NamedDependency[Context]) -> Taken:
    """Takes an event of Stripe, signed with the endpoint's secret; nobody else calls this.

    The event is kept and nothing else is done: what it is about is fetched from Stripe by a worker. One that
    comes again is answered the same way.
    """
    raw = await decode.read(request.scope, request.receive, most=limits.NOTICE_BYTES)
    signature = request.headers.get("stripe-signature", "")
    return Taken(known=not await payment_notices.receive(context, raw, signature))


ROUTES: Final = (stripe_webhook,)
