"""Subscriptions: start, change, cancel, resume, and show."""

import difflib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal

import msgspec

from policies import errors, subscription
from policies.model import BillingStatus, PlanVersion
from policies.period import Period
from policies.subscription import Phase, State, Subscription
from service.context import Context
from service.usecases import changes, tenants
from service.usecases.changes import Changed, Done, Order, Reply
from store import postgres, subscriptions
from store import tenants as tenant_store
from store.subscriptions import Held

ChangeWhen = Literal["now", "renewal"]
CancelWhen = Literal["now", "periodEnd"]
_Next = Callable[[Subscription, datetime], Awaitable[Subscription]]
"""What a subscription becomes at an instant."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a new subscription is to be; it starts now, and is anchored at its start, unless given."""

    plan_id: str
    start_at: datetime | None = None
    anchor: datetime | None = None
    trial: bool = False


class PeriodView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A half-open span."""

    start: datetime
    end: datetime | None


class PhaseView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One plan version for a half-open span; `end` is null until further notice."""

    plan_id: str
    plan_version: str
    start: datetime
    end: datetime | None


class SubscriptionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A subscription as it is answered: what holds now, and what is known of before and after."""

    subscription_id: str
    tenant_id: str
    state: State
    plan_id: str | None
    """Of the present phase; of the first while it is pending, of the last when it has ended."""
    plan_version: str | None
    billing_status: BillingStatus
    anchored_at: datetime
    created_at: datetime
    trial_ends_at: datetime | None
    ends_at: datetime | None
    current_period: PeriodView | None
    """The billing period; null while it is pending and when it has ended."""
    phases: list[PhaseView]


async def start(context: Context, order: Order, tenant_id: str, wish: Wish) -> Reply:
    """Puts the tenant on the active catalog's version of a plan.

    Errors: NotFoundError, PreconditionError, InvalidError; ConflictError if it is closed or has one.
    """
    await context.catalogs.refresh()

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        await _lock_open_tenant(connection, tenant_id)
        held = await subscriptions.latest(connection, tenant_id)
        changes.require(order, None if held is None else etag(held))
        if held is not None and (state := subscription.state_at(held.subscription, now)) != "ended":
            raise errors.ConflictError(
                f"The tenant has a subscription, which is {state}; change or cancel it."
            )
        new = subscription.start(
            changes.new_id("sub", now),
            _offered(context, wish.plan_id),
            start_at=wish.start_at or now,
            anchor=wish.anchor,
            trial=wish.trial,
            now=now,
        )
        await _refuse_overlap(connection, tenant_id, new)
        written = await subscriptions.add(connection, tenant_id, new)
        changed = _changed("subscription.start", tenant_id, None, new)
        return await _done(context, tenant_id, written, now, changed=changed, status=201)

    request = (tenant_id, wish)
    return await changes.carry_out(context, order, act, route="subscription.start", request=request)


async def change(
    context: Context, order: Order, tenant_id: str, *, plan_id: str | None, when: ChangeWhen
) -> Reply:
    """Moves the subscription to the active catalog's version of a plan, by default of the plan it is on.

    Errors: NotFoundError, PreconditionError, ConflictError, InvalidError.
    """

    async def apply(held: Subscription, now: datetime) -> Subscription:
        subscription.permit(held, "change", now)
        plan = _offered(context, plan_id or _speaking(held, now).plan_id)
        at = now if when == "now" else await _renewal(context, held, now)
        return subscription.change(held, plan.plan_id, plan.version, at_effective=at, now=now)

    await context.catalogs.refresh()
    request = (tenant_id, plan_id, when)
    return await _alter(context, order, tenant_id, apply, action="subscription.change", request=request)


async def cancel(context: Context, order: Order, tenant_id: str, *, when: CancelWhen) -> Reply:
    """Ends the subscription, now or with its billing period; a pending one never begins.

    Errors: NotFoundError, PreconditionError, ConflictError.
    """

    async def apply(held: Subscription, now: datetime) -> Subscription:
        subscription.permit(held, "cancel", now)
        at = now if when == "now" else await _renewal(context, held, now)
        return subscription.cancel(held, at_effective=at, now=now)

    request = (tenant_id, when)
    return await _alter(context, order, tenant_id, apply, action="subscription.cancel", request=request)


async def resume(context: Context, order: Order, tenant_id: str) -> Reply:
    """Takes a scheduled end back.

    Errors: NotFoundError, PreconditionError, ConflictError.
    """

    async def apply(held: Subscription, now: datetime) -> Subscription:
        return subscription.resume(held, now=now)

    return await _alter(context, order, tenant_id, apply, action="subscription.resume", request=tenant_id)


async def get(context: Context, tenant_id: str) -> tuple[SubscriptionView, str]:
    """The subscription that the tenant made last, and its ETag.

    Errors: NotFoundError.
    """
    async with postgres.transaction(context.pool) as connection:
        if await tenant_store.get(connection, tenant_id) is None:
            raise tenants.unknown(tenant_id)
        held = await subscriptions.latest(connection, tenant_id)
    if held is None:
        raise _none(tenant_id)
    return await _view(context, tenant_id, held.subscription, context.clock.now()), etag(held)


def etag(held: Held) -> str:
    """The version of a subscription; a new subscription never has that of an old one."""
    return f'"{held.subscription.id}.{held.revision}"'


async def _alter(
    context: Context, order: Order, tenant_id: str, apply: _Next, *, action: str, request: object
) -> Reply:
    """Changes the tenant's subscription; where nothing becomes different, nothing is written."""

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        await _lock_open_tenant(connection, tenant_id)
        held = await subscriptions.latest(connection, tenant_id)
        if held is None:
            raise _none(tenant_id)
        changes.require(order, etag(held))
        before = held.subscription
        after = await apply(before, now)
        if after == before:
            return await _done(context, tenant_id, held, now)
        written = await subscriptions.replace(connection, tenant_id, before, after)
        changed = _changed(action, tenant_id, before, after)
        return await _done(context, tenant_id, written, now, changed=changed)

    await _know_plans(context, tenant_id)
    return await changes.carry_out(context, order, act, route=action, request=request)


