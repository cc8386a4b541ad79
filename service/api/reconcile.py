"""Plans of what differs from a payment provider, over HTTP."""

from typing import Annotated, Final

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from policies import errors, limits
from service.api import auth, decode, management, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import reconcile, reconcile_apply
from service.usecases.reconcile import PlanPage, PlanView

_PATH: Final = "/v1/reconcile/plans"


class PlanQuery(wire.Body, frozen=True):
    """Which part of the list."""

    limit: wire.Limit = limits.LIST_LIMIT_DEFAULT
    cursor: wire.Cursor | None = None


class ApplyBody(wire.Body, frozen=True):
    """Whether anything is done."""

    dry_run: Annotated[bool, Meta(description="Only say what would be done.")] = True


def _of_all(caller: Caller) -> None:
    """A plan tells of all tenants.

    Errors: ForbiddenError for a key that is bound to one.
    """
    if caller.tenant_id is not None:
        raise errors.ForbiddenError("This key belongs to one tenant; plans are about all of them.")


@get(_PATH, opt=auth.needs("operate") | openapi.asks(PlanQuery))
async def list_plans(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[PlanPage]:
    """Lists plans, newest first: what two looks have found to differ from the payment provider."""
    _of_all(caller)
    wanted = decode.query(request, PlanQuery)
    page = await reconcile.page(context, before=management.after(wanted.cursor), limit=wanted.limit)
    return management.shown(PlanPage(items=page.items, next_cursor=management.cursor(page.next_cursor)))


@get(_PATH + "/{plan_id:str}", opt=auth.needs("operate"))
async def show_plan(
    plan_id: FromPath[str], context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[PlanView]:
    """Shows a plan as it was made, and what was done by it."""
    _of_all(caller)
    plan_id = decode.path(plan_id, wire.CallerId, "planId")
    return management.shown(await reconcile.get(context, plan_id))


@post(_PATH + "/{plan_id:str}/apply", status_code=200, opt=auth.needs("operate") | openapi.takes(ApplyBody))
async def apply_plan(
    request: AnyRequest,
    plan_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[PlanView]:
    """Does what a plan proposes and a machine may do, with `dryRun: false`; what was done is not done twice.

    Nothing of it charges, gives money back, or raises an amount. A plan that the breaker has stopped is 409.
    """
    _of_all(caller)
    plan_id = decode.path(plan_id, wire.CallerId, "planId")
    body = await decode.body(request, ApplyBody, strict_keys=True)
    if body.dry_run:
        return management.shown(await reconcile.get(context, plan_id))
    return management.shown(await reconcile_apply.apply(context, caller, plan_id))


ROUTES: Final = (list_plans, show_plan, apply_plan)
