"""Overrides: replace single terms for one tenant, lift them, and tell what was overridden when."""

from datetime import datetime

import msgspec

from policies import errors, limits, override, quantity
from policies.override import Override, Wish
from service.context import Context
from service.usecases import changes, footing, offers, subscribe, tenants
from service.usecases.changes import Changed, Done, Order, Reply
from store import overrides as override_store
from store import postgres
from store import tenants as tenant_store


class OverrideView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An override as it is answered, in the feature's unit. Where a term is null, the plan's holds."""

    override_id: str
    tenant_id: str
    feature_id: str
    included: int | str | None
    up_to: int | str | None
    value: bool | int | str | dict[str, object] | None
    reason: str
    starts_at: datetime
    ends_at: datetime | None


class OverrideList(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is overridden at an instant, by feature. It is one page: there are few."""

    items: list[OverrideView]
    next_cursor: str | None = None
    """Always null, as on the last page of any list."""


async def put(context: Context, order: Order, tenant_id: str, feature_id: str, wish: Wish) -> Reply:
    """Overrides terms of a feature from now on (201 if none were); what the wish leaves out stays.

    If nothing is overridden in the end, everything was lifted, and the answer is what ended.

    Errors: NotFoundError, PreconditionError, InvalidError; ConflictError if the tenant is closed or has
    limits.OVERRIDES already.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        await subscribe.lock_open_tenant(connection, tenant_id)
        stands = await footing.read(context, connection, tenant_id, now)
        if feature_id not in stands.features:
            known = offers.meant(feature_id, stands.features)
            raise errors.NotFoundError(f'There is no feature "{feature_id}".{known}')
        before = await _holding(connection, tenant_id, feature_id, now)
        changes.require(order, None if before is None else etag(before))
        after = override.replace(
            changes.new_id("ovr", now),
            stands.features[feature_id],
            wish,
            before=before,
            sells_overage=stands.sells_overage(feature_id),
            now=now,
        )
        if before is not None and _same(before, after):
            return _done(context, tenant_id, before)
        if (
            before is None
            and await override_store.count_holding(connection, tenant_id, at=now) >= limits.OVERRIDES
        ):
            raise errors.ConflictError(
                f"The tenant has {limits.OVERRIDES} overrides that have not ended; lift one first."
            )
        await override_store.lift(connection, tenant_id, feature_id, at=now)
        if before is not None and not override.says_something(after):
            return _lifted(context, tenant_id, before, now, reason=wish.reason)
        await override_store.add(connection, tenant_id, after)
        changed = _changed("override.set", tenant_id, before, after, reason=wish.reason)
        return _done(context, tenant_id, after, changed=changed, status=201 if before is None else 200)

    await footing.know(context, tenant_id)
    request = (tenant_id, feature_id, wish)
    return await changes.carry_out(context, order, act, route="override.set", request=request)


async def lift(context: Context, order: Order, tenant_id: str, feature_id: str) -> Reply:
    """Ends what is overridden of a feature, all of it; the plan's terms hold again.

    Errors: NotFoundError if nothing is, PreconditionError, ConflictError if the tenant is closed.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        await subscribe.lock_open_tenant(connection, tenant_id)
        before = await _holding(connection, tenant_id, feature_id, now)
        if before is None:
            raise _none(tenant_id, feature_id)
        changes.require(order, etag(before))
        await override_store.lift(connection, tenant_id, feature_id, at=now)
        return _lifted(context, tenant_id, before, now, reason="")

    await context.catalogs.refresh()
    request = (tenant_id, feature_id)
    return await changes.carry_out(context, order, act, route="override.lift", request=request)


async def get(
    context: Context, tenant_id: str, feature_id: str, *, at: datetime | None = None
) -> tuple[OverrideView, str]:
    """What is overridden of a feature now, or was at an instant, with its ETag.

    Errors: NotFoundError.
    """
    found = await _read(context, tenant_id, feature_id, at)
    if not found:
        raise _none(tenant_id, feature_id)
    return view(context, tenant_id, found[0]), etag(found[0])


async def listed(context: Context, tenant_id: str, *, at: datetime | None = None) -> OverrideList:
    """What is overridden of any feature now, or was at an instant.

    Errors: NotFoundError.
    """
    found = await _read(context, tenant_id, None, at)
    return OverrideList(items=[view(context, tenant_id, one) for one in found])


def view(context: Context, tenant_id: str, held: Override) -> OverrideView:
    """The override as it is answered."""
    decimals = context.catalogs.meanings[held.feature_id].decimals  # for life, so it is never missing
    return OverrideView(
        override_id=held.id,
        tenant_id=tenant_id,
        feature_id=held.feature_id,
        included=_rendered(held.included, decimals),
        up_to=_rendered(held.up_to, decimals),
        value=_value(context, held, decimals),
        reason=held.reason,
        starts_at=held.starts_at,
        ends_at=held.ends_at,
    )


def etag(held: Override) -> str:
    """The version: a new id with every change."""
    return f'"{held.id}"'


async def _read(
    context: Context, tenant_id: str, feature_id: str | None, at: datetime | None
) -> list[Override]:
    await context.catalogs.refresh()
    async with postgres.transaction(context.pool) as connection:
        if await tenant_store.get(connection, tenant_id) is None:
            raise tenants.unknown(tenant_id)
        return await override_store.holding(
            connection, tenant_id, at=at or context.clock.now(), feature_id=feature_id
        )


async def _holding(
    connection: postgres.Connection, tenant_id: str, feature_id: str, now: datetime
) -> Override | None:
    found = await override_store.holding(connection, tenant_id, at=now, feature_id=feature_id)
    return found[0] if found else None


def _same(before: Override, after: Override) -> bool:
    return msgspec.structs.replace(after, id=before.id, starts_at=before.starts_at) == before


def _value(context: Context, held: Override, decimals: int) -> bool | int | str | dict[str, object] | None:
    if isinstance(held.value, str):
        if context.catalogs.meanings[held.feature_id].value_type == "object":
            return msgspec.json.decode(held.value, type=dict[str, object])
        return held.value
    return held.value if isinstance(held.value, bool) else _rendered(held.value, decimals)


def _rendered(value: int | str | None, decimals: int) -> int | str | None:
    return quantity.render(value, decimals) if isinstance(value, int) else value


def _lifted(context: Context, tenant_id: str, before: Override, now: datetime, *, reason: str) -> Done:
    ended = msgspec.structs.replace(before, ends_at=now)
    changed = _changed("override.lift", tenant_id, before, None, reason=reason)
    return _done(context, tenant_id, ended, changed=changed)


def _done(
    context: Context, tenant_id: str, held: Override, *, changed: Changed | None = None, status: int = 200
) -> Done:
    return Done(
        result=view(context, tenant_id, held),
        changed=() if changed is None else (changed,),
        status=status,
        etag=etag(held),
        decisions_of=tenant_id,
    )


def _changed(
    action: str, tenant_id: str, before: Override | None, after: Override | None, *, reason: str
) -> Changed:
    """Lines of one feature's overrides join: each begins with what the one before it ended with."""
    held = after or before
    assert held is not None
    return Changed(
        action=action,
        subject=held.feature_id,
        tenant_id=tenant_id,
        before=before,
        after=after,
        reason=reason,
    )


def _none(tenant_id: str, feature_id: str) -> errors.NotFoundError:
    return errors.NotFoundError(f'Nothing is overridden of "{feature_id}" for the tenant "{tenant_id}".')
