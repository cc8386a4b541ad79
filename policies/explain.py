"""Where does a right come from, and what is the smallest change that would make the answer an allow?

Every change that is told was put to Cedar first (law 2): with that change alone, and all else as it is, the
same request is allowed. Amounts are read off the ceilings of the decision table, never guessed.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import zip_longest

import msgspec

from policies import decide, entitlement, message, meter, period, quantity, rollover
from policies.balance import Levels
from policies.combine import Held, Source
from policies.decide import Request
from policies.decision import (
    BillingLine,
    Change,
    Decision,
    Derivation,
    Flip,
    Number,
    SourceLine,
    TurnLine,
)
from policies.engine import Engine
from policies.entitlement import Right
from policies.grant import Grant
from policies.model import AddonVersion, Feature, MeteredTerms, PlanVersion
from policies.period import Period
from policies.rollover import Counted

TOLD = 3
"""Changes that the sentence speaks of; the rest stands in the data."""


class Sold(msgspec.Struct, frozen=True, kw_only=True):
    """What the tenant could have instead, and how the future is known."""

    plans: Sequence[PlanVersion] = ()
    """Higher up the ladder, nearest first."""
    addons: Sequence[AddonVersion] = ()
    later: Callable[[datetime], Right] | None = None
    """The right at a later instant, by what is known today."""


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    engine: Engine
    right: Right
    request: Request
    levels: Levels
    now: datetime
    sold: Sold

    def allows(
        self, right: Right | None = None, levels: Levels | None = None, amount: int | None = None
    ) -> bool:
        """Cedar's word on the same request with this one thing changed.

        Another version of the feature may take fewer keys of context: it is asked without the others.
        """
        right = right or self.right
        taken = right.feature.context if right.feature else ()
        request = msgspec.structs.replace(
            self.request,
            quantity=self.request.quantity if amount is None else amount,
            context={key: text for key, text in self.request.context.items() if key in taken},
        )
        asked = decide.ask(self.engine, right, request, self.levels if levels is None else levels)
        return asked.verdict.outcome == "allowed"


def complete(
    decision: Decision,
    engine: Engine,
    right: Right,
    request: Request,
    levels: Levels | None,
    *,
    now: datetime,
    sold: Sold,
) -> Decision:
    """The decision with its derivation, and with what would make it an allow if it is none."""
    flip = None
    if decision.outcome == "denied":
        asked = _Asked(
            engine=engine, right=right, request=request, levels=levels or Levels(), now=now, sold=sold
        )
        flip = _flip(asked)
    return msgspec.structs.replace(decision, derivation=derivation(right, levels), would_allow=flip)


def derivation(right: Right, levels: Levels | None = None) -> Derivation:
    """Every source of a right, and the rule that combined them; by `levels` also what was left over."""
    sources = (*right.sources, *(_left_over(right, levels) if levels else ()))
    return Derivation(
        rule=right.rule,
        sources=tuple(_source_line(source, right.feature) for source in sources),
        billing=_billing_line(right),
    )


def _billing_line(right: Right) -> BillingLine | msgspec.UnsetType:
    """What payments say, in one sentence and as data."""
    if not right.billing:
        return msgspec.UNSET
    fact, *coming = right.billing
    return BillingLine(
        status=fact.status,
        since=fact.since,
        reason=fact.reason,
        happened_at=fact.happened_at,
        message=message.standing(fact, coming),
        next=tuple(TurnLine(status=one.status, since=one.since) for one in coming),
    )


def _left_over(right: Right, levels: Levels) -> Iterator[Source]:
    """What each earlier period carried into this one, by the line of the plan that let it roll over."""
    generations = zip_longest(levels.carried, levels.rollover, fillvalue=0)
    for number, (link, amounts) in enumerate(zip(right.rollover, generations, strict=False), start=1):
        if max(amounts) > 0:
            yield Source(
                kind="rollover",
                id=rollover.name(number),
                term="included",
                value=max(amounts),
                source=link.source,
                reason=f"left over from the period that began on {period.written(link.window.start)}",
                starts_at=right.period.start if right.period else None,
                ends_at=link.expires_at,
            )


def _flip(asked: _Asked) -> Flip | None:
    changes = tuple(
        change
        for find in (_fewer, _waited, _granted, _paid, _after_trial, _upgraded, _added, _unguarded)
        for change in find(asked)
    )
    if not changes:
        return None
    return Flip(sentence="; ".join(change.sentence for change in changes[:TOLD]), changes=changes)


def _fewer(asked: _Asked) -> Iterator[Change]:
    """The largest smaller quantity: the least that is left under any ceiling."""
    most = _headroom(asked)
    if most is not None:
        most = meter.raised(asked.right.feature, asked.levels.included + asked.levels.overage, most)
    if most is not None and 0 < most < asked.request.quantity and asked.allows(amount=most):
        said = _said(asked, most)
        yield Change(
            kind="quantity", quantity=_number(asked, most), sentence=f"at most {said} would be allowed now"
        )


def _waited(asked: _Asked) -> Iterator[Change]:
    """The first instant at which a period or a window starts anew and the request fits."""
    later, terms = asked.sold.later, asked.right.terms
    if later is None or not isinstance(terms, MeteredTerms):
        return
    spans = [asked.right.period, *asked.right.cap_windows]
    ends = sorted({span.end for span in spans if span is not None and span.end is not None})
    for at in ends:
        right = later(at)
        if right.absence is None and asked.allows(right, _levels_then(asked, right, at)):
            yield Change(kind="wait", at=at, sentence=message.edge("allowed again from ", at))
            return


def _granted(asked: _Asked) -> Iterator[Change]:
    """A grant of what lacks under the limit; no grant lifts a cap."""
    right, most = asked.right, _headroom(asked)
    if not isinstance(right.terms, MeteredTerms) or right.absence is not None or right.terms.included is None:
        return
    if right.feature is not None and right.feature.is_level():
        return
    account = decide.ask(asked.engine, right, asked.request, asked.levels).case.balance
    assert account is not None
    granted = account.granted or 0
    lacks = account.drawn + account.reserved + asked.request.quantity - granted
    for missing in sorted({lacks, lacks - (account.limit - granted if account.limit is not None else 0)}):
        if missing <= 0 or (most is not None and most < 0):
            continue
        gift = Grant(
            id="", feature_id=right.feature_id, quantity=missing, effective_at=asked.now, created_at=asked.now
        )
        given = msgspec.structs.replace(right, grants=(*right.grants, gift))
        used = (*(asked.levels.grants or (0,) * len(right.grants)), 0)
        if asked.allows(given, msgspec.structs.replace(asked.levels, grants=used)):
            said = _said(asked, missing)
            yield Change(
                kind="grant", quantity=_number(asked, missing), sentence=f"a grant of {said} would do"
            )
            return


def _paid(asked: _Asked) -> Iterator[Change]:
    right = asked.right
    if right.billing_status == "good" or right.absence is not None:
        return
    if asked.allows(msgspec.structs.replace(right, billing_status="good")):
        words = {"pending": "once the first payment has come", "paused": "once it is resumed"}
        said = words.get(right.billing_status, "once it is paid")
        if right.billing_status == "ended":
            said = "with a subscription that runs"
        yield Change(kind="payment", sentence=f"allowed {said}")


def _after_trial(asked: _Asked) -> Iterator[Change]:
    if asked.right.trial and asked.allows(msgspec.structs.replace(asked.right, trial=False)):
        yield Change(kind="trial", sentence="allowed as overage after the trial")


def _upgraded(asked: _Asked) -> Iterator[Change]:
    """The nearest plan up the ladder on which the request fits, with what was used until now."""
    if asked.right.feature is None or asked.right.plan is None:
        return
    for plan in asked.sold.plans:
        if not _counted_alike(asked.right, plan):
            continue
        right = entitlement.moved(asked.right, plan, asked.now)
        if asked.allows(right, _on_other_caps(asked, right)):
            yield Change(kind="plan", id=plan.plan_id, sentence=f"{plan.name} {_gives(right)}")
            return


def _added(asked: _Asked) -> Iterator[Change]:
    """One more unit of an add-on that the plan is sold with."""
    right = asked.right
    if right.plan is None or right.feature is None:
        return
    for addon in asked.sold.addons:
        if right.plan.plan_id not in addon.plans or right.feature_id not in addon.terms:
            continue
        with_it = entitlement.moved(
            msgspec.structs.replace(right, addons=(*right.addons, Held(addon, 1))), right.plan, asked.now
        )
        if asked.allows(with_it):
            yield Change(kind="addon", id=addon.addon_id, sentence=f"the add-on {addon.name} would do")
            return


def _unguarded(asked: _Asked) -> Iterator[Change]:
    """The one guard that stands in the way."""
    for guard in asked.right.guards:
        others = tuple(other for other in asked.right.guards if other is not guard)
        if asked.allows(msgspec.structs.replace(asked.right, guards=others)):
            told = f'only the guard "{guard.id}" refuses it: {guard.reason.rstrip(".")}'
            yield Change(kind="guard", id=guard.id, sentence=told)
            return


def _headroom(asked: _Asked) -> int | None:
    """How much could be used at once; None without end or where no ceiling can be told."""
    found = decide.ask(asked.engine, asked.right, asked.request, asked.levels)
    try:
        ceilings = asked.engine.ceilings(found.part, found.facts, found.question.request)
    except ValueError:
        return None
    if ceilings is None:
        return None
    at = (found.question.drawn, *found.question.caps)
    rooms = [ceiling - level for ceiling, level in zip(ceilings, at, strict=True) if ceiling is not None]
    return min(rooms, default=None)


def _levels_then(asked: _Asked, right: Right, at: datetime) -> Levels:
    """The counters at a later instant if nothing is used until then: what has started anew is empty."""

    def stays(span: Period | None) -> bool:
        return span is not None and (span.end is None or span.end > at)

    same = stays(asked.right.period)
    drawn, carried = (asked.levels.rollover, asked.levels.carried) if same else ((), _carried(asked, right))
    used = dict(zip((grant.id for grant in asked.right.grants), asked.levels.grants, strict=False))
    return Levels(
        included=asked.levels.included if same else 0,
        overage=asked.levels.overage if same else 0,
        reserved=asked.levels.reserved,
        caps=_capped(asked, right, stays),
        grants=tuple(used.get(grant.id, 0) for grant in right.grants),
        seen=asked.levels.seen if same else 0,
        rollover=drawn,
        carried=carried,
    )


def _carried(asked: _Asked, right: Right) -> tuple[int, ...]:
    """What the present period carries into that of a later right if nothing more is used."""
    if not right.rollover or right.rollover[0].window != asked.right.period:
        return ()
    levels = asked.levels
    counted = Counted(drawn=levels.included + levels.overage, generations=levels.rollover)
    return rollover.carried(right.rollover[0], counted, levels.carried)[: len(right.rollover)]


def _counted_alike(right: Right, plan: PlanVersion) -> bool:
    """Would what is counted now still count on that plan?"""
    now, then = right.plan_terms, plan.terms.get(right.feature_id)
    if not isinstance(now, MeteredTerms) or not isinstance(then, MeteredTerms):
        return True
    return (now.interval, now.anchor) == (then.interval, then.anchor)


def _on_other_caps(asked: _Asked, right: Right) -> Levels:
    """The same counters under another plan's caps."""
    return msgspec.structs.replace(asked.levels, caps=_capped(asked, right, lambda _: True))


