"""A tenant's billing status over HTTP, for platforms that bill elsewhere."""

from typing import Annotated, Final

from litestar import Response, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from policies.model import BillingStatus
from service.api import auth, decode, management, openapi, tenants, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import billing
from service.usecases.subscription_view import SubscriptionView


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


@put(
    "/v1/tenants/{tenant_id:str}/billing-status",
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
    without grace the status becomes `restricted` at once.
    """
    tenant_id = tenants.own(caller, tenant_id)
    body = await decode.body(request, BillingBody, strict_keys=True)
    wish = billing.Wish(status=body.status, reason=body.reason, schedule=body.schedule)
    reply = await billing.put(context, management.order(request, caller), tenant_id, wish)
    return management.replied(reply, SubscriptionView)


ROUTES: Final = (put_billing_status,)
