"""How does a plan version read as Cedar? One permit for each right, one `when` for each clause (R1).

The text is canonical (Cedar's own formatter leaves it as it is), so that people can read and compare it. What
is kept beside it, clause by clause, is what a denial needs: the text, the line of the plan, the reason.

A plan's numbers stand in its permits; what add-ons, grants and overrides change about them for one tenant is
`principal.extra` (on what is included) and `principal.extraLimit` (on the limit, overage counted in), which
may be below zero, and `principal.unlimited` and `principal.unlimitedOverage` where a bound is lifted.

Two sums appear in policies: counters with the requested quantity, and numbers of the plan with one of those.
A variable is at most VARIABLE_MAX (`policies.engine` sees to it) and the numbers of one clause at most
LITERAL_MAX, so neither sum leaves the 64 bits in which Cedar counts.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from policies.errors import NotFoundError
from policies.model import (
    BillingStatus,
    BooleanTerms,
    Feature,
    Guard,
    MeteredTerms,
    Overage,
    PlanVersion,
    StaticTerms,
    Terms,
)

Reason = Literal[
    "within_limit",
    "in_overage",
    "included",
    "value",
    "limit_reached",
    "cap_reached",
    "value_exceeded",
    "feature_not_in_plan",
    "unknown_feature",
    "unknown_tenant",
    "no_subscription",
    "trial_ended",
    "payment_required",
    "pending",
    "paused",
    "subscription_ended",
    "guard",
    "fallback",
]
"""Why an answer is what it is: the closed list of the wire."""

ClauseKind = Literal["billing", "entitled", "trial", "cap", "limit", "value"]
Addend = Literal["extra", "extraLimit"]
Lift = Literal["unlimited", "unlimitedOverage"]

VARIABLE_MAX: Final = 2**60
LITERAL_MAX: Final = 2**62
FORMAT_WIDTH: Final = 140
"""The line width at which the canonical text is the formatter's own."""
NUMERIC: Final = ("integer", "decimal")
"""The value types of static features that bound a quantity."""

_PAID: Final[tuple[BillingStatus, ...]] = ("good", "grace")
_SERVED: Final[tuple[BillingStatus, ...]] = ("good", "grace", "restricted")
_UNPAID: Final[dict[BillingStatus, Reason]] = {
    "pending": "pending",
    "paused": "paused",
    "ended": "subscription_ended",
}


class Clause(msgspec.Struct, frozen=True, kw_only=True):
    """One `when` of a permit."""

    kind: ClauseKind
    text: str
    source: str
    reason: Reason
    """What its failure means; of a billing clause see `failure`."""
    reads: tuple[str, ...]
    """The variables in the text, in its order: `context.drawn`, `principal.extra`."""
    cap: int | None = None
    """Place of the cap among the plan's caps."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One permit, which allows if all its clauses hold; or a guard, which takes away."""

    id: str
    source: str
    reason: Reason
    feature_id: str
    clauses: tuple[Clause, ...]
    effect: Literal["permit", "forbid"] = "permit"
    """A limit is never a `forbid`: one that errs is skipped, so it would fail open (law 3)."""
    written: str = ""
    """Of a guard its text as a person wrote it."""
    says: str = ""
    """Of a guard the sentence that it refuses with."""


def policies(plan: PlanVersion, feature_id: str) -> tuple[Policy, ...]:
    """The permits of one feature of a plan, in the order in which their reasons count.

    Errors: KeyError if the plan does not give the feature; ValueError with a sentence if a number is too
    large to be added up safely.
    """
    feature, terms = plan.features[feature_id], plan.terms[feature_id]
    path = f"plan/{plan.plan_id}/{feature_id}"
    if isinstance(terms, MeteredTerms):
        return _metered(path, feature, terms)
    value = _value(feature, terms)
    return (
        Policy(
            id=path,
            source=terms.source,
            reason="included" if isinstance(terms, BooleanTerms) else "value",
            feature_id=feature_id,
            clauses=(*_kept(feature, terms.source), *_entitled(terms), *value),
        ),
    )


