"""How does a plan version read as Cedar? One permit for each right, one `when` for each clause (R1).

The text is canonical (Cedar's own formatter leaves it as it is), so that people can read and compare it. What
is kept beside it, clause by clause, is what a denial needs: the text, the line of the plan, the reason.

Two sums appear in policies: counters with the requested quantity, and numbers of the plan with
`principal.extra`. A variable is at most VARIABLE_MAX (`policies.engine` sees to it) and the numbers of one
clause at most LITERAL_MAX, so neither sum leaves the 64 bits in which Cedar counts.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from policies import limits
from policies.errors import NotFoundError
from policies.model import (
    BillingStatus,
    BooleanTerms,
    Feature,
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

ClauseKind = Literal["billing", "trial", "cap", "limit", "value"]

VARIABLE_MAX: Final = 2**60
LITERAL_MAX: Final = 2**62
FORMAT_WIDTH: Final = 120
"""The line width at which the canonical text is the formatter's own."""
NUMERIC: Final = ("integer", "decimal")
"""The value types of static features that bound a quantity."""

_STATUSES: Final[tuple[BillingStatus, ...]] = (
    "good",
    "grace",
    "restricted",
    "suspended",
    "paused",
    "ended",
    "pending",
)
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
    """One permit: it allows if all its clauses hold."""

    id: str
    source: str
    reason: Reason
    feature_id: str
    clauses: tuple[Clause, ...]
    effect: Literal["permit", "forbid"] = "permit"
    """A limit is never a `forbid`: one that errs is skipped, so it would fail open (law 3)."""


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
            clauses=(*_kept(feature, terms.source), *value),
        ),
    )


def text(compiled: Iterable[Policy]) -> str:
    """The policies as one Cedar document, in their order; empty if there are none."""
    return "\n".join(_policy_text(policy) for policy in compiled)


def probes(clauses: Iterable[Clause]) -> str:
    """One tiny permit for each clause, in order: asked together, Cedar gives those that hold as reasons."""
    return "\n".join(f"permit (principal, action, resource) when {{ {clause.text} }};" for clause in clauses)


def schema(features: Iterable[Feature]) -> str:
    """The words that policies over these features may use."""
    listed = sorted(features, key=lambda feature: feature.id)
    keys = sorted({key for feature in listed for key in feature.context})
    request = ", ".join(f"{quoted(key)}?: String" for key in keys)
    caps = ", ".join(f"c{number}: Long" for number in range(1, limits.CAPS + 1))
    ids = f" enum [{_listed(feature.id for feature in listed)}]" if listed else ""
    return f"""{principal_schema()}
entity Feature{ids};

type Request = {{ {request} }};

action "use" appliesTo {{
  principal: [Tenant],
  resource: [Feature],
  context: {{ drawn: Long, requested: Long, caps: {{ {caps} }}, request: Request }}
}};
"""


def principal_schema() -> str:
    """What is stored about a tenant, as attributes of the principal; the same for every catalog."""
    return f"""entity Tenant = {{ billingStatus: BillingStatus, trial: Bool, extra: Long }};
entity BillingStatus enum [{_listed(_STATUSES)}];"""


def show_policy(plan: PlanVersion, feature_id: str) -> str:
    """The Cedar that decides one feature of a plan.

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
        clauses=(*_kept(feature, terms.source), *caps, *_included(terms)),
    )
    if terms.overage is None:
        return (included,)
    overage = Policy(
        id=f"{path}/overage",
        source=terms.overage.source,
        reason="in_overage",
        feature_id=feature.id,
        clauses=(*_overage_open(terms.overage), *caps, *_overage_limit(terms, terms.overage)),
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


def _included(terms: MeteredTerms) -> tuple[Clause, ...]:
    if terms.included is None:
        return ()
    return (_limit("limit", "limit_reached", terms.included, source=terms.included_source),)


def _overage_limit(terms: MeteredTerms, overage: Overage) -> tuple[Clause, ...]:
    if terms.included is None or overage.up_to is None:
        return ()
    return (_limit("limit", "limit_reached", terms.included, overage.up_to, source=overage.source),)


def _value(feature: Feature, terms: Terms) -> tuple[Clause, ...]:
    """A number bounds the quantity that there would be after the act (R9); nothing else bounds it."""
    if not isinstance(terms, StaticTerms) or feature.value_type not in NUMERIC:
        return ()
    assert isinstance(terms.value, int)
    return (_limit("value", "value_exceeded", terms.value, source=terms.source),)


def _limit(kind: ClauseKind, reason: Reason, *numbers: int, source: str) -> Clause:
    return Clause(
        kind=kind,
        text=f"context.drawn + context.requested <= {_sum(*numbers, source=source)} + principal.extra",
        source=source,
        reason=reason,
        reads=("context.drawn", "context.requested", "principal.extra"),
    )


def _sum(*numbers: int, source: str) -> str:
    """Numbers of the plan as the plan says them, added up by Cedar."""
    if min(numbers) < 0 or sum(numbers) > LITERAL_MAX:
        raise ValueError(f"{source}: a limit is between 0 and {LITERAL_MAX} (scaled), overage included.")
    return " + ".join(str(number) for number in numbers)


def _policy_text(policy: Policy) -> str:
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


def _listed(names: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in names)


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else f"\\u{{{ord(char):x}}}"
