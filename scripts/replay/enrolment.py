"""Makes sure that a tenant of the replay exists and is on its plan."""

from datetime import datetime, timedelta
from http import HTTPStatus

import msgspec

from scripts.replay.client import Client, RefusedError
from scripts.replay.spread import Tenant


class _Phase(msgspec.Struct, frozen=True):
    start: datetime


class _Subscription(msgspec.Struct, frozen=True, rename="camel"):
    plan_id: str | None
    phases: list[_Phase]


async def enrol(client: Client, tenant: Tenant, *, before: datetime) -> None:
    """Makes the tenant if it is missing, and subscribes it if it is not: since the midnight a day earlier.

    Errors: AwayError; RefusedError, also when it has a subscription that is not fit.
    """
    path = f"/v1/tenants/{tenant.tenant_id}"
    await client.once("PUT", path, {"name": f"Trace on {tenant.plan_id}"})
    midnight = before.replace(hour=0, minute=0, second=0, microsecond=0)
    wish = {"planId": tenant.plan_id, "startAt": midnight - timedelta(days=1)}
    try:
        await client.once("POST", f"{path}/subscription", wish)
    except RefusedError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
        await _see_that_it_fits(client, tenant, before)


async def _see_that_it_fits(client: Client, tenant: Tenant, before: datetime) -> None:
    content = await client.once("GET", f"/v1/tenants/{tenant.tenant_id}/subscription")
    held = client.decoded(content, _Subscription)
    if held.plan_id != tenant.plan_id:
        told = f"{tenant.tenant_id} is on the plan {held.plan_id}, not on {tenant.plan_id}."
        raise RefusedError(HTTPStatus.CONFLICT, told)
    if held.phases[0].start > before:
        told = f"{tenant.tenant_id} is subscribed only since {held.phases[0].start}, after the first call."
        raise RefusedError(HTTPStatus.CONFLICT, f"{told} Give a later --end, or --tenants another number.")
