"""A tenant's balances over HTTP."""

from typing import Final

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from service.api import auth, management, tenants
from service.context import Caller, Context
from service.usecases import balances
from service.usecases.balances import Balances


@get("/v1/tenants/{tenant_id:str}/balances", opt=auth.needs("manage"))
async def get_balances(
    tenant_id: FromPath[str], context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[Balances]:
    """Shows what a tenant has left of every metered feature, bucket by bucket, in the order of drawing.

    A bucket is what the plan includes in the present period, a grant, overage, or excess. Of grants those
    that hold, and those that have ended within the 35 days in which late events may still draw from them.
    """
    return management.shown(await balances.of_tenant(context, tenants.own(caller, tenant_id)))


ROUTES: Final = (get_balances,)
