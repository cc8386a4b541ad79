"""A tenant's billing status over HTTP: shown, with all that led to it, and said by hand."""

from typing import Annotated, Final

from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from policies import errors, limits
from policies.model import BillingStatus
from service.api import auth, decode, management, openapi, tenants, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import billing, billing_view, disputes
from service.usecases.billing_view import BillingStatusView, FactPage
from service.usecases.subscription_view import SubscriptionView
from store.payment_facts import LAST

_PATH: Final = "/v1/tenants/{tenant_id:str}/billing-status"


class BillingBody(wire.Body, frozen=True):
    """What payments say of the tenant from now on."""

    status: BillingStatus
    reason: wire.Reason
    schedule: Annotated[
        bool,
        Meta(
            description="Whether the plan's days take `grace` on to `restricted`, and that to `suspended`; "
            "the other statuses go nowhere by themselves."
        ),
    ] = False
    until: Annotated[
        wire.Instant | None,
        Meta(
            description="Until when this stands in the place of what payments say; without it, until it is "
            "lifted or something else is said."
        ),
    ] = None


class LiftBody(wire.Body, frozen=True):
    """Why what was said by hand stands no more."""

    reason: wire.Reason


class DisputeBody(wire.Body, frozen=True):
    """How a dispute ended."""

    outcome: disputes.Outcome
    reason: wire.Reason


class FactQuery(wire.Body, frozen=True):
    """Which part of the list."""

    limit: wire.Limit = limits.LIST_LIMIT_DEFAULT
    cursor: wire.Cursor | None = None


@get(_PATH, opt=auth.needs("read") | openapi.answers(headers=["ETag"]))
async def show_billing_status(
    tenant_id: FromPath[str], context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[BillingStatusView]:
    """Shows a tenant's billing status: why, since when, and what comes next if nothing more becomes known.

    Beside it what was said by hand, what payments alone say, and what else there is to know of them.
    """
    view, etag = await billing_view.show(context, tenants.own(caller, tenant_id))
    return management.shown(view, etag)


@get(_PATH + "/history", opt=auth.needs("read") | openapi.asks(FactQuery))
async def list_payment_facts(
    request: AnyRequest,
    tenant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[FactPage]:
    """Lists what became known of a tenant's payments, last known first. Nothing of it ever changes."""
    tenant_id = tenants.own(caller, tenant_id)
    wanted = decode.query(request, FactQuery)
    page = await billing_view.history(context, tenant_id, before=_before(wanted.cursor), limit=wanted.limit)
    return management.shown(FactPage(items=page.items, next_cursor=management.cursor(page.next_cursor)))


def _before(cursor: str | None) -> int:
    text = management.after(cursor)
    if not text:
        return LAST
    if not text.isascii() or not text.isdecimal() or int(text) > LAST:
        raise errors.invalid("?cursor", "A cursor is the `nextCursor` of the page before, as it came.")
    return int(text)


@put(
    _PATH,
    opt=auth.needs("manage") | openapi.takes(BillingBody) | openapi.writes(),
)
async def put_billing_status(
    request: AnyRequest,
    tenant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[SubscriptionView]:
    """Sets the billing status of a tenant's subscription from now on, and answers the subscription.

    What was scheduled after it is dropped; so `good` ends a course towards `suspended`. With `schedule` a new
    one is laid by the days of the plan, each step at its instant and without a further call. A status that
    holds already keeps its beginning and its reason, and with `schedule` so does one that the days have taken
    further: saying `grace` again gives no second grace. Days that are over count as passed, so on a plan
    without grace the status becomes `restricted` at once. It stands in the place of what payments say:
    `until` an instant, after which they speak again, or until it is lifted.
    """
    tenant_id = tenants.own(caller, tenant_id)
    body = await decode.body(request, BillingBody, strict_keys=True)
    wish = billing.Wish(
        status=body.status,
        reason=body.reason,
        schedule=body.schedule,
        until=None if body.until is None else wire.utc(body.until, "/until"),
    )
    reply = await billing.put(context, management.order(request, caller), tenant_id, wish)
    return management.replied(reply, SubscriptionView)


@delete(_PATH, status_code=200, opt=auth.needs("manage") | openapi.takes(LiftBody) | openapi.writes())
async def lift_billing_status(
    request: AnyRequest,
    tenant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[SubscriptionView]:
    """Lifts what was said by hand: from now on payments speak again. 404 if nothing was."""
    tenant_id = tenants.own(caller, tenant_id)
    body = await decode.body(request, LiftBody, strict_keys=True)
    reply = await billing.lift(context, management.order(request, caller), tenant_id, body.reason)
    return management.replied(reply, SubscriptionView)


@post(
    "/v1/tenants/{tenant_id:str}/disputes/{dispute_id:str}/settle",
    status_code=200,
    opt=auth.needs("manage") | openapi.takes(DisputeBody) | openapi.writes(),
)
async def settle_dispute(
    request: AnyRequest,
    tenant_id: FromPath[str],
    dispute_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[BillingStatusView]:
    """Notes by hand how a dispute ended, and answers the billing status that follows.

    `won` and `lost` stand until the provider shows something else. `settled` says that what a lost dispute
    took was paid or given up: it opens what the loss has closed, and stays. 404 for a dispute that is not
    known here.
    """
    tenant_id = tenants.own(caller, tenant_id)
    dispute_id = decode.path(dispute_id, wire.CallerId, "disputeId")
    body = await decode.body(request, DisputeBody, strict_keys=True)
    wish = disputes.Wish(outcome=body.outcome, reason=body.reason)
    reply = await disputes.settle(context, management.order(request, caller), tenant_id, dispute_id, wish)
    return management.replied(reply, BillingStatusView)


ROUTES: Final = (
    show_billing_status,
    list_payment_facts,
    put_billing_status,
    lift_billing_status,
    settle_dispute,
)
