"""What does Cedar answer? The one module that asks it.

A slice for each (plan version, feature, guards) is kept, and so are what was parsed of those asked last, the
handles of equal facts, and the tables of answers (`policies.table`); all are bounded. The principal's id is
always the same: policies speak of what is stored about a tenant, never of who it is, so tenants with equal
facts share a handle and a table, and no caller's id is part of either.

An Engine belongs to one thread.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final, Literal

import cedarpy
import msgspec

from policies import limits, slices, table
from policies.compiler import cedar, cedar_schema
from policies.compiler.cedar import Policy
from policies.errors import invalid
from policies.kept import Kept
from policies.model import BillingStatus, Feature, Guard, PlanVersion
from policies.slices import Parsed, Slice
from policies.table import Cuts, Place

Outcome = Literal["allowed", "denied", "indeterminate"]

_PRINCIPAL: Final = {"type": "Tenant", "id": "tenant"}
_ACTION: Final = {"type": "Action", "id": "use"}
_PRINCIPAL_SCHEMA: Final = cedarpy.Schema.from_str(cedar_schema.principal_schema())

_SliceKey = tuple[str, str, tuple[Guard, ...]]


class Facts(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True, gc=False):
    """What is stored about a tenant: the attributes and tags of the principal."""

    billing_status: BillingStatus
    trial: bool
    entitled: bool = True
    extra: int = 0
    """What add-ons, grants and overrides change about the plan's included quantity or number."""
    extra_limit: int = 0
    """What they change about the limit, overage counted in."""
    unlimited: bool = False
    unlimited_overage: bool = False
    tags: tuple[tuple[str, str], ...] = ()
    """The tenant's metadata, as far as guards of the slice read it."""

    def bounding(self) -> dict[str, int | bool]:
        """Those that move or lift a bound, by their names in the text."""
        return {
            "extra": self.extra,
            "extraLimit": self.extra_limit,
            "unlimited": self.unlimited,
            "unlimitedOverage": self.unlimited_overage,
        }


