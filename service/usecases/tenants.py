"""Tenants: write, read, find, close."""

from datetime import datetime

import msgspec

from policies import errors, subscription
from service.context import Context
from service.usecases import changes
from service.usecases.changes import Changed, Done, Order, Reply
from store import postgres, subscriptions, tenants
from store.tenants import Tenant


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """All that can be written about a tenant; what is left out is emptied."""

    name: str = ""
    email: str = ""
    metadata: dict[str, str] = {}


class TenantView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A tenant as it is answered."""

    tenant_id: str
    name: str
    email: str
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    """Since when it takes no changes; None while it is open."""


class TenantPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Tenants by id, and where the next page begins."""

    items: list[TenantView]
    next_cursor: str | None


async def put(context: Context, order: Order, tenant_id: str, wish: Wish) -> Reply:
    """Makes the tenant (201) or replaces what is written about it (200).

    Errors: ConflictError if it is closed, PreconditionError.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        held = await tenants.lock(connection, tenant_id)
        if held is None:
            changes.require(order, None)
            added = await tenants.add(connection, tenant_id, **msgspec.structs.asdict(wish), at=now)
            if added is not None:
                return _done(None, added, "tenant.create", decisions_of=tenant_id)
            held = await _locked(connection, tenant_id)  # another request was faster
        changes.require(order, etag(held))
        refuse_closed(held)
        wanted = msgspec.structs.replace(held, **msgspec.structs.asdict(wish))
        if wanted == held:
            return _unchanged(held)
        written = await tenants.update(connection, wanted, at=now)
        told = tenant_id if wanted.metadata != held.metadata else None  # guards read metadata
        return _done(held, written, "tenant.update", decisions_of=told)

    return await changes.carry_out(context, order, act, route="tenant.put", request=(tenant_id, wish))


async def close(context: Context, order: Order, tenant_id: str) -> Reply:
    """Closes the tenant: its subscription ends now and it takes no more changes. Nothing is erased.

    Errors: NotFoundError, PreconditionError.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        held = await _locked(connection, tenant_id)
        changes.require(order, etag(held))
        if held.closed_at is not None:
            return _unchanged(held)
        ended = await _end_subscription(connection, tenant_id, now)
        closed = msgspec.structs.replace(held, closed_at=now)
        written = await tenants.update(connection, closed, at=now)
        done = _done(held, written, "tenant.close", decisions_of=tenant_id)
        return msgspec.structs.replace(done, changed=(*ended, *done.changed))

    return await changes.carry_out(context, order, act, route="tenant.close", request=tenant_id)


async def get(context: Context, tenant_id: str) -> tuple[TenantView, str]:
    """The tenant and its ETag.

    Errors: NotFoundError.
    """
    async with postgres.transaction(context.pool) as connection:
        tenant = await tenants.get(connection, tenant_id)
    if tenant is None:
        raise unknown(tenant_id)
    return view(tenant), etag(tenant)


async def search(
    context: Context, *, query: str, after: str, limit: int, only: str | None = None
) -> TenantPage:
    """A page of the tenants whose id, name or email contains `query`, behind the id `after`.

    `only` leaves no other tenant than that one: for a key that is bound to it.
    """
    async with postgres.transaction(context.pool) as connection:
        found = await tenants.search(connection, query=query, after=after, limit=limit + 1, only=only)
    page = found[:limit]
    more = len(found) > limit
    return TenantPage(
        items=[view(tenant) for tenant in page], next_cursor=page[-1].tenant_id if more else None
    )


def view(tenant: Tenant) -> TenantView:
    """The tenant as it is answered and as audit lines show it."""
    return TenantView(
        tenant_id=tenant.tenant_id,
        name=tenant.name,
        email=tenant.email,
        metadata=tenant.metadata,
        created_at=tenant.created_at,
        updated_at=tenant.updated_at,
        closed_at=tenant.closed_at,
    )


def etag(tenant: Tenant) -> str:
    """The version of what is written about the tenant; its subscription has one of its own."""
    return f'"{tenant.revision}"'


def unknown(tenant_id: str) -> errors.NotFoundError:
    """What is said of an id that nobody has."""
    return errors.NotFoundError(f'There is no tenant "{tenant_id}".')


def refuse_closed(tenant: Tenant) -> None:
    """Errors: ConflictError if the tenant is closed."""
    if tenant.closed_at is not None:
        raise errors.ConflictError(
            f'The tenant "{tenant.tenant_id}" is closed: it keeps its history and takes no changes.'
        )


async def _locked(connection: postgres.Connection, tenant_id: str) -> Tenant:
    held = await tenants.lock(connection, tenant_id)
    if held is None:
        raise unknown(tenant_id)
    return held


async def _end_subscription(
    connection: postgres.Connection, tenant_id: str, now: datetime
) -> tuple[Changed, ...]:
    held = await subscriptions.latest(connection, tenant_id)
    if held is None or subscription.state_at(held.subscription, now) == "ended":
        return ()
    before = held.subscription
    after = subscription.cancel(before, at_effective=now, now=now)
    await subscriptions.replace(connection, tenant_id, before, after)
    action = "subscription.cancel"
    return (Changed(action=action, subject=before.id, tenant_id=tenant_id, before=before, after=after),)


def _done(before: Tenant | None, after: Tenant, action: str, *, decisions_of: str | None = None) -> Done:
    changed = Changed(
        action=action,
        subject=after.tenant_id,
        tenant_id=after.tenant_id,
        before=None if before is None else view(before),
        after=view(after),
    )
    return Done(
        result=view(after),
        changed=(changed,),
        status=201 if before is None else 200,
        etag=etag(after),
        decisions_of=decisions_of,
    )


def _unchanged(held: Tenant) -> Done:
    return Done(result=view(held), etag=etag(held))
