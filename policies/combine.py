"""What do a plan, add-ons, grants and overrides give together? One rule for each type of feature (R8).

An override of `included` or `upTo` stands in the plan's place, and add-ons and grants come on top of it; one
of `value` is the last word. What an override does not name stays as the plan has it. An add-on that is held
several times gives a counted amount as many times, whatever the rule; a number only where numbers are summed.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from policies import limits
from policies.grant import Grant
from policies.model import (
    AddonVersion,
    BooleanTerms,
    Combine,
    Feature,
    MeteredTerms,
    Overage,
    PlanVersion,
    StaticTerms,
    Terms,
)
from policies.override import Override

SourceKind = Literal["plan", "fallbackPlan", "addon", "grant", "override", "rollover"]
Term = Literal["included", "upTo", "value"]
Given = int | bool | str | None
"""Scaled where it is a quantity; None is unlimited."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a right comes from."""

    kind: SourceKind
    id: str
    """The plan's or add-on's version, the grant's or override's id."""
    term: Term
    value: Given
    times: int = 1
    """How many units of the add-on are held."""
    source: str | None = None
    """File and line, of a plan or an add-on."""
    reason: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    replaced: bool = False
    """An override stands in its place."""


class Held(msgspec.Struct, frozen=True):
    """An add-on beside the plan, so many times."""

    addon: AddonVersion
    times: int


class Combined(msgspec.Struct, frozen=True, kw_only=True):
    """The right that all sources give together."""

    terms: Terms | None
    """With everything counted in except grants, which are buckets of their own; None if nothing gives it."""
    entitled: bool
    """False where an override switched it off."""
    rule: Combine | None
    sources: tuple[Source, ...]


def combine(
    feature: Feature,
    plan: PlanVersion | None,
    addons: Sequence[Held],
    grants: Sequence[Grant],
    override: Override | None,
    *,
    fallback: bool = False,
) -> Combined:
    """All that hold at one instant; `grants` are of this feature."""
    said = plan.terms.get(feature.id) if plan else None
    giving = [held for held in addons if feature.id in held.addon.terms]
    kind: SourceKind = "fallbackPlan" if fallback else "plan"
    version = plan.version if plan else ""
    if not giving and not grants and override is None:
        return _alone(feature, version, said, kind)
    return _together(feature, _Plan(version, said, kind), giving, grants, override)


class _Plan(NamedTuple):
    """What a plan says of the feature."""

    version: str
    said: Terms | None
    kind: SourceKind


@lru_cache(maxsize=limits.TERMS_COMBINED)
def _alone(feature: Feature, version: str, said: Terms | None, kind: SourceKind) -> Combined:
    """What a plan gives by itself: the same to all who have nothing beside it."""
    return _together(feature, _Plan(version, said, kind), (), (), None)


def _together(
    feature: Feature,
    stands_on: _Plan,
    giving: Sequence[Held],
    grants: Sequence[Grant],
    override: Override | None,
) -> Combined:
    if feature.type == "metered":
        return _metered(feature, stands_on, giving, grants, override)
    return _valued(feature, stands_on, giving, override)


def _metered(
    feature: Feature,
    stands_on: _Plan,
    giving: Sequence[Held],
    grants: Sequence[Grant],
    override: Override | None,
) -> Combined:
    said = stands_on.said
    rule = feature.combine or "sum"
    sources: list[Source] = []
    amounts: list[int | None] = []
    replaced = override is not None and override.included is not None
    if isinstance(said, MeteredTerms):
        sources += _plan_sources(stands_on, said, override)
        if not replaced:
            amounts.append(said.included)
    if override is not None and override.included is not None:
        amounts.append(_finite(override.included))
        sources.append(_overridden(override, "included", amounts[-1]))
    if override is not None and override.up_to is not None:
        sources.append(_overridden(override, "upTo", _finite(override.up_to)))
    for held in giving:
        terms = held.addon.terms[feature.id]
        assert isinstance(terms, MeteredTerms)
        each = terms.included
        amounts.append(None if each is None else each * held.times)
        sources.append(_added(held, "included", each, terms.source))
    sources += [_granted(grant) for grant in grants]
    base = _base(feature, said, giving)
    if not amounts and not grants:
        return Combined(terms=None, entitled=False, rule=rule, sources=tuple(sources))
    total, overage = _total(amounts, rule), _overage(base, override)
    terms = base
    if total != base.included or overage is not base.overage:
        terms = msgspec.structs.replace(base, included=total, overage=overage)
    return Combined(terms=terms, entitled=True, rule=rule, sources=tuple(sources))