def _capped(asked: _Asked, right: Right, stays: Callable[[Period], bool]) -> tuple[int, ...]:
    """What each cap of another right has counted in the windows that stay.

    One that did not bind until now has counted nothing.
    """
    now, then = asked.right.terms, right.terms
    counted: dict[tuple[str, str], int] = {}
    if isinstance(now, MeteredTerms):
        read = zip(now.caps, asked.levels.caps, asked.right.cap_windows, strict=False)
        counted = {(cap.interval, cap.per): level for cap, level, span in read if stays(span)}
    caps = then.caps if isinstance(then, MeteredTerms) else ()
    return tuple(counted.get((cap.interval, cap.per), 0) for cap in caps)


def _gives(right: Right) -> str:
    terms, feature = right.terms, right.feature
    if not isinstance(terms, MeteredTerms) or feature is None:
        return "would allow it" if feature is None or feature.type != "boolean" else "includes it"
    if terms.included is None:
        return f"has {message.plural(feature.unit)} without limit"
    return f"has {message.amount(feature, terms.included)}"


def _said(asked: _Asked, amount: int) -> str:
    return message.amount(asked.right.feature, amount)


def _number(asked: _Asked, amount: int) -> Number:
    return quantity.render(amount, asked.right.feature.decimals if asked.right.feature else 0)


def _source_line(source: Source, feature: Feature | None) -> SourceLine:
    return SourceLine(
        kind=source.kind,
        id=source.id,
        term=source.term,
        value=_shown(source, feature),
        times=source.times,
        source=source.source,
        reason=source.reason,
        starts_at=source.starts_at,
        ends_at=source.ends_at,
        replaced=source.replaced,
    )


def _shown(source: Source, feature: Feature | None) -> Number | bool | dict[str, object]:
    """A quantity as on the wire; an object as it is."""
    value = source.value
    if value is None:
        return "unlimited"
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return quantity.render(value, feature.decimals if feature else 0)
    if feature is not None and feature.value_type == "object":
        return msgspec.json.decode(value, type=dict[str, object])
    return value
