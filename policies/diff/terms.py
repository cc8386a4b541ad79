"""What a plan or an add-on gives of one feature, before and now."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

import msgspec

from policies.diff import fields, judge, words
from policies.diff.change import Bound, Difference, Effect, Measure
from policies.diff.fields import Rule
from policies.model import (
    Anchor,
    BooleanTerms,
    Cap,
    Feature,
    Interval,
    MeteredTerms,
    Overage,
    Rollover,
    StaticTerms,
    Terms,
)

_NESTED: Final = frozenset({"included", "overage", "rollover", "caps"})
_RULES: Final = {
    "interval": Rule("interval", judge.by_rank(sorted(judge.LENGTH, key=judge.LENGTH.__getitem__)[::-1])),
    "anchor": Rule("anchor"),
    "thresholds": Rule("thresholds", say=words.listed),
}
_PRICE: Final = frozenset({"up_to", "model", "unit_amount", "size", "amount", "tiers"})
_OVERAGE: Final = {"minimum": Rule("overage minimum", judge.less)}


def compare(
    before: Mapping[str, Terms],
    after: Mapping[str, Terms],
    old: Mapping[str, Feature],
    new: Mapping[str, Feature],
) -> Iterator[Difference]:
    """By feature id."""
    for feature_id in sorted(before.keys() | after.keys()):
        was, will = before.get(feature_id), after.get(feature_id)
        if was is None and will is not None:
            found = iter([Difference(field="", after=_given(will, new[feature_id]), effect="better")])
        elif was is not None and will is None:
            found = iter([Difference(field="", before=_given(was, old[feature_id]), effect="worse")])
        else:
            assert was is not None
            assert will is not None
            found = _both(was, will, old[feature_id], new[feature_id])
        for one in found:
            yield msgspec.structs.replace(one, feature_id=feature_id)


def _given(terms: Terms, feature: Feature) -> str:
    if isinstance(terms, MeteredTerms):
        return f"({words.amount(terms.included, feature)} {feature.unit} a {terms.interval})".replace(
            "  ", " "
        )
    return f"({terms.display})" if isinstance(terms, StaticTerms) else "(on)"


def _both(was: Terms, will: Terms, old: Feature, new: Feature) -> Iterator[Difference]:
    if isinstance(was, MeteredTerms) and isinstance(will, MeteredTerms):
        yield from _metered(was, will, old, new)
    elif isinstance(was, StaticTerms) and isinstance(will, StaticTerms):
        if was.display != will.display or was.value != will.value:
            numbers = isinstance(was.value, int) and isinstance(will.value, int)
            effect = judge.more(was.value, will.value) if numbers else "neutral"
            yield Difference(field="value", before=was.display, after=will.display, effect=effect)
        yield from fields.compare(was, will, {}, but=frozenset({"value", "display"}))
    elif not (isinstance(was, BooleanTerms) and isinstance(will, BooleanTerms)):
        yield Difference(field="type", before=old.type, after=new.type, effect="worse")


def _metered(was: MeteredTerms, will: MeteredTerms, old: Feature, new: Feature) -> Iterator[Difference]:
    bound = partial(_lowered, feature_id=old.id, interval=was.interval, anchor=was.anchor)
    if was.included != will.included:
        effect = judge.more(was.included, will.included)
        yield Difference(
            field="included",
            before=words.amount(was.included, old),
            after=words.amount(will.included, new),
            effect=effect,
            bound=bound(effect, will.included, "period") if was.interval == will.interval else None,
        )
    yield from fields.compare(was, will, _RULES, but=_NESTED)
    yield from _overage(was, will, old, new)
    yield from _rollover(was.rollover, will.rollover, old, new)
    yield from _caps(was.caps, will.caps, old, new)


def _overage(was: MeteredTerms, will: MeteredTerms, old: Feature, new: Feature) -> Iterator[Difference]:
    before, after = was.overage, will.overage
    if before is None and after is None:
        return
    if before is None or after is None:
        gone = _lowered(
            "worse",
            will.included,
            "period",
            feature_id=old.id,
            interval=was.interval,
            anchor=was.anchor,
        )
        yield Difference(
            field="overage",
            before="" if before is None else words.overage(before, old),
            after="" if after is None else words.overage(after, new),
            effect="better" if before is None else "worse",
            bound=gone if after is None and was.interval == will.interval else None,
        )
        return
    yield from _up_to(was, will, old, new)
    if _priced(before) != _priced(after):
        yield Difference(
            field="overage price",
            before=words.overage_price(before, old),
            after=words.overage_price(after, new),
            effect=judge.overage_price(before, after),
        )
    yield from fields.compare(before, after, _OVERAGE, but=_PRICE)


def _up_to(was: MeteredTerms, will: MeteredTerms, old: Feature, new: Feature) -> Iterator[Difference]:
    assert was.overage is not None
    assert will.overage is not None
    before, after = was.overage.up_to, will.overage.up_to
    if before == after:
        return
    effect = judge.more(before, after)
    limit = None if after is None or will.included is None else will.included + after
    bound = _lowered(effect, limit, "period", feature_id=old.id, interval=was.interval, anchor=was.anchor)
    yield Difference(
        field="overage up to",
        before=words.amount(before, old),
        after=words.amount(after, new),
        effect=effect,
        bound=bound if was.interval == will.interval else None,
    )


def _priced(overage: Overage) -> list[object]:
    return [getattr(overage, name) for name in sorted(_PRICE - {"up_to"})]


def _rollover(
    before: Rollover | None, after: Rollover | None, old: Feature, new: Feature
) -> Iterator[Difference]:
    if before is None and after is not None:
        yield Difference(field="rollover", after=words.rollover(after, new), effect="better")
    elif before is not None and after is None:
        yield Difference(field="rollover", before=words.rollover(before, old), effect="worse")
    elif before is not None and after is not None:
        rules = {
            "max": Rule("rollover of", judge.more, lambda value: words.amount(_number(value), new)),
            "intervals": Rule("rollover intervals", judge.more),
        }
        yield from fields.compare(before, after, rules)


def _caps(
    before: tuple[Cap, ...], after: tuple[Cap, ...], old: Feature, new: Feature
) -> Iterator[Difference]:
    """A cap is known by its interval and whom it holds for; of several alike the tightest counts."""
    was, will = _tightest(before), _tightest(after)
    for key in sorted(was.keys() | will.keys()):
        one, other = was.get(key), will.get(key)
        if one is not None and other is not None and one.limit == other.limit:
            continue
        limit = None if other is None else other.limit
        effect = judge.more(None if one is None else one.limit, limit)
        cap = other or one
        assert cap is not None
        measure: Measure = "cap" if cap.per == "tenant" else "entityCap"
        yield Difference(
            field=words.cap(cap),
            before="" if one is None else words.amount(one.limit, old),
            after="" if other is None else words.amount(other.limit, new),
            effect=effect,
            # Only the windows of caps that there are were counted.
            bound=None
            if one is None
            else _lowered(
                effect, limit, measure, feature_id=old.id, interval=cap.interval, anchor="calendar"
            ),
        )


def _tightest(caps: tuple[Cap, ...]) -> dict[tuple[str, str], Cap]:
    return {(cap.per, cap.interval): cap for cap in sorted(caps, key=lambda cap: cap.limit, reverse=True)}


def _lowered(
    effect: Effect,
    number: int | None,
    measure: Measure,
    *,
    feature_id: str,
    interval: Interval,
    anchor: Anchor,
) -> Bound | None:
    if effect != "worse" or number is None:
        return None
    return Bound(feature_id=feature_id, measure=measure, interval=interval, anchor=anchor, number=number)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
