"""What is known of a tenant, and where does it stand at an instant?

A tenant whose last phase is over stands on its last plan version as `ended`, or on the catalog's fallback
plan in good standing where one is declared.
"""

from datetime import UTC, datetime
from typing import Final

import msgspec

from policies import grant as grants
from policies import override as overrides
from policies import subscription
from policies.grant import Grant
from policies.model import BillingStatus, Noun, Offer, PlanVersion, Versions
from policies.override import Override
from policies.period import Period
from policies.subscription import BillingFact, HeldAddon, Subscription

_FOREVER: Final = datetime.max.replace(tzinfo=UTC)


class Place(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a tenant stands at an instant."""

    plan: PlanVersion | None = None
    held: Subscription | None = None
    addons: tuple[HeldAddon, ...] = ()
    fallback: bool = False
    billing_status: BillingStatus = "ended"
    billing: tuple[BillingFact, ...] = ()
    trial: bool = False

    @property
    def is_over(self) -> bool:
        """Then nothing is carried, nor into a fallback plan."""
        return self.fallback or self.billing_status == "ended"


class Snapshot(Noun, frozen=True, kw_only=True):
    """Everything decided about a tenant from Postgres, at one version."""

    tenant_id: str
    version: int
    known: bool
    """False: there is no such tenant."""
    closed: bool = False
    """A tenant that was closed has ended for good: no fallback plan."""
    subscriptions: tuple[Subscription, ...] = ()
    """Oldest first; at most one is alive at an instant."""
    metadata: dict[str, str] = {}  # noqa: RUF012 - a Struct copies its default
    """The platform's notes on the tenant, which guards read as tags."""
    grants: tuple[Grant, ...] = ()
    """By effective instant and id: those that hold, will hold, or held until not long ago."""
    overrides: tuple[Override, ...] = ()
    """By feature and start: the same. Of one feature, no two hold at the same instant."""

    def stood_on(self, at: datetime) -> Subscription | None:
        """The subscription that a tenant is on at an instant, or was on last; None before the first began."""
        begun = [held for held in self.subscriptions if held.phases and held.phases[0].start <= at]
        if len(begun) == 1:
            return begun[0]
        return max(begun, key=lambda one: subscription.ends_at(one) or _FOREVER, default=None)

    def override_of(self, feature_id: str, at: datetime) -> Override | None:
        """What is replaced of a feature's terms."""
        return next(
            (one for one in self.overrides if one.feature_id == feature_id and overrides.holds(one, at)), None
        )

    def grants_of(self, feature_id: str, at: datetime) -> list[Grant]:
        """The grants of a feature that hold, in no order that draws go by."""
        return [one for one in self.grants if one.feature_id == feature_id and grants.holds(one, at)]

    def valid_until(self, feature_id: str, spans: tuple[Period, ...], at: datetime) -> datetime | None:
        """The next edge in time of what bears on a feature, the ends of these spans with it (R6)."""
        edges = [subscription.next_edge(held, at) for held in self.subscriptions]
        edges += [span.end for span in spans]
        for grant in self.grants:
            if grant.feature_id == feature_id:
                edges += [grant.effective_at, grants.ends_at(grant)]
        for override in self.overrides:
            if override.feature_id == feature_id:
                edges += [override.starts_at, override.ends_at]
        return min([edge for edge in edges if edge is not None and edge > at], default=None)

    def place(self, offer: Offer, versions: Versions, at: datetime) -> Place:
        """On the subscription that is alive, else on the last one that was; one yet to begin is none."""
        held = self.stood_on(at) if self.known else None
        if held is None:
            return Place()
        phase = subscription.phase_at(held, at)
        billing = subscription.billing_from(held, at) if phase is not None else ()
        status: BillingStatus = "ended" if phase is None else billing[0].status if billing else "good"
        if status == "ended" and offer.fallback_plan is not None and not self.closed:
            return Place(
                plan=versions.plans[offer.fallback_plan], held=held, fallback=True, billing_status="good"
            )
        stands_on = phase or held.phases[-1]
        return Place(
            plan=versions.plans[stands_on.plan_version],
            held=held,
            addons=stands_on.addons,
            billing_status=status,
            billing=billing,
            trial=subscription.in_trial(held, at),
        )

    def named(self, offer: Offer) -> tuple[set[str], set[str]]:
        """The plan versions and the add-on versions that resolving this snapshot may need."""
        phases = [phase for held in self.subscriptions for phase in held.phases]
        plans = {phase.plan_version for phase in phases}
        if offer.fallback_plan is not None and phases:
            plans.add(offer.fallback_plan)
        return plans, {addon.addon_version for phase in phases for addon in phase.addons}

    def featured(self, offer: Offer, versions: Versions) -> tuple[str, ...]:
        """All features that a tenant may have a right to: the catalog's, then those of its versions alone."""
        plans, addons = self.named(offer)
        pinned = {feature for version in plans for feature in versions.plans[version].features}
        pinned |= {feature for version in addons for feature in versions.addons[version].features}
        return (*offer.features, *sorted(pinned - set(offer.features)))
