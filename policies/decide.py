"""May this tenant use this feature now, and why?

Cedar says whether (law 2): `allowed` is read off its verdict, and where it has none, off what the feature
declares in `whenUnavailable` (law 1). Everything else here chooses what to ask and names what was answered.
"""

from datetime import datetime

import msgspec

from policies import balance, decision, message
from policies.balance import Levels
from policies.compiler import cedar
from policies.compiler.cedar import Clause, Policy
from policies.decision import ClauseLine, Decision, Finding, ReasonLine
from policies.engine import Engine, Facts, Question, Slice, Verdict
from policies.entitlement import Right
from policies.message import Case
from policies.model import MeteredTerms, Terms, WhenUnavailable


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked; ids, numbers and keys were checked at the border."""

    feature_id: str
    quantity: int
    """Scaled, 0 or more."""
    entity_id: str | None = None
    context: dict[str, str] = {}


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was put to Cedar, and what it said."""

    part: Slice
    facts: Facts
    question: Question
    verdict: Verdict
    case: Case
    holds: tuple[bool | None, ...] = ()
    """Which clauses hold, in their order; empty if nobody needs to know."""


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
        asked = _ask(engine, right, request, levels or Levels(), explain=explain)
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
    asked = _ask(engine, right, request, use, explain=explain) if use is not None else None
    return decision.answer(
        _fallback(engine, right, request, asked, explain=explain),
        asked.case if asked else Case(right=right, balance=None, requested=request.quantity),
        entity_id=request.entity_id,
        now=now,
        decision_id=decision_id,
        catalog_hash=catalog_hash,
    )


def _ask(engine: Engine, right: Right, request: Request, levels: Levels, *, explain: bool) -> _Asked:
    """Cedar's verdict on facts and levels; the clauses too, if it denies or if they are wanted."""
    present = right.absence is None
    part = engine.slice(right.plan if present else None, right.feature_id)
    account = balance.of(right.terms, levels, trial=right.trial)
    caps = _cap_levels(right.terms, levels, request.entity_id)
    facts = Facts(billing_status=right.billing_status, trial=right.trial, extra=account.extra)
    question = Question(
        drawn=account.drawn + account.reserved,
        requested=request.quantity,
        caps=caps,
        request=request.context if present else {},
    )
    verdict = engine.evaluate(part, facts, question)
    wanted = explain or verdict.outcome == "denied"
    return _Asked(
        part=part,
        facts=facts,
        question=question,
        verdict=verdict,
        case=Case(right=right, balance=account, requested=request.quantity, excess=levels.excess, caps=caps),
        holds=engine.probe(part, facts, question) if wanted and part.clauses else (),
    )


def _finding(asked: _Asked, *, degraded: bool, explain: bool) -> Finding:
    """Cedar's verdict, with its reason."""
    return Finding(
        allowed=asked.verdict.outcome == "allowed",
        outcome=asked.verdict.outcome,
        reasons=(_reason(asked),),
        clauses=_clauses(asked) if explain else msgspec.UNSET,
        degraded=degraded,
    )


def _fallback(
    engine: Engine, right: Right, request: Request, asked: _Asked | None, *, explain: bool
) -> Finding:
    """What to answer without a verdict (law 1); `asked` is what Cedar said on the levels that there were.

    Cedar is first asked about nothing, on unused counters: what it denies even then, the facts alone deny, so
    that is decided, and an outage opens nothing to a tenant who does not pay.
    """
    nothing = msgspec.structs.replace(request, quantity=0)
    floor = _ask(engine, right, nothing, _unused(right.terms), explain=explain)
    if floor.verdict.outcome == "denied":
        found = _finding(floor, degraded=True, explain=False)
        return msgspec.structs.replace(found, clauses=_clauses(floor, facts_only=True)) if explain else found
    told = asked is not None and asked.verdict.outcome != "indeterminate"
    case = Case(right=right, balance=None, requested=request.quantity)
    line = ReasonLine(
        policy_id=None,
        source=right.feature.source if right.feature else None,
        reason="fallback",
        message=message.sentence("fallback", case),
    )
    return Finding(
        allowed=_by_stance(_stance(right), asked),
        outcome="indeterminate",
        reasons=(line, _reason(asked)) if asked is not None and told else (line,),
        clauses=(_clauses(asked) if asked else ()) if explain else msgspec.UNSET,
        degraded=True,
    )


def _by_stance(stance: WhenUnavailable, asked: _Asked | None) -> bool:
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


def _unused(terms: Terms | None) -> Levels:
    return Levels(caps=(0,) * len(terms.caps)) if isinstance(terms, MeteredTerms) else Levels()


def _reason(asked: _Asked) -> ReasonLine:
    """Of an allow (or of a forbid) the first policy that matched; of a denial the clause that failed (R1)."""
    case, right = asked.case, asked.case.right
    if asked.verdict.matched:
        policy = asked.verdict.matched[0]
        text = message.sentence(policy.reason, case)
        return ReasonLine(policy_id=policy.id, source=policy.source, reason=policy.reason, message=text)
    if right.absence is not None:
        source = right.plan.source if right.plan and right.absence == "feature_not_in_plan" else None
        text = message.sentence(right.absence, case)
        return ReasonLine(policy_id=None, source=source, reason=right.absence, message=text)
    policy, clause = _failed(asked)
    reason = cedar.failure(clause, right.billing_status)
    text = message.sentence(reason, msgspec.structs.replace(case, cap=clause.cap))
    return ReasonLine(policy_id=policy.id, source=clause.source, reason=reason, message=text)


def _failed(asked: _Asked) -> tuple[Policy, Clause]:
    """The last permit and the first of its clauses that does not hold."""
    policy = asked.part.policies[-1]
    assert policy.clauses  # without any it cannot fail
    holds = asked.holds[-len(policy.clauses) :]
    place = holds.index(False) if False in holds else -1
    return policy, policy.clauses[place]


def _clauses(asked: _Asked, *, facts_only: bool = False) -> tuple[ClauseLine, ...]:
    """Every clause of the slice, or those that read no counter, with what Cedar said of it."""
    values = _values(asked)
    return tuple(
        ClauseLine(
            text=clause.text,
            holds=holds,
            values={name: values[name] for name in clause.reads if name in values},
            source=clause.source,
        )
        for clause, holds in zip(asked.part.clauses, asked.holds, strict=True)
        if not facts_only or all(name.startswith("principal.") for name in clause.reads)
    )


def _values(asked: _Asked) -> dict[str, int | bool | str]:
    """What each variable stood for, by its name in the text."""
    facts, question = asked.facts, asked.question
    values: dict[str, int | bool | str] = {
        "principal.billingStatus": facts.billing_status,
        "principal.trial": facts.trial,
        "principal.extra": facts.extra,
        "context.drawn": question.drawn,
        "context.requested": question.requested,
    }
    caps = {f"context.caps.c{number}": level for number, level in enumerate(question.caps, start=1)}
    return values | caps
