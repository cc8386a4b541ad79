"""One difference between two catalogs: what it is about, in words, and what it means to those subscribed."""

from typing import Literal

import msgspec

from policies.model import Anchor, Interval

Effect = Literal["better", "worse", "neutral"]
"""For those subscribed, once they are on the new version. What may be worse for somebody is worse."""
Kind = Literal["changed", "new", "gone"]
Subject = Literal["plan", "addon", "feature", "guard", "invariant", "catalog"]
Measure = Literal["period", "cap", "entityCap"]


class Bound(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A number that was lowered: usage past it can be counted, in windows as the plan before lays them."""

    feature_id: str
    measure: Measure
    """Against all that is used in a period, or in the window of a cap, by the tenant or by one entity."""
    interval: Interval
    anchor: Anchor
    number: int
    """Scaled."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What one field said before and says now, in words; empty: it said nothing."""

    field: str
    """`included`, `overage up to`: as a person would name it."""
    before: str = ""
    after: str = ""
    effect: Effect = "neutral"
    bound: Bound | None = None
    feature_id: str | None = None

    def sentence(self) -> str:
        """`ai-tokens included 1,000,000 → 800,000`."""
        about = f"{self.feature_id} {self.field}".rstrip() if self.feature_id else self.field
        if not self.before and not self.after:
            return about
        if not self.before:
            return f"{about} {self.after}, new" if self.after else about
        if not self.after:
            return f"{about} {self.before} is gone"
        return f"{about} {self.before} → {self.after}"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference, with the noun that has it."""

    subject: Subject
    id: str
    name: str
    """What people call it."""
    kind: Kind
    what: Difference
    plans: tuple[str, ...] | None = ()
    """Those on these plans are touched; None: everybody."""
    addons: tuple[str, ...] = ()
    """Those who hold one of these are touched."""

    def sentence(self) -> str:
        """`Pro: ai-tokens included 1,000,000 → 800,000`."""
        return f"{self.name}: {self.what.sentence()}"
