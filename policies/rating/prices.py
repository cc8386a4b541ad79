"""What do so many overage units of one feature period cost, tier by tier?

Overage units are counted from 0, and a tier reaches up to and including its `upTo` (R37):

- `perUnit`: every unit costs the same.
- `package`: every package that was begun.
- `graduated`: each unit at the tier that it falls into, and the flat amount of every tier that was reached.
- `volume`: all units at the tier that the last of them falls into, and the flat amount of that tier.

The last tier goes on for what lies past its end: an override may have sold more than the plan knew of.
Nothing used costs nothing, whatever flat amounts and minimum say. Amounts are exact, in minor units; nothing
is rounded here.
"""

from collections.abc import Iterator
from fractions import Fraction

import msgspec

from policies import money
from policies.model import Overage, Tier


class Part(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one tier, or a price without tiers, makes of the units."""

    tier: int | None = None
    """The number of the tier, from 1."""
    units: int
    """Scaled, as the feature counts them."""
    packages: int | None = None
    """How many were begun, where the price is of packages."""
    unit_amount: str
    """Of one unit or one package, as the plan says it, in major units."""
    flat_amount: str = "0"
    exact: Fraction


class Price(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An overage price as it is applied: with the scale of the units and the currency."""

    overage: Overage
    decimals: int
    """Of the feature: a unit is 10^decimals of what is counted."""
    currency: str

    def parts(self, units: int) -> tuple[Part, ...]:
        """What the units cost, in the order of the tiers; nothing for none."""
        assert units >= 0, "usage is not negative"
        if units == 0:
            return ()
        match self.overage.model:
            case "perUnit":
                assert self.overage.unit_amount is not None
                return (self._part(units, self.overage.unit_amount),)
            case "package":
                return (self._packages(units),)
            case "graduated":
                return tuple(self._graduated(units))
            case "volume":
                number, tier = self._reached(units)
                return (self._part(units, tier.unit_amount, tier=number, flat=tier.flat_amount),)

    def shortfall(self, parts: tuple[Part, ...]) -> Fraction:
        """What the minimum adds, once there is overage at all."""
        if not parts or self.overage.minimum is None:
            return Fraction(0)
        least = money.exact(self.overage.minimum, self.currency)
        return max(Fraction(0), least - sum(part.exact for part in parts))

    def cost(self, units: int) -> Fraction:
        """All of it, minimum included, unrounded."""
        parts = self.parts(units)
        return sum((part.exact for part in parts), self.shortfall(parts))

    def _graduated(self, units: int) -> Iterator[Part]:
        begin, last = 0, self.overage.tiers[-1]
        for number, tier in enumerate(self.overage.tiers, start=1):
            end = units if tier.up_to is None or tier is last else min(units, tier.up_to)
            if end > begin:
                yield self._part(end - begin, tier.unit_amount, tier=number, flat=tier.flat_amount)
            begin = max(begin, end)

    def _reached(self, units: int) -> tuple[int, Tier]:
        """The tier that the last of the units falls into."""
        tiers = self.overage.tiers
        for number, tier in enumerate(tiers, start=1):
            if tier.up_to is None or units <= tier.up_to:
                return number, tier
        return len(tiers), tiers[-1]

    def _packages(self, units: int) -> Part:
        overage = self.overage
        assert overage.size is not None
        assert overage.amount is not None
        begun = -(-units // overage.size)
        exact = begun * money.exact(overage.amount, self.currency)
        return Part(units=units, packages=begun, unit_amount=overage.amount, exact=exact)

    def _part(self, units: int, unit_amount: str, *, tier: int | None = None, flat: str = "0") -> Part:
        exact = money.exact(unit_amount, self.currency) * Fraction(units, 10**self.decimals)
        return Part(
            tier=tier,
            units=units,
            unit_amount=unit_amount,
            flat_amount=flat,
            exact=exact + money.exact(flat, self.currency),
        )
