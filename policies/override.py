"""A replaced term for one tenant, with its reason and its end. What it does not name stays as it is."""

from datetime import datetime
from typing import Literal

from policies.model import Noun

Unlimited = Literal["unlimited"]


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


def holds(override: Override, at: datetime) -> bool:
    """Does it replace terms at this instant?"""
    return override.starts_at <= at and (override.ends_at is None or at < override.ends_at)
