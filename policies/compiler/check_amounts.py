"""Rules that every quantity of a feature keeps, wherever a file says one."""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from policies import limits
from policies.compiler.fields import FeatureSource
from policies.compiler.findings import Findings, Place, quoted
from policies.compiler.numbers import decimals_of
from policies.compiler.records import Record, camel
from policies.compiler.terms import ValueSource


class Amount(NamedTuple):
    """A quantity, and what the file calls it."""

    name: str
    quantity: Decimal
    at: Place


def of(record: Record) -> Iterator[Amount]:
    """Every finite quantity of a group of fields that could be read."""
    for attribute, at in record.values.items():
        value = getattr(record, attribute)
        if isinstance(value, Decimal) and value.is_finite():
            yield Amount(camel(attribute), value, at)


def of_value(value: ValueSource) -> Iterator[Amount]:
    """The quantity that a static feature's value is, if it has decimals."""
    if isinstance(value.value, Decimal):
        yield Amount("the value", value.value, value.value_at)


def fits(amount: Amount, feature_id: str, feature: FeatureSource, findings: Findings) -> None:
    """A quantity has no more decimals than its feature keeps, and no more digits than a counter holds."""
    if not feature.sound("decimals"):
        return
    kept, quantity = feature.decimals, amount.quantity
    if decimals_of(quantity) > kept:
        what = f"{kept or 'no'} digit{'' if kept == 1 else 's'} after the point"
        message = f"{amount.name} is {quantity}, and {quoted(feature_id)} keeps {what}"
        hint = "round it, or raise decimals in features.yaml before the feature is first published"
        findings.error(amount.at, "wrong-terms", message, hint)
    elif quantity > (most := limits.QUANTITY_MAX // 10**kept):
        message = f"{amount.name} is at most {most:,} with {kept} decimals, not {quantity:,}"
        findings.error(amount.at, "out-of-bounds", message)
