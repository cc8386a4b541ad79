"""Catalog files made into a Catalog: the same content gives the same ids, in whatever form it is written."""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Final, TypeVar

import msgspec

from policies import model
from policies.cases import TableCase
from policies.compiler import build_cases, build_terms, check, guards, source
from policies.compiler.fields import FeatureSource, InvariantSource
from policies.compiler.findings import Finding, Findings
from policies.compiler.known import Known, take
from policies.compiler.source import AddonFile, CatalogSource, PlanFile

V = TypeVar("V", model.PlanVersion, model.AddonVersion)

_COMBINE: Final[dict[str, model.Combine]] = {
    "boolean": "any",
    "metered": "sum",
    "integer": "max",
    "decimal": "max",
}
_PLACES: Final = frozenset({"source", "included_source"})


class Compiled(msgspec.Struct, frozen=True, kw_only=True):
    """A catalog with what there is to know about it, or the reasons why there is none."""

    catalog: model.Catalog | None
    """None if and only if a finding is an error."""
    findings: tuple[Finding, ...]
    """By path, line and column; warnings alone leave the catalog usable."""
    cases: tuple[TableCase, ...] = ()
    """Its table tests, by path and line; they are no part of the catalog. Empty if there is none."""


def compile_catalog(files: Mapping[str, str], known: Known | None = None) -> Compiled:
    """Reads, checks and builds: path → text, paths relative to the catalog, with `/`.

    Costs 3 to 6 s of processor time for each megabyte of YAML: keep it off an event loop. What a `known`
    catalog says in the same words costs next to nothing; the result is the same with and without it.
    """
    findings = Findings(files)
    catalog = source.read(files, findings, take(files, known))
    check.check(catalog, findings)
    written = _guards(catalog, findings)
    if findings.errors:
        return Compiled(catalog=None, findings=findings.sorted())
    built = _catalog(catalog, written, files)
    cases = build_cases.cases(catalog.tables, built.features)
    return Compiled(catalog=built, findings=findings.sorted(), cases=cases)


def text_hash(files: Mapping[str, str]) -> str:
    """`sha256:` and 64 hex digits over the files as they are, comments and layout included.

    A catalog is named by its text, since the lines that decisions point to move with it.
    """
    whole = msgspec.json.encode(
        sorted((path, text.encode("utf-8", "surrogateescape")) for path, text in files.items())
    )
    return f"sha256:{hashlib.sha256(whole).hexdigest()}"


def content_hash(noun: model.Noun) -> str:
    """64 hex digits over what a noun says, apart from where it says it.

    Fields at their default are left out, so that a field which a later release adds changes no old id.
    """
    return hashlib.sha256(msgspec.json.encode(_without_places(noun), order="sorted")).hexdigest()


def _without_places(value: object) -> object:
    if isinstance(value, model.Noun):
        said = {field.name: _said(value, field) for field in _fields(type(value))}
        return type(value)(**said | dict.fromkeys(_PLACES & said.keys(), ""))
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_without_places(item) for item in value)
    return value


_fields: Final = cache(msgspec.structs.fields)


def _said(noun: model.Noun, field: msgspec.structs.FieldInfo) -> object:
    """The field's value; a default as the very default, since msgspec leaves it out by identity."""
    value = getattr(noun, field.name)
    return field.default if value == field.default else _without_places(value)


def _guards(said: CatalogSource, findings: Findings) -> tuple[model.Guard, ...]:
    """Guards are held against all features; what could not be read of those must not mislead."""
    features = said.features.features if said.features else None
    if features and all(one and one.type and one.name for one in features.values()):
        return guards.read(said.guards, _features(features), findings)
    return guards.read(said.guards, None, findings)


