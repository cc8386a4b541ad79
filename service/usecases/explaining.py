"""Puts beside a decision where its right comes from, and what would make it an allow."""

from datetime import datetime
from typing import Final

from policies import entitlement, explain, subscription
from policies.balance import Levels
from policies.decide import Request
from policies.decision import Decision
from policies.entitlement import Right
from policies.explain import Sold
from policies.model import Offer
from policies.snapshot import Snapshot
from service.context import Context
from service.rights import Standing

PLANS: Final = 5
"""Plans up the ladder that are asked about: the nearest that would do is told."""


async def explained(
    context: Context, standing: Standing, request: Request, levels: Levels | None, decision: Decision
) -> Decision:
    """The decision with its derivation, and if it is a denial with what would flip it.

    Errors: UnavailableError when the plans up the ladder are not known here and Postgres is away.
    """
    return explain.complete(
        decision,
        context.engine,
        standing.right,
        request,
        levels,
        now=decision.as_of,
        sold=await _sold(context, standing, decision.as_of),
    )


async def _sold(context: Context, standing: Standing, now: datetime) -> Sold:
    offer, snapshot, right = standing.offer, standing.snapshot, standing.right
    higher = _higher(offer, right)
    plans, addons = snapshot.named(offer)
    beside = tuple(offer.addons.values()) if _runs(snapshot, now) else ()
    known = await context.catalogs.need(plans | set(higher), addons | set(beside))

    def later(at: datetime) -> Right:
        return entitlement.resolve(snapshot, offer=offer, versions=known, feature_id=right.feature_id, at=at)

    return Sold(
        plans=[known.plans[version] for version in higher],
        addons=[known.addons[version] for version in beside],
        later=later,
    )


def _runs(snapshot: Snapshot, at: datetime) -> bool:
    """Is there a subscription that an add-on could be held by? Nothing holds one beside a fallback plan."""
    held = snapshot.stood_on(at)
    return (
        held is not None
        and subscription.phase_at(held, at) is not None
        and subscription.billing_status_at(held, at) != "ended"
    )


def _higher(offer: Offer, right: Right) -> tuple[str, ...]:
    """The plan versions up the ladder from where the tenant stands, nearest first."""
    steps = [version.rpartition("@")[0] for version in offer.ladder]
    here = right.plan.plan_id if right.plan else None
    above = steps.index(here) + 1 if here in steps else 0
    return offer.ladder[above : above + PLANS]
