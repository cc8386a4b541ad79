"""Does who does not pay keep nothing but what is always on, and buy no overage?"""

from collections.abc import Iterator

from policies.model import Catalog, Feature, Invariant, PlanVersion
from policies.verify import violation
from policies.verify.standing import CIRCUMSTANCES, UNPAID, Standing
from policies.verify.violation import Violation


def check(standing: Standing, invariant: Invariant, known: Catalog | None) -> Iterator[Violation]:
    """Each plan with each feature, also those that only an add-on, a grant or an override could give."""
    for plan, feature in standing.pairs(invariant, known):
        yield from _violations(standing, invariant, plan, feature)


def _violations(
    standing: Standing, invariant: Invariant, plan: PlanVersion, feature: Feature
) -> Iterator[Violation]:
    """The first circumstance speaks for all."""
    part = standing.engine.slice(plan, feature)
    for circumstance, opened in zip(CIRCUMSTANCES, standing.openings(part), strict=True):
        if circumstance.status not in UNPAID:
            continue
        for place in opened:
            policy = part.permits[place]
            if feature.always and policy.reason != "in_overage":
                continue
            told = (
                f"a tenant on {plan.name}{circumstance.words()} may use {feature.name}: "
                f"{policy.reason}, {policy.source}"
            )
            yield violation.of(invariant, policy.source, told)
            return
