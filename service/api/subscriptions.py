"""A tenant's subscription over HTTP: start, show, change, cancel, resume."""

from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from policies import limits
from service.api import auth, decode, management, openapi, tenants, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import subscribe
from service.usecases.offers import AddonWish
from service.usecases.subscribe import CancelWhen, ChangeWhen
from service.usecases.subscription_view import SubscriptionView

_PATH: Final = "/v1/tenants/{tenant_id:str}/subscription"


class AddonBody(wire.Body, frozen=True):
    """An add-on, so many times."""

    addon_id: wire.CatalogId
    quantity: Annotated[int, Meta(ge=1, le=limits.ADDON_QUANTITY)] = 1


Addons = Annotated[
    list[AddonBody],
    Meta(
        max_length=limits.ADDONS,
        description="All add-ons, each in the active catalog's version; an empty list is none.",
    ),
]


class StartBody(wire.Body, frozen=True):
    """A new subscription: from `startAt` (now) on, its periods laid from `anchor` (its start)."""

    plan_id: wire.CatalogId
    start_at: wire.Instant | None = None
    anchor: wire.Instant | None = None
    trial: bool = False
    addons: Addons = msgspec.field(default_factory=list)


class ChangeBody(wire.Body, frozen=True):
    """Another plan, other add-ons, or both; with neither, the newest version of the present plan."""

    when: ChangeWhen
    plan_id: wire.CatalogId | None = None
    addons: Addons | None = None


class CancelBody(wire.Body, frozen=True):
    """When it ends."""

    when: CancelWhen = "periodEnd"


class ResumeBody(wire.Body, frozen=True):
    """Nothing need be said."""


@post(_PATH, opt=auth.needs("manage") | openapi.takes(StartBody) | openapi.writes())
async def start_subscription(
    request: AnyRequest,
    tenant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[SubscriptionView]:
    """Puts a tenant on a plan; 409 if it has a subscription."""
    tenant_id = tenants.own(caller, tenant_id)
    body = await decode.body(request, StartBody, strict_keys=True)
    wish = subscribe.Wish(
        plan_id=body.plan_id,
        start_at=None if body.start_at is None else wire.utc(body.start_at, "/startAt"),
        anchor=None if body.anchor is None else wire.utc(body.anchor, "/anchor"),
        trial=body.trial,
        addons=_wishes(body.addons),
    )
    reply = await subscribe.start(context, management.order(request, caller), tenant_id, wish)
    return management.replied(reply, SubscriptionView)


@get(_PATH, opt=auth.needs("manage") | openapi.answers(headers=["ETag"]))
async def get_subscription(
    tenant_id: FromPath[str], context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[SubscriptionView]:
    """Shows the subscription that the tenant made last, with its phases and its billing period."""
    view, etag = await subscribe.get(context, tenants.own(caller, tenant_id))
    return management.shown(view, etag)


@post(
    f"{_PATH}/change",
    status_code=200,
    opt=auth.needs("manage") | openapi.takes(ChangeBody) | openapi.writes(),
)
async def change_subscription(
    request: AnyRequest,
    tenant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[SubscriptionView]:
    """Moves a subscription to another plan or other add-ons, now or at renewal; anchor and period stay.

    `addons` are all that it has from then on. Left out, those that it has now stay, and where the new plan is
    not sold with one of them, the answer is 409. With `addons` alone the plan's version stays; with neither,
    the plan moves to its newest version. A change that was scheduled before is replaced.
    """
    tenant_id = tenants.own(caller, tenant_id)
    body = await decode.body(request, ChangeBody, strict_keys=True)
    order = management.order(request, caller)
    addons = None if body.addons is None else _wishes(body.addons)
    move = subscribe.Move(plan_id=body.plan_id, addons=addons, when=body.when)
    reply = await subscribe.change(context, order, tenant_id, move)
    return management.replied(reply, SubscriptionView)


@post(
    f"{_PATH}/cancel",
    status_code=200,
    opt=auth.needs("manage") | openapi.takes(CancelBody, required=False) | openapi.writes(),
)
async def cancel_subscription(
    request: AnyRequest,
    tenant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[SubscriptionView]:
    """Ends a subscription, now or with its billing period."""
    tenant_id = tenants.own(caller, tenant_id)
    body = await management.optional_body(request, CancelBody)
    reply = await subscribe.cancel(context, management.order(request, caller), tenant_id, when=body.when)
    return management.replied(reply, SubscriptionView)


@post(
    f"{_PATH}/resume",
    status_code=200,
    opt=auth.needs("manage") | openapi.takes(ResumeBody, required=False) | openapi.writes(),
)
async def resume_subscription(
    request: AnyRequest,
    tenant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[SubscriptionView]:
    """Takes the scheduled end of a subscription back."""
    tenant_id = tenants.own(caller, tenant_id)
    await management.optional_body(request, ResumeBody)
    reply = await subscribe.resume(context, management.order(request, caller), tenant_id)
    return management.replied(reply, SubscriptionView)


def _wishes(addons: list[AddonBody]) -> list[AddonWish]:
    return [AddonWish(addon_id=one.addon_id, quantity=one.quantity) for one in addons]


ROUTES: Final = (
    start_subscription,
    get_subscription,
    change_subscription,
    cancel_subscription,
    resume_subscription,
)
