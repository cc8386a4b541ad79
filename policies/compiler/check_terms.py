"""Rules that the terms of one feature in one plan keep among themselves and with the feature."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from policies import limits, period
from policies.compiler import check_amounts, check_prices
from policies.compiler.check_amounts import Amount
from policies.compiler.fields import FeatureSource
from policies.compiler.findings import Findings, quoted
from policies.compiler.records import Record
from policies.compiler.terms import SwitchSource, TermsSource, ValueSource
from policies.compiler.terms_fields import CapSource, MeteredSource, QuantitySource, RolloverSource
from policies.model import LEVELS, Interval

_LONG: Final = ("month", "year")
_LENGTHS: Final = ("hour", "day", "week", "month", "year", "never")


def check(terms: TermsSource, feature_id: str, feature: FeatureSource, findings: Findings) -> None:
    """Adds the findings of one feature's terms in one plan or add-on."""
    if isinstance(terms, SwitchSource):
        return
    for amount in _amounts(terms):
        check_amounts.fits(amount, feature_id, feature, findings)
    if not isinstance(terms, MeteredSource):
        return
    if terms.overage is not None:
        check_prices.check(terms.overage, terms, findings)
    if feature.aggregation in LEVELS:
        _level(terms, feature.aggregation, findings)
    for cap in terms.caps:
        _cap(cap, terms, feature_id, feature, findings)
    _same_caps(terms, findings)
    _thresholds(terms, findings)
    if terms.rollover is not None and feature.aggregation not in LEVELS:
        _rollover(terms.rollover, terms, findings)


def _level(terms: MeteredSource, aggregation: str, findings: Findings) -> None:
    """Of a level only the growth is drawn: in a cap's window that says nothing, and none is left over."""
    if terms.caps:
        message = f"{aggregation} is one level for a whole {terms.interval}: no cap counts it beside that"
        findings.error(terms.key("caps"), "caps", message, "give the feature a shorter interval instead")
    if "rollover" in terms.keys:
        message = f"of {aggregation} nothing is left over that could be carried"
        findings.error(terms.keys["rollover"], "wrong-terms", message, "take it out")


def _amounts(terms: ValueSource | QuantitySource) -> Iterator[Amount]:
    """Every finite quantity that could be read."""
    if isinstance(terms, ValueSource):
        yield from check_amounts.of_value(terms)
        return
    records: list[Record] = [terms]
    if isinstance(terms, MeteredSource):
        records += terms.caps
        records += [terms.rollover] if terms.rollover else []
        records += [terms.overage, *(terms.overage.tiers or ())] if terms.overage else []
    for record in records:
        yield from check_amounts.of(record)


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


def _rollover(rollover: RolloverSource, terms: MeteredSource, findings: Findings) -> None:
    at, hint = terms.key("rollover"), "take rollover out"
    if terms.included is not None and terms.included.is_infinite():
        findings.error(at, "rollover", "nothing is left over of what is unlimited", hint)
    if terms.sound("interval") and terms.interval == "never":
        findings.error(at, "rollover", "an interval without end leaves no rest", hint)
    elif terms.sound("interval") and rollover.sound("intervals"):
        _lasting(rollover, terms.interval, findings)
    if rollover.max == 0:
        findings.error(rollover.value("max"), "rollover", "a rollover carries more than 0", hint)


def _lasting(rollover: RolloverSource, interval: Interval, findings: Findings) -> None:
    most = limits.ROLLOVER_DAYS // period.LONGEST[interval].days if interval in _LONG else rollover.intervals
    if rollover.intervals > most:
        message = f"a rest lasts at most a year, and this is {rollover.intervals} intervals of a {interval}"
        findings.error(rollover.value("intervals"), "rollover", message, f"at most {most}")


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
