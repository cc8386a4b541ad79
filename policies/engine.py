"""What does Cedar answer? The one module that calls it.

Policies are parsed once for each (plan version, feature) and kept, and so are the handles of equal facts;
both are bounded. The principal's id is always the same: policies speak of what is stored about a tenant,
never of who it is, so tenants with equal facts share a handle and no caller's id is part of it.

An Engine belongs to one thread.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Final, Generic, Literal, TypeVar

import cedarpy
import msgspec

from policies import limits
from policies.compiler import cedar
from policies.compiler.cedar import Clause, Policy
from policies.errors import invalid
from policies.model import BillingStatus, Feature, PlanVersion

Outcome = Literal["allowed", "denied", "indeterminate"]

_PRINCIPAL: Final = {"type": "Tenant", "id": "tenant"}
_ACTION: Final = {"type": "Action", "id": "use"}
_PRINCIPAL_SCHEMA: Final = cedarpy.Schema.from_str(cedar.principal_schema())

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored about a tenant: the attributes of the principal."""

    billing_status: BillingStatus
    trial: bool
    extra: int = 0


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from call to call: the counters, the quantity, and what the caller said."""

    drawn: int
    requested: int
    caps: tuple[int, ...] = ()
    """One level for each cap of the plan, in its order; with one too few Cedar cannot decide."""
    request: dict[str, str] = {}
    """A record of its own, so that nothing a caller says can stand in for a fact (law 10)."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Cedar's answer, read by R2."""

    outcome: Outcome
    matched: tuple[Policy, ...] = ()
    """The policies that decided, in compile order; Cedar gives them in any order."""
    errors: tuple[str, ...] = ()
    """What went wrong, in Cedar's words: for the log, not for callers."""


class Slice:
    """The policies of one (plan version, feature), parsed. One without policies denies everything (R3)."""

    __slots__ = (
        "_probes",
        "clauses",
        "context",
        "fault",
        "feature_id",
        "handle",
        "places",
        "plan",
        "policies",
    )

    def __init__(
        self,
        feature_id: str,
        policies: tuple[Policy, ...] = (),
        *,
        context: tuple[str, ...] = (),
        fault: str | None = None,
        plan: PlanVersion | None = None,
    ) -> None:
        self.feature_id = feature_id
        self.policies = policies
        self.clauses: tuple[Clause, ...] = tuple(clause for policy in policies for clause in policy.clauses)
        self.context = context
        """The keys that a request may carry."""
        self.fault = fault
        """Why there are no policies although there should be: then nothing can be decided."""
        self.plan = plan
        """Whose lines the policies name."""
        self.handle = cedarpy.PolicySet.from_str(cedar.text(policies))
        # Cedar names policies by their place in the text.
        self.places = {f"policy{place}": policy for place, policy in enumerate(policies)}
        self._probes: Any = None

    @property
    def probes(self) -> Any:
        """One permit for each clause; most slices are never asked for it."""
        if self._probes is None:
            self._probes = cedarpy.PolicySet.from_str(cedar.probes(self.clauses))
        return self._probes


class Engine:
    """Asks Cedar, and keeps what is worth keeping between calls."""

    def __init__(
        self,
        slices_alive: int = limits.SLICES_ALIVE,
        *,
        on_fault: Callable[[Verdict], None] | None = None,
    ) -> None:
        """`on_fault` hears of every verdict with an error in it, so that somebody can count and log it."""
        self._slices: _Kept[tuple[str, str], Slice] = _Kept(slices_alive)
        self._facts: _Kept[Facts, cedarpy.Entities] = _Kept(limits.FACTS_ALIVE)
        self._on_fault = on_fault

    def slice(self, plan: PlanVersion | None, feature_id: str) -> Slice:
        """The slice of a feature in a plan version; without a plan, the one that has no permit.

        Never raises: what cannot be compiled or parsed is a slice with a fault, and so indeterminate.
        """
        if plan is None:
            return Slice(feature_id)
        key = (plan.version, feature_id)
        part = self._slices.get(key, lambda: _parsed(plan, feature_id))
        if part.plan is not None and part.plan is not plan:
            # The same terms on other lines: a later catalog has a comment more.
            self._slices.forget(key)
            part = self._slices.get(key, lambda: _parsed(plan, feature_id))
        return part

    def evaluate(self, part: Slice, facts: Facts, question: Question) -> Verdict:
        """Cedar's answer; whatever goes wrong on the way to one is indeterminate, never allowed or denied.

        Errors: InvalidError for what no border should have let through; it is the caller's fault, so it must
        not reach `whenUnavailable`.
        """
        _refuse(part, question)
        try:
            verdict = _read(part, self._ask(part, part.handle, facts, question))
        except BaseException as error:  # noqa: BLE001 - a panic of Cedar is no Exception; _fault sorts
            verdict = Verdict(outcome="indeterminate", errors=(_fault(error),))
        if verdict.errors and self._on_fault is not None:
            self._on_fault(verdict)
        return verdict

    def probe(self, part: Slice, facts: Facts, question: Question) -> tuple[bool | None, ...]:
        """Which clauses hold, in the order of `part.clauses`; None where Cedar could not tell. One call."""
        try:
            diagnostics = self._ask(part, part.probes, facts, question).diagnostics
        except BaseException as error:  # noqa: BLE001 - the same
            _fault(error)
            return (None,) * len(part.clauses)
        holding, failed = set(diagnostics.reasons), "".join(diagnostics.errors)
        return tuple(
            True if (name := f"policy{place}") in holding else None if f"`{name}`" in failed else False
            for place in range(len(part.clauses))
        )

    def _ask(self, part: Slice, handle: Any, facts: Facts, question: Question) -> cedarpy.AuthzResult:
        if part.fault is not None:
            raise ValueError(part.fault)
        request = {
            "principal": _PRINCIPAL,
            "action": _ACTION,
            "resource": {"type": "Feature", "id": part.feature_id},
            "context": _context(question),
        }
        entities = self._facts.get(facts, lambda: _entities(facts))
        return cedarpy.is_authorized(request, handle, entities)


