"""What may a tenant that stands on a plan do, for every usage? Read off Cedar's answers, region by region.

A circumstance is what facts alone say: billing status, trial, a switch. Clauses that read only facts are put
to Cedar once for each text and circumstance; a permit with one that fails allows nothing, however much was
used. All else is asked cell by cell of the decision table, so no usage is left out.
"""

from collections.abc import Iterator
from itertools import product
from typing import Final, NamedTuple, get_args

import msgspec

from policies import balance, case_runner, decide, entitlement, meter, model, table
from policies.balance import Levels
from policies.cases import Given
from policies.decide import Request
from policies.decision import Decision
from policies.engine import Engine, Facts, Outcome, Question
from policies.entitlement import Right
from policies.model import BillingStatus, Catalog, Feature, Invariant, MeteredTerms, PlanVersion
from policies.slices import Slice

Ceilings = tuple[int | None, ...]
"""The last sum of each axis that is allowed, what was drawn first; None is without end."""
UNPAID: Final[tuple[BillingStatus, ...]] = ("pending", "suspended", "paused", "ended")

_STATUSES: Final[tuple[BillingStatus, ...]] = get_args(BillingStatus)
_SAID: Final[dict[BillingStatus, str]] = {
    "good": "",
    "grace": " in grace",
    "restricted": " that is restricted",
    "suspended": " that is suspended",
    "paused": " that is paused",
    "ended": " whose subscription has ended",
    "pending": " whose subscription is pending",
}


class Circumstance(NamedTuple):
    """What facts say of a tenant, whatever it used."""

    status: BillingStatus = "good"
    trial: bool = False
    entitled: bool = True

    def words(self) -> str:
        """Behind "a tenant on Pro"; empty for one that pays."""
        trial = " on trial" if self.trial else ""
        return _SAID[self.status] + trial + ("" if self.entitled else " with it switched off")


CIRCUMSTANCES: Final = tuple(
    Circumstance(status, trial, entitled)
    for status, trial, entitled in product(_STATUSES, (False, True), (True, False))
)
_SLICES: Final = 20_000
"""Slices kept while one catalog is verified, about 180 MB: each rule looks at all of them."""
_FACTS: Final = frozenset({"principal.billingStatus", "principal.trial", "principal.entitled"})


