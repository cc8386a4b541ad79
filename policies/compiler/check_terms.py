"""Rules that the terms of one feature in one plan keep among themselves and with the feature."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Final, NamedTuple

from policies import limits
from policies.compiler import check_prices
from policies.compiler.fields import FeatureSource
from policies.compiler.findings import Findings, Place, quoted
from policies.compiler.numbers import decimals_of
from policies.compiler.records import Record, camel
from policies.compiler.terms import SwitchSource, TermsSource, ValueSource
from policies.compiler.terms_fields import CapSource, MeteredSource, QuantitySource

_LENGTHS: Final = ("hour", "day", "week", "month", "year", "never")


class _Amount(NamedTuple):
    name: str
    quantity: Decimal
    at: Place


def check(terms: TermsSource, feature_id: str, feature: FeatureSource, findings: Findings) -> None:
    """Adds the findings of one feature's terms in one plan or add-on."""
    if isinstance(terms, SwitchSource):
        return
    if feature.sound("decimals"):
        for amount in _amounts(terms):
            _fits(amount, feature_id, feature, findings)
    if not isinstance(terms, MeteredSource):
        return
    if terms.overage is not None:
        check_prices.check(terms.overage, terms, findings)
    for cap in terms.caps:
        _cap(cap, terms, feature_id, feature, findings)
    _same_caps(terms, findings)
    _thresholds(terms, findings)
    if "rollover" in terms.keys:
        message = "rollover is not supported by this version yet"
        hint = "take it out"
        findings.error(terms.keys["rollover"], "not-supported", message, hint)


def _amounts(terms: ValueSource | QuantitySource) -> Iterator[_Amount]:
    """Every finite quantity that could be read."""
    if isinstance(terms, ValueSource):
        if isinstance(terms.value, Decimal):
            yield _Amount("the value", terms.value, terms.value_at)
        return
    records: list[Record] = [terms]
    if isinstance(terms, MeteredSource):
        records += terms.caps
        records += [terms.rollover] if terms.rollover else []
        records += [terms.overage, *(terms.overage.tiers or ())] if terms.overage else []
    for record in records:
        for attribute, at in record.values.items():
            value = getattr(record, attribute)
            if isinstance(value, Decimal) and value.is_finite():
                yield _Amount(camel(attribute), value, at)


def _fits(amount: _Amount, feature_id: str, feature: FeatureSource, findings: Findings) -> None:
    """A quantity has no more decimals than its feature keeps, and no more digits than a counter holds."""
    kept, quantity = feature.decimals, amount.quantity
    if decimals_of(quantity) > kept:
        what = f"{kept or 'no'} digit{'' if kept == 1 else 's'} after the point"
        message = f"{amount.name} is {quantity}, and {quoted(feature_id)} keeps {what}"
        hint = "round it, or raise decimals in features.yaml before the feature is first published"
        findings.error(amount.at, "wrong-terms", message, hint)
    elif quantity > (most := limits.QUANTITY_MAX // 10**kept):
        message = f"{amount.name} is at most {most:,} with {kept} decimals, not {quantity:,}"
        findings.error(amount.at, "out-of-bounds", message)


def _cap(
    cap: CapSource, terms: MeteredSource, feature_id: str, feature: FeatureSource, findings: Findings
) -> None:
    if cap.limit == 0:
        hint = "to forbid the feature, take it out of the plan"
        findings.error(cap.value("limit"), "caps", "the limit of a cap is more than 0", hint)
    if cap.per == "entity" and feature.entity == "none" and feature.sound("entity"):
        hint = "write entity: optional or entity: required in features.yaml"
        message = f"a cap per entity, and {quoted(feature_id)} knows no entities"
        findings.error(cap.value("per"), "caps", message, hint)
    if (
        cap.interval
        and terms.sound("interval")
        and _LENGTHS.index(cap.interval) > _LENGTHS.index(terms.interval)
    ):
        message = f"a cap's interval is at most the feature's own ({terms.interval}), not {cap.interval}"
        hint = f"make {cap.interval} the feature's interval, and {terms.interval} the cap's"
        findings.error(cap.value("interval"), "caps", message, hint)


def _same_caps(terms: MeteredSource, findings: Findings) -> None:
    seen: set[tuple[str, str]] = set()
    for cap in terms.caps:
        if cap.interval is None or not cap.sound("per"):
            continue
        if (cap.interval, cap.per) in seen:
            message = f"a second cap each {cap.interval} per {cap.per}"
            findings.error(cap.at, "caps", message, "keep the lower one")
        seen.add((cap.interval, cap.per))


def _thresholds(terms: MeteredSource, findings: Findings) -> None:
    if not terms.thresholds:
        return
    at = terms.key("thresholds")
    for before, after in pairwise(terms.thresholds):
        if int(after.value[:-1]) <= int(before.value[:-1]):
            message = f"{after.value} stands after {before.value}"
            findings.error(after.at, "thresholds", message, "thresholds rise")
    if terms.included is not None and terms.included.is_infinite():
        findings.error(at, "thresholds", "a share of unlimited is never reached", "take thresholds out")
    else:
        message = "thresholds are kept, and nothing notifies at them in this version"
        findings.warning(at, "no-effect-yet", message)
