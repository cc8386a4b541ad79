"""What does an answer look like when it goes out?

Names, numbers and lines only; who is allowed what was settled before (`policies.decide`).
"""

from datetime import datetime
from typing import Any, Literal

import msgspec

from policies import quantity
from policies.combine import SourceKind, Term
from policies.compiler import cedar
from policies.compiler.cedar import Reason
from policies.engine import Outcome
from policies.message import Case
from policies.model import BillingStatus, CapScope, Combine, FeatureType, Interval, MeteredTerms, StaticTerms

Number = int | str
"""As on the wire: an integer, or a decimal string where the feature has decimals."""


class ReasonLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """One reason, with the policy and the line of the plan that it comes from where there is one."""

    policy_id: str | None
    source: str | None
    reason: Reason
    message: str


class CapLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """One cap and how much of it is used; None if that could not be read."""

    limit: Number
    used: Number | None
    interval: Interval
    per: CapScope
    reset_at: datetime | None


class ClauseLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One clause of a permit, or a guard as a clause that holds while it does not match.

    The answer is an allow if all clauses of one permit hold, and all guards. `holds` is None if Cedar could
    not tell.
    """

    policy_id: str
    text: str
    holds: bool | None
    values: dict[str, int | bool | str]
    """What the variables in the text stood for, scaled as the text is."""
    source: str


class SourceLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One thing that a right comes from: plan, add-on, grant, override, or what a period left over."""

    kind: SourceKind
    id: str
    """The plan's or add-on's version, the grant's or override's id, the name of what rolled over."""
    term: Term
    value: Number | bool | dict[str, Any] | None
    """`unlimited` for a quantity without end."""
    times: int = 1
    """How many units of the add-on are held."""
    source: str | None = None
    reason: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    replaced: bool = False
    """An override stands in its place."""


class TurnLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A billing status from an instant on, if nothing more becomes known."""

    status: BillingStatus
    since: datetime


class BillingLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What payments, or a word by hand, say of the tenant, and what comes next."""

    status: BillingStatus
    since: datetime
    reason: str
    happened_at: datetime | None
    message: str
    """All of it in one sentence."""
    next: tuple[TurnLine, ...]


class Derivation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where a right comes from, and how the sources were combined."""

    rule: Combine | None
    sources: tuple[SourceLine, ...]
    billing: BillingLine | msgspec.UnsetType = msgspec.UNSET
    """Left out where nothing was ever said of payments."""


ChangeKind = Literal["quantity", "grant", "wait", "payment", "trial", "plan", "addon", "guard"]


class Change(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One change that alone makes the answer an allow; Cedar said so of each."""

    kind: ChangeKind
    sentence: str
    quantity: Number | None = None
    """The most that would be allowed, or what a grant would have to give."""
    at: datetime | None = None
    """When waiting is over."""
    id: str | None = None
    """The plan, add-on or guard."""


class Flip(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What would make the answer an allow: a sentence to paste, and the changes, nearest first."""

    sentence: str
    changes: tuple[Change, ...]


class Decision(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """The answer. Numbers are as they stood before the request; None where there are none."""

    allowed: bool
    outcome: Outcome
    reason: Reason
    message: str
    tenant_id: str
    feature_id: str
    entity_id: str | None
    type: FeatureType | None
    value: Number | dict[str, Any] | None
    requested: Number | None
    granted: Number | None
    usage: Number | None
    reserved: Number | None
    remaining: Number | None
    overage: Number | None
    limit: Number | None
    unlimited: bool
    caps: tuple[CapLine, ...]
    reset_at: datetime | None
    plan_id: str | None
    plan_version: str | None
    catalog: str
    reasons: tuple[ReasonLine, ...]
    degraded: bool
    as_of: datetime
    decision_id: str
    clauses: tuple[ClauseLine, ...] | msgspec.UnsetType = msgspec.UNSET
    """Only where they were asked for, and so are the two that follow."""
    derivation: Derivation | msgspec.UnsetType = msgspec.UNSET
    would_allow: Flip | msgspec.UnsetType | None = msgspec.UNSET
    """None where no single change would do."""


class Finding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What was settled, and why; the first reason speaks for all."""

    allowed: bool
    outcome: Outcome
    reasons: tuple[ReasonLine, ...]
    clauses: tuple[ClauseLine, ...] | msgspec.UnsetType = msgspec.UNSET
    degraded: bool = False


def answer(
    finding: Finding, case: Case, *, entity_id: str | None, now: datetime, decision_id: str, catalog_hash: str
) -> Decision:
    """The finding with everything that a caller wants to see beside it."""
    right, feature, account = case.right, case.right.feature, case.balance
    decimals = feature.decimals if feature else 0
    metered = feature is not None and feature.type == "metered"
    numeric = metered or (feature is not None and feature.value_type in cedar.NUMERIC)

    def number(scaled: int | None) -> Number | None:
        return scaled if scaled is None or decimals == 0 else quantity.render(scaled, decimals)

    counted = account if metered else None
    return Decision(
        allowed=finding.allowed,
        outcome=finding.outcome,
        reason=finding.reasons[0].reason,
        message=finding.reasons[0].message,
        tenant_id=right.tenant_id,
        feature_id=right.feature_id,
        entity_id=entity_id,
        type=feature.type if feature else None,
        value=_value(case, decimals),
        requested=number(case.requested) if numeric or feature is None else None,
        granted=number(counted.granted) if counted else None,
        usage=number(counted.drawn) if counted else None,
        reserved=number(counted.reserved) if counted else None,
        remaining=number(counted.remaining) if counted else None,
        overage=number(counted.overage) if counted else None,
        limit=number(counted.limit if counted else _bound(case)),
        unlimited=counted is not None and counted.limit is None,
        caps=_caps(case, decimals),
        reset_at=right.period.end if right.period and isinstance(right.terms, MeteredTerms) else None,
        plan_id=right.plan.plan_id if right.plan else None,
        plan_version=right.plan.version if right.plan else None,
        catalog=catalog_hash,
        reasons=finding.reasons,
        degraded=finding.degraded,
        as_of=now,
        decision_id=decision_id,
        clauses=finding.clauses,
    )


def _value(case: Case, decimals: int) -> Number | dict[str, Any] | None:
    terms, feature = case.right.terms, case.right.feature
    if not isinstance(terms, StaticTerms) or feature is None:
        return None
    if isinstance(terms.value, int):
        return quantity.render(terms.value, decimals)
    if feature.value_type == "object":
        return msgspec.json.decode(terms.value, type=dict[str, Any])
    return terms.value


def _bound(case: Case) -> int | None:
    """Of a static number: the number itself."""
    terms = case.right.terms
    return terms.value if isinstance(terms, StaticTerms) and isinstance(terms.value, int) else None


def _caps(case: Case, decimals: int) -> tuple[CapLine, ...]:
    terms = case.right.terms
    if not isinstance(terms, MeteredTerms):
        return ()
    return tuple(
        [
            CapLine(
                limit=quantity.render(cap.limit, decimals),
                used=quantity.render(case.caps[place], decimals) if place < len(case.caps) else None,
                interval=cap.interval,
                per=cap.per,
                reset_at=case.right.cap_windows[place].end,
            )
            for place, cap in enumerate(terms.caps)
        ]
    )