def off_plan(feature: Feature) -> tuple[Policy, ...]:
    """The permit of a feature for who has it from an add-on, a grant or an override, not from the plan."""
    path = f"off-plan/{feature.id}"
    reason: Reason = "included" if feature.type == "boolean" else "value"
    bound: tuple[Clause, ...] = ()
    if feature.type == "metered":
        path, reason = f"{path}/included", "within_limit"
        bound = (_limit("limit", "limit_reached", source=feature.source, lift="unlimited"),)
    elif feature.value_type in NUMERIC:
        bound = (_limit("value", "value_exceeded", source=feature.source),)
    clauses = (*_kept(feature, feature.source), _entitled_clause(feature.source), *bound)
    return (Policy(id=path, source=feature.source, reason=reason, feature_id=feature.id, clauses=clauses),)


def guards(written: Iterable[Guard], feature_id: str) -> tuple[Policy, ...]:
    """The guards as policies beside a feature's permits."""
    return tuple(
        Policy(
            id=guard.id,
            source=guard.source,
            reason="guard",
            feature_id=feature_id,
            clauses=(),
            effect="forbid",
            written=guard.text,
            says=guard.reason,
        )
        for guard in written
    )


def condition(guard: Guard) -> str:
    """What a guard asks, on one line: its text from `forbid` on, without comments of their own lines."""
    lines = [line.strip() for line in guard.text.splitlines()]
    begins = next((place for place, line in enumerate(lines) if line.startswith("forbid")), 0)
    return " ".join(line for line in lines[begins:] if line and not line.startswith("//"))


def stated(plan_id: str, feature: Feature) -> dict[str, str | bool]:
    """What the catalog says of plan and feature, as guards read it in `context.facts`."""
    return {"plan": plan_id, "ai": feature.ai, "costly": feature.costly, "always": feature.always}


def text(compiled: Iterable[Policy]) -> str:
    """The policies as one Cedar document, in their order; empty if there are none."""
    return "\n".join(_policy_text(policy) for policy in compiled)


def probes(clauses: Iterable[Clause]) -> str:
    """One tiny permit for each clause, in order: asked together, Cedar gives those that hold as reasons."""
    return "\n".join(f"permit (principal, action, resource) when {{ {clause.text} }};" for clause in clauses)


def show_policy(plan: PlanVersion, feature_id: str) -> str:
    """The Cedar that decides one feature of a plan; guards stand in files of their own.

    Errors: NotFoundError if the plan does not give the feature.
    """
    if feature_id not in plan.terms:
        raise NotFoundError(f'The plan "{plan.plan_id}" does not give the feature "{feature_id}".')
    return text(policies(plan, feature_id))


def failure(clause: Clause, billing_status: BillingStatus) -> Reason:
    """The reason that the clause's failure means to a tenant with this billing status."""
    return _UNPAID.get(billing_status, clause.reason) if clause.kind == "billing" else clause.reason


def quoted(name: str) -> str:
    """A Cedar string; whatever is in the name, it stays inside the quotes."""
    return '"' + "".join(_escaped(char) for char in name) + '"'


def _metered(path: str, feature: Feature, terms: MeteredTerms) -> tuple[Policy, ...]:
    caps = tuple(_cap(place, cap.limit, cap.source) for place, cap in enumerate(terms.caps))
    included = Policy(
        id=f"{path}/included",
        source=terms.source,
        reason="within_limit",
        feature_id=feature.id,
        clauses=(*_kept(feature, terms.source), *caps, _included(terms)),
    )
    if terms.overage is None:
        return (included,)
    overage = Policy(
        id=f"{path}/overage",
        source=terms.overage.source,
        reason="in_overage",
        feature_id=feature.id,
        clauses=(*_overage_open(terms.overage), *caps, _overage_limit(terms, terms.overage)),
    )
    return (included, overage)


def _kept(feature: Feature, source: str) -> tuple[Clause, ...]:
    """Billing, for what the plan includes; a feature that is always on does not ask for it."""
    return () if feature.always else (_billing(_SERVED, source),)


