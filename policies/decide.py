"""May this tenant use this feature now, and why?

Cedar says whether (law 2): `allowed` is read off its verdict, and where it has none, off what the feature
declares in `whenUnavailable` (law 1). Everything else here chooses what to ask and names what was answered.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec

from policies import balance, decision, limits, message, meter
from policies.balance import Levels
from policies.compiler import cedar
from policies.compiler.cedar import Clause, Policy
from policies.decision import ClauseLine, Decision, Finding, ReasonLine
from policies.engine import Answer, Engine, Facts, Question, Verdict
from policies.entitlement import Right
from policies.message import Case
from policies.model import BillingStatus, MeteredTerms, StaticTerms, Terms, WhenUnavailable
from policies.slices import Slice


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is asked; ids, numbers and keys were checked at the border."""

    feature_id: str
    quantity: int
    """Scaled, 0 or more."""
    entity_id: str | None = None
    context: dict[str, str] = {}


class Asked(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What was put to Cedar about one right and one request, and what it said."""

    part: Slice
    facts: Facts
    question: Question
    answer: Answer
    case: Case

    @property
    def verdict(self) -> Verdict:
        """What Cedar said."""
        return self.answer.verdict


def needs_levels(right: Right) -> bool:
    """Must the counters be read before this right can be decided?"""
    return right.absence is None and isinstance(right.terms, MeteredTerms)


def decide(
    engine: Engine,
    right: Right,
    request: Request,
    levels: Levels | None,
    *,
    now: datetime,
    decision_id: str,
    catalog_hash: str,
    degraded: bool = False,
    explain: bool = False,
) -> Decision:
    """The decision on a request, given the levels of `right.period` and of `right.cap_windows`.

    `levels` may be None where `needs_levels` is false; elsewhere that is `unavailable` without a last known
    level. Per-entity caps judge a request without an entity as that of an entity that has used nothing yet:
    no single request passes that no entity could make.

    Errors: InvalidError for context that the feature does not declare.
    """
    asked = None
    if levels is not None or not needs_levels(right):
        asked = ask(engine, right, request, levels or Levels())
    if asked is None or asked.verdict.outcome == "indeterminate":
        finding = _fallback(engine, right, request, asked, explain=explain)
    else:
        finding = _finding(asked, degraded=degraded, explain=explain)
    case = asked.case if asked else Case(right=right, balance=None, requested=request.quantity)
    return decision.answer(
        finding,
        case,
        entity_id=request.entity_id,
        now=now,
        decision_id=decision_id,
        catalog_hash=catalog_hash,
    )


def unavailable(
    engine: Engine,
    right: Right,
    request: Request,
    last_known: Levels | None,
    *,
    now: datetime,
    decision_id: str,
    catalog_hash: str,
    explain: bool = False,
) -> Decision:
    """The answer when the counters cannot be read: by the feature's `whenUnavailable`, marked as degraded.

    `last_known` counts only where the feature says `lastKnown`: Cedar is asked on those levels, and without
    them the answer is deny. What the stored facts alone deny stays denied, since no level could change it. A
    right that needs no levels is decided as ever.
    """
    if not needs_levels(right):
        return decide(
            engine,
            right,
            request,
            None,
            now=now,
            decision_id=decision_id,
            catalog_hash=catalog_hash,
            degraded=True,
            explain=explain,
        )
    use = last_known if _stance(right) == "lastKnown" else None
    asked = ask(engine, right, request, use) if use is not None else None
    return decision.answer(
        _fallback(engine, right, request, asked, explain=explain),
        asked.case if asked else Case(right=right, balance=None, requested=request.quantity),
        entity_id=request.entity_id,
        now=now,
        decision_id=decision_id,
        catalog_hash=catalog_hash,
    )


def facts_of(right: Right, levels: Levels, part: Slice) -> Facts:
    """What the principal of a slice is, for a right whose counters stand at these levels."""
    terms, granted = right.terms, 0
    if isinstance(terms, MeteredTerms) and terms.included is not None:
        # What was drawn from a bucket that gives less now is granted all the same (R15).
        included = max(terms.included - levels.kept, levels.included)
        granted = included + balance.granted_extra(levels, right.grants)
    tags = tuple([(tag, right.metadata[tag]) for tag in part.tags if tag in right.metadata])
    return _facts(
        terms, right.plan_terms, granted, _Standing(right.billing_status, right.trial, right.entitled, tags)
    )


class _Standing(NamedTuple):
    """What facts have that no number bears on."""

    billing_status: BillingStatus
    trial: bool
    entitled: bool
    tags: tuple[tuple[str, str], ...]


@lru_cache(maxsize=limits.FACTS_ALIVE)
def _facts(terms: Terms | None, said: Terms | None, granted: int, standing: _Standing) -> Facts:
    """Beside the plan's own numbers stand differences, so that a permit's text stays what the plan says.

    Tenants who have nothing beside their plan share them.
    """
    status, trial, entitled, tags = standing
    if isinstance(terms, StaticTerms) and isinstance(terms.value, int):
        plain = said.value if isinstance(said, StaticTerms) and isinstance(said.value, int) else 0
        extra = terms.value - plain
        return Facts(billing_status=status, trial=trial, entitled=entitled, extra=extra, tags=tags)
    if not isinstance(terms, MeteredTerms):
        return Facts(billing_status=status, trial=trial, entitled=entitled, tags=tags)
    in_plan = said if isinstance(said, MeteredTerms) else None
    extra = 0
    if terms.included is not None:
        extra = granted - ((in_plan.included or 0) if in_plan else 0)
    bought = terms.overage.up_to if terms.overage else 0
    sold = in_plan.overage.up_to if in_plan and in_plan.overage else 0
    return Facts(
        billing_status=status,
        trial=trial,
        entitled=entitled,
        extra=extra,
        extra_limit=extra + (bought or 0) - (sold or 0),
        unlimited=terms.included is None,
        unlimited_overage=terms.included is None or bought is None,
        tags=tags,
    )


def slice_of(engine: Engine, right: Right) -> Slice:
    """The policies that decide about a right; without one, the slice that has no permit (R3)."""
    if right.absence is not None:
        return engine.slice(None, None)
    return engine.slice(right.plan, right.feature, right.guards)


def ground(engine: Engine, right: Right, levels: Levels) -> tuple[Slice, Facts]:
    """What Cedar is asked about: the slice and the facts."""
    part = slice_of(engine, right)
    return part, facts_of(right, levels, part)


def ask(engine: Engine, right: Right, request: Request, levels: Levels) -> Asked:
    """Cedar's answer on facts and levels."""
    part, facts = ground(engine, right, levels)
    account = balance.of(right.terms, levels, overage=right.has_overage, grants=right.grants)
    caps = _cap_levels(right.terms, levels, request.entity_id)
    question = Question(
        drawn=account.drawn + account.reserved,
        requested=meter.asked(meter.of(right.feature), levels, request.quantity),
        caps=caps,
        request=request.context if right.absence is None else {},
    )
    return Asked(
        part=part,
        facts=facts,
        question=question,
        answer=engine.answer(part, facts, question),
        case=Case(right=right, balance=account, requested=request.quantity, excess=levels.excess, caps=caps),
    )


def reach(engine: Engine, right: Right, request: Request, levels: Levels | None) -> tuple[int, int]:
    """The least and the most of a quantity that Cedar answers as this one, on the same levels.

    An allow says the same of all of them but for the quantity itself, since its numbers are those before the
    request.
    """
    asked = ask(engine, right, request, levels or Levels())
    least, most = engine.stretch(asked.part, asked.facts, asked.question)
    drawn = asked.question.drawn
    return least and meter.raised(right.feature, drawn, least), meter.raised(right.feature, drawn, most)


def _finding(asked: Asked, *, degraded: bool, explain: bool) -> Finding:
    """Cedar's verdict, with its reason."""
    return Finding(
        allowed=asked.verdict.outcome == "allowed",
        outcome=asked.verdict.outcome,
        reasons=(_reason(asked),),
        clauses=_clauses(asked) if explain else msgspec.UNSET,
        degraded=degraded,
    )


def _fallback(
    engine: Engine, right: Right, request: Request, asked: Asked | None, *, explain: bool
) -> Finding:
    """What to answer without a verdict (law 1); `asked` is what Cedar said on the levels that there were.

    Cedar is first asked about nothing, on unused counters: what it denies even then, the facts alone deny, so
    that is decided, and an outage opens nothing to a tenant who does not pay.
    """
    nothing = msgspec.structs.replace(request, quantity=0)
    floor = ask(engine, right, nothing, _unused(right))
    if floor.verdict.outcome == "denied":
        found = _finding(floor, degraded=True, explain=False)
        return msgspec.structs.replace(found, clauses=_clauses(floor, facts_only=True)) if explain else found
    told = asked is not None and asked.verdict.outcome != "indeterminate"
    # A guard that could not be asked might have refused, so nothing is opened past it (R2). It reads no
    # usage, so what it says on unused counters it says on any.
    failed = floor.verdict.guard_erred
    stance: WhenUnavailable = "deny" if failed else _stance(right)
    too_much = stance == "allow" and not _could_fit(engine, right, request)
    stance = "deny" if too_much else stance
    case = Case(right=right, balance=None, requested=request.quantity, guard_failed=failed, too_much=too_much)
    line = ReasonLine(
        policy_id=None,
        source=right.feature.source if right.feature else None,
        reason="fallback",
        message=message.sentence("fallback", case),
    )
    return Finding(
        allowed=_by_stance(stance, asked),
        outcome="indeterminate",
        reasons=(line, _reason(asked)) if asked is not None and told else (line,),
        clauses=(_clauses(asked) if asked else ()) if explain else msgspec.UNSET,
        degraded=True,
    )


def _could_fit(engine: Engine, right: Right, request: Request) -> bool:
    """Whether the quantity fits if nothing was used yet; what earlier periods left nobody knows."""
    return bool(right.rollover) or ask(engine, right, request, _unused(right)).verdict.outcome != "denied"


def _by_stance(stance: WhenUnavailable, asked: Asked | None) -> bool:
    last_known = asked is not None and asked.verdict.outcome == "allowed"
    return {"allow": True, "deny": False, "lastKnown": last_known}[stance]


def _stance(right: Right) -> WhenUnavailable:
    """What is not there cannot be opened by an outage."""
    return right.feature.when_unavailable if right.feature and right.absence is None else "deny"


def _cap_levels(terms: Terms | None, levels: Levels, entity_id: str | None) -> tuple[int, ...]:
    """A level for each cap; too few levels stay too few, so that Cedar cannot pass over a cap."""
    if not isinstance(terms, MeteredTerms):
        return ()
    nobody = entity_id is None
    return tuple(
        0 if nobody and cap.per == "entity" else level
        for cap, level in zip(terms.caps, levels.caps, strict=False)
    )


def _unused(right: Right) -> Levels:
    caps = right.terms.caps if isinstance(right.terms, MeteredTerms) else ()
    return Levels(caps=(0,) * len(caps), grants=(0,) * len(right.grants))


def _reason(asked: Asked) -> ReasonLine:
    """Of an allow (or of a forbid) the first policy that matched; of a denial the clause that failed (R1)."""
    case, right = asked.case, asked.case.right
    if asked.verdict.matched:
        policy = asked.verdict.matched[0]
        text = policy.says or message.sentence(policy.reason, case)
        return ReasonLine(
            policy_id=policy.id, source=_source(right, policy.source), reason=policy.reason, message=text
        )
    if right.absence is not None:
        source = right.plan.source if right.plan and right.absence == "feature_not_in_plan" else None
        text = message.sentence(right.absence, case)
        return ReasonLine(policy_id=None, source=source, reason=right.absence, message=text)
    policy, clause = _failed(asked)
    reason = cedar.failure(clause, right.billing_status)
    if reason == "subscription_ended" and right.ended_with_trial:
        reason = "trial_ended"
    text = message.sentence(reason, msgspec.structs.replace(case, cap=clause.cap))
    return ReasonLine(policy_id=policy.id, source=_source(right, clause.source), reason=reason, message=text)


def _source(right: Right, line: str) -> str:
    """The line that a policy names; of an off-plan one the line of the add-on that gives the feature."""
    off_plan = right.plan_terms is None and right.feature is not None and line == right.feature.source
    return right.terms.source if off_plan and right.terms is not None else line


def _failed(asked: Asked) -> tuple[Policy, Clause]:
    """The last permit and the first of its clauses that does not hold."""
    policy = asked.part.permits[-1]
    assert policy.clauses  # without any it cannot fail
    holds = asked.answer.holds[-len(policy.clauses) :]
    place = holds.index(False) if False in holds else -1
    return policy, policy.clauses[place]


def _clauses(asked: Asked, *, facts_only: bool = False) -> tuple[ClauseLine, ...]:
    """Every clause of the slice (or those that read no counter), with Cedar's word on it; then the guards."""
    values = _values(asked)
    owned = [(policy.id, clause) for policy in asked.part.policies for clause in policy.clauses]
    clauses = tuple(
        ClauseLine(
            policy_id=policy_id,
            text=clause.text,
            holds=holds,
            values={name: values[name] for name in clause.reads if name in values},
            source=clause.source,
        )
        for (policy_id, clause), holds in zip(owned, asked.answer.holds, strict=True)
        if not facts_only or all(name.startswith("principal.") for name in clause.reads)
    )
    return (*clauses, *_guard_clauses(asked))


def _guard_clauses(asked: Asked) -> Iterator[ClauseLine]:
    """Each guard as a clause that holds while the guard does not match."""
    errors = "".join(asked.verdict.errors)
    for guard in asked.case.right.guards if asked.part.permits else ():
        request, metadata = asked.question.request, asked.case.right.metadata
        values: dict[str, int | bool | str] = {
            f"context.request.{key}": request[key] for key in guard.request_keys if key in request
        }
        values |= {f'principal.getTag("{tag}")': metadata[tag] for tag in guard.tags if tag in metadata}
        refuses = any(policy.id == guard.id for policy in asked.verdict.matched)
        yield ClauseLine(
            policy_id=guard.id,
            text=f"unless {cedar.condition(guard)}",
            holds=None if f"`{guard.id}`" in errors else not refuses,
            values=values,
            source=guard.source,
        )


def _values(asked: Asked) -> dict[str, int | bool | str]:
    """What each variable stood for, by its name in the text."""
    facts, question = asked.facts, asked.question
    values: dict[str, int | bool | str] = {
        "principal.billingStatus": facts.billing_status,
        "principal.trial": facts.trial,
        "principal.entitled": facts.entitled,
        "principal.extra": facts.extra,
        "principal.extraLimit": facts.extra_limit,
        "principal.unlimited": facts.unlimited,
        "principal.unlimitedOverage": facts.unlimited_overage,
        "context.drawn": question.drawn,
        "context.requested": question.requested,
    }
    caps = {f"context.caps.c{number}": level for number, level in enumerate(question.caps, start=1)}
    return values | caps
