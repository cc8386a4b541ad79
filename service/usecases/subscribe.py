"""Subscriptions: start, change, cancel, resume, and show."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from policies import addon, errors, subscription
from policies.model import PlanVersion
from policies.payment import laying
from policies.rating import bill
from policies.subscription import HeldAddon, Phase, Subscription
from service.context import Context
from service.usecases import changes, offers, subscription_view, tenants
from service.usecases.changes import Changed, Done, Order, Reply
from service.usecases.subscription_view import SubscriptionView
from store import payment_facts, postgres, subscriptions
from store import tenants as tenant_store
from store.subscriptions import Held

ChangeWhen = Literal["now", "renewal"]
CancelWhen = Literal["now", "periodEnd"]
Next = Callable[[Subscription, datetime], Awaitable[Subscription]]
"""What a subscription becomes at an instant."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a new subscription is to be; it starts now, and is anchored at its start, unless given."""

    plan_id: str
    start_at: datetime | None = None
    anchor: datetime | None = None
    trial: bool = False
    addons: Sequence[offers.AddonWish] = ()


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscription is to change to. What is None stays; with both None the plan is renewed."""

    plan_id: str | None = None
    addons: Sequence[offers.AddonWish] | None = None
    when: ChangeWhen


async def start(context: Context, order: Order, tenant_id: str, wish: Wish) -> Reply:
    """Puts the tenant on the active catalog's version of a plan; what it owes from before counts there too.

    Errors: NotFoundError, PreconditionError, InvalidError; ConflictError if it is closed or has one.
    """
    await context.catalogs.refresh()
    await offers.know(context, {wish.plan_id}, wish.addons)

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        await lock_open_tenant(connection, tenant_id)
        held = await subscriptions.latest(connection, tenant_id)
        changes.require(order, None if held is None else etag(held))
        if held is not None and (state := subscription.state_at(held.subscription, now)) != "ended":
            raise errors.ConflictError(
                f"The tenant has a subscription, which is {state}; change or cancel it."
            )
        plan = await offers.plan(context, wish.plan_id)
        new = subscription.start(
            changes.new_id("sub", now),
            plan,
            addons=addon.hold(plan, await offers.addons(context, wish.addons)),
            start_at=wish.start_at or now,
            anchor=wish.anchor,
            trial=wish.trial,
            now=now,
        )
        await _refuse_overlap(connection, tenant_id, new)
        new = laying.laid(new, await payment_facts.of_tenant(connection, tenant_id), now=now)
        written = await subscriptions.add(connection, tenant_id, new)
        changed = _changed("subscription.start", tenant_id, None, new)
        return await _done(context, tenant_id, written, now, changed=changed, status=201)

    request = (tenant_id, wish)
    return await changes.carry_out(context, order, act, route="subscription.start", request=request)


async def change(context: Context, order: Order, tenant_id: str, move: Move) -> Reply:
    """Moves the subscription to the active catalog's version of a plan, of add-ons, or of both.

    What is not named stays as it is now: its plan version, or its add-ons, if the new plan is sold with them.
    With neither, it moves to the newest version of the plan that it is on.

    Errors: NotFoundError, PreconditionError, ConflictError, InvalidError.
    """

    async def apply(held: Subscription, now: datetime) -> Subscription:
        subscription.permit(held, "change", now)
        present = subscription_view.speaking(held, now)
        plan, addons = await _target(context, present, move)
        if move.when == "now" and present.start < now:
            bill.refuse_mixture(
                (await context.catalogs.need([present.plan_version])).plans[present.plan_version], plan
            )
        at = now if move.when == "now" else await _renewal(context, held, now)
        return subscription.change(held, plan.plan_id, plan.version, addons=addons, at_effective=at, now=now)

    await context.catalogs.refresh()
    await offers.know(context, {move.plan_id} if move.plan_id else (), move.addons or ())
    request = (tenant_id, move)
    return await alter(context, order, tenant_id, apply, action="subscription.change", request=request)


async def cancel(context: Context, order: Order, tenant_id: str, *, when: CancelWhen) -> Reply:
    """Ends the subscription, now or with its billing period; a pending one never begins.

    During a trial it ends with the trial, so that nothing is ever charged.

    Errors: NotFoundError, PreconditionError, ConflictError.
    """

    async def apply(held: Subscription, now: datetime) -> Subscription:
        subscription.permit(held, "cancel", now)
        at = now if when == "now" else await _paid_until(context, held, now)
        return subscription.cancel(held, at_effective=at, now=now)

    request = (tenant_id, when)
    return await alter(context, order, tenant_id, apply, action="subscription.cancel", request=request)


async def resume(context: Context, order: Order, tenant_id: str) -> Reply:
    """Takes a scheduled end back.

    Errors: NotFoundError, PreconditionError, ConflictError.
    """

    async def apply(held: Subscription, now: datetime) -> Subscription:
        return subscription.resume(held, now=now)

    return await alter(context, order, tenant_id, apply, action="subscription.resume", request=tenant_id)


async def alter(
    context: Context,
    order: Order,
    tenant_id: str,
    apply: Next,
    *,
    action: str,
    request: object,
    reason: str = "",
) -> Reply:
    """Changes the tenant's subscription; where nothing becomes different, nothing is written.

    Errors: NotFoundError, PreconditionError, ConflictError if the tenant is closed, and what `apply` raises.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        await lock_open_tenant(connection, tenant_id)
        held = await subscriptions.latest(connection, tenant_id)
        if held is None:
            raise none(tenant_id)
        changes.require(order, etag(held))
        before = held.subscription
        after = await apply(before, now)
        if after == before:
            return await _done(context, tenant_id, held, now)
        written = await subscriptions.replace(connection, tenant_id, before, after)
        changed = _changed(action, tenant_id, before, after, reason=reason)
        return await _done(context, tenant_id, written, now, changed=changed)

    await know_versions(context, tenant_id)
    return await changes.carry_out(context, order, act, route=action, request=request)