class Standing:
    """Tenants on the plans of one catalog, without what single tenants have beside them."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.engine = Engine(slices_alive=_SLICES)
        self._offer = msgspec.structs.replace(model.offer(catalog), guards=())
        self._versions = model.versions(catalog)
        self._held: dict[str, tuple[bool, ...]] = {}
        self._openings: dict[tuple[tuple[str, ...], ...], tuple[tuple[int, ...], ...]] = {}
        self._regions: dict[tuple[str, str, Facts], tuple[Ceilings | None, ...]] = {}

    def unchanged(self, plan: PlanVersion, known: Catalog | None) -> bool:
        """Does a known catalog have this very plan, and the same features and guards?"""
        was = known.plans.get(plan.plan_id) if known is not None else None
        return (
            known is not None
            and was is not None
            and was.version == plan.version
            and (known.features, known.guards) == (self.catalog.features, self.catalog.guards)
        )

    def pairs(self, invariant: Invariant, known: Catalog | None) -> Iterator[tuple[PlanVersion, Feature]]:
        """Each plan that is bound and changed with each feature, also those that the plan does not give."""
        for plan in self.catalog.plans.values():
            if plan.plan_id not in invariant.exempt and not self.unchanged(plan, known):
                yield from ((plan, feature) for feature in self.catalog.features.values())

    def right(self, plan: PlanVersion, feature_id: str, addons: dict[str, int] | None = None) -> Right:
        """The right of a tenant in good standing, before any guard."""
        given = Given(plan_id=plan.plan_id, addons=addons or {})
        return entitlement.resolve(
            case_runner.snapshot(self.catalog, given, case_runner.NOON),
            offer=self._offer,
            versions=self._versions,
            feature_id=feature_id,
            at=case_runner.NOON,
        )

    def regions(self, right: Right) -> tuple[Ceilings | None, ...]:
        """How far a tenant may go in each of CIRCUMSTANCES; None where it may do nothing.

        Errors: ValueError where Cedar gives no decision, or the allowed region is no box from zero.
        """
        if right.absence is not None:
            return (None,) * len(CIRCUMSTANCES)
        assert right.plan is not None
        part = decide.slice_of(self.engine, right)
        facts = decide.facts_of(right, Levels(), part)
        key = (right.plan.version, right.feature_id, facts)
        if key not in self._regions:
            self._regions[key] = self._regions_of(part, right)
        return self._regions[key]

    def _regions_of(self, part: Slice, right: Right) -> tuple[Ceilings | None, ...]:
        """Where the same permits are open, usage decides in the same way."""
        alike: dict[tuple[int, ...], Ceilings | None] = {(): None}
        found = []
        for circumstance, opened in zip(CIRCUMSTANCES, self.openings(part), strict=True):
            if opened not in alike:
                alike[opened] = self._ceilings(part, within(right, circumstance))
            found.append(alike[opened])
        return tuple(found)

    def openings(self, part: Slice) -> tuple[tuple[int, ...], ...]:
        """In each of CIRCUMSTANCES the permits of a slice that facts alone do not close, by their places."""
        asks = tuple(
            tuple(clause.text for clause in policy.clauses if _FACTS.issuperset(clause.reads))
            for policy in part.permits
        )
        if asks not in self._openings:
            self._openings[asks] = tuple(
                tuple(
                    place
                    for place, texts in enumerate(asks)
                    if all(self._truths(part, text)[number] for text in texts)
                )
                for number in range(len(CIRCUMSTANCES))
            )
        return self._openings[asks]

    def _truths(self, part: Slice, text: str) -> tuple[bool, ...]:
        """Whether a clause of the slice holds in each of CIRCUMSTANCES; it reads nothing but facts."""
        if text not in self._held:
            place = [clause.text for clause in part.clauses].index(text)
            question = Question(drawn=0, requested=0, caps=(0,) * (part.axes - 1))
            holds = [
                self.engine.probe(
                    part, Facts(billing_status=status, trial=trial, entitled=entitled), question
                )
                for status, trial, entitled in CIRCUMSTANCES
            ]
            self._held[text] = tuple(each[place] is not False for each in holds)
        return self._held[text]

    def _ceilings(self, part: Slice, right: Right) -> Ceilings | None:
        """Every cell, asked at both of its ends."""
        if part.bounds is None:
            raise ValueError(f"{part.feature_id}: no table stands for these policies")
        facts = decide.facts_of(right, Levels(), part)
        cuts = table.cuts(part.bounds, facts.bounding(), part.axes)
        allowed = []
        for place in cuts.places():
            low, high = (self._outcome(part, facts, sums) for sums in cuts.ends(place))
            if low != high or low == "indeterminate":
                raise ValueError(f"{part.feature_id}: {low} and {high} at the ends of {cuts.ends(place)}")
            if low == "allowed":
                allowed.append(place)
        found = table.ceilings(cuts, allowed)
        nothing = found is not None and isinstance(right.terms, MeteredTerms) and 0 in found
        return None if nothing else found

    def _outcome(self, part: Slice, facts: Facts, sums: table.Sums) -> Outcome:
        drawn, *caps = sums
        question = Question(drawn=drawn, requested=0, caps=tuple(caps))
        return self.engine.evaluate(part, facts, question).outcome

    def decision(self, right: Right, circumstance: Circumstance, drawn: int, requested: int) -> Decision:
        """The answer to a tenant that has drawn so much and asks for more; no window of a cap counted any."""
        right = within(right, circumstance)
        room = balance.capacity(right.terms, overage=right.has_overage)
        spread = balance.draw(room, Levels(), drawn)
        caps = right.terms.caps if isinstance(right.terms, MeteredTerms) else ()
        return decide.decide(
            self.engine,
            right,
            Request(feature_id=right.feature_id, quantity=meter.raised(right.feature, drawn, requested)),
            Levels(included=spread.included, overage=spread.overage + spread.excess, caps=(0,) * len(caps)),
            now=case_runner.NOON,
            decision_id="dec_verify",
            catalog_hash=self.catalog.hash,
        )


def within(right: Right, circumstance: Circumstance) -> Right:
    """The right under these circumstances."""
    status, trial, entitled = circumstance
    return msgspec.structs.replace(
        right, billing_status=status, trial=trial, entitled=right.entitled and entitled
    )
