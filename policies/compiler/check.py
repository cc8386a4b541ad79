"""Rules that hold between the fields and files of a catalog."""

import re
from itertools import pairwise
from typing import Final, Literal

from policies import limits
from policies.compiler import (
    check_addons,
    check_cases,
    check_currency,
    check_invariants,
    check_terms,
    outline,
)
from policies.compiler.fields import FEATURE, AttemptsSource, FeatureSource, FeaturesSource
from policies.compiler.findings import Findings, Place, Slug, quoted
from policies.compiler.outline import Outline
from policies.compiler.records import Placed
from policies.compiler.shelf import Shelf
from policies.compiler.source import AddonFile, CatalogSource, PlanFile

_COMBINE: Final = {
    "boolean": ("any",),
    "metered": ("sum", "max", "tightest"),
    "integer": ("max", "sum", "tightest"),
    "decimal": ("max", "sum", "tightest"),
}
_WHOLE: Final = {"count": "events", "unique": "values"}
"""Aggregations that count things, and what."""
_THINGS: Final[dict[str, tuple[str, Slug]]] = {
    "plan": ("plan", "duplicate-plan"),
    "addon": ("add-on", "duplicate-addon"),
}
_ID: Final = re.compile(limits.CATALOG_ID_PATTERN)


def check(catalog: CatalogSource, findings: Findings) -> None:
    """Adds every finding that a look at one field alone cannot give.

    What could not be read is left out: its finding stands already, and a second one would only mislead.
    """
    known = catalog.features.features if catalog.features else None
    for feature in (known or {}).values():
        if feature is not None:
            _feature(feature, findings)
    _ids("plan", catalog.plans, findings)
    _ids("addon", catalog.addons, findings)
    _sold(catalog, findings)
    if catalog.features is not None:
        _references(catalog.features, catalog.plan_ids, findings)
    for addon in catalog.addons:
        if addon.said is not None:
            _known_plans("for", addon.said.plans, catalog.plan_ids, findings)
    if catalog.invariants is not None:
        check_invariants.check(catalog.invariants, catalog, findings)
    if known is not None:
        _offers(catalog, known, findings)


def _sold(catalog: CatalogSource, findings: Findings) -> None:
    """What is charged for plans and add-ons, and when."""
    for plan in [file.said for file in catalog.plans if file.said is not None]:
        check_currency.check(plan, findings)
        if plan.attempts is not None:
            _attempts(plan.attempts, findings)
    for addon in [file.said for file in catalog.addons if file.said is not None]:
        check_currency.check(addon, findings)


def _offers(catalog: CatalogSource, known: dict[str, FeatureSource | None], findings: Findings) -> None:
    """What plans and add-ons give, each alone and all together."""
    for plan in catalog.plans:
        _terms(plan, known, findings)
    for addon in catalog.addons:
        _terms(addon, known, findings)
    plans = {plan.stem: outline.of(plan) for plan in catalog.plans}
    check_addons.check(catalog.addons, plans, known, findings)
    addons = {addon.stem: outline.of(addon) for addon in catalog.addons}
    if plans:
        _unused(known, [*plans.values(), *addons.values()], findings)
    fallback = catalog.features.fallback_plan if catalog.features else None
    check_cases.check(catalog.tables, Shelf(known, plans, addons, fallback), findings)


def _feature(feature: FeatureSource, findings: Findings) -> None:
    if feature.type is None:
        return
    FEATURE.check(feature, feature.type, "features", findings)
    _decimals(feature, findings)
    _combine(feature, findings)
    if feature.aggregation == "unique" and "property" not in feature.keys:
        hint = "property is the key of an event whose values are counted"
        findings.error(feature.value("aggregation"), "missing-field", 'unique needs "property"', hint)
    _unique_items("properties", feature.properties, findings)
    _unique_items("context", feature.context, findings)
    if feature.type == "metered" and feature.property and feature.aggregation != "unique":
        at = feature.key("property")
        findings.error(
            at,
            "misplaced-field",
            'field "property" belongs to aggregation unique',
            f"here it is {feature.aggregation}",
        )


def _decimals(feature: FeatureSource, findings: Findings) -> None:
    if not feature.decimals:
        return
    at = feature.key("decimals")
    if feature.type == "metered" and feature.aggregation in _WHOLE:
        counted = f"{feature.aggregation} counts whole {_WHOLE[feature.aggregation]}"
        findings.error(at, "misplaced-field", f"{counted}, so there are no decimals to keep")
    if feature.type == "static" and feature.value_type not in {"decimal", None}:
        findings.error(at, "misplaced-field", 'field "decimals" belongs to valueType decimal')