class _Kept(Generic[K, V]):
    """A bounded store that forgets what was not asked for longest."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._items: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def forget(self, key: K) -> None:
        self._items.pop(key, None)

    def get(self, key: K, make: Callable[[], V]) -> V:
        found = self._items.get(key)
        if found is not None:
            self._items.move_to_end(key)
            return found
        made = self._items[key] = make()
        if len(self._items) > self._bound:
            self._items.popitem(last=False)
        return made


def validate(plan: PlanVersion) -> tuple[str, ...]:
    """What is wrong with the Cedar of a plan version, in sentences; empty if strict validation accepts it."""
    compiled: list[Policy] = []
    sentences: list[str] = []
    for feature_id in plan.terms:
        try:
            compiled += cedar.policies(plan, feature_id)
        except ValueError as error:
            sentences.append(str(error))
    return (*sentences, *check(compiled, plan.features.values()))


def check(compiled: Sequence[Policy], features: Iterable[Feature]) -> tuple[str, ...]:
    """What strict validation says against policies over these features, all in one call.

    Cedar accepts two policies with one id, and so do annotations; we do not.
    """
    counts = Counter(policy.id for policy in compiled)
    twice = [f'Two policies have the id "{policy_id}".' for policy_id, count in counts.items() if count > 1]
    result = cedarpy.validate_policies(cedar.text(compiled), cedar.schema(features))
    places = {f"policy{place}": policy for place, policy in enumerate(compiled)}
    return (*twice, *(_sentence(places.get(found.policy_id), found.error) for found in result.errors))


def _sentence(policy: Policy | None, error: str) -> str:
    return f"{policy.source}: {policy.id}: {error}" if policy else error


def _parsed(plan: PlanVersion, feature_id: str) -> Slice:
    try:
        policies = cedar.policies(plan, feature_id)
        return Slice(feature_id, policies, context=plan.features[feature_id].context, plan=plan)
    except (ValueError, LookupError) as error:
        return Slice(feature_id, fault=f"{plan.version} {feature_id}: {error!r}")


def _refuse(part: Slice, question: Question) -> None:
    """Keys in `__` are Cedar's own (R48); undeclared ones no policy may come to rely on (R42)."""
    if not 0 <= question.requested <= limits.REQUESTED_MAX:
        raise invalid("/quantity", f"A quantity is between 0 and {limits.REQUESTED_MAX}.")
    for key, value in question.request.items():
        if key.startswith("__") or key not in part.context or not isinstance(value, str):
            raise invalid("/context", "The context may hold only keys that the feature declares, with texts.")


def _context(question: Question) -> str:
    levels = (question.drawn, *question.caps)
    if min(levels) < 0 or max(levels) > cedar.VARIABLE_MAX:
        raise ValueError(f"A counter is out of bounds: {levels}.")
    caps = {f"c{number}": level for number, level in enumerate(question.caps, start=1)}
    return msgspec.json.encode(
        {"drawn": question.drawn, "requested": question.requested, "caps": caps, "request": question.request}
    ).decode()


def _entities(facts: Facts) -> cedarpy.Entities:
    """The handle of a principal with these facts, checked against the schema once, here."""
    if not 0 <= facts.extra <= cedar.VARIABLE_MAX:
        raise ValueError(f"The extra quantity is out of bounds: {facts.extra}.")
    status = {"__entity": {"type": "BillingStatus", "id": facts.billing_status}}
    attributes = {"billingStatus": status, "trial": facts.trial, "extra": facts.extra}
    document = [{"uid": _PRINCIPAL, "attrs": attributes, "parents": []}]
    return cedarpy.Entities.from_json_str(msgspec.json.encode(document).decode(), _PRINCIPAL_SCHEMA)


def _read(part: Slice, answer: cedarpy.AuthzResult) -> Verdict:
    """R2: a Deny with a forbid that matched stands; any other answer with an error in it is none."""
    reasons = set(answer.diagnostics.reasons)
    matched = tuple(policy for place, policy in part.places.items() if place in reasons)
    errors = tuple(sorted(_named(part, error) for error in answer.diagnostics.errors))
    if len(matched) != len(reasons):
        raise LookupError(f"Cedar names policies that this slice does not have: {reasons}.")
    if answer.decision is cedarpy.Decision.Deny and (matched or not errors):
        return Verdict(outcome="denied", matched=matched, errors=errors)
    if answer.decision is cedarpy.Decision.Allow and matched and not errors:
        return Verdict(outcome="allowed", matched=matched)
    return Verdict(outcome="indeterminate", errors=errors or ("Cedar gave no decision.",))


def _named(part: Slice, error: str) -> str:
    """Cedar's sentence with our id of the policy that it speaks of."""
    for place, policy in part.places.items():
        error = error.replace(f"`{place}`", f"`{policy.id}`")
    return error


def _fault(error: BaseException) -> str:
    """What the engine threw, as text; a panic of its Rust side is not an `Exception`. All else goes on up."""
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
    return f"{type(error).__name__}: {error}"
