"""Two catalogs side by side: plans first, in the order of their ids, then everything else."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from policies.diff import fields, judge, terms, words
from policies.diff.change import Change, Difference, Effect, Kind, Subject
from policies.diff.fields import Rule
from policies.model import AddonVersion, Catalog, Feature, Guard, Invariant, PlanVersion

_CODE: Final = 160
_SOLD: Final = frozenset(
    {"version", "price", "currency", "interval", "features", "terms", "plan_id", "addon_id"}
)
_PLAN: Final = {
    "name": Rule("name"),
    "trial_days": Rule("trial of new subscriptions", say=words.days),
    "grace_days": Rule("grace", judge.more, words.days),
    "restricted_days": Rule("restricted use", judge.more, words.days),
    "due_days": Rule("days to pay an invoice", say=words.days),
    "attempt_days": Rule("attempts to collect", say=words.attempts),
}
_ADDON: Final = {"name": Rule("name"), "plans": Rule("sold with", judge.members, words.listed)}
_FEATURE: Final = {
    "type": Rule("type", judge.worse),
    "value_type": Rule("value type", judge.worse),
    "unit": Rule("unit"),
    "decimals": Rule("decimals", judge.worse),
    "aggregation": Rule("aggregation", judge.worse),
    "property": Rule("counted property", judge.worse),
    "properties": Rule("properties", judge.members, words.listed),
    "context": Rule("context", judge.members, words.listed),
    "entity": Rule("entity", judge.by_rank(["required", "none", "optional"])),
    "when_unavailable": Rule("when unavailable", judge.by_rank(["deny", "lastKnown", "allow"])),
    "combine": Rule("combine", judge.by_rank(["tightest", "max", "any", "sum"])),
    "ai": Rule("ai"),
    "costly": Rule("costly"),
    "always": Rule("always", judge.by_rank([False, True])),
}
_GUARD: Final = {"reason": Rule("reason")}
_GUARD_TEXT: Final = frozenset({"text", "features", "request_keys", "tags"})


def compare(before: Catalog, after: Catalog) -> tuple[Change, ...]:
    """Every difference in what the catalogs say; where and how it is written makes none."""
    return (
        *_plans(before, after),
        *_addons(before, after),
        *_features(before, after),
        *_guards(before, after),
        *_invariants(before.invariants, after.invariants),
        *_whole(before, after),
    )


def _plans(before: Catalog, after: Catalog) -> Iterator[Change]:
    for plan_id in sorted(before.plans.keys() | after.plans.keys()):
        old, new = before.plans.get(plan_id), after.plans.get(plan_id)
        for kind, what in sold(old, new):
            some = new or old
            assert some is not None
            yield Change(subject="plan", id=plan_id, name=some.name, kind=kind, what=what, plans=(plan_id,))


def _addons(before: Catalog, after: Catalog) -> Iterator[Change]:
    for addon_id in sorted(before.addons.keys() | after.addons.keys()):
        old, new = before.addons.get(addon_id), after.addons.get(addon_id)
        for kind, what in sold(old, new):
            some = new or old
            assert some is not None
            # What one add-on gives is a part of what a tenant has, so no usage is past it alone.
            alone = msgspec.structs.replace(what, bound=None)
            yield Change(
                subject="addon", id=addon_id, name=some.name, kind=kind, what=alone, addons=(addon_id,)
            )


def sold(
    old: PlanVersion | AddonVersion | None,
    new: PlanVersion | AddonVersion | None,
) -> Iterator[tuple[Kind, Difference]]:
    """Two versions of one plan, or of one add-on; None: it is not there."""
    if old is None or new is None:
        some = new or old
        assert some is not None
        price = words.price(some.price, some.currency, some.interval)
        sold = f"sold for {price}" if old is None else "no longer sold; who has it keeps it"
        yield ("new" if old is None else "gone"), Difference(field=sold)
        return
    was = (old.price, old.currency, old.interval)
    will = (new.price, new.currency, new.interval)
    if was != will:
        effect = judge.price(was, will)
        yield (
            "changed",
            Difference(field="price", before=words.price(*was), after=words.price(*will), effect=effect),
        )
    rules = _PLAN if isinstance(new, PlanVersion) else _ADDON
    for what in fields.compare(old, new, rules, but=_SOLD):
        yield "changed", what
    for what in terms.compare(old.terms, new.terms, old.features, new.features):
        yield "changed", what


def _features(before: Catalog, after: Catalog) -> Iterator[Change]:
    for feature_id in sorted(before.features.keys() | after.features.keys()):
        old, new = before.features.get(feature_id), after.features.get(feature_id)
        some = new or old
        assert some is not None
        plans = tuple(plan.plan_id for plan in before.plans.values() if feature_id in plan.terms)
        addons = tuple(addon.addon_id for addon in before.addons.values() if feature_id in addon.terms)
        for kind, what in _one(old, new, f"feature of type {some.type}", _FEATURE):
            yield _change("feature", feature_id, some, kind, what, plans=plans, addons=addons)


def _guards(before: Catalog, after: Catalog) -> Iterator[Change]:
    was = {guard.id: guard for guard in before.guards}
    will = {guard.id: guard for guard in after.guards}
    for guard_id in sorted(was.keys() | will.keys()):
        old, new = was.get(guard_id), will.get(guard_id)
        some = new or old
        assert some is not None
        plans = _reached(before, old, new)
        if old is None or new is None:
            scope = words.listed(some.features) if some.features else "every feature"
            said = f"refuses {scope}: {some.reason}" if old is None else "refuses nothing any more"
            what = Difference(field=said, effect="worse" if old is None else "better")
            kind: Kind = "new" if old is None else "gone"
            yield Change(subject="guard", id=guard_id, name=guard_id, kind=kind, what=what, plans=plans)
            continue
        for what in (*fields.compare(old, new, _GUARD, but=_GUARD_TEXT), *_rewritten(old, new)):
            yield Change(subject="guard", id=guard_id, name=guard_id, kind="changed", what=what, plans=plans)


def _rewritten(old: Guard, new: Guard) -> Iterator[Difference]:
    """The condition, apart from the sentence that it refuses with: nobody can say whom it hits now."""
    was, will = (" ".join(one.text.replace(one.reason, "").split()) for one in (old, new))
    scope = (old.features, old.request_keys, old.tags) != (new.features, new.request_keys, new.tags)
    if was != will or scope:
        yield Difference(field="condition", before=_code(was), after=_code(will), effect="worse")


def _reached(before: Catalog, old: Guard | None, new: Guard | None) -> tuple[str, ...] | None:
    """The plans with a feature of its scope; None for all."""
    scopes = [guard.features for guard in (old, new) if guard is not None]
    if any(scope is None for scope in scopes):
        return None
    named = {feature_id for scope in scopes for feature_id in scope or ()}
    return tuple(plan.plan_id for plan in before.plans.values() if named & plan.terms.keys())


def _invariants(before: Sequence[Invariant], after: Sequence[Invariant]) -> Iterator[Change]:
    was = {one.name: one for one in before}
    will = {one.name: one for one in after}
    rules = {"exempt": Rule("except", say=words.listed), "owed": Rule("owed at most")}
    for name in sorted(was.keys() | will.keys()):
        old, new = was.get(name), will.get(name)
        some = new or old
        assert some is not None
        for kind, what in _one(old, new, f"invariant {some.rule} ({some.severity})", rules):
            yield Change(subject="invariant", id=name, name=name, kind=kind, what=what)


def _whole(before: Catalog, after: Catalog) -> Iterator[Change]:
    rules = {
        "fallback_plan": Rule("plan of who has ended", _fallback),
        "ladder": Rule("ladder", say=lambda value: " < ".join(map(str, value)) if value else "none"),  # type: ignore[call-overload]
    }
    but = frozenset({"hash", "features", "plans", "addons", "guards", "invariants"})
    for what in fields.compare(before, after, rules, but=but):
        everybody = None if what.effect != "neutral" else ()
        yield Change(subject="catalog", id="", name="Catalog", kind="changed", what=what, plans=everybody)


def _fallback(before: object, _after: object) -> Effect:
    return "better" if before is None else "worse"


def _one(
    old: Feature | Invariant | None, new: Feature | Invariant | None, called: str, rules: Mapping[str, Rule]
) -> Iterator[tuple[Kind, Difference]]:
    if old is not None and new is not None:
        for what in fields.compare(old, new, rules):
            yield "changed", what
    else:
        yield (
            ("new" if old is None else "gone"),
            Difference(field=f"{called}, {'new' if old is None else 'gone'}"),
        )


def _change(
    subject: Subject,
    named: str,
    some: Feature,
    kind: Kind,
    what: Difference,
    *,
    plans: tuple[str, ...],
    addons: tuple[str, ...],
) -> Change:
    return Change(subject=subject, id=named, name=some.name, kind=kind, what=what, plans=plans, addons=addons)


def _code(text: str) -> str:
    return text if len(text) <= _CODE else f"{text[:_CODE]}…"
