"""Rules that an add-on keeps with the plans that it may be held with, and with other add-ons."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from policies.compiler import outline
from policies.compiler.fields import FeatureSource
from policies.compiler.findings import Findings, quoted
from policies.compiler.outline import Given, Outline
from policies.compiler.source import AddonFile
from policies.compiler.terms import SwitchSource, TermsSource
from policies.compiler.terms_fields import QuantitySource

_REPLACED: Final = ("string", "object")
"""Value types that cannot be combined: a second one would replace the first."""


class _Claim(NamedTuple):
    """The first add-on that gives a plan what the plan lacks."""

    addon_id: str
    plan_id: str
    terms: TermsSource


def check(
    addons: tuple[AddonFile, ...],
    plans: Mapping[str, Outline],
    known: Mapping[str, FeatureSource | None],
    findings: Findings,
) -> None:
    """Adds the findings of all add-ons; `plans` by id."""
    claims: dict[tuple[str, str], _Claim] = {}
    for file in addons:
        owners = [plans[plan.value] for plan in file.said.plans if plan.value in plans] if file.said else []
        _currency(file, owners, findings)
        for feature_id, terms in file.terms.items():
            feature = known.get(feature_id)
            if terms is None or feature is None:
                continue
            _adds(terms, findings)
            for plan in owners:
                if feature_id in plan.gives:
                    _beside_plan(terms, feature_id, feature, plan, findings)
                    continue
                first = claims.setdefault((plan.id, feature_id), _Claim(file.stem, plan.id, terms))
                if first.addon_id != file.stem:
                    _beside_addon(terms, first, feature_id, feature, findings)


def _currency(file: AddonFile, owners: list[Outline], findings: Findings) -> None:
    """One subscription is billed in one currency."""
    addon = file.said
    if addon is None or addon.currency is None:
        return
    for plan in owners:
        if plan.currency not in {addon.currency, None}:
            message = f"an add-on for {plan.id} has its currency, {plan.currency}, not {addon.currency}"
            findings.error(addon.value("currency"), "currency", message)


def _adds(terms: TermsSource, findings: Findings) -> None:
    """An add-on takes nothing away, and is not there for nothing."""
    if isinstance(terms, SwitchSource) and not terms.given:
        findings.error(terms.at, "wrong-terms", "an add-on only adds, and false adds nothing", "take it out")
    if isinstance(terms, QuantitySource) and terms.included == 0:
        findings.error(terms.value("included"), "wrong-terms", "an add-on includes more than 0")


def _beside_plan(
    terms: TermsSource, feature_id: str, feature: FeatureSource, plan: Outline, findings: Findings
) -> None:
    """Units of an add-on fall into the plan's interval; a text or an object does not fit beside a plan's."""
    if feature.value_type in _REPLACED:
        message = f"plan {quoted(plan.id)} gives {quoted(feature_id)}, and an add-on replaces nothing"
        findings.error(terms.at, "wrong-terms", message, f"take it out, or {plan.id} out of for")
    if not isinstance(terms, QuantitySource):
        return
    for name, here, there in _differences(terms, plan.gives[feature_id]):
        if name in terms.keys:
            message = f"{name} of {quoted(feature_id)} is {there} in plan {quoted(plan.id)}, not {here}"
            findings.error(terms.value(name), "wrong-terms", message, f"leave {name} out: the plan's holds")


def _beside_addon(
    terms: TermsSource, first: _Claim, feature_id: str, feature: FeatureSource, findings: Findings
) -> None:
    """Two add-ons for a plan that does not give the feature make one right, so they agree on its form."""
    where = f"add-on {quoted(first.addon_id)}, which goes with {first.plan_id} too"
    if feature.value_type in _REPLACED:
        message = f"{quoted(feature_id)} has a value in {where}, and nothing combines two"
        findings.error(terms.at, "wrong-terms", message, "keep one of them")
    if not isinstance(terms, QuantitySource):
        return
    for name, here, there in _differences(terms, outline.given(first.terms)):
        message = f"{name} of {quoted(feature_id)} is {there} in {where}, not {here}"
        findings.error(terms.value(name), "wrong-terms", message, f"write {name}: {there} here")


def _differences(terms: QuantitySource, other: Given) -> Iterator[tuple[str, str, str]]:
    """Where the form of the quantity is another: the field, what stands here, and what there."""
    here = outline.given(terms)
    for name, ours, theirs in (
        ("interval", here.interval, other.interval),
        ("anchor", here.anchor, other.anchor),
    ):
        if ours is not None and theirs is not None and ours != theirs:
            yield name, ours, theirs
