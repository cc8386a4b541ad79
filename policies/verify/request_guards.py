"""What can guards do, whatever a caller says and a platform noted? Every situation that they can tell apart.

A key or a tag is missing, or is one of the texts that stand in the guards, or is none of them.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final, NamedTuple

from policies import entitlement, model
from policies.compiler import cedar
from policies.engine import Facts, Question
from policies.model import Catalog, Feature, Guard, Invariant, PlanVersion
from policies.slices import Slice
from policies.verify import violation
from policies.verify.standing import CIRCUMSTANCES, Circumstance, Standing
from policies.verify.violation import Violation

SITUATIONS: Final = 2_000
"""Of one set of guards; past it keys and tags are varied one by one, beside none and beside all others."""
_OTHER: Final = "another"
_TEXT: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Situation(NamedTuple):
    """What the caller says, and what is noted of the tenant."""

    request: dict[str, str]
    tags: dict[str, str]

    def words(self) -> str:
        """Behind "a request"; empty if there is nothing."""
        said = [f'{key} "{text}"' for key, text in self.request.items()]
        noted = [f'metadata {tag} "{text}"' for tag, text in self.tags.items()]
        return f" with {', '.join((*said, *noted))}" if said or noted else " without context and metadata"


def situations(guards: Sequence[Guard]) -> Iterator[Situation]:
    """All that these guards can tell apart."""
    keys = sorted({key for guard in guards for key in guard.request_keys})
    tags = sorted({tag for guard in guards for tag in guard.tags})
    texts = sorted({text for guard in guards for text in _TEXT.findall(guard.text)})
    values = (None, *texts, _OTHER)
    names = [*(("key", key) for key in keys), *(("tag", tag) for tag in tags)]
    for said in _assignments(len(names), values):
        paired = [
            (kind, name, text) for (kind, name), text in zip(names, said, strict=True) if text is not None
        ]
        yield Situation(
            {name: text for kind, name, text in paired if kind == "key"},
            {name: text for kind, name, text in paired if kind == "tag"},
        )


def _assignments(count: int, values: tuple[str | None, ...]) -> Iterator[tuple[str | None, ...]]:
    if len(values) ** count <= SITUATIONS:
        yield from product(values, repeat=count)
        return
    for rest in (None, _OTHER):
        for place in range(count):
            for text in values:
                yield tuple(text if at == place else rest for at in range(count))


def check_step(
    standing: Standing, invariant: Invariant, low: PlanVersion, high: PlanVersion
) -> Iterator[Violation]:
    """Guards that refuse on the higher plan what passes on the lower: only those that read the plan can."""
    told = set[str]()
    for feature_id in low.terms.keys() & high.terms.keys():
        guards = _guards(standing.catalog, feature_id)
        if not any("plan" in guard.text for guard in guards):
            continue
        feature = standing.catalog.features[feature_id]
        below = standing.engine.slice(low, feature, guards)
        above = standing.engine.slice(high, feature, guards)
        for circumstance, situation in product(CIRCUMSTANCES, situations(guards)):
            before, _ = _refusal(standing, below, circumstance, situation)
            after, guard_id = _refusal(standing, above, circumstance, situation)
            if before != "allowed" or guard_id is None or guard_id in told:
                continue
            told.add(guard_id)
            guard = next(one for one in guards if one.id == guard_id)
            sentence = (
                f"a request for {feature.name}{situation.words()} is {before} to a tenant on "
                f"{low.name}{circumstance.words()}; after an upgrade to {high.name} it is {after}: "
                f"guard, {guard.source}"
            )
            yield violation.of(invariant, guard.source, sentence)


def erring(standing: Standing, guard: Guard, plan: PlanVersion, feature: Feature) -> str | None:
    """The first situation in which a guard errs, in words."""
    part = _alone(plan, feature, guard)
    for circumstance, situation in product(CIRCUMSTANCES, situations([guard])):
        verdict = standing.engine.evaluate(part, _facts(circumstance, situation), _question(part, situation))
        if verdict.errors:
            who = f"a tenant on {plan.name}{circumstance.words()}"
            asks = f"a request for {feature.name}{situation.words()} of {who}"
            return f"{asks} makes the guard err: {verdict.errors[0]}"
    return None


def _alone(plan: PlanVersion, feature: Feature, guard: Guard) -> Slice:
    return Slice(
        feature.id,
        cedar.guards([guard], feature.id),
        context=feature.context,
        stated=cedar.stated(plan.plan_id, feature),
        guards=(guard,),
    )


def _refusal(
    standing: Standing, part: Slice, circumstance: Circumstance, situation: Situation
) -> tuple[str, str | None]:
    """The outcome before anything is used, and the guard that refused."""
    verdict = standing.engine.evaluate(part, _facts(circumstance, situation), _question(part, situation))
    forbids = [policy.id for policy in verdict.matched if policy.effect == "forbid"]
    return verdict.outcome, forbids[0] if forbids else None


def _facts(circumstance: Circumstance, situation: Situation) -> Facts:
    status, trial, entitled = circumstance
    tags = tuple(sorted(situation.tags.items()))
    return Facts(billing_status=status, trial=trial, entitled=entitled, tags=tags)


def _question(part: Slice, situation: Situation) -> Question:
    said = {key: text for key, text in situation.request.items() if key in part.context}
    return Question(drawn=0, requested=0, caps=(0,) * (part.axes - 1), request=said)


def _guards(catalog: Catalog, feature_id: str) -> tuple[Guard, ...]:
    return entitlement.guards_of(model.offer(catalog), feature_id)
