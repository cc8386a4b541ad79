"""What does Cedar say against the policies of a plan version, before anybody is decided by them?"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import cedarpy

from policies.compiler import cedar, cedar_schema, fragment
from policies.compiler.cedar import Policy
from policies.model import Feature, PlanVersion


def validate(plan: PlanVersion) -> tuple[str, ...]:
    """What is wrong with the Cedar of a plan version, in sentences; empty if strict validation accepts it."""
    compiled: list[Policy] = []
    sentences: list[str] = []
    for feature_id in plan.terms:
        try:
            compiled += cedar.policies(plan, feature_id)
        except ValueError as error:
            sentences.append(str(error))
    return (*sentences, *check(compiled, plan.features.values()))


def check(compiled: Sequence[Policy], features: Iterable[Feature]) -> tuple[str, ...]:
    """What strict validation says against policies over these features, all in one call.

    Cedar accepts two policies with one id, and so do annotations; we do not. Nor do we take a clause that no
    decision table could stand for (R4).
    """
    counts = Counter(policy.id for policy in compiled)
    twice = [f'Two policies have the id "{policy_id}".' for policy_id, count in counts.items() if count > 1]
    result = cedarpy.validate_policies(cedar.text(compiled), cedar_schema.schema(features))
    places = {f"policy{place}": policy for place, policy in enumerate(compiled)}
    told = (*twice, *(_sentence(places.get(found.policy_id), found.error) for found in result.errors))
    return told or tuple(_untabular(compiled))


def _untabular(compiled: Sequence[Policy]) -> Iterator[str]:
    for policy in compiled:
        for clause in policy.clauses:
            try:
                fragment.bound(clause.text)
            except ValueError as error:
                yield f"{clause.source}: {policy.id}: {error}"


def _sentence(policy: Policy | None, error: str) -> str:
    return f"{policy.source}: {policy.id}: {error}" if policy else error
