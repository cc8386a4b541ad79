"""A subscription as it is answered: what holds at an instant, and what is known of before and after."""

from datetime import datetime

import msgspec

from policies import subscription
from policies.model import BillingStatus
from policies.period import Period
from policies.subscription import Phase, State, Subscription
from service.context import Context


class PeriodView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A half-open span."""

    start: datetime
    end: datetime | None


class AddonView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An add-on version beside the plan, so many times."""

    addon_id: str
    addon_version: str
    quantity: int


class BillingView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What payments say from an instant on, until the next; one in the future takes effect by itself."""

    status: BillingStatus
    since: datetime
    reason: str


class PhaseView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One plan version with its add-ons for a half-open span; `end` is null until further notice."""

    plan_id: str
    plan_version: str
    start: datetime
    end: datetime | None
    addons: list[AddonView]


class SubscriptionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A subscription as it is answered: what holds now, and what is known of before and after."""

    subscription_id: str
    tenant_id: str
    state: State
    plan_id: str | None
    """Of the present phase; of the first while it is pending, of the last when it has ended."""
    plan_version: str | None
    addons: list[AddonView]
    """Of the same phase."""
    billing_status: BillingStatus
    """The one that holds now."""
    anchored_at: datetime
    created_at: datetime
    trial_ends_at: datetime | None
    ends_at: datetime | None
    current_period: PeriodView | None
    """The billing period; null while it is pending and when it has ended."""
    phases: list[PhaseView]
    billing: list[BillingView]
    """In order of time; good before the first."""


async def view(context: Context, tenant_id: str, held: Subscription, now: datetime) -> SubscriptionView:
    """As it is answered at an instant."""
    phase = speaking(held, now) if held.phases else None
    state = subscription.state_at(held, now)
    period = await billing_period(context, held, now) if state == "active" else None
    return SubscriptionView(
        subscription_id=held.id,
        tenant_id=tenant_id,
        state=state,
        plan_id=None if phase is None else phase.plan_id,
        plan_version=None if phase is None else phase.plan_version,
        addons=[] if phase is None else _addon_views(phase),
        billing_status=subscription.billing_status_at(held, now),
        anchored_at=held.anchored_at,
        created_at=held.created_at,
        trial_ends_at=held.trial_ends_at,
        ends_at=subscription.ends_at(held),
        current_period=None if period is None else PeriodView(start=period.start, end=period.end),
        phases=[
            PhaseView(**msgspec.structs.asdict(phase) | {"addons": _addon_views(phase)})
            for phase in held.phases
        ],
        billing=[
            BillingView(status=fact.status, since=fact.since, reason=fact.reason) for fact in held.billing
        ],
    )


def _addon_views(phase: Phase) -> list[AddonView]:
    return [AddonView(**msgspec.structs.asdict(held)) for held in phase.addons]


def speaking(held: Subscription, now: datetime) -> Phase:
    """The phase that stands for the subscription: the present one, the first to come, or the last."""
    return subscription.phase_at(held, now) or subscription.scheduled(held, now) or held.phases[-1]


async def billing_period(context: Context, held: Subscription, now: datetime) -> Period:
    """The billing period that contains an instant; of a pending subscription its first one."""
    version = speaking(held, now).plan_version
    plans = (await context.catalogs.need([version])).plans
    return subscription.billing_period(held, plans[version].interval, now)