def _catalog(
    said: CatalogSource, written: tuple[model.Guard, ...], files: Mapping[str, str]
) -> model.Catalog:
    """Only for a source without errors; the asserts below state what reader and checks have seen to."""
    assert said.features is not None
    assert said.features.features is not None
    features = _features(said.features.features)
    plans = [_plan(file, features) for file in said.plans]
    addons = [_addon(file, features) for file in said.addons]
    invariants = (said.invariants.invariants if said.invariants else None) or ()
    return model.Catalog(
        hash=text_hash(files),
        features=features,
        plans={plan.plan_id: plan for plan in sorted(plans, key=lambda plan: plan.plan_id)},
        addons={addon.addon_id: addon for addon in sorted(addons, key=lambda addon: addon.addon_id)},
        guards=written,
        invariants=tuple(_invariant(invariant) for invariant in invariants),
        fallback_plan=said.features.fallback_plan,
        ladder=tuple(step.value for step in said.features.ladder),
    )


def _features(said: Mapping[str, FeatureSource | None]) -> dict[str, model.Feature]:
    return {feature_id: _feature(feature_id, one) for feature_id, one in sorted(said.items()) if one}


def _feature(feature_id: str, said: FeatureSource) -> model.Feature:
    assert said.type is not None
    assert said.name is not None
    return model.Feature(
        id=feature_id,
        type=said.type,
        name=said.name,
        source=said.at.source,
        description=said.description,
        value_type=said.value_type,
        unit=said.unit,
        decimals=said.decimals,
        aggregation=said.aggregation,
        property=said.property,
        properties=tuple(sorted({*(item.value for item in said.properties), *filter(None, [said.property])})),
        context=tuple(sorted(item.value for item in said.context)),
        entity=said.entity,
        when_unavailable=said.when_unavailable,
        combine=said.combine or _COMBINE.get(said.value_type or said.type),
        ai=said.ai,
        costly=said.costly,
        always=said.always,
    )


def _plan(file: PlanFile, features: dict[str, model.Feature]) -> model.PlanVersion:
    if file.taken is not None:
        return _with_features(file.taken, features)
    plan = file.said
    assert plan is not None
    assert plan.plan is not None
    assert plan.name is not None
    assert plan.currency is not None
    assert plan.price is not None
    assert plan.interval is not None
    terms = build_terms.of_file(file.terms, features)
    bare = model.PlanVersion(
        version="",
        plan_id=plan.plan,
        name=plan.name,
        currency=plan.currency,
        price=plan.price,
        interval=plan.interval,
        source=plan.key("plan").source,
        features={feature_id: features[feature_id] for feature_id in terms},
        terms=terms,
        trial_days=plan.trial.days if plan.trial else None,
        grace_days=(plan.grace.days or 0) if plan.grace else 0,
        restricted_days=(plan.restricted.days or 0) if plan.restricted else 0,
        due_days=plan.due.days if plan.due else None,
        attempt_days=tuple(day.value for day in plan.attempts.days) if plan.attempts else None,
    )
    return msgspec.structs.replace(bare, version=f"{plan.plan}@{content_hash(bare)[:8]}")


def _addon(file: AddonFile, features: dict[str, model.Feature]) -> model.AddonVersion:
    if file.taken is not None:
        return _with_features(file.taken, features)
    addon = file.said
    assert addon is not None
    assert addon.addon is not None
    assert addon.name is not None
    assert addon.currency is not None
    assert addon.price is not None
    assert addon.interval is not None
    terms = build_terms.of_file(file.terms, features)
    bare = model.AddonVersion(
        version="",
        addon_id=addon.addon,
        name=addon.name,
        currency=addon.currency,
        price=addon.price,
        interval=addon.interval,
        source=addon.key("addon").source,
        plans=tuple(sorted(plan.value for plan in addon.plans)),
        features={feature_id: features[feature_id] for feature_id in terms},
        terms=terms,
    )
    return msgspec.structs.replace(bare, version=f"{addon.addon}@{content_hash(bare)[:8]}")


def _with_features(taken: V, features: dict[str, model.Feature]) -> V:
    """All versions of a catalog share its features."""
    shared = {feature_id: features[feature_id] for feature_id in taken.features}
    return msgspec.structs.replace(taken, features=shared)


def _invariant(said: InvariantSource) -> model.Invariant:
    assert said.name is not None
    assert said.rule is not None
    return model.Invariant(
        name=said.name,
        rule=said.rule,
        severity=said.severity,
        source=said.at.source,
        exempt=tuple(sorted(plan.value for plan in said.exempt)),
        owed=said.owed,
    )
