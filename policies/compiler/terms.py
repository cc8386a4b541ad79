"""What a plan or an add-on says of one feature, read in the form that the feature's type asks for."""

from decimal import Decimal
from typing import Final

import msgspec

from policies import limits
from policies.compiler import objects
from policies.compiler.fields import FeatureSource
from policies.compiler.findings import Findings, Place, quoted
from policies.compiler.kinds import Flag, Text, mismatch
from policies.compiler.nodes import Mapping, Scalar, Unreadable
from policies.compiler.numbers import Quantity, Whole, guessed
from policies.compiler.terms_fields import METERED, AnyTerms, QuantitySource, TermsNode


class SwitchSource(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the plan gives a boolean feature; `false` is the same as saying nothing."""

    at: Place
    given: bool


class ValueSource(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a static feature: a whole number, a decimal, a text, or an object as canonical JSON."""

    at: Place
    value: int | Decimal | str
    value_at: Place


TermsSource = SwitchSource | ValueSource | QuantitySource
"""A plan's metered terms are a MeteredSource; an add-on's say no more than a QuantitySource holds."""

_FLAG: Final = Flag()
_INTEGER: Final = Whole(0, limits.QUANTITY_MAX)
_DECIMAL: Final = Quantity(says="a whole number, or a decimal in quotes")
_TEXT: Final = Text(limits.STATIC_VALUE_LENGTH)


def read(
    terms: TermsNode,
    feature_id: str,
    feature: FeatureSource | None,
    form: AnyTerms,
    findings: Findings,
) -> TermsSource | None:
    """None when it could not be read; then its finding is written, here or at the feature.

    Without a readable feature, what looks like metered terms is still read for its own findings.
    """
    name = quoted(feature_id)
    match feature.type if feature else None:
        case "boolean" | "static":
            assert feature is not None
            return value(terms, feature_id, feature, findings)
        case "metered":
            return _metered(terms, name, form, findings)
        case _:
            if isinstance(terms.node, Mapping) and any(e.name in METERED.fields for e in terms.node.entries):
                form.metered.read(terms.node, name, terms.at, findings)
            return None


def value(
    terms: TermsNode, feature_id: str, feature: FeatureSource, findings: Findings
) -> SwitchSource | ValueSource | None:
    """The value of a boolean or static feature, as `read` reads it; None for a metered one."""
    name = quoted(feature_id)
    if feature.type == "boolean":
        given = _FLAG.read(terms.node, f"{name} is a boolean feature: its value", terms.at, findings)
        return None if given is None else SwitchSource(at=terms.at, given=given)
    return _value(terms, name, feature, findings) if feature.type == "static" else None


def _value(terms: TermsNode, name: str, feature: FeatureSource, findings: Findings) -> ValueSource | None:
    value: int | Decimal | str | None
    subject = f"the value of {name}"
    match feature.value_type:
        case "integer":
            value = _INTEGER.read(terms.node, subject, terms.at, findings)
        case "decimal":
            value = _DECIMAL.read(terms.node, subject, terms.at, findings)
        case "string":
            value = _TEXT.read(terms.node, subject, terms.at, findings)
        case "object":
            value = objects.read(terms.node, subject, findings)
        case None:
            return None
    return None if value is None else ValueSource(at=terms.at, value=value, value_at=terms.node.at)


def _metered(terms: TermsNode, name: str, form: AnyTerms, findings: Findings) -> QuantitySource | None:
    node = terms.node
    if isinstance(node, Mapping | Unreadable):
        read: QuantitySource | None = form.metered.read(node, name, terms.at, findings)
        return read
    said = node.text if isinstance(node, Scalar) else ""
    number = guessed(said)
    included = said if said == "unlimited" else f"{1_000 if number is None else number:_}"
    subject = f"{name} is a metered feature: what {form.giver} gives of it"
    message = mismatch(subject, "a group of fields", node)
    findings.error(node.at, "wrong-terms", message, f"write {form.example % included}")
    return None