async def get(context: Context, tenant_id: str) -> tuple[SubscriptionView, str]:
    """The subscription that the tenant made last, and its ETag.

    Errors: NotFoundError.
    """
    async with postgres.transaction(context.pool) as connection:
        if await tenant_store.get(connection, tenant_id) is None:
            raise tenants.unknown(tenant_id)
        held = await subscriptions.latest(connection, tenant_id)
    if held is None:
        raise none(tenant_id)
    return await subscription_view.view(context, tenant_id, held.subscription, context.clock.now()), etag(
        held
    )


def etag(held: Held) -> str:
    """The version of a subscription; a new subscription never has that of an old one."""
    return f'"{held.subscription.id}.{held.revision}"'


async def know_versions(context: Context, tenant_id: str) -> None:
    """Reads the versions of a subscription beforehand: no transaction waits for a second connection."""
    async with postgres.transaction(context.pool) as connection:
        held = await subscriptions.latest(connection, tenant_id)
    if held is not None:
        phases = held.subscription.phases
        addons = [one.addon_version for phase in phases for one in phase.addons]
        await context.catalogs.need([phase.plan_version for phase in phases], addons)
        await offers.know(context, {phase.plan_id for phase in phases})


async def _target(context: Context, present: Phase, move: Move) -> tuple[PlanVersion, tuple[HeldAddon, ...]]:
    """The plan version and the add-ons that a move leads to."""
    keeps_plan = move.plan_id is None and move.addons is not None
    known = await context.catalogs.need(
        [present.plan_version], [held.addon_version for held in present.addons]
    )
    plan = (
        known.plans[present.plan_version]
        if keeps_plan
        else await offers.plan(context, move.plan_id or present.plan_id)
    )
    if move.addons is not None:
        return plan, addon.hold(plan, await offers.addons(context, move.addons))
    addon.keep(plan, present.addons, [known.addons[held.addon_version] for held in present.addons])
    return plan, present.addons


async def _done(
    context: Context,
    tenant_id: str,
    held: Held,
    now: datetime,
    *,
    changed: Changed | None = None,
    status: int = 200,
) -> Done:
    return Done(
        result=await subscription_view.view(context, tenant_id, held.subscription, now),
        changed=() if changed is None else (changed,),
        status=status,
        etag=etag(held),
        decisions_of=tenant_id,
    )


def _changed(
    action: str, tenant_id: str, before: Subscription | None, after: Subscription, *, reason: str = ""
) -> Changed:
    return Changed(
        action=action, subject=after.id, tenant_id=tenant_id, before=before, after=after, reason=reason
    )


async def _renewal(context: Context, held: Subscription, now: datetime) -> datetime:
    end = (await subscription_view.billing_period(context, held, now)).end
    assert end is not None  # no plan is billed `never`
    return end


async def _paid_until(context: Context, held: Subscription, now: datetime) -> datetime:
    if subscription.in_trial(held, now):
        assert held.trial_ends_at is not None  # or it would not run
        return held.trial_ends_at
    return await _renewal(context, held, now)


async def lock_open_tenant(connection: postgres.Connection, tenant_id: str) -> None:
    """Holds the tenant until the transaction ends.

    Errors: NotFoundError, ConflictError if it is closed.
    """
    tenant = await tenant_store.lock(connection, tenant_id)
    if tenant is None:
        raise tenants.unknown(tenant_id)
    tenants.refuse_closed(tenant)


async def _refuse_overlap(connection: postgres.Connection, tenant_id: str, new: Subscription) -> None:
    """What was decided under an earlier subscription stands, so a new one cannot reach back over it."""
    covered = await subscriptions.covered_until(connection, tenant_id)
    if covered is not None and new.phases[0].start < covered:
        raise errors.invalid("/startAt", f"An earlier subscription reaches until {covered.isoformat()}.")


def none(tenant_id: str) -> errors.NotFoundError:
    """The error where a tenant has no subscription."""
    return errors.NotFoundError(f'The tenant "{tenant_id}" has no subscription.')