def _overage_open(overage: Overage) -> tuple[Clause, ...]:
    """Overage is bought as it is used: only by who pays, `always` or not, and not during a trial (R10)."""
    trial = Clause(
        kind="trial",
        text="!principal.trial",
        source=overage.source,
        reason="limit_reached",
        reads=("principal.trial",),
    )
    return (_billing(_PAID, overage.source), trial)


def _entitled(terms: Terms) -> tuple[Clause, ...]:
    """A switch that the plan gives can be overridden; a number or a text is replaced, never taken away."""
    return (_entitled_clause(terms.source),) if isinstance(terms, BooleanTerms) else ()


def _entitled_clause(source: str) -> Clause:
    return Clause(
        kind="entitled",
        text="principal.entitled",
        source=source,
        reason="feature_not_in_plan",
        reads=("principal.entitled",),
    )


def _billing(statuses: Sequence[BillingStatus], source: str) -> Clause:
    named = ", ".join(f"BillingStatus::{quoted(status)}" for status in statuses)
    return Clause(
        kind="billing",
        text=f"[{named}].contains(principal.billingStatus)",
        source=source,
        reason="payment_required",
        reads=("principal.billingStatus",),
    )


def _cap(place: int, limit: int, source: str) -> Clause:
    counter = f"context.caps.c{place + 1}"
    return Clause(
        kind="cap",
        text=f"{counter} + context.requested <= {_sum(limit, source=source)}",
        source=source,
        reason="cap_reached",
        reads=(counter, "context.requested"),
        cap=place,
    )


def _included(terms: MeteredTerms) -> Clause:
    numbers = () if terms.included is None else (terms.included,)
    return _limit("limit", "limit_reached", *numbers, source=terms.included_source, lift="unlimited")


def _overage_limit(terms: MeteredTerms, overage: Overage) -> Clause:
    numbers = [number for number in (terms.included, overage.up_to) if number is not None]
    return _limit(
        "limit",
        "limit_reached",
        *numbers,
        source=overage.source,
        addend="extraLimit",
        lift="unlimitedOverage",
    )


def _value(feature: Feature, terms: Terms) -> tuple[Clause, ...]:
    """A number bounds the quantity that there would be after the act (R9); nothing else bounds it."""
    if not isinstance(terms, StaticTerms) or feature.value_type not in NUMERIC:
        return ()
    assert isinstance(terms.value, int)
    return (_limit("value", "value_exceeded", terms.value, source=terms.source),)


def _limit(
    kind: ClauseKind,
    reason: Reason,
    *numbers: int,
    source: str,
    addend: Addend = "extra",
    lift: Lift | None = None,
) -> Clause:
    unless = f"principal.{lift} || " if lift else ""
    bound = f"{_sum(*numbers, source=source)} + principal.{addend}" if numbers else f"principal.{addend}"
    return Clause(
        kind=kind,
        text=f"{unless}context.drawn + context.requested <= {bound}",
        source=source,
        reason=reason,
        reads=(
            *((f"principal.{lift}",) if lift else ()),
            "context.drawn",
            "context.requested",
            f"principal.{addend}",
        ),
    )


def _sum(*numbers: int, source: str) -> str:
    """Numbers of the plan as the plan says them, added up by Cedar."""
    if min(numbers) < 0 or sum(numbers) > LITERAL_MAX:
        raise ValueError(f"{source}: a limit is between 0 and {LITERAL_MAX} (scaled), overage included.")
    return " + ".join(str(number) for number in numbers)


def _policy_text(policy: Policy) -> str:
    if policy.written:
        return policy.written + "\n"
    conditions = "".join(f"\nwhen {{ {clause.text} }}" for clause in policy.clauses)
    return f"""@id({quoted(policy.id)})
@source({quoted(policy.source)})
@reason({quoted(policy.reason)})
{policy.effect} (
  principal is Tenant,
  action == Action::"use",
  resource == Feature::{quoted(policy.feature_id)}
){conditions};
"""


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else f"\\u{{{ord(char):x}}}"
