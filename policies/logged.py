"""A decision as it is kept: what it stood on, what was asked, what was answered. Enough to decide it again.

The facts are a snapshot, as small as the decision allows: the phase that the tenant stood on, the grants and
the override of that instant, the metadata that guards read. So running it again is resolving and deciding as
ever, on the same catalog or on another one; there is no second way from facts to an answer.
"""

from datetime import datetime

import msgspec

from policies import decide, entitlement, subscription
from policies import grant as grants
from policies import override as overrides
from policies.balance import Levels
from policies.decide import Request
from policies.decision import Decision
from policies.engine import Engine
from policies.entitlement import Right
from policies.model import CapScope, Interval, MeteredTerms, Noun, Offer, Versions
from policies.period import Period
from policies.snapshot import Snapshot
from policies.subscription import Phase, Subscription


class CapAxis(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """What one of the cap levels counted."""

    interval: Interval
    per: CapScope


class Facts(Noun, frozen=True, kw_only=True):
    """What was known of the tenant and the catalog, as far as it bore on the decision."""

    catalog: str
    """The hash of the catalog that was active."""
    plan_id: str | None
    """The plan that decided: of an ended tenant the fallback plan; None without one."""
    plan_version: str | None
    snapshot: Snapshot
    tags: tuple[str, ...] = ()
    """The keys of metadata that guards of that catalog read; the snapshot has those that were set."""
    period: Period | None = None
    """What the levels counted."""
    caps: tuple[CapAxis, ...] = ()
    """What each of the levels' caps counted."""


class Answered(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """What came out."""

    allowed: bool
    outcome: str
    reason: str
    policy_id: str | None
    degraded: bool


class Logged(Noun, frozen=True, kw_only=True):
    """One decision of the log."""

    decision_id: str
    as_of: datetime
    release: str
    """What decided: our version and the engine's."""
    weight: int
    """How many answers it stands for: of an allow that was sampled 1 in N, N."""
    tenant_id: str
    feature_id: str
    quantity: int
    """Scaled."""
    entity_id: str | None = None
    context: dict[str, str] = {}  # noqa: RUF012 - a Struct copies its default
    facts: Facts
    levels: Levels | None = None
    """None: no counter bore on it, or none could be read."""
    away: bool = False
    """The counters could not be read; the levels, if there are any, are the last known."""
    stale: bool = False
    """It was decided on facts that could not be read anew."""
    answer: Answered


class Unlike(msgspec.Struct, frozen=True):
    """Why what was counted says nothing about another right: a sentence."""

    message: str


def facts(snapshot: Snapshot, offer: Offer, right: Right, at: datetime) -> Facts:
    """What a decision on this right stands on, and no more."""
    terms = right.terms if isinstance(right.terms, MeteredTerms) else None
    tags = tuple(sorted({tag for guard in offer.guards for tag in guard.tags}))
    held = snapshot.stood_on(at)
    return Facts(
        catalog=offer.hash,
        plan_id=right.plan.plan_id if right.plan else None,
        plan_version=right.plan.version if right.plan else None,
        snapshot=msgspec.structs.replace(
            snapshot,
            subscriptions=() if held is None else (_of_instant(held, right.period, at),),
            metadata={tag: snapshot.metadata[tag] for tag in tags if tag in snapshot.metadata},
            grants=tuple(
                msgspec.structs.replace(grant, reason="")
                for grant in snapshot.grants
                if grant.feature_id == right.feature_id and grants.holds(grant, at)
            ),
            overrides=tuple(
                msgspec.structs.replace(one, reason="")
                for one in snapshot.overrides
                if one.feature_id == right.feature_id and overrides.holds(one, at)
            ),
        ),
        tags=tags,
        period=right.period,
        caps=tuple(CapAxis(interval=cap.interval, per=cap.per) for cap in terms.caps) if terms else (),
    )


def request(logged: Logged) -> Request:
    """What was asked."""
    return Request(
        feature_id=logged.feature_id,
        quantity=logged.quantity,
        entity_id=logged.entity_id,
        context=logged.context,
    )


def answered(decision: Decision) -> Answered:
    """What of a decision is compared."""
    return Answered(
        allowed=decision.allowed,
        outcome=decision.outcome,
        reason=decision.reason,
        policy_id=decision.reasons[0].policy_id,
        degraded=decision.degraded,
    )


def right(logged: Logged, offer: Offer, versions: Versions) -> Right:
    """The right of that instant, on the plan versions that the facts name.

    Errors: KeyError for a version that `versions` lacks.
    """
    return entitlement.resolve(
        logged.facts.snapshot, offer=offer, versions=versions, feature_id=logged.feature_id, at=logged.as_of
    )


def run(engine: Engine, logged: Logged, right: Right, *, catalog_hash: str) -> Decision | Unlike:
    """The decision again, on a right of that instant and the levels that were read then.

    Errors: InvalidError for context that the feature of this right does not take.
    """
    levels = _levels(logged, right)
    if isinstance(levels, Unlike):
        return levels
    if logged.away:
        return decide.unavailable(
            engine,
            right,
            request(logged),
            levels,
            now=logged.as_of,
            decision_id=logged.decision_id,
            catalog_hash=catalog_hash,
        )
    return decide.decide(
        engine,
        right,
        request(logged),
        levels,
        now=logged.as_of,
        decision_id=logged.decision_id,
        catalog_hash=catalog_hash,
        degraded=logged.stale,
    )


def _levels(logged: Logged, right: Right) -> Levels | Unlike | None:
    """The levels in the order of this right's caps; of what was given to nobody, nothing is used."""
    if not decide.needs_levels(right) or (logged.away and logged.levels is None):
        return None
    assert isinstance(right.terms, MeteredTerms)
    axes = [CapAxis(interval=cap.interval, per=cap.per) for cap in right.terms.caps]
    if logged.levels is None:
        return Levels(caps=(0,) * len(axes), grants=(0,) * len(right.grants))
    if right.period != logged.facts.period:
        return Unlike("its usage would be counted in another period than it was")
    read = dict(zip(logged.facts.caps, logged.levels.caps, strict=True))
    if missing := [axis for axis in axes if axis not in read]:
        return Unlike(f"usage per {missing[0].interval} of one {missing[0].per} was not counted for a cap")
    return msgspec.structs.replace(logged.levels, caps=tuple(read[axis] for axis in axes))


def _of_instant(held: Subscription, span: Period | None, at: datetime) -> Subscription:
    """A subscription with what bears on one instant: billing fact and phases of the period."""
    fact = subscription.billing_fact_at(held, at)
    standing = subscription.phase_at(held, at) or held.phases[-1]
    return msgspec.structs.replace(
        held,
        phases=tuple(phase for phase in held.phases if phase is standing or _touches(phase, span)),
        billing=() if fact is None else (msgspec.structs.replace(fact, reason=""),),
    )


def _touches(phase: Phase, span: Period | None) -> bool:
    """Whether a phase lies in a period or beside it: another interval of usage may have cut it there."""
    if span is None:
        return False
    ends_before = phase.end is not None and phase.end < span.start
    return not ends_before and (span.end is None or phase.start <= span.end)
