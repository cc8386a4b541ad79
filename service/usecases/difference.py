"""What is different between two catalogs, and for how many tenants."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from policies import errors, period
from policies.compiler.findings import Finding
from policies.diff import compare as catalogs_diff
from policies.diff.change import Bound, Change, Effect, Kind, Subject
from policies.model import Catalog
from service.context import Context
from store import catalogs, postgres, subscribers
from store import usage as usage_store
from store.subscribers import Above, Asked, On

EMPTY = Catalog(hash="", features={}, plans={})
"""What a first catalog is compared with."""


class Told(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One difference, and whom it touches. Counts are null where nobody was asked."""

    subject: Subject
    id: str
    name: str
    kind: Kind
    effect: Effect
    feature_id: str | None
    field: str
    before: str
    after: str
    tenants: int | None
    """Tenants whom it touches, on any version."""
    above: int | None
    """Of a lowered number: tenants who have used more than that already."""
    sentence: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Two catalogs side by side."""

    before: str
    """Its hash; empty if there was none."""
    after: str
    as_of: datetime
    usage_through: datetime | None
    """Usage that was acknowledged before is counted; null: not known of every shard yet."""
    worse: bool
    """Is something worse for somebody?"""
    tenants: dict[str, int] | None
    """On each plan, in any version."""
    changes: list[Told]
    findings: list[Finding] = []


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Who is subscribed to what."""

    plans: list[On]
    addons: list[On]
    as_of: datetime
    usage_through: datetime | None

    def on_plan(self, plan_id: str) -> int:
        """Tenants on a plan, in any version."""
        return sum(one.tenants for one in self.plans if one.id == plan_id)

    def with_addon(self, addon_id: str) -> int:
        """Tenants with an add-on, in any version."""
        return sum(one.tenants for one in self.addons if one.id == addon_id)


async def compare(context: Context, before: Catalog | None, after: Catalog) -> Comparison:
    """Held against the tenants that there are. Of a lowered number, usage past it in the present window.

    Errors: UnavailableError.
    """
    changes = catalogs_diff.compare(before or EMPTY, after)
    now = context.clock.now()
    async with postgres.transaction(context.pool) as connection:
        facts = await read_facts(connection, now)
        asked = bounds(changes)
        found = await subscribers.above(connection, asked, at=now) if asked else []
    above = _counts(asked, found, now)
    return _comparison(before, after, changes, facts=facts, above=above)


def alone(before: Catalog | None, after: Catalog, now: datetime) -> Comparison:
    """The same where there are no tenants to ask about."""
    return _comparison(before, after, catalogs_diff.compare(before or EMPTY, after), now=now)


async def read_facts(connection: postgres.Connection, now: datetime) -> Facts:
    """Who is on what at an instant."""
    return Facts(
        plans=await subscribers.on_plans(connection, now),
        addons=await subscribers.with_addons(connection, now),
        as_of=now,
        usage_through=await usage_store.flushed_through(connection, None),
    )


async def read(context: Context, catalog_hash: str) -> Catalog:
    """A published catalog.

    Errors: NotFoundError.
    """
    async with postgres.transaction(context.pool) as connection:
        found = await catalogs.read(connection, catalog_hash)
    if found is None:
        raise errors.NotFoundError(f"There is no published catalog {catalog_hash}.")
    return found


async def base(context: Context, catalog_hash: str | None) -> Catalog | None:
    """The catalog of this hash, or the active one; None if there is none yet.

    Errors: NotFoundError, UnavailableError.
    """
    if not catalog_hash:
        async with postgres.transaction(context.pool) as connection:
            catalog_hash = await catalogs.read_active_hash(connection)
    return await read(context, catalog_hash) if catalog_hash else None


async def left_behind(
    connection: postgres.Connection, active_hash: str | None, after: Catalog, now: datetime
) -> list[Finding]:
    """A warning for each plan and add-on that is taken away while tenants have it."""
    offer = await catalogs.read_offer(connection, active_hash) if active_hash else None
    if offer is None:
        return []
    gone = [("plan", "plans", plan_id) for plan_id in sorted(offer.plans) if plan_id not in after.plans]
    gone += [("add-on", "addons", one) for one in sorted(offer.addons) if one not in after.addons]
    if not gone:
        return []
    facts = await read_facts(connection, now)
    count = {"plan": facts.on_plan, "add-on": facts.with_addon}
    return [
        Finding(
            path=f"{folder}/{named}.yaml",
            line=1,
            column=1,
            severity="warning",
            slug="removed",
            text="",
            message=f'the {noun} "{named}" is taken away, and {_tenants(count[noun](named))} it',
            hint="they keep the version they have, and nobody new can have it",
        )
        for noun, folder, named in gone
        if count[noun](named)
    ]


def bounds(changes: Sequence[Change]) -> list[Asked]:
    """Every number that was lowered, for each plan whose tenants it touches."""
    return [
        Asked(plan_id=change.id, bound=change.what.bound)
        for change in changes
        if change.subject == "plan" and change.what.bound is not None
    ]


def is_above(bound: Bound, one: Above, now: datetime) -> bool:
    """Whether the window that was found is the tenant's present one."""
    if one.began is None or one.anchored_at is None:
        return True
    anchor = "calendar" if bound.measure != "period" else bound.anchor
    span = period.containing(now, interval=bound.interval, anchor=anchor, anchored_at=one.anchored_at)
    return span.start <= one.began


def _tenants(count: int) -> str:
    return "1 tenant has" if count == 1 else f"{count:,} tenants have"


def _counts(asked: Sequence[Asked], found: Sequence[Above], now: datetime) -> dict[tuple[str, Bound], int]:
    counts = {(one.plan_id, one.bound): 0 for one in asked}
    for one in found:
        what = asked[one.place]
        if is_above(what.bound, one, now):
            counts[what.plan_id, what.bound] += one.tenants
    return counts


def _comparison(
    before: Catalog | None,
    after: Catalog,
    changes: Sequence[Change],
    *,
    facts: Facts | None = None,
    above: Mapping[tuple[str, Bound], int] | None = None,
    now: datetime | None = None,
) -> Comparison:
    told = [_told(change, facts, above or {}) for change in changes]
    as_of = facts.as_of if facts else now
    assert as_of is not None
    plans = sorted((before or EMPTY).plans.keys() | after.plans.keys())
    return Comparison(
        before=(before or EMPTY).hash,
        after=after.hash,
        as_of=as_of,
        usage_through=facts.usage_through if facts else None,
        worse=any(one.effect == "worse" and one.tenants != 0 for one in told),
        tenants={plan_id: facts.on_plan(plan_id) for plan_id in plans} if facts else None,
        changes=told,
    )


def _told(change: Change, facts: Facts | None, above: Mapping[tuple[str, Bound], int]) -> Told:
    what = change.what
    over = above.get((change.id, what.bound)) if what.bound is not None else None
    sentence = change.sentence()
    if over is not None:
        verb = "tenant is" if over == 1 else "tenants are"
        sentence += f"; {over:,} {verb} above the new number today"
    return Told(
        subject=change.subject,
        id=change.id,
        name=change.name,
        kind=change.kind,
        effect=what.effect,
        feature_id=what.feature_id,
        field=what.field,
        before=what.before,
        after=what.after,
        tenants=_touched(change, facts) if facts else None,
        above=over,
        sentence=sentence,
    )


def _touched(change: Change, facts: Facts) -> int:
    if change.plans is None:
        return sum(one.tenants for one in facts.plans)
    plans = sum(facts.on_plan(plan_id) for plan_id in change.plans)
    return plans or sum(facts.with_addon(addon_id) for addon_id in change.addons)
