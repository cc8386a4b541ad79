"""Can any request, or any facts within bounds, make a policy err?

Sums in a clause grow with each number in it, so one that errs for any numbers errs where all are as low, or
all as high, as they may be.
"""

from collections.abc import Iterator
from typing import Final

from policies import limits
from policies.compiler import cedar
from policies.engine import Facts, Question
from policies.model import Catalog, Feature, Guard, Invariant, PlanVersion
from policies.verify import request_guards, violation
from policies.verify.standing import Standing
from policies.verify.violation import Violation

_MOST: Final = cedar.VARIABLE_MAX
_ENDS: Final = ((0, 0, -_MOST), (_MOST, limits.REQUESTED_MAX, _MOST))
"""What a counter, a quantity and a difference may be at the least and at the most."""


def check(standing: Standing, invariant: Invariant, known: Catalog | None) -> Iterator[Violation]:
    """Each plan with each feature; then each guard with each plan and feature that it can tell apart."""
    for plan, feature in standing.pairs(invariant, known):
        yield from _permits(standing, invariant, plan, feature)
    for guard in standing.catalog.guards:
        yield from _guard(standing, invariant, guard, known)


def _permits(
    standing: Standing, invariant: Invariant, plan: PlanVersion, feature: Feature
) -> Iterator[Violation]:
    part = standing.engine.slice(plan, feature)
    if part.fault is not None:
        told = f"no request for {feature.name} of a tenant on {plan.name} can be decided: {part.fault}"
        yield violation.of(invariant, plan.source, told)
        return
    for counter, requested, extra in _ENDS:
        facts = Facts(billing_status="good", trial=False, extra=extra, extra_limit=extra)
        question = Question(drawn=counter, requested=requested, caps=(counter,) * (part.axes - 1))
        for clause, holds in zip(part.clauses, standing.engine.probe(part, facts, question), strict=True):
            if holds is None:
                told = (
                    f"a tenant on {plan.name} that has used {counter:,} of {feature.name} (scaled) "
                    f"and asks for {requested:,} more makes this err: {clause.text}"
                )
                yield violation.of(invariant, clause.source, told)
                return


def _guard(
    standing: Standing, invariant: Invariant, guard: Guard, known: Catalog | None
) -> Iterator[Violation]:
    """The first plan and feature speak for all."""
    seen = set[tuple[object, ...]]()
    for plan, feature in standing.pairs(invariant, known):
        if guard.features is not None and feature.id not in guard.features:
            continue
        stated = cedar.stated(plan.plan_id if "plan" in guard.text else "", feature)
        alike = (*stated.values(), feature.context, feature.id if "Feature" in guard.text else "")
        if alike in seen:
            continue
        seen.add(alike)
        told = request_guards.erring(standing, guard, plan, feature)
        if told is not None:
            yield violation.of(invariant, guard.source, told)
            return