async def _know_plans(context: Context, tenant_id: str) -> None:
    """Reads the plan versions of a subscription beforehand: no transaction waits for a second connection."""
    async with postgres.transaction(context.pool) as connection:
        held = await subscriptions.latest(connection, tenant_id)
    if held is not None:
        await context.catalogs.need([phase.plan_version for phase in held.subscription.phases])


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
        result=await _view(context, tenant_id, held.subscription, now),
        changed=() if changed is None else (changed,),
        status=status,
        etag=etag(held),
        decisions_of=tenant_id,
    )


def _changed(action: str, tenant_id: str, before: Subscription | None, after: Subscription) -> Changed:
    return Changed(action=action, subject=after.id, tenant_id=tenant_id, before=before, after=after)


async def _view(context: Context, tenant_id: str, held: Subscription, now: datetime) -> SubscriptionView:
    phase = _speaking(held, now) if held.phases else None
    state = subscription.state_at(held, now)
    period = await _billing_period(context, held, now) if state == "active" else None
    return SubscriptionView(
        subscription_id=held.id,
        tenant_id=tenant_id,
        state=state,
        plan_id=None if phase is None else phase.plan_id,
        plan_version=None if phase is None else phase.plan_version,
        billing_status=held.billing_status,
        anchored_at=held.anchored_at,
        created_at=held.created_at,
        trial_ends_at=held.trial_ends_at,
        ends_at=subscription.ends_at(held),
        current_period=None if period is None else PeriodView(start=period.start, end=period.end),
        phases=[PhaseView(**msgspec.structs.asdict(phase)) for phase in held.phases],
    )


def _speaking(held: Subscription, now: datetime) -> Phase:
    """The phase that stands for the subscription: the present one, the first to come, or the last."""
    return subscription.phase_at(held, now) or subscription.scheduled(held, now) or held.phases[-1]


async def _billing_period(context: Context, held: Subscription, now: datetime) -> Period:
    version = _speaking(held, now).plan_version
    plans = await context.catalogs.need([version])
    return subscription.billing_period(held, plans[version].interval, now)


async def _renewal(context: Context, held: Subscription, now: datetime) -> datetime:
    end = (await _billing_period(context, held, now)).end
    assert end is not None  # no plan is billed `never`
    return end


def _offered(context: Context, plan_id: str) -> PlanVersion:
    """The version of a plan that the active catalog sells.

    Errors: ConflictError without a catalog, InvalidError for a plan that it does not have.
    """
    catalog = context.catalogs.active
    if catalog is None:
        raise errors.ConflictError("No catalog is active, so there is no plan to subscribe to; publish one.")
    plan = catalog.plans.get(plan_id)
    if plan is None:
        near = difflib.get_close_matches(plan_id, catalog.plans, n=1)
        meant = f' Did you mean "{near[0]}"?' if near else f" There are: {', '.join(sorted(catalog.plans))}."
        raise errors.invalid("/planId", f'The active catalog has no plan "{plan_id}".{meant}')
    return plan


async def _lock_open_tenant(connection: postgres.Connection, tenant_id: str) -> None:
    tenant = await tenant_store.lock(connection, tenant_id)
    if tenant is None:
        raise tenants.unknown(tenant_id)
    tenants.refuse_closed(tenant)


async def _refuse_overlap(connection: postgres.Connection, tenant_id: str, new: Subscription) -> None:
    """What was decided under an earlier subscription stands, so a new one cannot reach back over it."""
    covered = await subscriptions.covered_until(connection, tenant_id)
    if covered is not None and new.phases[0].start < covered:
        raise errors.invalid("/startAt", f"An earlier subscription reaches until {covered.isoformat()}.")


def _none(tenant_id: str) -> errors.NotFoundError:
    return errors.NotFoundError(f'The tenant "{tenant_id}" has no subscription.')
