"""Does every plan, with any of its add-ons, end the use of what costs us, and what a tenant may owe for it?

A cap of the tenant is an end too; one of each entity is none, since entities are without number. Where the
invariant says `owed`, what goes past what is included may come to no more than that in one usage interval.
"""

from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction
from typing import Final

from policies import limits, money, period
from policies.entitlement import Right
from policies.model import Catalog, Feature, Interval, Invariant, MeteredTerms, PlanVersion
from policies.rating.prices import Price
from policies.verify import addons, violation
from policies.verify.standing import CIRCUMSTANCES, Circumstance, Standing
from policies.verify.violation import Violation

_SHORTEST: Final[dict[Interval, timedelta]] = {"month": timedelta(days=28), "year": timedelta(days=365)}


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
                if invariant.owed is not None and not standing.unchanged(plan, known):
                    yield from _owed(standing, invariant, plan, feature)
                yield from _beside(standing, invariant, plan, feature, known)
            elif not standing.unchanged(plan, known):
                told = _alone(standing, plan, feature, alone)
                yield violation.of(invariant, plan.terms[feature.id].source, told)


def _owed(
    standing: Standing, invariant: Invariant, plan: PlanVersion, feature: Feature
) -> Iterator[Violation]:
    """What use up to its end would come to, if that is more than was promised."""
    assert invariant.owed is not None
    terms = standing.right(plan, feature.id).terms
    if not isinstance(terms, MeteredTerms) or terms.overage is None:
        return
    price = Price(overage=terms.overage, decimals=feature.decimals, currency=plan.currency)
    units, most = _dearest(price, _end(terms))
    promised = money.exact(invariant.owed, plan.currency)
    if most > promised:
        told = (
            f"a tenant on {plan.name} may come to owe {_human(most, plan)} for "
            f"{violation.amount(units, feature)} past what one {terms.interval} includes; no more than "
            f"{_human(promised, plan)} was promised"
        )
        yield violation.of(invariant, terms.overage.source, told)


def _human(minor: Fraction, plan: PlanVersion) -> str:
    return money.human(money.rounded(minor), plan.currency)


def _end(terms: MeteredTerms) -> int:
    """The most overage units of one usage interval: by its own bound, or what caps of the tenant let pass."""
    assert terms.overage is not None
    ends = [] if terms.overage.up_to is None else [terms.overage.up_to]
    ends += [cap.limit * _windows(cap.interval, terms.interval) for cap in terms.caps if cap.per == "tenant"]
    assert ends, "use without end was told"
    return min(ends)


def _windows(cap: Interval, interval: Interval) -> int:
    """How many windows of a cap an interval touches at most: they begin with the calendar."""
    if "never" in (cap, interval):
        return 1
    shortest = _SHORTEST.get(cap, period.LONGEST[cap])
    return -(-period.LONGEST[interval] // shortest) + 1


def _dearest(price: Price, end: int) -> tuple[int, Fraction]:
    """The units up to an end that cost most: with volume prices these need not be the most units."""
    edges = {min(end, tier.up_to) for tier in price.overage.tiers if tier.up_to is not None}
    return max(((units, price.cost(units)) for units in sorted({end, *edges})), key=lambda pair: pair[1])


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
