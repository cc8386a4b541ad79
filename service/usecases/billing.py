"""Billing statuses: a platform that bills elsewhere says here what payments say of a tenant."""

from datetime import datetime

import msgspec

from policies import subscription
from policies.model import BillingStatus
from policies.subscription import Subscription
from service.context import Context
from service.usecases import subscribe, subscription_view
from service.usecases.changes import Order, Reply


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A billing status from now on; with `schedule`, the plan's days take it further."""

    status: BillingStatus
    reason: str
    schedule: bool = False


async def put(context: Context, order: Order, tenant_id: str, wish: Wish) -> Reply:
    """Sets the billing status of the tenant's subscription; what was scheduled after it is dropped.

    The plan's days are those of the plan version that holds now; a change of plan does not move them.

    Errors: NotFoundError, PreconditionError, ConflictError if the tenant is closed or nothing runs.
    """

    async def apply(held: Subscription, now: datetime) -> Subscription:
        subscription.permit(held, "bill", now)
        plan = None
        if wish.schedule:
            version = subscription_view.speaking(held, now).plan_version
            plan = (await context.catalogs.need([version])).plans[version]
        return subscription.bill(held, wish.status, reason=wish.reason, now=now, plan=plan)

    request = (tenant_id, wish)
    return await subscribe.alter(
        context, order, tenant_id, apply, action="billing.set", request=request, reason=wish.reason
    )
