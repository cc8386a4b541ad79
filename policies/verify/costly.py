"""Does every plan, with any of its add-ons, end the use of what costs us?

A cap of the tenant is an end too; one of each entity is none, since entities are without number.
"""

from collections.abc import Iterator

from policies import limits
from policies.entitlement import Right
from policies.model import Catalog, Feature, Invariant, MeteredTerms, PlanVersion
from policies.verify import addons, violation
from policies.verify.standing import CIRCUMSTANCES, Circumstance, Standing
from policies.verify.violation import Violation


def check(standing: Standing, invariant: Invariant, known: Catalog | None) -> Iterator[Violation]:
    """Each plan alone, then with each add-on as often as it may be held."""
    catalog = standing.catalog
    costly = [one for one in catalog.features.values() if one.costly and one.type == "metered"]
    for plan in catalog.plans.values():
        if plan.plan_id in invariant.exempt:
            continue
        for feature in costly:
            alone = _open(standing, standing.right(plan, feature.id))
            if alone is None:
                yield from _beside(standing, invariant, plan, feature, known)
            elif not standing.unchanged(plan, known):
                told = _alone(standing, plan, feature, alone)
                yield violation.of(invariant, plan.terms[feature.id].source, told)


def _beside(
    standing: Standing, invariant: Invariant, plan: PlanVersion, feature: Feature, known: Catalog | None
) -> Iterator[Violation]:
    for addon in standing.catalog.addons.values():
        fits = plan.plan_id in addon.plans and feature.id in addon.terms
        if not fits or addon.addon_id in invariant.exempt or addons.unchanged(standing, addon, plan, known):
            continue
        held = {addon.addon_id: addons.most(addon, feature.id)}
        circumstance = _open(standing, standing.right(plan, feature.id, held))
        if circumstance is not None:
            who = f"a tenant on {plan.name} with {addon.name}{circumstance.words()}"
            told = f"{who} may use {feature.name} without end"
            yield violation.of(invariant, addon.terms[feature.id].source, told)


def _open(standing: Standing, right: Right) -> Circumstance | None:
    """The first circumstance in which there is no end."""
    terms = right.terms
    if not isinstance(terms, MeteredTerms):
        return None
    for circumstance, found in zip(CIRCUMSTANCES, standing.regions(right), strict=True):
        if found is None or found[0] is not None:
            continue
        if not any(cap.per == "tenant" for cap in terms.caps):
            return circumstance
    return None


def _alone(standing: Standing, plan: PlanVersion, feature: Feature, circumstance: Circumstance) -> str:
    used = limits.QUANTITY_MAX
    answer = standing.decision(standing.right(plan, feature.id), circumstance, used, 1)
    if not answer.allowed:
        raise ValueError(f"no such request: {answer.message}")
    return (
        f"a tenant on {plan.name}{circumstance.words()} that has used {violation.amount(used, feature)} "
        f"may go on without end: {answer.reason}, {answer.reasons[0].source}"
    )