def _combine(feature: FeatureSource, findings: Findings) -> None:
    if feature.combine is None or (feature.type == "static" and feature.value_type is None):
        return
    form = (feature.value_type if feature.type == "static" else feature.type) or ""
    allowed = _COMBINE.get(form, ())
    if feature.combine not in allowed:
        fits = f"{' or '.join(allowed)} does" if allowed else "texts and objects are replaced, not combined"
        message = f"combine {feature.combine} does not fit a {form} feature"
        findings.error(feature.value("combine"), "wrong-terms", message, fits)


def _unique_items(name: str, items: tuple[Placed[str], ...], findings: Findings) -> None:
    seen: set[str] = set()
    for item in items:
        if item.value in seen:
            findings.error(item.at, "duplicate-key", f"{name} names {quoted(item.value)} twice")
        seen.add(item.value)


def _ids(
    noun: Literal["plan", "addon"], files: tuple[PlanFile, ...] | tuple[AddonFile, ...], findings: Findings
) -> None:
    """A plan or add-on stands in the file of its name, so two files never hold the same one."""
    thing, slug = _THINGS[noun]
    owners = {file.stem: file.path for file in files}
    for file in files:
        said: str | None = getattr(file.said, noun, None)
        if file.said is None or said is None or said == file.stem:
            continue
        at = file.said.value(noun)
        if said in owners:
            message = f"{thing} {quoted(said)} stands in {owners[said]} already"
            findings.error(at, slug, message, f"write {noun}: {file.stem}")
        else:
            message = f"{thing} {quoted(said)} stands in {file.path}"
            other = f", or write {noun}: {file.stem}" if _ID.fullmatch(file.stem) else ""
            folder = file.path.partition("/")[0]
            findings.error(at, "file-name", message, f"rename the file to {folder}/{said}.yaml{other}")
        owners.setdefault(said, file.path)


def _attempts(said: AttemptsSource, findings: Findings) -> None:
    """A payment is tried on one day after the other."""
    for before, day in pairwise(said.days):
        if day.value <= before.value:
            message = f"the attempt on day {day.value} comes after the one on day {before.value}"
            findings.error(day.at, "attempts", message, "days rise, counted from the invoice")


def _terms(file: PlanFile | AddonFile, known: dict[str, FeatureSource | None], findings: Findings) -> None:
    if file.said is None or file.said.features is None:
        return
    for feature_id, said in file.said.features.items():
        terms = file.terms.get(feature_id)
        if feature_id not in known:
            hint = findings.suggest(feature_id, known) or "add it to features.yaml, or take it out"
            findings.error(
                said.at, "unknown-feature", f"features.yaml has no feature {quoted(feature_id)}", hint
            )
            continue
        feature = known[feature_id]
        if terms is not None and feature is not None:
            check_terms.check(terms, feature_id, feature, findings)


def _references(features: FeaturesSource, plan_ids: set[str], findings: Findings) -> None:
    if features.fallback_plan is not None:
        _known_plan(features.fallback_plan, features.value("fallback_plan"), plan_ids, findings)
    _known_plans("ladder", features.ladder, plan_ids, findings)


def _known_plans(name: str, plans: tuple[Placed[str], ...], plan_ids: set[str], findings: Findings) -> None:
    for plan in plans:
        _known_plan(plan.value, plan.at, plan_ids, findings)
    _unique_items(name, plans, findings)


def _known_plan(plan_id: str, at: Place, plan_ids: set[str], findings: Findings) -> None:
    if plan_id not in plan_ids:
        hint = findings.suggest(plan_id, plan_ids) or f"write plans/{plan_id}.yaml, or take it out"
        findings.error(at, "unknown-plan", f"there is no plan {quoted(plan_id)}", hint)


def _unused(known: dict[str, FeatureSource | None], givers: list[Outline], findings: Findings) -> None:
    """Features that nothing gives; silent while a plan cannot be read, or names a feature that is unknown."""
    given = {feature_id for giver in givers for feature_id in giver.gives}
    if not all(giver.whole for giver in givers) or not given <= known.keys():
        return
    for feature_id, feature in known.items():
        if feature_id not in given and feature is not None:
            findings.warning(feature.at, "unused-feature", f"no plan gives {quoted(feature_id)}")
