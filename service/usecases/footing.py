"""What a tenant's facts are held against: the plans that it stands on, and what a feature means there."""

from datetime import datetime

import msgspec

from policies.model import Feature, MeteredTerms, PlanVersion
from service.context import Context
from service.usecases import subscribe, subscription_view
from store import postgres, subscriptions


class Footing(msgspec.Struct, frozen=True):
    """The plan version of the tenant's subscription and the fallback plan, where there are such."""

    plans: tuple[PlanVersion, ...]
    features: dict[str, Feature]
    """As the first plan that has it means it, else as the active catalog does."""

    def sells_overage(self, feature_id: str) -> bool:
        """Does one of the plans have a bound on overage, so that it could be replaced?"""
        terms = [plan.terms.get(feature_id) for plan in self.plans]
        return any(isinstance(one, MeteredTerms) and one.overage is not None for one in terms)


async def know(context: Context, tenant_id: str) -> None:
    """Reads beforehand what `read` needs: no transaction waits for a second connection."""
    await context.catalogs.refresh()
    await subscribe.know_versions(context, tenant_id)
    await context.catalogs.need(_fallback(context))


async def read(context: Context, connection: postgres.Connection, tenant_id: str, now: datetime) -> Footing:
    """The footing at an instant."""
    held = await subscriptions.latest(connection, tenant_id)
    stood_on: list[str] = []
    if held is not None and held.subscription.phases:
        stood_on.append(subscription_view.speaking(held.subscription, now).plan_version)
    stood_on += _fallback(context)
    known = (await context.catalogs.need(stood_on)).plans
    plans = tuple(known[version] for version in stood_on)
    features = dict(context.catalogs.active.features) if context.catalogs.active else {}
    for plan in reversed(plans):
        features |= plan.features
    return Footing(plans, features)


def _fallback(context: Context) -> list[str]:
    """The version that an ended tenant stands on, where the active catalog has one."""
    active = context.catalogs.active
    return [active.fallback_plan] if active is not None and active.fallback_plan is not None else []
