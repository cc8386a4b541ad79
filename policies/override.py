"""A replaced term for one tenant, with its reason and its end. What it does not name stays as it is."""

from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from policies import limits, quantity
from policies.errors import FieldError, InvalidError
from policies.model import Feature, Noun

Unlimited = Literal["unlimited"]
Name = Literal["included", "upTo", "value"]
Said = bool | int | str | dict[str, object] | None | UnsetType
"""A field as it came in: a value in the feature's unit, `unlimited`, null to lift it; UNSET was left out."""

_FITTING: Final[dict[str, tuple[Name, ...]]] = {
    "metered": ("included", "upTo"),
    "boolean": ("value",),
    "static": ("value",),
}
_ATTRIBUTES: Final[dict[Name, str]] = {"included": "included", "upTo": "up_to", "value": "value"}


class Override(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """An immutable fact for a half-open span; a later one for the feature begins where this one ends.

    A field that is None was not overridden: the plan's term stands.
    """

    id: str
    feature_id: str
    included: int | Unlimited | None = None
    """In place of what the plan includes, scaled; add-ons and grants still come on top."""
    up_to: int | Unlimited | None = None
    """In place of the plan's bound on overage, scaled."""
    value: bool | int | str | None = None
    """Of a boolean feature true or false; of a static number scaled; of an object its canonical JSON."""
    reason: str
    starts_at: datetime
    ends_at: datetime | None = None


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be overridden from now on. What is UNSET stays as it is; what is None is lifted."""

    included: Said = UNSET
    up_to: Said = UNSET
    value: Said = UNSET
    ends_at: datetime | UnsetType | None = UNSET
    reason: str


def holds(override: Override, at: datetime) -> bool:
    """Does it replace terms at this instant?"""
    return override.starts_at <= at and (override.ends_at is None or at < override.ends_at)


def says_something(override: Override) -> bool:
    """Does it replace any term?"""
    return any(getattr(override, name) is not None for name in _ATTRIBUTES.values())


def replace(
    override_id: str,
    feature: Feature,
    wish: Wish,
    *,
    before: Override | None,
    sells_overage: bool,
    now: datetime,
) -> Override:
    """What is overridden from now on, where `before` is what holds now.

    A field that the wish leaves out keeps what `before` says; its end likewise. One that says nothing in the
    end (`says_something`) has lifted everything. `sells_overage`: whether the tenant's plan has a bound on
    overage that could be replaced.

    Errors: InvalidError with every field that does not fit the feature, or whose value is out of bounds.
    """
    said = {name: getattr(wish, attribute) for name, attribute in _ATTRIBUTES.items()}
    found = _misplaced(feature, said, sells_overage=sells_overage)
    terms: dict[str, object] = {}
    for name, attribute in _ATTRIBUTES.items():
        if said[name] is UNSET:
            terms[attribute] = getattr(before, attribute, None)
            continue
        try:
            terms[attribute] = _value(name, feature, said[name])
        except ValueError as error:
            found.append(FieldError(f"/{name}", str(error)))
    ends_at = (before.ends_at if before else None) if wish.ends_at is UNSET else wish.ends_at
    if isinstance(ends_at, datetime) and ends_at <= now:
        found.append(FieldError("/endsAt", "An override ends in the future."))
    if before is None and all(value in (UNSET, None) for value in said.values()):
        fields = " or ".join(f'"{name}"' for name in _FITTING[feature.type])
        found.append(FieldError("", f"Say what is overridden of {feature.id}: {fields}."))
    if found:
        raise InvalidError(found[0].message, errors=tuple(found))
    bare = Override(id=override_id, feature_id=feature.id, reason=wish.reason, starts_at=now, ends_at=ends_at)
    return msgspec.structs.replace(bare, **terms)


def _misplaced(feature: Feature, said: dict[Name, Said], *, sells_overage: bool) -> list[FieldError]:
    fitting = _FITTING[feature.type]
    found = [
        FieldError(
            f"/{name}", f"{feature.id} is {feature.type}: of it can be overridden {' and '.join(fitting)}."
        )
        for name, value in said.items()
        if value is not UNSET and name not in fitting
    ]
    if feature.type == "metered" and not sells_overage and said["upTo"] not in (UNSET, None):
        message = f"The tenant's plan sells no overage of {feature.id}, so there is no bound to replace."
        found.append(FieldError("/upTo", message))
    return found


def _value(name: Name, feature: Feature, said: Said) -> bool | int | str | None:
    """As it is kept. Errors: ValueError with a sentence."""
    if said is None:
        return None
    if name != "value":
        return "unlimited" if said == "unlimited" else quantity.parse(said, feature.decimals)
    if feature.type == "boolean":
        if not isinstance(said, bool):
            raise ValueError(f"{feature.id} is given or not: true or false.")
        return said
    if feature.value_type in ("integer", "decimal"):
        return quantity.parse(said, feature.decimals)
    return _object(feature, said) if feature.value_type == "object" else _text(feature, said)


def _text(feature: Feature, said: Said) -> str:
    if not isinstance(said, str) or not said or "\x00" in said:
        raise ValueError(f"The value of {feature.id} is a text, without the character U+0000.")
    return _bounded(said)


def _object(feature: Feature, said: Said) -> str:
    """Canonical JSON, as the compiler writes that of a plan."""
    if not isinstance(said, dict):
        raise ValueError(f"The value of {feature.id} is an object.")  # noqa: TRY004 - callers meet one error
    _refuse_fractions(said)
    return _bounded(msgspec.json.encode(said, order="sorted").decode())


def _refuse_fractions(value: object) -> None:
    """Decimals are texts: JSON readers would round them. How deep it may be is bounded where it is read."""
    if isinstance(value, dict):
        for item in value.values():
            _refuse_fractions(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_fractions(item)
    elif isinstance(value, float) or (type(value) is int and not 0 <= value <= limits.REQUESTED_MAX):
        most = f"{limits.REQUESTED_MAX:,}"
        raise ValueError(f'A number in an object is whole, from 0 to {most}; write "{value}" as a text.')


def _bounded(text: str) -> str:
    if len(text) > limits.STATIC_VALUE_LENGTH:
        raise ValueError(
            f"A value has at most {limits.STATIC_VALUE_LENGTH:,} characters as JSON, not {len(text):,}."
        )
    return text
