"""What right does a tenant have to one feature at an instant?

Facts are resolved at an instant and hold until `valid_until`, the next edge in time (R6): nobody has to write
anything when a trial ends, a grant expires, a scheduled change comes or a period rolls.

A right that is absent says why; Cedar is asked all the same, without any permit (R3).
"""

from datetime import datetime
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import msgspec

from policies import combine, limits, period, rollover, stretches, subscription
from policies import grant as grants
from policies.combine import Combined, Held, Source
from policies.grant import Grant
from policies.model import (
    BillingStatus,
    Combine,
    Feature,
    Guard,
    MeteredTerms,
    Offer,
    PlanVersion,
    Terms,
    Versions,
)
from policies.override import Override
from policies.period import Period
from policies.rollover import Ended, Link
from policies.snapshot import Place, Snapshot
from policies.stretches import Stretch
from policies.subscription import BillingFact, Subscription

Absence = Literal["unknown_tenant", "unknown_feature", "no_subscription", "feature_not_in_plan"]


class Right(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The resolved right to one feature. Derived, never stored."""

    tenant_id: str
    feature_id: str
    feature: Feature | None
    """As the tenant's plan version knows it, else its add-ons, else the catalog; None if none does."""
    plan: PlanVersion | None
    """The plan version that the tenant stands on, whether it gives the feature or not."""
    plan_terms: Terms | None
    """What that plan version alone gives: the numbers that stand in its permits."""
    terms: Terms | None
    """What plan, add-ons and override give together; grants are buckets beside it."""
    grants: tuple[Grant, ...] = ()
    """Those that an event of this instant may draw from, in the order in which they are drawn (R13)."""
    grants_before: int = 0
    """How many of them are drawn before what the terms include."""
    rollover: tuple[Link, ...] = ()
    """The periods that something may be left of in this one, newest first; each is a bucket of its own."""
    lasts: int = 0
    """For how many periods at most a rest of this one is carried by the plans of the period."""
    entitled: bool = True
    """False where an override switched the feature off."""
    absence: Absence | None
    """Why there is no right; None exactly if there are terms."""
    billing_status: BillingStatus
    billing: tuple[BillingFact, ...] = ()
    """The fact behind the status, and those that are to come; none once the subscription is over."""
    trial: bool
    ended_with_trial: bool = False
    metadata: dict[str, str] = {}
    guards: tuple[Guard, ...] = ()
    """Those whose scope the feature is in."""
    addons: tuple[Held, ...] = ()
    """All that are held beside the plan, whether they give this feature or not."""
    override: Override | None = None
    sources: tuple[Source, ...] = ()
    """Where the right comes from, plan first."""
    rule: Combine | None = None
    """How the sources were combined."""
    period: Period | None
    """Of a metered feature: where usage of this instant is counted; without terms, the calendar month."""
    cap_windows: tuple[Period, ...]
    """One for each cap of the terms, in their order; always on calendar edges."""
    valid_until: datetime | None
    """None: nothing known today changes this right by the mere passing of time."""

    @property
    def has_overage(self) -> bool:
        """Is what goes past what is granted bought? Not during a trial, nor once the subscription is over.

        Any other billing status bears on what may happen, not on how to book what has happened.
        """
        return not self.trial and self.billing_status != "ended"


def resolve(snapshot: Snapshot, *, offer: Offer, versions: Versions, feature_id: str, at: datetime) -> Right:
    """The right of a tenant to a feature at an instant.

    `versions` holds every version that `snapshot.named` lists; `offer` is what is sold at `at`.
    Errors: KeyError if a version is missing, so that a gap in what was read never looks like a lost right.
    """
    place = snapshot.place(offer, versions, at)
    held_addons = tuple([Held(versions.addons[one.addon_version], one.quantity) for one in place.addons])
    feature = _feature(place.plan, held_addons, offer, feature_id)
    eligible = snapshot.grants_of(feature_id, at)
    over = snapshot.override_of(feature_id, at) if feature and place.plan else None
    given = _given(place, held_addons, eligible, feature, over)
    said = place.plan.terms.get(feature_id) if place.plan else None
    drawn = grants.in_draw_order(eligible) if eligible and given.terms else ()
    counting = _Known(snapshot, offer, versions, feature_id).counting(place, feature, given.terms, drawn, at)
    span, windows = counting.span, counting.windows
    return Right(
        tenant_id=snapshot.tenant_id,
        feature_id=feature_id,
        feature=feature,
        plan=place.plan,
        plan_terms=said,
        terms=given.terms,
        grants=drawn,
        grants_before=grants.before_included(drawn, span) if drawn else 0,
        rollover=counting.links,
        lasts=counting.lasts,
        entitled=given.entitled,
        absence=_absence(snapshot, place.plan, feature, given.terms),
        billing_status=place.billing_status,
        billing=place.billing,
        trial=place.trial,
        ended_with_trial=place.held is not None and subscription.ended_with_trial(place.held, at),
        metadata=snapshot.metadata,
        guards=guards_of(offer, feature_id),
        addons=held_addons,
        override=over,
        sources=given.sources,
        rule=given.rule,
        period=span,
        cap_windows=windows,
        valid_until=snapshot.valid_until(feature_id, (*windows, *((span,) if span else ())), at),
    )


class _Counting(NamedTuple):
    """Where usage of an instant is counted, and what earlier periods may have carried there."""

    span: Period | None = None
    windows: tuple[Period, ...] = ()
    links: tuple[Link, ...] = ()
    lasts: int = 0


class _Known(NamedTuple):
    """What is known of a tenant as far as it bears on one feature."""

    snapshot: Snapshot
    offer: Offer
    versions: Versions
    feature_id: str

    def counting(
        self,
        place: Place,
        feature: Feature | None,
        terms: Terms | None,
        drawn: tuple[Grant, ...],
        at: datetime,
    ) -> _Counting:
        """In which period and windows; `drawn` are the grants that hold."""
        held = place.held
        if not isinstance(terms, MeteredTerms) or held is None:
            if feature is None or feature.type != "metered":
                return _Counting()
            return _Counting(period.containing(at, interval="month", anchor="calendar", anchored_at=at))
        over_time = list(stretches.of(held, self.offer, self.versions))
        others = [one for one in over_time if one.plan is not place.plan]
        span = stretches.counted_in(held, others, self.feature_id, terms, at)
        windows = stretches.cap_windows(held, terms, at)
        rolls_over = terms.rollover is not None or (others and stretches.rolls_over(others, self.feature_id))
        if not rolls_over or place.is_over:
            return _Counting(span, windows)
        following = partial(
            period.following, interval=terms.interval, anchor=terms.anchor, anchored_at=held.anchored_at
        )
        links = rollover.chain(span, lambda at: self._ended(held, over_time, at), following, drawn)
        return _Counting(span, windows, links, stretches.rolls_over(over_time, self.feature_id, span))

    def _ended(self, held: Subscription, over_time: list[Stretch], at: datetime) -> Ended | None:
        """The period of this subscription whose last instant this is, if it carries anything."""
        place = self.snapshot.place(self.offer, self.versions, at)
        if place.held is not held or place.plan is None or place.is_over:
            return None
        addons = tuple(Held(self.versions.addons[one.addon_version], one.quantity) for one in place.addons)
        feature = _feature(place.plan, addons, self.offer, self.feature_id)
        over = self.snapshot.override_of(self.feature_id, at)
        terms = _given(place, addons, [], feature, over).terms
        if not isinstance(terms, MeteredTerms) or terms.rollover is None:
            return None
        span = stretches.counted_in(held, over_time, self.feature_id, terms, at)
        first = next(one.plan for one in over_time if one.end > span.start)
        begun = first.terms.get(self.feature_id)
        return Ended(
            window=span,
            terms=terms,
            lasts=rollover.lasting(begun if isinstance(begun, MeteredTerms) else None, terms),
            plan_version=place.plan.version,
        )


def moved(right: Right, plan: PlanVersion, at: datetime) -> Right:
    """The right that the same tenant would have on another plan, everything else being as it is.

    Only for a plan that counts the feature in the same periods, or a feature that is not counted now.
    """
    feature = plan.features.get(right.feature_id) or right.feature
    assert feature is not None
    given = combine.combine(feature, plan, right.addons, right.grants, right.override)
    caps = given.terms.caps if isinstance(given.terms, MeteredTerms) else ()
    windows = tuple(
        period.containing(at, interval=cap.interval, anchor="calendar", anchored_at=at) for cap in caps
    )
    return msgspec.structs.replace(
        right,
        plan=plan,
        feature=feature,
        plan_terms=plan.terms.get(feature.id),
        terms=given.terms,
        entitled=given.entitled,
        absence=None if given.terms is not None else "feature_not_in_plan",
        cap_windows=windows,
        sources=given.sources,
        rule=given.rule,
    )


def guards_of(offer: Offer, feature_id: str) -> tuple[Guard, ...]:
    """The guards whose scope a feature is in."""
    return tuple(guard for guard in offer.guards if guard.features is None or feature_id in guard.features)


def _feature(
    plan: PlanVersion | None, addons: tuple[Held, ...], offer: Offer, feature_id: str
) -> Feature | None:
    """The feature as the plan version knows it, or an add-on that is held, in the words of today."""
    pinned = plan.features.get(feature_id) if plan else None
    if pinned is None:
        given = [held.addon.features for held in addons if feature_id in held.addon.features]
        pinned = given[0][feature_id] if given else None
    offered = offer.features.get(feature_id)
    if pinned is None or offered is None or pinned is offered:
        return pinned or offered
    return _as_of_today(pinned, offered)


@lru_cache(maxsize=limits.FEATURES)
def _as_of_today(pinned: Feature, offered: Feature) -> Feature:
    """The pinned feature, with what guards and callers go by, who cannot know of a tenant's older version.

    Marks are those of the catalog. Of what a caller says, all is taken that either of the two takes.
    """
    said = msgspec.structs.replace(
        pinned,
        ai=offered.ai,
        costly=offered.costly,
        context=tuple(sorted({*pinned.context, *offered.context})),
        properties=tuple(sorted({*pinned.properties, *offered.properties})),
        entity=pinned.entity if pinned.entity == offered.entity else "optional",
    )
    return pinned if said == pinned else said


def _given(
    place: Place,
    held: tuple[Held, ...],
    eligible: list[Grant],
    feature: Feature | None,
    over: Override | None,
) -> Combined:
    """What all sources give of a feature; nothing to who is on no plan."""
    if feature is None or place.plan is None:
        return Combined(terms=None, entitled=False, rule=None, sources=())
    return combine.combine(feature, place.plan, held, eligible, over, fallback=place.fallback)


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
