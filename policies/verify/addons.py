"""Does each add-on only add, to each plan that it may be held with?"""

from collections.abc import Iterator

from policies import limits
from policies.entitlement import Right
from policies.model import AddonVersion, Catalog, Invariant, MeteredTerms, PlanVersion, StaticTerms
from policies.verify import violation
from policies.verify.standing import CIRCUMSTANCES, Ceilings, Circumstance, Standing
from policies.verify.violation import Violation


def check(standing: Standing, invariant: Invariant, known: Catalog | None) -> Iterator[Violation]:
    """Once and as often as it may be held: what it gives grows evenly in between."""
    catalog = standing.catalog
    for addon in catalog.addons.values():
        for plan_id in addon.plans:
            plan = catalog.plans[plan_id]
            if {plan_id, addon.addon_id} & set(invariant.exempt) or unchanged(standing, addon, plan, known):
                continue
            for feature_id in addon.terms:
                yield from _violations(standing, invariant, addon, plan, feature_id)


def most(addon: AddonVersion, feature_id: str) -> int:
    """How often it may be held for what it gives of a feature (limits.QUANTITY_MAX)."""
    terms = addon.terms[feature_id]
    each = terms.included if isinstance(terms, MeteredTerms) else None
    if isinstance(terms, StaticTerms) and isinstance(terms.value, int):
        each = terms.value
    return min(limits.ADDON_QUANTITY, limits.QUANTITY_MAX // each) if each else limits.ADDON_QUANTITY


def unchanged(standing: Standing, addon: AddonVersion, plan: PlanVersion, known: Catalog | None) -> bool:
    """Does a known catalog have this very add-on beside this very plan?"""
    was = known.addons.get(addon.addon_id) if known is not None else None
    return was is not None and was.version == addon.version and standing.unchanged(plan, known)


def _violations(
    standing: Standing, invariant: Invariant, addon: AddonVersion, plan: PlanVersion, feature_id: str
) -> Iterator[Violation]:
    """The first circumstance speaks for all."""
    without = standing.right(plan, feature_id)
    for times in sorted({1, most(addon, feature_id)}):
        beside = standing.right(plan, feature_id, {addon.addon_id: times})
        regions = zip(standing.regions(without), standing.regions(beside), strict=True)
        for circumstance, (had, has) in zip(CIRCUMSTANCES, regions, strict=True):
            sentence = None if had is None else _lost(standing, beside, circumstance, had, has)
            if sentence is not None:
                held = addon.name if times == 1 else f"{times:,} of {addon.name}"
                told = (
                    f"a tenant on {plan.name}{circumstance.words()} {sentence[0]}; with {held} {sentence[1]}"
                )
                yield violation.of(invariant, addon.terms[feature_id].source, told)
                return


def _lost(
    standing: Standing, beside: Right, circumstance: Circumstance, had: Ceilings, has: Ceilings | None
) -> tuple[str, str] | None:
    """What it may do without the add-on, and why not with it."""
    feature = beside.feature
    assert feature is not None
    if has is None:
        return f"may use {feature.name}", "it may not"
    for before, after in zip(had, has, strict=True):
        if after is not None and (before is None or after < before):
            metered = feature.type == "metered"
            denied = standing.decision(
                beside, circumstance, after if metered else 0, 1 if metered else after + 1
            )
            end = "without end" if before is None else f"up to {violation.amount(before, feature)}"
            return (
                f"may use {feature.name} {end}",
                f"only {violation.amount(after, feature)}: {denied.reason}, {denied.reasons[0].source}",
            )
    return None
