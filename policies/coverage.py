"""Which rules of a catalog has a test seen decide? A rule that nothing tests may say anything.

A permit decided where it is the first that allowed, a guard where it is the first that refused. A clause
decided where it is the first of its permit that fails: it is then why that permit did not allow. Off-plan
permits are the compiler's, not the catalog's, so nobody has to test them.
"""

from typing import Final

from policies.compiler import cedar
from policies.compiler.cedar import ClauseKind, Policy
from policies.decide import Asked
from policies.model import Catalog, Noun

_REFUSED_BY: Final[dict[ClauseKind, str]] = {
    "billing": "the billing status",
    "entitled": "an override that switches it off",
    "trial": "a trial",
    "cap": "the cap",
    "limit": "the limit",
    "value": "the value",
}
_WHOLE: Final = -1
"""Stands for the policy itself beside the places of its clauses."""


class Rule(Noun, frozen=True):
    """One policy of a catalog, or one clause of a permit."""

    policy_id: str
    source: str
    """File and line."""
    kind: ClauseKind | None = None
    """What the clause asks; None: the policy itself."""
    clause: str = ""
    """The clause's text."""

    def sentence(self) -> str:
        """What no test has seen."""
        if self.kind is None:
            return f"{self.source}: {self.policy_id}: decides no test"
        return f"{self.source}: {self.policy_id}: no test is refused by {_REFUSED_BY[self.kind]}"


class Coverage(Noun, frozen=True):
    """How many rules decided some test, and which did not."""

    rules: int
    uncovered: tuple[Rule, ...] = ()
    """In the order of plans, features and clauses; then guards."""

    @property
    def covered(self) -> int:
        """Rules that decided a test."""
        return self.rules - len(self.uncovered)

    @property
    def percent(self) -> int:
        """Rounded down, so that 100 means all."""
        return 100 * self.covered // self.rules if self.rules else 100


class Seen:
    """What decided, over all tests so far."""

    def __init__(self) -> None:
        self._places: set[tuple[str, int]] = set()

    def __contains__(self, place: tuple[str, int]) -> bool:
        return place in self._places

    def add(self, asked: Asked) -> None:
        """One test's question with its answer."""
        first = asked.verdict.matched[:1]
        self._places.update((policy.id, _WHOLE) for policy in first)
        if any(policy.effect == "forbid" for policy in first):
            return
        begin = 0
        for policy in asked.part.permits:
            holds = asked.answer.holds[begin : begin + len(policy.clauses)]
            begin += len(policy.clauses)
            if False in holds:
                self._places.add((policy.id, holds.index(False)))


def of(catalog: Catalog, seen: Seen) -> Coverage:
    """The rules of a catalog beside what was seen."""
    permits = [
        policy
        for plan in catalog.plans.values()
        for feature_id in plan.terms
        for policy in cedar.policies(plan, feature_id)
    ]
    places = [
        (place, rule)
        for policy in (*permits, *cedar.guards(catalog.guards, ""))
        for place, rule in _rules(policy)
    ]
    missed = tuple(rule for place, rule in places if place not in seen)
    return Coverage(rules=len(places), uncovered=missed)


def _rules(policy: Policy) -> list[tuple[tuple[str, int], Rule]]:
    """The policy and its clauses, with their places."""
    whole = ((policy.id, _WHOLE), Rule(policy_id=policy.id, source=policy.source))
    clauses = [
        (
            (policy.id, place),
            Rule(policy_id=policy.id, source=clause.source, kind=clause.kind, clause=clause.text),
        )
        for place, clause in enumerate(policy.clauses)
    ]
    return [whole, *clauses]
