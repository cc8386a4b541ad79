"""What a publish would do to those already subscribed, plan by plan and by name, before it is done."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from policies import limits, quantity
from policies.compiler.findings import Finding
from policies.diff import compare
from policies.diff.change import Bound, Measure
from policies.model import AddonVersion, Catalog, Interval, PlanVersion
from service.context import Context
from service.usecases import difference, moves
from service.usecases.difference import Comparison, Facts, is_above
from service.usecases.moves import When
from store import catalogs, postgres, subscribers
from store.subscribers import Asked, On

Sold = PlanVersion | AddonVersion


class Loss(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """So many tenants have a feature that the new version has not."""

    feature_id: str
    tenants: int


class Over(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """So many tenants have used more than a number of the new version already."""

    feature_id: str
    measure: Measure
    interval: Interval
    number: int | str
    """In the feature's unit."""
    tenants: int


class Tenant(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a move would mean to one tenant."""

    tenant_id: str
    name: str
    version: str
    """The one that it has."""
    above: list[str]
    """Features of which it has used more than the new version allows in a period or a cap's window."""
    loses: list[str]
    """Features that the new version has not."""


class Touched(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One plan or add-on of which tenants have another version than the new one."""

    id: str
    kind: str
    """`plan` or `addon`."""
    version: str
    """The new one."""
    move: When
    tenants: int
    """On other versions."""
    versions: dict[str, int]
    """Which ones, and how many tenants are on each."""
    above: list[Over]
    loses: list[Loss]
    first: list[Tenant]
    """The first of them, by name."""


class Preview(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What would come of it. Nothing has been done."""

    hash: str
    based_on: str
    """The hash that is active now; to be sent back with the publish. Empty: none is."""
    comparison: Comparison
    subscribed: list[Touched]
    findings: list[Finding]


async def preview(
    context: Context, catalog: Catalog, wish: Mapping[str, When], findings: Sequence[Finding] = ()
) -> Preview:
    """Held against the tenants that there are now.

    Errors: InvalidError for a move of what the catalog has not, UnavailableError.
    """
    moves.plan(catalog, wish)
    now = context.clock.now()
    async with postgres.transaction(context.pool) as connection:
        active_hash = await catalogs.read_active_hash(connection) or ""
        before = await catalogs.read(connection, active_hash) if active_hash else None
        gone = await difference.left_behind(connection, active_hash or None, catalog, now)
        facts = await difference.read_facts(connection, now)
    comparison = await difference.compare(context, before, catalog)
    named = dict.fromkeys([*_changed(before, catalog), *wish])
    touched = [_on_others(noun, facts) for noun in _nouns(catalog, named)]
    return Preview(
        hash=catalog.hash,
        based_on=active_hash,
        comparison=comparison,
        subscribed=[await _touched(context, noun, on, wish, now) for noun, on in touched if on],
        findings=[*findings, *gone],
    )


def _changed(before: Catalog | None, after: Catalog) -> list[str]:
    """The ids of plans and add-ons that have another version than before."""
    if before is None:
        return []
    plans = [one for one in after.plans if _version(before.plans.get(one)) != after.plans[one].version]
    addons = [one for one in after.addons if _version(before.addons.get(one)) != after.addons[one].version]
    return [*plans, *addons]


def _version(sold: Sold | None) -> str:
    return "" if sold is None else sold.version


def _nouns(catalog: Catalog, named: Iterable[str]) -> list[Sold]:
    """What bears these ids; a plan and an add-on may share one, and then move together."""
    found: list[Sold] = []
    for one in named:
        found += [sold for sold in (catalog.plans.get(one), catalog.addons.get(one)) if sold]
    return list({sold.version: sold for sold in found}.values())


def _on_others(new: Sold, facts: Facts) -> tuple[Sold, list[On]]:
    """With the other versions of it that somebody has."""
    held = facts.plans if isinstance(new, PlanVersion) else facts.addons
    return new, [one for one in held if one.id == _id(new) and one.version != new.version]


def _id(sold: Sold) -> str:
    return sold.plan_id if isinstance(sold, PlanVersion) else sold.addon_id


async def _touched(
    context: Context, new: Sold, on: Sequence[On], wish: Mapping[str, When], now: datetime
) -> Touched:
    is_plan, noun_id = isinstance(new, PlanVersion), _id(new)
    versions = [one.version for one in on]
    known = await context.catalogs.need(versions if is_plan else (), () if is_plan else versions)
    bodies: Mapping[str, Sold] = known.plans if is_plan else known.addons
    loses = {one.version: sorted(bodies[one.version].terms.keys() - new.terms.keys()) for one in on}
    asked = _asked(new, [bodies[version] for version in versions])
    first, above = await _usage(context, asked, loses, now)
    lost: dict[str, int] = {}
    for one in on:
        for feature_id in loses[one.version]:
            lost[feature_id] = lost.get(feature_id, 0) + one.tenants
    return Touched(
        id=noun_id,
        kind="plan" if is_plan else "addon",
        version=new.version,
        move=wish.get(noun_id, "keep"),
        tenants=sum(one.tenants for one in on),
        versions={one.version: one.tenants for one in on},
        above=[_over(one.bound, new, count) for one, count in zip(asked, above, strict=True) if count],
        loses=[Loss(feature_id=one, tenants=count) for one, count in sorted(lost.items())],
        first=first,
    )


def _asked(new: Sold, olds: Iterable[Sold]) -> list[Asked]:
    """Every number of the new version that is lower than in a version that somebody is on."""
    if not isinstance(new, PlanVersion):
        return []
    found = {
        what.bound: Asked(plan_id=new.plan_id, bound=what.bound)
        for old in olds
        for _, what in compare.sold(old, new)
        if what.bound is not None
    }
    return list(found.values())


async def _usage(
    context: Context,
    asked: Sequence[Asked],
    loses: Mapping[str, list[str]],
    now: datetime,
) -> tuple[list[Tenant], list[int]]:
    """The first tenants by name with what it means to each; how many are above each number."""
    async with postgres.transaction(context.pool) as connection:
        first = await subscribers.first_of(connection, list(loses), at=now, limit=limits.PREVIEW_TENANTS)
        ids = [one.tenant_id for one in first]
        named = await subscribers.above(connection, asked, at=now, only=ids) if asked and ids else []
        all_above = await subscribers.above(connection, asked, at=now) if asked else []
    over: dict[str, set[str]] = {tenant_id: set() for tenant_id in ids}
    for one in named:
        bound = asked[one.place].bound
        if one.tenant_id is not None and is_above(bound, one, now):
            over[one.tenant_id].add(bound.feature_id)
    counts = [0] * len(asked)
    for one in all_above:
        if is_above(asked[one.place].bound, one, now):
            counts[one.place] += one.tenants
    tenants = [
        Tenant(
            tenant_id=one.tenant_id,
            name=one.name,
            version=one.version,
            above=sorted(over[one.tenant_id]),
            loses=loses[one.version],
        )
        for one in first
    ]
    return tenants, counts


def _over(bound: Bound, new: Sold, tenants: int) -> Over:
    return Over(
        feature_id=bound.feature_id,
        measure=bound.measure,
        interval=bound.interval,
        number=quantity.render(bound.number, new.features[bound.feature_id].decimals),
        tenants=tenants,
    )
