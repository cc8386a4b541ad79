"""What does the overage of feature periods come to on a bill?

Each feature period is rated by itself: its tiers, packages and its minimum start anew (R36). The bill has one
line for each feature, price and tier, in which what the periods made of it is added up exactly and rounded
once: overage that is worth less than half a cent an hour is not lost in 720 roundings.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import msgspec

from policies import money
from policies.model import Feature, Overage
from policies.period import Period
from policies.rating.lines import Kind, Line
from policies.rating.prices import Part, Price


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """The overage of a feature in one of its periods, and the price that holds for it."""

    feature: Feature
    plan_version: str
    currency: str
    overage: Overage
    window: Period
    """With an end: what never ends is never billed."""
    units: int
    """Of the period's overage bucket, scaled."""


class _Sum(msgspec.Struct, kw_only=True):
    """What the periods of one price made of one tier, or of the minimum."""

    window: Period
    periods: int = 0
    units: int = 0
    packages: int = 0
    exact: Fraction = Fraction(0)

    def add(self, use: Use, exact: Fraction, units: int = 0, packages: int = 0) -> None:
        """One more period."""
        assert use.window.end is not None, "a period that is billed ends"
        assert self.window.end is not None
        start, end = min(self.window.start, use.window.start), max(self.window.end, use.window.end)
        self.window = Period(start, end)
        self.periods += 1
        self.units += units
        self.packages += packages
        self.exact += exact


class _Account(msgspec.Struct):
    """One feature at one price."""

    first: Use
    tiers: dict[int | None, tuple[Part, _Sum]]
    minimum: _Sum | None = None


class Key(NamedTuple):
    """What a line is told apart by: a feature at one price, and of that a tier, or the minimum."""

    feature_id: str
    plan_version: str
    overage: Overage
    kind: Kind
    tier: int | None


def lines(uses: Iterable[Use]) -> Iterator[Line]:
    """The lines of all uses: features in the order in which they come, tiers in theirs, the minimum last."""
    yield from rated(uses).values()


def rated(uses: Iterable[Use]) -> dict[Key, Line]:
    """The same, each by what it is told apart by."""
    accounts: dict[tuple[str, str, Overage], _Account] = {}
    for use in uses:
        key = (use.feature.id, use.plan_version, use.overage)
        account = accounts.setdefault(key, _Account(use, {}))
        price = Price(overage=use.overage, decimals=use.feature.decimals, currency=use.currency)
        parts = price.parts(use.units)
        for part in parts:
            _, summed = account.tiers.setdefault(part.tier, (part, _Sum(window=use.window)))
            summed.add(use, part.exact, part.units, part.packages or 0)
        missing = price.shortfall(parts)
        if missing:
            account.minimum = account.minimum or _Sum(window=use.window)
            account.minimum.add(use, missing)
    return {
        Key(*key, line.kind, line.tier): line for key, account in accounts.items() for line in _lines(account)
    }


def _lines(account: _Account) -> Iterator[Line]:
    use = account.first
    for number in sorted(account.tiers, key=lambda tier: tier or 0):
        yield _line(use, *account.tiers[number])
    if account.minimum is not None:
        assert use.overage.minimum is not None
        yield Line(
            kind="minimum",
            version=use.plan_version,
            name=use.feature.name,
            source=use.overage.source,
            feature_id=use.feature.id,
            period=account.minimum.window,
            periods=account.minimum.periods,
            quantity=account.minimum.periods,
            unit="period",
            unit_amount=use.overage.minimum,
            currency=use.currency,
            amount=money.rounded(account.minimum.exact),
        )


def _line(use: Use, part: Part, summed: _Sum) -> Line:
    overage, tier = use.overage, part.tier
    return Line(
        kind="overage",
        version=use.plan_version,
        name=use.feature.name,
        source=overage.source,
        feature_id=use.feature.id,
        period=summed.window,
        periods=summed.periods,
        quantity=summed.units,
        decimals=use.feature.decimals,
        unit=use.feature.unit,
        packages=None if part.packages is None else summed.packages,
        size=overage.size,
        tier=tier,
        above=None if tier is None else (overage.tiers[tier - 2].up_to if tier > 1 else 0),
        up_to=None if tier is None else overage.tiers[tier - 1].up_to,
        unit_amount=part.unit_amount,
        flat_amount=part.flat_amount,
        flats=summed.periods if part.flat_amount != "0" else 0,
        currency=use.currency,
        amount=money.rounded(summed.exact),
    )
