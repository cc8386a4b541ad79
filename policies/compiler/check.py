"""Rules that hold between the fields and files of a catalog."""

import re
from typing import Final

from policies import limits
from policies.compiler import check_terms
from policies.compiler.fields import FEATURE, FeatureSource, FeaturesSource
from policies.compiler.findings import Findings, Place, quoted
from policies.compiler.records import Placed
from policies.compiler.source import CatalogSource, PlanFile
from policies.compiler.terms import SwitchSource

_COMBINE: Final = {
    "boolean": ("any",),
    "metered": ("sum", "max", "tightest"),
    "integer": ("max", "sum", "tightest"),
    "decimal": ("max", "sum", "tightest"),
}
_LATER: Final = ("max", "unique")
_ID: Final = re.compile(limits.CATALOG_ID_PATTERN)


def check(catalog: CatalogSource, findings: Findings) -> None:
    """Adds every finding that a look at one field alone cannot give.

    What could not be read is left out: its finding stands already, and a second one would only mislead.
    """
    known = catalog.features.features if catalog.features else None
    for feature in (known or {}).values():
        if feature is not None:
            _feature(feature, findings)
    _plan_ids(catalog, findings)
    for file in catalog.plans:
        _plan(file, known, findings)
    if catalog.features is not None:
        _references(catalog.features, catalog.plan_ids, findings)
    if known:
        _unused(known, catalog, findings)


def _feature(feature: FeatureSource, findings: Findings) -> None:
    if feature.type is None:
        return
    FEATURE.check(feature, feature.type, "features", findings)
    _decimals(feature, findings)
    _combine(feature, findings)
    if feature.aggregation in _LATER:
        message = f"aggregation {feature.aggregation} is not supported by this version yet"
        findings.error(feature.value("aggregation"), "not-supported", message, "sum and count are")
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
    if feature.type == "metered" and feature.aggregation == "count":
        findings.error(at, "misplaced-field", "count counts whole events, so there are no decimals to keep")
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


def _plan_ids(catalog: CatalogSource, findings: Findings) -> None:
    """A plan stands in the file of its name, so two files never hold the same plan."""
    owners = {file.stem: file.path for file in catalog.plans}
    for file in catalog.plans:
        plan = file.plan
        if plan is None or plan.plan is None or plan.plan == file.stem:
            continue
        at = plan.value("plan")
        if plan.plan in owners:
            message = f"plan {quoted(plan.plan)} stands in {owners[plan.plan]} already"
            findings.error(at, "duplicate-plan", message, f"write plan: {file.stem}")
        else:
            message = f"plan {quoted(plan.plan)} stands in {file.path}"
            other = f", or write plan: {file.stem}" if _ID.fullmatch(file.stem) else ""
            hint = f"rename the file to plans/{plan.plan}.yaml{other}"
            findings.error(at, "file-name", message, hint)
        owners.setdefault(plan.plan, file.path)


def _plan(file: PlanFile, known: dict[str, FeatureSource | None] | None, findings: Findings) -> None:
    if file.plan is None or file.plan.features is None or known is None:
        return
    for feature_id, said in file.plan.features.items():
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
    for step in features.ladder:
        _known_plan(step.value, step.at, plan_ids, findings)
    _unique_items("ladder", features.ladder, findings)


def _known_plan(plan_id: str, at: Place, plan_ids: set[str], findings: Findings) -> None:
    if plan_id not in plan_ids:
        hint = findings.suggest(plan_id, plan_ids) or f"write plans/{plan_id}.yaml, or take it out"
        findings.error(at, "unknown-plan", f"there is no plan {quoted(plan_id)}", hint)


def _unused(known: dict[str, FeatureSource | None], catalog: CatalogSource, findings: Findings) -> None:
    """Features that no plan has; silent while a plan cannot be read, or names a feature that is unknown."""
    if not catalog.plans or not all(file.plan and file.plan.features is not None for file in catalog.plans):
        return
    if any(feature_id not in known for file in catalog.plans for feature_id in file.terms):
        return
    given = {
        feature_id
        for file in catalog.plans
        for feature_id, terms in file.terms.items()
        if not (isinstance(terms, SwitchSource) and not terms.given)
    }
    for feature_id, feature in known.items():
        if feature_id not in given and feature is not None:
            findings.warning(feature.at, "unused-feature", f"no plan gives {quoted(feature_id)}")
