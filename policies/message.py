"""How is an answer said to a person? One plain sentence for each reason.

A sentence names plans, features and units of the catalog, numbers and instants; nothing that a caller wrote.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

from policies import quantity
from policies.balance import Balance
from policies.compiler.cedar import Reason
from policies.entitlement import Right
from policies.model import BillingStatus, Cap, Feature, Interval, MeteredTerms, StaticTerms
from policies.subscription import BillingFact

_LIMIT: Final = "limit"
_ES: Final = ("ss", "x", "z", "ch", "sh")
_RHYTHM: Final[dict[Interval, str]] = {
    "hour": "Hourly",
    "day": "Daily",
    "week": "Weekly",
    "month": "Monthly",
    "year": "Yearly",
}


class Case(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a sentence may speak of."""

    right: Right
    balance: Balance | None
    requested: int
    excess: int = 0
    """What was reported in the period past every right."""
    caps: tuple[int, ...] = ()
    """What each cap's window has counted."""
    cap: int | None = None
    """The cap that refused."""
    guard_failed: bool = False
    """A guard erred, so that what the feature declares does not answer."""
    too_much: bool = False
    """It would not fit even if nothing had been used."""


def sentence(reason: Reason, case: Case) -> str:
    """The answer in one sentence, without a full stop."""
    said = _SENTENCES[reason](case)
    return said + _behind(case) if case.right.billing and reason not in _UNBILLED else said


@lru_cache(maxsize=1_024)
def plural(unit: str) -> str:
    """The unit of more than one: `tokens`, `queries`; symbols (`GB`) and what is plural already stay."""
    if not (unit.isalpha() and unit.islower()) or (unit.endswith("s") and not unit.endswith("ss")):
        return unit
    if unit.endswith("y") and unit[-2:-1] not in tuple("aeiou"):
        return f"{unit[:-1]}ies"
    return unit + ("es" if unit.endswith(_ES) else "s")


@lru_cache(maxsize=1_024)
def amount(feature: Feature | None, scaled: int) -> str:
    """The number with its unit, as in `1 token`, `2 tokens`."""
    unit = feature.unit if feature else ""
    said = quantity.human(scaled, feature.decimals if feature else 0)
    return f"{said} {unit if said == '1' else plural(unit)}".rstrip()


@lru_cache(maxsize=1_024)
def edge(words: str, at: datetime | None) -> str:
    """An instant at the end of a sentence: the date alone if it is midnight; nothing if it never comes."""
    if at is None:
        return ""
    midnight = (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0)
    text = at.isoformat(" ", "minutes")
    return f"{words}{text[:10]}" if midnight else f"{words}{text[:16]} UTC"


def _within_limit(case: Case) -> str:
    balance = case.balance
    if balance is None or balance.granted is None or balance.remaining is None:
        return f"Unlimited {_noun(case)} in {_plan(case)}"
    left = f"{_said(case, balance.remaining)} of {_amount(case, balance.granted)} left"
    return left + edge(" until ", _reset(case))


def _in_overage(case: Case) -> str:
    balance = case.balance
    assert balance is not None
    assert balance.granted is not None
    end = "without a limit" if balance.limit is None else f"up to {_amount(case, balance.limit)} in all"
    return f"Past the {_amount(case, balance.granted)} of {_plan(case)}: overage, {end}" + edge(
        " until ", _reset(case)
    )


def _included(case: Case) -> str:
    return f"Included in {_plan(case)}"


def _value(case: Case) -> str:
    terms = case.right.terms
    if isinstance(terms, StaticTerms) and _value_type(case) != "object":
        return f"{_feature(case)}: {_given(case, terms)} in {_plan(case)}"
    return f"{_feature(case)}: as {_plan(case)} sets it"


def _value_exceeded(case: Case) -> str:
    terms = case.right.terms
    assert isinstance(terms, StaticTerms)
    return f"{_feature(case)}: {_said(case, case.requested)} asked, {_given(case, terms)} in {_plan(case)}"


def _limit_reached(case: Case) -> str:
    balance, terms = case.balance, case.right.terms
    assert balance is not None
    limit = balance.limit or 0
    taken = balance.drawn + balance.reserved
    trial = case.right.trial and isinstance(terms, MeteredTerms) and terms.overage is not None
    after = "; overage begins after the trial" if trial else ""
    resets = edge("; resets ", _reset(case))
    return _past_limit(case, taken, limit) + _excess(case) + resets + after


def _cap_reached(case: Case) -> str:
    terms, place = case.right.terms, case.cap
    assert isinstance(terms, MeteredTerms)
    assert place is not None
    cap = terms.caps[place]
    return (
        _refusal(case, _cap_name(cap), case.caps[place], cap.limit)
        + edge("; resets ", case.right.cap_windows[place].end)
        + _also_reached(case, place)
    )


def _also_reached(case: Case, place: int) -> str:
    """The bound that refuses this too and resets last, if that is after the cap's own reset."""
    refusing = _refusing(case)
    name, latest = max(refusing, key=lambda each: _order(each[1]), default=("", None))
    if not refusing or _order(latest) <= _order(case.right.cap_windows[place].end):
        return ""
    resets = edge("resets ", latest) or "does not reset"
    past = _excess(case) if name == _LIMIT else ""
    return f"; the {name} is reached too and {resets}{past}"