class Question(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What differs from call to call: the counters, the quantity, and what the caller said."""

    drawn: int
    requested: int
    caps: tuple[int, ...] = ()
    """One level for each cap of the plan, in its order; with one too few Cedar cannot decide."""
    request: dict[str, str] = {}
    """A record of its own, so that nothing a caller says can stand in for a fact (law 10)."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Cedar's answer, read by R2."""

    outcome: Outcome
    matched: tuple[Policy, ...] = ()
    """The policies that decided, in compile order; Cedar gives them in any order."""
    errors: tuple[str, ...] = ()
    """What went wrong, in Cedar's words: for the log, not for callers."""
    guard_erred: bool = False
    """A guard erred, or could not be asked: then no fallback may open anything (R2)."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A verdict with what it stands on."""

    verdict: Verdict
    holds: tuple[bool | None, ...] = ()
    """Which clauses of the slice hold, in their order; None where Cedar could not tell."""


_UNASKED: Final = Answer(verdict=Verdict(outcome="indeterminate"))
"""Stands for what no table has yet."""


class _Table:
    """Cedar's answers for one slice and one set of facts, each kept when it was first needed."""

    __slots__ = ("answers", "ceilings", "cuts", "variants")

    def __init__(self, cuts: Cuts) -> None:
        self.cuts = cuts
        self.answers: dict[tuple[Hashable, Place], Answer | None] = {}
        """None is a cell without an answer that holds in all of it: there Cedar is asked each time."""
        self.variants: set[Hashable] = set()
        """What callers said, as far as guards read it: each has answers of its own (R5)."""
        self.ceilings: dict[Hashable, tuple[int | None, ...] | None] = {}
        """The highest sums that are allowed, for each of those."""


class Engine:
    """Asks Cedar, and keeps what is worth keeping between calls."""

    def __init__(
        self,
        slices_alive: int = limits.SLICES_ALIVE,
        *,
        on_fault: Callable[[Verdict], None] | None = None,
    ) -> None:
        """`on_fault` hears of every verdict with an error in it, so that somebody can count and log it."""
        self._slices: Kept[_SliceKey, Slice] = Kept(slices_alive)
        self._parsed: Kept[int, Parsed] = Kept(limits.PARSED_ALIVE)
        self._facts: Kept[Facts, cedarpy.Entities] = Kept(limits.FACTS_ALIVE)
        self._tables: Kept[tuple[int, Facts], _Table] = Kept(limits.TABLES_ALIVE)
        self._on_fault = on_fault

    def slice(
        self, plan: PlanVersion | None, feature: Feature | None, guards: tuple[Guard, ...] = ()
    ) -> Slice:
        """The slice of a feature for who stands on a plan.

        It has the plan's permits, or where the plan does not give the feature the off-plan one; without a
        plan or a feature it has none.

        Never raises: what cannot be compiled or parsed is a slice with a fault, and so indeterminate.
        """
        if plan is None or feature is None:
            return slices.NOTHING
        key = (plan.version, feature.id, guards)
        part = self._slices.get(key, lambda: slices.parsed(plan, feature, guards))
        if part.plan is not plan or part.feature is not feature:
            # The same terms on other lines, or what the catalog says of the feature has changed.
            self._slices.forget(key)
            part = self._slices.get(key, lambda: slices.parsed(plan, feature, guards))
        return part

    def answer(self, part: Slice, facts: Facts, question: Question) -> Answer:
        """Cedar's answer, looked up in the table of the slice and the facts; asked where it has none yet.

        Errors: InvalidError as `evaluate`.
        """
        _refuse(part, question)
        if part.bounds is None:
            return self._direct(part, facts, question)
        kept = self._table(part, facts)
        requested = question.requested
        levels = (question.drawn, *question.caps)
        sums = tuple([level + requested for level in levels])
        said = tuple([question.request.get(name) for name in part.request_keys])
        if len(levels) != part.axes or min(levels) < 0 or max(sums) > table.SUM_MAX:
            return self._direct(part, facts, question)
        place = kept.cuts.place(sums)
        known = kept.answers.get((said, place), _UNASKED)
        if known is _UNASKED:
            if said not in kept.variants and len(kept.variants) >= limits.TABLE_VARIANTS:
                return self._direct(part, facts, question)
            kept.variants.add(said)
            known = self._cell(part, facts, question, kept.cuts.ends(place))
            kept.answers[said, place] = known
        return self._direct(part, facts, question) if known is None else known

    def stretch(self, part: Slice, facts: Facts, question: Question) -> tuple[int, int]:
        """The least and the most requested quantity, all else being as it is, with the very same answer."""
        levels, requested = (question.drawn, *question.caps), question.requested
        if part.bounds is None or len(levels) != part.axes:
            return requested, requested
        cuts = table.cuts(part.bounds, facts.bounding(), part.axes)
        low, high = cuts.ends(cuts.place(tuple([level + requested for level in levels])))
        least = max(end - level for end, level in zip(low, levels, strict=True))
        most = min(end - level for end, level in zip(high, levels, strict=True))
        return max(least, 0), min(most, limits.REQUESTED_MAX)

    def ceilings(self, part: Slice, facts: Facts, request: dict[str, str]) -> tuple[int | None, ...] | None:
        """The highest sum of each axis that Cedar allows, what was drawn first; None if it allows nothing.

        None for a single axis is without end. Every cell is asked once.
        Errors: ValueError where the allowed cells are no box from zero, or Cedar could not decide one.
        """
        if part.bounds is None:
            raise ValueError(f"{part.feature_id}: no table stands for these policies")
        kept = self._table(part, facts)
        said = tuple([request.get(name) for name in part.request_keys])
        if said in kept.ceilings:
            return kept.ceilings[said]
        found = table.ceilings(kept.cuts, self._allowed(part, facts, kept.cuts, request))
        if len(kept.ceilings) < limits.TABLE_VARIANTS:
            kept.ceilings[said] = found
        return found

    def _allowed(self, part: Slice, facts: Facts, cuts: Cuts, request: dict[str, str]) -> list[Place]:
        """The cells that are allowed.

        Errors: ValueError where Cedar could not decide one.
        """
        allowed = []
        for place in cuts.places():
            drawn, *caps = cuts.ends(place)[0]
            asked = Question(drawn=drawn, requested=0, caps=tuple(caps), request=request)
            verdict = self.answer(part, facts, asked).verdict
            if verdict.outcome == "indeterminate":
                raise ValueError("; ".join(verdict.errors))
            if verdict.outcome == "allowed":
                allowed.append(place)
        return allowed

    def _table(self, part: Slice, facts: Facts) -> _Table:
        bounds = part.bounds or ()
        return self._tables.get(
            (part.number, facts), lambda: _Table(table.cuts(bounds, facts.bounding(), part.axes))
        )

    def _cell(
        self, part: Slice, facts: Facts, question: Question, ends: tuple[table.Sums, table.Sums]
    ) -> Answer | None:
        """The one answer of a cell, asked at both of its ends; None for errors and where the ends differ.

        Every clause that reads usage holds up to a number and fails past it, so one that changes inside a
        cell differs between its ends: wherever the cuts lie, no answer is kept that does not hold throughout.
        """
        low, high = (
            self._asked(part, facts, _at(sums, question.request, split=split))
            for sums, split in zip(ends, (False, True), strict=True)
        )
        if low.verdict.errors or high.verdict.errors:
            return None
        if low != high:
            told = f"{part.feature_id}: the answers at {ends} differ: {low} and {high}"
            self._tell(Verdict(outcome="indeterminate", errors=(told,)))
            return None
        return low

    def _direct(self, part: Slice, facts: Facts, question: Question) -> Answer:
        answer = self._asked(part, facts, question)
        if answer.verdict.errors:
            self._tell(answer.verdict)
        return answer

    def _asked(self, part: Slice, facts: Facts, question: Question) -> Answer:
        verdict = self._verdict(part, facts, question)
        return Answer(verdict=verdict, holds=self.probe(part, facts, question) if part.clauses else ())

    def _tell(self, verdict: Verdict) -> None:
        if self._on_fault is not None:
            self._on_fault(verdict)

    def evaluate(self, part: Slice, facts: Facts, question: Question) -> Verdict:
        """Cedar's answer; whatever goes wrong on the way to one is indeterminate, never allowed or denied.

        Errors: InvalidError for what no border should have let through; it is the caller's fault, so it must
        not reach `whenUnavailable`.
        """
        _refuse(part, question)
        verdict = self._verdict(part, facts, question)
        if verdict.errors:
            self._tell(verdict)
        return verdict

    def _verdict(self, part: Slice, facts: Facts, question: Question) -> Verdict:
        """Cedar's answer; nobody is told of its errors."""
        try:
            return _read(part, self._ask(part, self._parsed_of(part).handle, facts, question))
        except BaseException as error:  # noqa: BLE001 - a panic of Cedar is no Exception; _fault sorts
            return Verdict(outcome="indeterminate", errors=(_fault(error),), guard_erred=part.guarded)

    def probe(self, part: Slice, facts: Facts, question: Question) -> tuple[bool | None, ...]:
        """Which clauses hold, in the order of `part.clauses`; None where Cedar could not tell. One call."""
        try:
            diagnostics = self._ask(part, self._parsed_of(part).probes, facts, question).diagnostics
        except BaseException as error:  # noqa: BLE001 - the same
            _fault(error)
            return (None,) * len(part.clauses)
        holding, failed = set(diagnostics.reasons), "".join(diagnostics.errors)
        return tuple(
            True if (name := f"policy{place}") in holding else None if f"`{name}`" in failed else False
            for place in range(len(part.clauses))
        )

    def _parsed_of(self, part: Slice) -> Parsed:
        return self._parsed.get(part.number, part.parse)

    def _ask(self, part: Slice, handle: Any, facts: Facts, question: Question) -> cedarpy.AuthzResult:
        if part.fault is not None and not part.policies:
            raise ValueError(part.fault)
        request = {
            "principal": _PRINCIPAL,
            "action": _ACTION,
            "resource": {"type": "Feature", "id": part.feature_id},
            "context": _context(part, question),
        }
        entities = self._facts.get(facts, lambda: _entities(facts))
        return cedarpy.is_authorized(request, handle, entities)


def _at(sums: table.Sums, request: dict[str, str], *, split: bool) -> Question:
    """A question with these sums; `split` puts as much as can be into the requested quantity."""
    requested = min(*sums, limits.REQUESTED_MAX) if split else 0
    drawn, *caps = (at - requested for at in sums)
    return Question(drawn=drawn, requested=requested, caps=tuple(caps), request=request)


def _refuse(part: Slice, question: Question) -> None:
    """Keys in `__` are Cedar's own (R48); undeclared ones no policy may come to rely on (R42)."""
    if not 0 <= question.requested <= limits.REQUESTED_MAX:
        raise invalid("/quantity", f"A quantity is between 0 and {limits.REQUESTED_MAX}.")
    for key, value in question.request.items():
        if key.startswith("__") or key not in part.context or not isinstance(value, str):
            raise invalid("/context", "The context may hold only keys that the feature declares, with texts.")


def _context(part: Slice, question: Question) -> str:
    levels = (question.drawn, *question.caps)
    if min(levels) < 0 or max(levels) > cedar.VARIABLE_MAX:
        raise ValueError(f"A counter is out of bounds: {levels}.")
    caps = {f"c{number}": level for number, level in enumerate(question.caps, start=1)}
    return msgspec.json.encode(
        {
            "drawn": question.drawn,
            "requested": question.requested,
            "caps": caps,
            "request": question.request,
            "facts": part.stated,
        }
    ).decode()


def _entities(facts: Facts) -> cedarpy.Entities:
    """The handle of a principal with these facts, checked against the schema once, here."""
    if max(abs(facts.extra), abs(facts.extra_limit)) > cedar.VARIABLE_MAX:
        raise ValueError(f"An extra quantity is out of bounds: {facts.extra}, {facts.extra_limit}.")
    attributes = {
        "billingStatus": {"__entity": {"type": "BillingStatus", "id": facts.billing_status}},
        "trial": facts.trial,
        "entitled": facts.entitled,
        "extra": facts.extra,
        "extraLimit": facts.extra_limit,
        "unlimited": facts.unlimited,
        "unlimitedOverage": facts.unlimited_overage,
    }
    document = [{"uid": _PRINCIPAL, "attrs": attributes, "parents": [], "tags": dict(facts.tags)}]
    return cedarpy.Entities.from_json_str(msgspec.json.encode(document).decode(), _PRINCIPAL_SCHEMA)


def _read(part: Slice, answer: cedarpy.AuthzResult) -> Verdict:
    """R2: a Deny with a forbid that matched stands; any other answer with an error in it is none.

    Of a slice with a fault only the guards were asked.
    """
    reasons = set(answer.diagnostics.reasons)
    matched = tuple(policy for place, policy in part.places.items() if place in reasons)
    errors = tuple(sorted(_named(part, error) for error in answer.diagnostics.errors))
    if part.fault is not None:
        errors = (*errors, part.fault)
    if len(matched) != len(reasons):
        raise LookupError(f"Cedar names policies that this slice does not have: {reasons}.")
    if answer.decision is cedarpy.Decision.Deny and (matched or not errors):
        return Verdict(outcome="denied", matched=matched, errors=errors)
    if answer.decision is cedarpy.Decision.Allow and matched and not errors:
        return Verdict(outcome="allowed", matched=matched)
    return Verdict(
        outcome="indeterminate",
        errors=errors or ("Cedar gave no decision.",),
        guard_erred=any(
            f"`{policy.id}`" in error
            for policy in part.policies
            if policy.effect == "forbid"
            for error in errors
        ),
    )


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
