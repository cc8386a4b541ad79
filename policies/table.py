"""The decision table of a slice for given facts: on which stretches of usage must Cedar's answer be the same?

Every clause that reads usage tells one counter's sums apart at one number (`compiler.fragment`). These
numbers cut each axis (what was drawn, and each cap) into stretches; between neighbouring cuts no clause
changes, so neither does Cedar's answer. A cell is one stretch of each axis. Python proposes the cuts; what is
allowed in a cell is only ever Cedar's word, asked at both ends of the cell when it is first needed, and kept.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final

import msgspec

from policies.compiler import cedar
from policies.compiler.fragment import Bound

SUM_MAX: Final = cedar.VARIABLE_MAX
"""The largest sum of a counter and a quantity: beyond it nothing is looked up."""

Place = tuple[int, ...]
"""A cell, by the number of its stretch on each axis."""
Sums = tuple[int, ...]
"""What was drawn + requested, then the same for each cap."""


class Cuts(msgspec.Struct, frozen=True):
    """For each axis the last sum of each stretch but the last, in rising order."""

    axes: tuple[tuple[int, ...], ...]

    def place(self, sums: Sums) -> Place:
        """The cell that these sums lie in."""
        return tuple([bisect_left(cuts, at) for cuts, at in zip(self.axes, sums, strict=True)])

    def places(self) -> Iterator[Place]:
        """Every cell."""
        return product(*(range(len(cuts) + 1) for cuts in self.axes))

    def ends(self, place: Place) -> tuple[Sums, Sums]:
        """The lowest and the highest sums of a cell."""
        low = tuple(cuts[at - 1] + 1 if at else 0 for cuts, at in zip(self.axes, place, strict=True))
        high = tuple(
            cuts[at] if at < len(cuts) else SUM_MAX for cuts, at in zip(self.axes, place, strict=True)
        )
        return low, high

    @property
    def cells(self) -> int:
        """How many there are."""
        count = 1
        for cuts in self.axes:
            count *= len(cuts) + 1
        return count


def cuts(bounds: Iterable[Bound], facts: dict[str, int | bool], axes: int) -> Cuts:
    """Where the clauses' bounds lie for these facts, by their names in the text: `extra`, `unlimited`."""
    found: list[set[int]] = [set() for _ in range(axes)]
    for bound in bounds:
        if bound.lift is not None and facts[bound.lift]:
            continue
        number = bound.number + (facts[bound.addend] if bound.addend is not None else 0)
        if 0 <= number < SUM_MAX:
            found[bound.axis].add(number)
    return Cuts(tuple(tuple(sorted(each)) for each in found))


def ceilings(cuts: Cuts, allowed: Iterable[Place]) -> tuple[int | None, ...] | None:
    """The highest sum of each axis that is allowed; None for an axis without end.

    None alone: nothing is allowed.
    Errors: ValueError unless the allowed cells are a box that starts at zero: else no ceiling stands for
    them.
    """
    cells = set(allowed)
    if not cells:
        return None
    corner = tuple(max(place[axis] for place in cells) for axis in range(len(cuts.axes)))
    if cells != set(product(*(range(at + 1) for at in corner))):
        raise ValueError(f"the allowed cells are no box from zero: {sorted(cells)}")
    high = cuts.ends(corner)[1]
    return tuple(None if at == SUM_MAX else at for at in high)
