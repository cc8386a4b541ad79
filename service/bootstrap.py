"""What a new instance needs before it can serve: a schema, a catalog, demo tenants, a key. Safe to repeat."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from policies import errors
from service import catalog_files, config, wiring
from service.context import Caller, Context
from service.usecases import keys, publish, subscribe, tenants
from service.usecases.activation import Wish
from service.usecases.changes import Order
from store import migrate

DEMO_PLANS: Final = ("free", "starter", "pro", "enterprise")
ACTOR: Final = "cli:bootstrap"


async def prepare(environment: Mapping[str, str]) -> None:
    """Brings the database to this version."""
    await asyncio.to_thread(migrate.migrate, config.read(environment).database_url)


async def demo(environment: Mapping[str, str], catalog_folder: Path) -> str:
    """Publishes the catalog and makes a tenant on each example plan; gives the secret of a new key."""
    async with wiring.open_context(config.read(environment)) as context:
        files = catalog_files.read(catalog_folder)
        await publish.publish(context, _caller(), files, Wish(message="The bundled example"))
        for plan_id in DEMO_PLANS:
            await demo_tenant(context, plan_id)
        return await _make_key(context)


async def key(environment: Mapping[str, str]) -> str:
    """Makes a key with every scope and gives its secret, which is not kept anywhere else."""
    async with wiring.open_context(config.read(environment)) as context:
        return await _make_key(context)


async def demo_tenant(context: Context, plan_id: str) -> None:
    """The demo tenant on a plan, subscribed since the first of the month."""
    tenant_id = f"demo-{plan_id}"
    name = f"Demo on {plan_id}"
    await tenants.put(context, _order(), tenant_id, tenants.Wish(name=name))
    try:
        wish = subscribe.Wish(plan_id=plan_id, start_at=_month_start(context.clock.now()))
        await subscribe.start(context, _order(), tenant_id, wish)
    except errors.ConflictError:
        return  # it has its subscription from an earlier start


async def _make_key(context: Context) -> str:
    wish = keys.Wish(name="bootstrap", scopes=_SCOPES)
    answer = await keys.create(context, _order(), wish)
    return msgspec.json.decode(answer.body, type=keys.NewKeyView).secret


def _month_start(now: datetime) -> datetime:
    """So that reports of earlier this month find the tenant subscribed."""
    return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _order() -> Order:
    return Order(caller=_caller())


def _caller() -> Caller:
    return Caller(actor=ACTOR, key_id="", scopes=frozenset(_SCOPES), tenant_id=None, request_id="bootstrap")


_SCOPES: Final = ("check", "report", "read", "manage", "operate")
