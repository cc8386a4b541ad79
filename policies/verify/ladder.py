"""Does each step up the ladder take nothing away?

Limits of one interval are compared as they are. Of different intervals the most that a tenant may use in one
interval of the higher plan counts: the lower plan's limit, as often as its interval begins anew in it. Where
anchors differ, both intervals are taken to begin together: a change of plan begins a new one (R16).
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from policies.entitlement import Right
from policies.model import CapScope, Catalog, Feature, Interval, Invariant, MeteredTerms, PlanVersion
from policies.verify import request_guards, violation
from policies.verify.standing import CIRCUMSTANCES, Ceilings, Circumstance, Standing
from policies.verify.violation import Violation

_HOURS: Final[dict[Interval, int]] = {"hour": 1, "day": 24, "week": 168, "month": 744, "year": 8_784}
"""Of the longest of each; `never` has no end."""


class Bound(NamedTuple):
    """A limit in each interval; None is without end."""

    interval: Interval
    per: CapScope
    limit: int | None
    source: str
    cap: bool = False


def check(standing: Standing, invariant: Invariant, known: Catalog | None) -> Iterator[Violation]:
    """Each feature at each step, for all circumstances; plans that are exempt are no steps."""
    steps = _steps(standing.catalog, invariant)
    before = {} if known is None else {low.plan_id: high.plan_id for low, high in _steps(known, invariant)}
    for low, high in steps:
        same = standing.unchanged(low, known) and standing.unchanged(high, known)
        if same and before.get(low.plan_id) == high.plan_id:
            continue
        for feature_id in low.terms:
            yield from _Step(standing, invariant, low, high, feature_id).violations()
        yield from request_guards.check_step(standing, invariant, low, high)


def _steps(catalog: Catalog, invariant: Invariant) -> list[tuple[PlanVersion, PlanVersion]]:
    plans = [catalog.plans[plan_id] for plan_id in catalog.ladder if plan_id not in invariant.exempt]
    return list(pairwise(plans))


class _Step:
    """One feature on two neighbouring plans."""

    def __init__(
        self, standing: Standing, invariant: Invariant, low: PlanVersion, high: PlanVersion, feature_id: str
    ) -> None:
        self.standing, self.invariant, self.low, self.high = standing, invariant, low, high
        self.feature: Feature = standing.catalog.features[feature_id]
        self.below: Right = standing.right(low, feature_id)
        self.above: Right = standing.right(high, feature_id)

    def violations(self) -> Iterator[Violation]:
        """At most one for each line of the higher plan: the first circumstance speaks for all."""
        told = set[str]()
        seen = set[tuple[Ceilings | None, Ceilings | None]]()
        regions = zip(self.standing.regions(self.below), self.standing.regions(self.above), strict=True)
        for circumstance, (below, above) in zip(CIRCUMSTANCES, regions, strict=True):
            if below is None or (below, above) in seen:
                continue
            seen.add((below, above))
            for source, sentence in self._lost(circumstance, below, above):
                if source not in told:
                    told.add(source)
                    yield violation.of(self.invariant, source, sentence)

    def _lost(
        self, circumstance: Circumstance, below: Ceilings, above: Ceilings | None
    ) -> Iterator[tuple[str, str]]:
        metered = self.feature.type == "metered"
        if above is None:
            yield self._refused(circumstance, used=0, quantity=1 if metered else 0)
        elif isinstance(self.below.terms, MeteredTerms) and isinstance(self.above.terms, MeteredTerms):
            had = _bounds(self.below.terms, below)
            if self.feature.aggregation == "max":  # however often its interval begins anew, it gets no higher
                had = [each._replace(interval=self.above.terms.interval) for each in had]
            for bound in _bounds(self.above.terms, above):
                if not any(_implies(each, bound) for each in had):
                    yield self._tighter(circumstance, bound, had)
        elif _less(above[0], below[0]):
            assert above[0] is not None
            yield self._refused(circumstance, used=0, quantity=above[0] + 1)

    def _tighter(self, circumstance: Circumstance, bound: Bound, had: list[Bound]) -> tuple[str, str]:
        """What the lower plan lets a tenant use, and the higher one does not."""
        assert bound.limit is not None
        limit = violation.amount(bound.limit, self.feature)
        if not bound.cap and had[0].interval == bound.interval:
            return self._refused(circumstance, used=bound.limit, quantity=1)
        most = min((use for each in had if (use := _most(each, bound)) is not None), default=None)
        who = "an entity of a tenant" if bound.per == "entity" else "a tenant"
        more = f"{self.feature.name} without end"
        if most is not None:
            more = f"{violation.amount(most, self.feature)} in one {bound.interval}"
        sentence = (
            f"{who} on {self.low.name}{circumstance.words()} may use {more}; "
            f"after an upgrade to {self.high.name} no more than {limit}: "
            f"{'cap' if bound.cap else 'limit'}_reached, {bound.source}"
        )
        return bound.source, sentence

    def _refused(self, circumstance: Circumstance, *, used: int, quantity: int) -> tuple[str, str]:
        """A request that is allowed before the upgrade and denied after it, both confirmed."""
        before = self.standing.decision(self.below, circumstance, used, quantity)
        after = self.standing.decision(self.above, circumstance, used, quantity)
        if not before.allowed or after.allowed:
            raise ValueError(f"no such request: {before.message}; {after.message}")
        source = after.reasons[0].source or self.high.source
        what = violation.amount(quantity, self.feature) if quantity else self.feature.name
        has = f" that has used {violation.amount(used, self.feature)}" if used else ""
        more = " more" if used else ""
        sentence = (
            f"a tenant on {self.low.name}{circumstance.words()}{has} may use {what}{more}; "
            f"after an upgrade to {self.high.name} it may not: {after.reason}, {source}"
        )
        return source, sentence


def _bounds(terms: MeteredTerms, ceilings: Ceilings) -> list[Bound]:
    """What was drawn in the period first, then each cap."""
    drawn, *caps = ceilings
    source = terms.overage.source if terms.overage else terms.included_source
    return [
        Bound(terms.interval, "tenant", drawn, source),
        *(
            Bound(cap.interval, cap.per, limit, cap.source, cap=True)
            for cap, limit in zip(terms.caps, caps, strict=True)
        ),
    ]


def _implies(had: Bound, bound: Bound) -> bool:
    """Does who kept to `had` keep to `bound`? What holds for a tenant holds for each of its entities."""
    if bound.limit is None:
        return True
    most = _most(had, bound)
    return most is not None and most <= bound.limit


def _most(had: Bound, bound: Bound) -> int | None:
    """The most that `had` allows in one interval of `bound`; None is without end."""
    if had.limit is None or (had.per == "entity" and bound.per == "tenant"):
        return None
    times = _times(had.interval, bound.interval)
    return 0 if had.limit == 0 else None if times is None else had.limit * times


def _times(inner: Interval, outer: Interval) -> int | None:
    """How often an interval begins in another; None is without end."""
    if inner in (outer, "never"):
        return 1
    return None if outer == "never" else -(-_HOURS[outer] // _HOURS[inner])


def _less(above: int | None, below: int | None) -> bool:
    return above is not None and (below is None or above < below)
