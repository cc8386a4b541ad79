"""What right does a tenant have to one feature at an instant?

Facts are resolved at an instant and hold until `valid_until`, the next edge in time (R6): nobody has to write
anything when a trial ends, a scheduled change comes or a period rolls.

A tenant whose last phase is over stands on its last plan version as `ended`, or on the catalog's fallback
plan in good standing where one is declared. A right that is absent says why; Cedar is asked all the same,
without any permit (R3).
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from policies import period, subscription
from policies.grant import Grant
from policies.model import BillingStatus, Catalog, Feature, MeteredTerms, Noun, PlanVersion, Terms
from policies.override import Override
from policies.period import Period
from policies.subscription import Subscription

Absence = Literal["unknown_tenant", "unknown_feature", "no_subscription", "feature_not_in_plan"]

_FOREVER: Final = datetime.max.replace(tzinfo=UTC)


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
    """The platform's notes on the tenant, which guards may read."""
    grants: tuple[Grant, ...] = ()
    """By effective instant and id: those that hold, will hold, or held until not long ago."""
    overrides: tuple[Override, ...] = ()
    """By feature and start: the same."""


class Right(msgspec.Struct, frozen=True, kw_only=True):
    """The resolved right to one feature. Derived, never stored."""

    tenant_id: str
    feature_id: str
    feature: Feature | None
    """As the tenant's plan version knows it, else as the catalog does; None if neither does."""
    plan: PlanVersion | None
    """The plan version that the tenant stands on, whether it gives the feature or not."""
    terms: Terms | None
    """What the plan gives."""
    absence: Absence | None
    """Why there is no right; None exactly if there are terms."""
    billing_status: BillingStatus
    trial: bool
    period: Period | None
    """Of a metered feature: where usage of this instant is counted; without terms, the calendar month."""
    cap_windows: tuple[Period, ...]
    """One for each cap of the terms, in their order; always on calendar edges."""
    valid_until: datetime | None
    """None: nothing known today changes this right by the mere passing of time."""


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a tenant stands at an instant."""

    plan: PlanVersion | None = None
    held: Subscription | None = None
    billing_status: BillingStatus = "ended"
    trial: bool = False


class _Stretch(msgspec.Struct, frozen=True):
    """A plan version over a half-open span."""

    start: datetime
    end: datetime
    plan: PlanVersion


def resolve(
    snapshot: Snapshot,
    *,
    catalog: Catalog,
    versions: Mapping[str, PlanVersion],
    feature_id: str,
    at: datetime,
) -> Right:
    """The right of a tenant to a feature at an instant.

    `versions` holds every plan version that the snapshot names, by id; `catalog` is the one active at `at`.
    Errors: KeyError if a version is missing, so that a gap in what was read never looks like a lost right.
    """
    place = _place(snapshot, catalog, versions, at) if snapshot.known else _Place()
    feature = (place.plan and place.plan.features.get(feature_id)) or catalog.features.get(feature_id)
    terms = place.plan.terms.get(feature_id) if place.plan and feature else None
    span, windows = None, tuple[Period, ...]()
    if isinstance(terms, MeteredTerms) and place.held is not None:
        stretches = _stretches(place.held, catalog, versions)
        span = _counted_in(place.held, terms, _reshaped(stretches, feature_id, terms), at)
        windows = _cap_windows(place.held, terms, at)
    elif feature is not None and feature.type == "metered":
        span = period.containing(at, interval="month", anchor="calendar", anchored_at=at)
    return Right(
        tenant_id=snapshot.tenant_id,
        feature_id=feature_id,
        feature=feature,
        plan=place.plan,
        terms=terms,
        absence=_absence(snapshot, place.plan, feature, terms),
        billing_status=place.billing_status,
        trial=place.trial,
        period=span,
        cap_windows=windows,
        valid_until=_valid_until(snapshot, (*windows, *((span,) if span else ())), at),
    )


def _place(snapshot: Snapshot, catalog: Catalog, versions: Mapping[str, PlanVersion], at: datetime) -> _Place:
    """On the subscription that is alive, else on the last one that was; one yet to begin is none."""
    begun = [held for held in snapshot.subscriptions if held.phases and held.phases[0].start <= at]
    if not begun:
        return _Place()
    held = max(begun, key=lambda one: subscription.ends_at(one) or _FOREVER)
    phase = subscription.phase_at(held, at)
    status: BillingStatus = "ended" if phase is None else subscription.billing_status_at(held, at)
    if status == "ended" and catalog.fallback_plan is not None and not snapshot.closed:
        return _Place(plan=catalog.plans[catalog.fallback_plan], held=held, billing_status="good")
    return _Place(
        plan=versions[(phase or held.phases[-1]).plan_version],
        held=held,
        billing_status=status,
        trial=subscription.in_trial(held, at),
    )


def _absence(
    snapshot: Snapshot, plan: PlanVersion | None, feature: Feature | None, terms: Terms | None
) -> Absence | None:
    """The first that applies: of the tenant, of the feature, of the subscription, of the plan."""
    if not snapshot.known:
        return "unknown_tenant"
    if feature is None:
        return "unknown_feature"
    if plan is None:
        return "no_subscription"
    return "feature_not_in_plan" if terms is None else None


def _counted_in(held: Subscription, terms: MeteredTerms, reshaped: list[_Stretch], at: datetime) -> Period:
    """The usage period: where another interval held or will hold, it begins or ends at the change (R16)."""
    span = period.containing(at, interval=terms.interval, anchor=terms.anchor, anchored_at=held.anchored_at)
    begins = [other.end for other in reshaped if other.end <= at]
    ends = [other.start for other in reshaped if other.start > at]
    end = min(ends + ([span.end] if span.end else []), default=None)
    return Period(max([span.start, *begins]), end)


def _cap_windows(held: Subscription, terms: MeteredTerms, at: datetime) -> tuple[Period, ...]:
    return tuple(
        period.containing(at, interval=cap.interval, anchor="calendar", anchored_at=held.anchored_at)
        for cap in terms.caps
    )


def _stretches(
    held: Subscription, catalog: Catalog, versions: Mapping[str, PlanVersion]
) -> Iterator[_Stretch]:
    """The plan versions of a subscription over time, the fallback plan after its end included."""
    for phase in held.phases:
        yield _Stretch(phase.start, phase.end or _FOREVER, versions[phase.plan_version])
    ended_at = subscription.ends_at(held)
    if ended_at is not None and catalog.fallback_plan is not None:
        yield _Stretch(ended_at, _FOREVER, catalog.plans[catalog.fallback_plan])


def _reshaped(stretches: Iterator[_Stretch], feature_id: str, terms: MeteredTerms) -> list[_Stretch]:
    """The stretches whose plan lays the feature's periods otherwise."""
    return [
        stretch
        for stretch in stretches
        if isinstance(other := stretch.plan.terms.get(feature_id), MeteredTerms)
        and (other.interval, other.anchor) != (terms.interval, terms.anchor)
    ]


def _valid_until(snapshot: Snapshot, spans: tuple[Period, ...], at: datetime) -> datetime | None:
    edges = [subscription.next_edge(held, at) for held in snapshot.subscriptions]
    edges += [span.end for span in spans]
    return min((edge for edge in edges if edge is not None), default=None)
