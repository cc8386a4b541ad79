"""On which plan does a subscription stand over time, and in which spans is usage of a feature counted?"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from policies import period, subscription
from policies.model import Cap, MeteredTerms, Offer, PlanVersion, Versions
from policies.period import Period
from policies.subscription import Subscription

_FOREVER: Final = datetime.max.replace(tzinfo=UTC)


class Stretch(msgspec.Struct, frozen=True):
    """A plan version over a half-open span."""

    start: datetime
    end: datetime
    plan: PlanVersion


def of(held: Subscription, offer: Offer, versions: Versions) -> Iterator[Stretch]:
    """The plan versions of a subscription over time, the fallback plan after its end included."""
    for phase in held.phases:
        yield Stretch(phase.start, phase.end or _FOREVER, versions.plans[phase.plan_version])
    ended_at = subscription.ends_at(held)
    if ended_at is not None and offer.fallback_plan is not None:
        yield Stretch(ended_at, _FOREVER, versions.plans[offer.fallback_plan])


def rolls_over(over_time: Sequence[Stretch], feature_id: str, span: Period | None = None) -> int:
    """For how many periods a rest lasts at most, by a plan that holds at all or in that span; 0: by none."""
    lasting = 0
    for stretch in over_time:
        terms = stretch.plan.terms.get(feature_id)
        if not isinstance(terms, MeteredTerms) or terms.rollover is None:
            continue
        if span is None or (stretch.end > span.start and (span.end is None or stretch.start < span.end)):
            lasting = max(lasting, terms.rollover.intervals)
    return lasting


def counted_in(
    held: Subscription, over_time: Sequence[Stretch], feature_id: str, terms: MeteredTerms, at: datetime
) -> Period:
    """The usage period: where another interval held or will hold, it begins or ends at the change (R16)."""
    reshaped = _reshaped(over_time, feature_id, terms)
    span = period.containing(at, interval=terms.interval, anchor=terms.anchor, anchored_at=held.anchored_at)
    begins = [other.end for other in reshaped if other.end <= at]
    ends = [other.start for other in reshaped if other.start > at]
    if not begins and not ends:
        return span
    end = min(ends + ([span.end] if span.end else []), default=None)
    return Period(max([span.start, *begins]), end)


def cap_windows(held: Subscription, terms: MeteredTerms, at: datetime) -> tuple[Period, ...]:
    """The windows of the caps of terms, in their order."""
    anchored_at = held.anchored_at
    return tuple(
        [
            period.containing(at, interval=cap.interval, anchor="calendar", anchored_at=anchored_at)
            for cap in terms.caps
        ]
    )


def capped(
    subscriptions: Sequence[Subscription],
    *,
    offer: Offer,
    versions: Versions,
    feature_id: str,
    cap: Cap,
    window: Period,
) -> tuple[Period, ...]:
    """The parts of a cap's window in which the tenant was on a plan with such a cap: what it counts."""
    lives = [held for held in subscriptions if held.phases]
    edges = [held.phases[0].start for held in lives[1:]] + [_FOREVER]
    spans = []
    for held, next_one in zip(lives, edges, strict=False):
        for stretch in of(held, offer, versions):
            terms = stretch.plan.terms.get(feature_id)
            caps = terms.caps if isinstance(terms, MeteredTerms) else ()
            start = max(window.start, stretch.start)
            end = min(window.end or _FOREVER, stretch.end, next_one)
            if start < end and any((one.interval, one.per) == (cap.interval, cap.per) for one in caps):
                spans.append(Period(start, end))
    return tuple(spans)


def _reshaped(over_time: Sequence[Stretch], feature_id: str, terms: MeteredTerms) -> list[Stretch]:
    """The stretches whose plan lays the feature's periods otherwise."""
    return [
        stretch
        for stretch in over_time
        if isinstance(other := stretch.plan.terms.get(feature_id), MeteredTerms)
        and (other.interval, other.anchor) != (terms.interval, terms.anchor)
    ]
