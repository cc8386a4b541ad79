"""What is a right to a feature to all who have nothing beside their plan? Worked out once for all of them.

Most tenants stand on one plan version until further notice, without add-ons, grants, overrides or a trial.
Then a right is the same to each of them but for the tenant's id and notes, its billing fact, and where its
period lies. The answer is that of `entitlement.resolve`, to the letter; this is only the shorter way to it.
"""

from datetime import datetime
from typing import Final

import msgspec

from policies import entitlement, limits, period
from policies.entitlement import Right
from policies.kept import Kept
from policies.model import Cap, MeteredTerms, Offer, Versions
from policies.period import Period
from policies.snapshot import Snapshot
from policies.subscription import Subscription


class _Pattern(msgspec.Struct, gc=False):
    """A right, and what it was made of beside the tenant."""

    offer: Offer
    right: Right
    """Of the tenant that came first."""
    is_one: bool
    """Whether those of others follow from it."""
    windows: tuple[Period, ...] = ()
    """Of its caps, at the instant that was asked for last."""


_KEPT: Final[Kept[tuple[str, str, str], _Pattern]] = Kept(limits.TERMS_COMBINED)


def resolve(snapshot: Snapshot, *, offer: Offer, versions: Versions, feature_id: str, at: datetime) -> Right:
    """As `entitlement.resolve`.

    Errors: as there.
    """
    held = _nothing_beside(snapshot, at)
    if held is None:
        return entitlement.resolve(snapshot, offer=offer, versions=versions, feature_id=feature_id, at=at)
    plan = versions.plans[held.phases[0].plan_version]
    key = (plan.version, feature_id, held.billing[0].status if held.billing else "good")
    known = _KEPT.peek(key)
    if known is None or known.offer is not offer or known.right.plan is not plan:
        right = entitlement.resolve(snapshot, offer=offer, versions=versions, feature_id=feature_id, at=at)
        _KEPT.put(key, _Pattern(offer, right, _is_pattern(right)))
        return right
    if not known.is_one:
        return entitlement.resolve(snapshot, offer=offer, versions=versions, feature_id=feature_id, at=at)
    return _of(known, snapshot, held, at)


def _nothing_beside(snapshot: Snapshot, at: datetime) -> Subscription | None:
    """The subscription of a tenant that has nothing else, now or to come."""
    if len(snapshot.subscriptions) != 1 or snapshot.grants or snapshot.overrides or not snapshot.known:
        return None
    (held,) = snapshot.subscriptions
    if held.trial_ends_at is not None or len(held.phases) != 1 or len(held.billing) > 1:
        return None
    (phase,) = held.phases
    if phase.end is not None or phase.addons or phase.start > at:
        return None
    if held.billing and (held.billing[0].since > at or held.billing[0].status == "ended"):
        return None
    return held


def _is_pattern(right: Right) -> bool:
    """Whether nothing else in a right follows from the tenant, or from when it is asked for."""
    terms = right.terms
    if not isinstance(terms, MeteredTerms):
        return right.feature is None or right.feature.type != "metered"
    return terms.rollover is None and all(cap.interval != "never" for cap in terms.caps)


def _of(known: _Pattern, snapshot: Snapshot, held: Subscription, at: datetime) -> Right:
    terms, span, until = known.right.terms, None, None
    if isinstance(terms, MeteredTerms):
        span = period.containing(
            at, interval=terms.interval, anchor=terms.anchor, anchored_at=held.anchored_at
        )
        until = span.end
        if terms.caps:
            known.windows = _windows(known.windows, terms.caps, at)
            ends = [window.end for window in known.windows if window.end is not None]
            until = min(ends) if until is None else min(until, *ends)
    return msgspec.structs.replace(
        known.right,
        tenant_id=snapshot.tenant_id,
        billing=held.billing,
        metadata=snapshot.metadata,
        period=span,
        cap_windows=known.windows,
        valid_until=until,
    )


def _windows(last: tuple[Period, ...], caps: tuple[Cap, ...], at: datetime) -> tuple[Period, ...]:
    """The calendar windows of caps: the last ones while they hold."""
    for window in last:
        if not period.contains(window, at):
            break
    else:
        if last:
            return last
    return tuple(
        [period.containing(at, interval=cap.interval, anchor="calendar", anchored_at=at) for cap in caps]
    )