def _refusing(case: Case) -> list[tuple[str, datetime | None]]:
    """Every bound that has too little left for what was asked, and when it resets."""
    balance, terms = case.balance, case.right.terms
    assert balance is not None
    assert isinstance(terms, MeteredTerms)
    found = [
        (_cap_name(cap)[0].lower() + _cap_name(cap)[1:], window.end)
        for cap, window, level in zip(terms.caps, case.right.cap_windows, case.caps, strict=False)
        if level + case.requested > cap.limit
    ]
    taken = balance.drawn + balance.reserved
    if balance.limit is not None and taken + case.requested > balance.limit:
        found.append((_LIMIT, _reset(case)))
    return found


def _order(at: datetime | None) -> datetime:
    """What never comes is last."""
    return datetime.max.replace(tzinfo=UTC) if at is None else at


def _excess(case: Case) -> str:
    """What is in no other number of an answer, since it was never a right."""
    if not case.excess:
        return ""
    was = "was" if _said(case, case.excess) == "1" else "were"
    return f"; {_said(case, case.excess)} more {was} reported past it"


def _payment_required(case: Case) -> str:
    if case.right.billing_status == "restricted":
        return f"Payment required: a payment for {_plan(case)} is overdue, so overage is closed"
    return f"Payment required: {_plan(case)} is suspended until it is paid"


def _behind(case: Case) -> str:
    """What payments have to do with it: what happened, and what comes next if nothing does."""
    fact, *coming = case.right.billing
    return "" if fact.status == "good" else f"; {standing(fact, coming)}"


def standing(fact: BillingFact | None, coming: Iterable[BillingFact]) -> str:
    """A billing status in words: `payment failed on 2026-11-12, access ends on 2026-11-19`."""
    turns = [edge(f", {_TURNS.get(one.status, one.status)} on ", one.since) for one in coming]
    return _happened(fact) + "".join(turns)


def _happened(fact: BillingFact | None) -> str:
    if fact is None or fact.status == "good":
        return "good"
    on = edge(" since ", fact.since) if fact.happened_at is None else edge(" on ", fact.happened_at)
    return (fact.reason or fact.status) + on


def _fallback(case: Case) -> str:
    if case.guard_failed:
        return "Could not be decided: a guard failed, so it is refused"
    if case.too_much:
        return "Could not be decided; refused, since it would not fit even if nothing had been used"
    feature = case.right.feature
    stance = feature.when_unavailable if feature is not None and case.right.absence is None else "deny"
    return f"Could not be decided; answered by whenUnavailable: {stance}"


def _fixed(words: str) -> Callable[[Case], str]:
    return lambda case: words.format(plan=_plan(case), feature=_feature(case))


def _past_limit(case: Case, taken: int, limit: int) -> str:
    """Of a highest quantity it is not what was used that counts, but what it would come to."""
    feature = case.right.feature
    if feature is not None and feature.aggregation == "max":
        return f"Limit reached: {_said(case, case.requested)} asked, {_amount(case, limit)} at most"
    return _refusal(case, "Limit", taken, limit)


def _refusal(case: Case, bound: str, taken: int, limit: int) -> str:
    """Full, or too little left for what was asked."""
    if taken >= limit:
        return f"{bound} reached: {_said(case, taken)} of {_amount(case, limit)} used"
    left = f"{_said(case, limit - taken)} of {_amount(case, limit)} left"
    return f"{bound} reached: {_said(case, case.requested)} asked, {left}"


def _cap_name(cap: Cap) -> str:
    name = f"{_RHYTHM[cap.interval]} cap" if cap.interval in _RHYTHM else "Cap"
    return f"{name} per entity" if cap.per == "entity" else name


def _amount(case: Case, scaled: int) -> str:
    return amount(case.right.feature, scaled)


def _said(case: Case, scaled: int) -> str:
    return quantity.human(scaled, case.right.feature.decimals if case.right.feature else 0)


def _given(case: Case, terms: StaticTerms) -> str:
    return _said(case, terms.value) if isinstance(terms.value, int) else terms.display


def _value_type(case: Case) -> str | None:
    return case.right.feature.value_type if case.right.feature else None


def _noun(case: Case) -> str:
    return plural(case.right.feature.unit if case.right.feature else "") or _feature(case)


def _plan(case: Case) -> str:
    return case.right.plan.name if case.right.plan else "the plan"


def _feature(case: Case) -> str:
    return case.right.feature.name if case.right.feature else "this feature"


def _reset(case: Case) -> datetime | None:
    return case.right.period.end if case.right.period else None


_TURNS: Final[dict[BillingStatus, str]] = {
    "good": "good again",
    "grace": "grace begins",
    "restricted": "overage ends",
    "suspended": "access ends",
    "ended": "access ends",
}
_UNBILLED: Final = frozenset({"unknown_tenant", "unknown_feature", "no_subscription", "feature_not_in_plan"})
"""Reasons that have nothing to do with payments."""

_SENTENCES: Final[dict[Reason, Callable[[Case], str]]] = {
    "within_limit": _within_limit,
    "in_overage": _in_overage,
    "included": _included,
    "value": _value,
    "limit_reached": _limit_reached,
    "cap_reached": _cap_reached,
    "value_exceeded": _value_exceeded,
    "feature_not_in_plan": _fixed("{plan} does not include {feature}"),
    "unknown_feature": _fixed("There is no such feature"),
    "unknown_tenant": _fixed("There is no such tenant"),
    "no_subscription": _fixed("The tenant has no subscription"),
    "trial_ended": _fixed("The trial of {plan} has ended"),
    "payment_required": _payment_required,
    "pending": _fixed("The subscription to {plan} waits for its first payment"),
    "paused": _fixed("The subscription to {plan} is paused"),
    "subscription_ended": _fixed("The subscription to {plan} has ended"),
    "guard": _fixed("A guard refuses {feature}"),
    "fallback": _fallback,
}
