"""Moves those already subscribed to the versions of a published catalog, in batches, as often as it takes.

Each batch is a transaction of its own: phases, audit lines and snapshot versions of its tenants. So what was
interrupted is carried on by asking for the same moves again; who has been moved is left as they are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from policies import errors, limits, moving, subscription
from policies.model import Catalog, Versions
from policies.moving import Targets
from policies.rating import bill
from policies.snapshot import Snapshot
from policies.subscription import Subscription
from service.context import Caller, Context
from store import audit, moves, postgres
from store.subscriptions import Rewritten

When = Literal["keep", "now", "renewal"]
Progress = Callable[[int, int], None]
"""Told after each batch how many tenants have been looked at, of how many."""

_MEANWHILE: Final = "It was changed at this very moment; ask for the same moves again."


class Left(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A tenant that was not moved, and why."""

    tenant_id: str
    reason: str


class Moved(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of the moves."""

    moved: int = 0
    """Tenants whose subscription was changed, now or from their renewal on."""
    already: int = 0
    """Tenants who have it already, or at their renewal."""
    left: int = 0
    """Tenants who could not be moved; the first of them are in `reasons`."""
    reasons: list[Left] = []
    done: bool = True
    """False: there are more; publish the same catalog with the same moves again."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The versions to move to, at once and at renewal."""

    now: Targets
    renewal: Targets

    @property
    def all(self) -> Targets:
        """Both together."""
        return Targets(
            plans={**self.now.plans, **self.renewal.plans}, addons={**self.now.addons, **self.renewal.addons}
        )


def plan(catalog: Catalog, wish: Mapping[str, When]) -> Plan | None:
    """What a wish comes to in a catalog; None if everybody keeps what they have.

    Errors: InvalidError naming every id that the catalog has not.
    """
    unknown = tuple(
        errors.FieldError(f"/moves/{named}", f'The new catalog has no plan and no add-on "{named}".')
        for named in wish
        if named not in catalog.plans and named not in catalog.addons
    )
    if unknown:
        raise errors.InvalidError(unknown[0].message, errors=unknown)

    def chosen(when: When) -> Targets:
        ids = {named for named, said in wish.items() if said == when}
        return Targets(
            plans={plan_id: one for plan_id, one in catalog.plans.items() if plan_id in ids},
            addons={addon_id: one for addon_id, one in catalog.addons.items() if addon_id in ids},
        )

    wanted = Plan(now=chosen("now"), renewal=chosen("renewal"))
    return wanted if wanted.all.plans or wanted.all.addons else None


async def carry_out(
    context: Context,
    caller: Caller,
    wanted: Plan,
    *,
    message: str,
    on_progress: Progress | None = None,
    most: int | None = None,
) -> Moved:
    """Moves everybody whom it concerns; with `most`, no more than about that many in this call.

    Errors: UnavailableError; the batches before it stand.
    """
    total, after, seen = 0, "", 0
    so_far = Moved()
    async with postgres.transaction(context.pool) as connection:
        total = await moves.count(connection, wanted.all, context.clock.now())
    while True:
        now = context.clock.now()
        async with postgres.transaction(context.pool) as connection:
            batch = await moves.candidates(connection, wanted.all, now, after=after, limit=limits.MOVE_BATCH)
        if not batch:
            return so_far
        if most is not None and so_far.moved >= most:
            return msgspec.structs.replace(so_far, done=False)
        so_far = _sum(so_far, await _move_batch(context, caller, wanted, batch, message=message, now=now))
        after, seen = batch[-1], seen + len(batch)
        if on_progress is not None:
            on_progress(seen, max(total, seen))


async def _move_batch(
    context: Context, caller: Caller, wanted: Plan, batch: Sequence[str], *, message: str, now: datetime
) -> Moved:
    versions = await _versions(context, batch, now)
    async with postgres.transaction(context.pool) as connection:
        still_open = await moves.lock(connection, batch)
        rewritten, lines, reasons = list[Rewritten](), list[audit.Line](), list[Left]()
        found = await moves.read(connection, still_open, now)
        for tenant_id in still_open:
            held = found[tenant_id].subscriptions[-1]
            try:
                new = _moved(held, wanted, versions, now)
            except errors.ConflictError as error:
                reasons.append(Left(tenant_id=tenant_id, reason=error.detail))
                continue
            if new != held:
                rewritten.append(Rewritten(tenant_id, held, new))
                lines.append(_line(caller, tenant_id, held, new, message=message, now=now))
        raised = await moves.write(connection, rewritten, lines) if rewritten else {}
    await context.snapshots.announce_all(raised)
    already = len(batch) - len(rewritten) - len(reasons)
    return Moved(moved=len(rewritten), already=already, left=len(reasons), reasons=reasons)


async def _versions(context: Context, batch: Sequence[str], now: datetime) -> Versions:
    """The bodies that the batch's subscriptions name: no transaction waits for a second connection."""
    async with postgres.transaction(context.pool) as connection:
        found = await moves.read(connection, batch, now)
    phases = [phase for snapshot in found.values() for phase in _phases(snapshot)]
    addons = {one.addon_version for phase in phases for one in phase.addons}
    return await context.catalogs.need({phase.plan_version for phase in phases}, addons)


def _phases(snapshot: Snapshot) -> Iterator[subscription.Phase]:
    for held in snapshot.subscriptions[-1:]:
        yield from held.phases


def _moved(held: Subscription, wanted: Plan, versions: Versions, now: datetime) -> Subscription:
    """Errors: ConflictError."""
    try:
        present = subscription.phase_at(held, now)
        if present is not None and (target := wanted.now.plans.get(present.plan_id)) is not None:
            bill.refuse_mixture(versions.plans[present.plan_version], target)
        after = moving.move(held, wanted.now, versions, at_effective=now, now=now)
        if not wanted.renewal.plans and not wanted.renewal.addons:
            return after
        begun = present or held.phases[0]
        at = subscription.renewal(held, versions.plans[begun.plan_version].interval, now)
        return moving.move(after, wanted.renewal, versions, at_effective=at, now=now)
    except KeyError as error:  # a version that the batch had not when it was read
        raise errors.ConflictError(_MEANWHILE) from error


def _line(
    caller: Caller, tenant_id: str, before: Subscription, after: Subscription, *, message: str, now: datetime
) -> audit.Line:
    return audit.Line(
        at=now,
        actor=caller.actor,
        action="subscription.move",
        subject=before.id,
        tenant_id=tenant_id,
        before=before,
        after=after,
        reason=message,
        request_id=caller.request_id,
    )


def _sum(one: Moved, other: Moved) -> Moved:
    return Moved(
        moved=one.moved + other.moved,
        already=one.already + other.already,
        left=one.left + other.left,
        reasons=[*one.reasons, *other.reasons][: limits.MOVES_LEFT],
    )
