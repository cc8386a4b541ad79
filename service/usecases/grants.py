"""Grants: give a tenant extra quantity, list what it was given, void one."""

from datetime import datetime

import msgspec

from policies import errors, grant, limits, quantity
from policies.grant import Grant
from service.context import Context
from service.usecases import changes, footing, offers, subscribe, tenants
from service.usecases.changes import Changed, Done, Order, Reply
from store import grants as grant_store
from store import postgres
from store import tenants as tenant_store


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be granted, in the feature's unit; from now on and until further notice unless said."""

    feature_id: str
    quantity: int | str
    priority: int = 100
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    reason: str


class GrantView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A grant as it is answered; its quantity is in the feature's unit."""

    grant_id: str
    tenant_id: str
    feature_id: str
    quantity: int | str
    priority: int
    """Lower draws first; what the plan includes has 100."""
    effective_at: datetime
    expires_at: datetime | None
    created_at: datetime
    voided_at: datetime | None
    reason: str


class GrantPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Grants, oldest first, and where the next page begins."""

    items: list[GrantView]
    next_cursor: str | None


async def issue(context: Context, order: Order, tenant_id: str, wish: Wish) -> Reply:
    """Gives the tenant a grant.

    Errors: NotFoundError, InvalidError; ConflictError if it is closed, or has limits.GRANTS or
    limits.GRANTS_OF_FEATURE of this feature already.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        await subscribe.lock_open_tenant(connection, tenant_id)
        features = (await footing.read(context, connection, tenant_id, now)).features
        if wish.feature_id not in features:
            known = offers.meant(wish.feature_id, features)
            raise errors.invalid("/featureId", f'There is no feature "{wish.feature_id}".{known}')
        new = grant.issue(
            changes.new_id("grt", now),
            features[wish.feature_id],
            said=wish.quantity,
            priority=wish.priority,
            effective_at=wish.effective_at,
            expires_at=wish.expires_at,
            reason=wish.reason,
            now=now,
        )
        await _refuse_too_many(connection, tenant_id, wish.feature_id, now)
        await grant_store.add(connection, tenant_id, new)
        changed = _changed("grant.issue", tenant_id, None, new, reason=wish.reason)
        return _done(context, tenant_id, new, changed=changed, status=201)

    await footing.know(context, tenant_id)
    return await changes.carry_out(context, order, act, route="grant.issue", request=(tenant_id, wish))


async def void(context: Context, order: Order, tenant_id: str, grant_id: str, *, reason: str) -> Reply:
    """Ends a grant now; what was drawn from it stays drawn. One that was voided stays as it is.

    Errors: NotFoundError, PreconditionError; ConflictError if the tenant is closed or the grant has expired.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        await subscribe.lock_open_tenant(connection, tenant_id)
        held = await grant_store.lock(connection, tenant_id, grant_id)
        if held is None:
            raise errors.NotFoundError(f'The tenant "{tenant_id}" has no grant "{grant_id}".')
        changes.require(order, etag(held))
        voided = grant.void(held, now)
        if voided == held:
            return _done(context, tenant_id, held)
        await grant_store.void(connection, tenant_id, voided)
        changed = _changed("grant.void", tenant_id, held, voided, reason=reason)
        return _done(context, tenant_id, voided, changed=changed)

    await context.catalogs.refresh()
    request = (tenant_id, grant_id, reason)
    return await changes.carry_out(context, order, act, route="grant.void", request=request)


async def page(
    context: Context, tenant_id: str, *, feature_id: str | None, after: str, limit: int
) -> GrantPage:
    """A page of the tenant's grants behind the id `after`, also of those that have ended.

    Errors: NotFoundError.
    """
    await context.catalogs.refresh()
    async with postgres.transaction(context.pool) as connection:
        if await tenant_store.get(connection, tenant_id) is None:
            raise tenants.unknown(tenant_id)
        found = await grant_store.page(
            connection, tenant_id, feature_id=feature_id, after=after, limit=limit + 1
        )
    items = [view(context, tenant_id, one) for one in found[:limit]]
    return GrantPage(items=items, next_cursor=items[-1].grant_id if len(found) > limit else None)


def view(context: Context, tenant_id: str, held: Grant) -> GrantView:
    """The grant as it is answered."""
    decimals = context.catalogs.meanings[held.feature_id].decimals  # for life, so it is never missing
    fields = {name: value for name, value in msgspec.structs.asdict(held).items() if name != "id"}
    fields["quantity"] = quantity.render(held.quantity, decimals)
    return GrantView(grant_id=held.id, tenant_id=tenant_id, **fields)


def etag(held: Grant) -> str:
    """The version of a grant: it changes once, when it is voided."""
    return f'"{held.id}.{0 if held.voided_at is None else 1}"'


async def _refuse_too_many(
    connection: postgres.Connection, tenant_id: str, feature_id: str, now: datetime
) -> None:
    if await grant_store.count_open(connection, tenant_id, feature_id=None, now=now) >= limits.GRANTS:
        raise errors.ConflictError(
            f"The tenant has {limits.GRANTS} grants that have not ended; void one first."
        )
    held = await grant_store.count_open(connection, tenant_id, feature_id=feature_id, now=now)
    if held >= limits.GRANTS_OF_FEATURE:
        raise errors.ConflictError(
            f"The tenant has {held} grants of {feature_id} that have not ended; void one that is used up."
        )


def _done(
    context: Context, tenant_id: str, held: Grant, *, changed: Changed | None = None, status: int = 200
) -> Done:
    return Done(
        result=view(context, tenant_id, held),
        changed=() if changed is None else (changed,),
        status=status,
        etag=etag(held),
        decisions_of=tenant_id,
    )


def _changed(action: str, tenant_id: str, before: Grant | None, after: Grant, *, reason: str) -> Changed:
    return Changed(
        action=action, subject=after.id, tenant_id=tenant_id, before=before, after=after, reason=reason
    )