def _base(feature: Feature, said: Terms | None, giving: Sequence[Held]) -> MeteredTerms:
    """The terms whose interval, caps and prices hold: the plan's, else the first add-on's, else a month."""
    named = [said, *(held.addon.terms[feature.id] for held in giving)]
    known = next((terms for terms in named if isinstance(terms, MeteredTerms)), None)
    return known or MeteredTerms(source=feature.source, included=0, included_source=feature.source)


def _overage(base: MeteredTerms, override: Override | None) -> Overage | None:
    """Overage has a price only where the plan sells it, so an override moves its bound and cannot make it."""
    if base.overage is None or override is None or override.up_to is None:
        return base.overage
    return msgspec.structs.replace(base.overage, up_to=_finite(override.up_to))


def _valued(
    feature: Feature, stands_on: _Plan, giving: Sequence[Held], override: Override | None
) -> Combined:
    """A boolean or static feature."""
    said = stands_on.said
    last = override is not None and override.value is not None
    offers = [(terms, held.times, held) for held in giving if (terms := held.addon.terms[feature.id])]
    sources: list[Source] = []
    if said is not None:
        sources.append(
            Source(
                kind=stands_on.kind,
                id=stands_on.version,
                term="value",
                value=_value_of(said),
                source=said.source,
                replaced=last,
            )
        )
    for terms, _, held in offers:
        added = _added(held, "value", _value_of(terms), terms.source)
        sources.append(msgspec.structs.replace(added, replaced=last))
    if override is not None and override.value is not None:
        sources.append(_overridden(override, "value", override.value))
        return _decreed(feature, said, override, tuple(sources))
    given = [(said, 1)] if said is not None else []
    given += [(terms, times) for terms, times, _ in offers]
    if not given:
        return Combined(terms=None, entitled=False, rule=feature.combine, sources=tuple(sources))
    first = given[0][0]
    if isinstance(first, StaticTerms) and isinstance(first.value, int):
        rule = feature.combine or "max"
        total = _total([_units(terms, times, rule) for terms, times in given], rule)
        assert total is not None  # a static value is always finite
        first = msgspec.structs.replace(first, value=total, display=str(total))
    return Combined(terms=first, entitled=True, rule=feature.combine, sources=tuple(sources))


def _decreed(
    feature: Feature, said: Terms | None, override: Override, sources: tuple[Source, ...]
) -> Combined:
    source = said.source if said is not None else feature.source
    if feature.type == "boolean":
        switched = BooleanTerms(source=source)
        given = override.value is True
        # What the plan gives stays a right that a clause denies, so that the denial names the plan's line.
        terms = switched if given or said is not None else None
        return Combined(terms=terms, entitled=given, rule=feature.combine, sources=sources)
    assert isinstance(override.value, int | str)
    value = StaticTerms(source=source, value=override.value, display=str(override.value))
    return Combined(terms=value, entitled=True, rule=feature.combine, sources=sources)


def _units(terms: Terms, times: int, rule: Combine) -> int:
    assert isinstance(terms, StaticTerms)
    assert isinstance(terms.value, int)
    return terms.value * times if rule == "sum" else terms.value


def _total(amounts: Iterable[int | None], rule: Combine) -> int | None:
    """None among the amounts is without end."""
    listed = list(amounts)
    finite = [amount for amount in listed if amount is not None]
    if rule == "tightest":
        return min(finite, default=None if listed else 0)
    if len(finite) < len(listed):
        return None
    return max(finite, default=0) if rule == "max" else sum(finite)


def _finite(amount: int | Literal["unlimited"]) -> int | None:
    return None if amount == "unlimited" else amount


def _value_of(terms: Terms) -> Given:
    return terms.value if isinstance(terms, StaticTerms) else True


def _plan_sources(stands_on: _Plan, said: MeteredTerms, override: Override | None) -> list[Source]:
    included = Source(
        kind=stands_on.kind,
        id=stands_on.version,
        term="included",
        value=said.included,
        source=said.included_source,
        replaced=override is not None and override.included is not None,
    )
    if said.overage is None:
        return [included]
    bound = Source(
        kind=stands_on.kind,
        id=stands_on.version,
        term="upTo",
        value=said.overage.up_to,
        source=said.overage.source,
        replaced=override is not None and override.up_to is not None,
    )
    return [included, bound]


def _added(held: Held, term: Term, value: Given, source: str) -> Source:
    return Source(
        kind="addon", id=held.addon.version, term=term, value=value, times=held.times, source=source
    )


def _granted(grant: Grant) -> Source:
    return Source(
        kind="grant",
        id=grant.id,
        term="included",
        value=grant.quantity,
        reason=grant.reason,
        starts_at=grant.effective_at,
        ends_at=grant.expires_at,
    )


def _overridden(override: Override, term: Term, value: Given) -> Source:
    return Source(
        kind="override",
        id=override.id,
        term=term,
        value=value,
        reason=override.reason,
        starts_at=override.starts_at,
        ends_at=override.ends_at,
    )
