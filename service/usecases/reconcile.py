"""Compares our records with a payment provider's, and makes a plan of what two looks have found.

Nothing is changed by it: a plan is a document, that somebody reads and applies, or does not.
"""

from collections.abc import Collection
from datetime import datetime

import msgspec

from policies import errors, limits
from policies.reconcile import classes, compare, looks
from policies.reconcile import plan as plans
from policies.reconcile.classes import Class
from policies.reconcile.finding import Finding
from policies.reconcile.plan import BooksLine, Plan, Scope
from service.context import Context
from service.usecases import changes, reconcile_sides
from service.usecases.reconcile_sides import Sides
from store import drift, postgres, reconcile
from store.crash_points import crash_point
from store.drift import Known
from store.reconcile import Action


class PlanView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A plan, and what was done by it."""

    plan: Plan
    done: list[Action]


class PlanPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of the list, newest first."""

    items: list[Plan]
    next_cursor: str | None


async def make(context: Context, scope: Scope, now: datetime) -> Plan:
    """Looks at both sides, keeps what was found beside what earlier looks have, and writes a plan of it.

    Errors: UnavailableError; nothing was kept then.
    """
    sides = await reconcile_sides.read(context, scope, now)
    found = compare.findings(sides.ours, sides.theirs, now)
    async with postgres.transaction(context.pool) as connection:
        before = await reconcile.findings(connection, now=now)
        kept = looks.looked(before, found, now, covered=_covered(scope, sides, found))
        await reconcile.keep(connection, kept)
        differing = await drift.listed(connection, ["open"], limit=limits.RECONCILE_BOOKS)
        made = plans.made(
            changes.new_id("pln", now),
            kept,
            scope=scope,
            looked_at=sides.looked_at,
            unread=sides.unread,
            now=now,
            books=[_books_line(one) for one in differing],
        )
        await reconcile.add_plan(connection, made)
    crash_point("reconcile-made")
    return made


async def get(context: Context, plan_id: str) -> PlanView:
    """A plan with what was done by it; the newest where the id is empty.

    Errors: NotFoundError.
    """
    async with postgres.transaction(context.pool) as connection:
        if not plan_id:
            found = next(iter(await reconcile.plans(connection, before="", limit=1)), None)
        else:
            found = await reconcile.plan(connection, plan_id)
        if found is None:
            raise errors.NotFoundError(
                f'There is no plan "{plan_id}".' if plan_id else "There is no plan yet."
            )
        return PlanView(plan=found, done=list(await reconcile.done(connection, found.plan_id)))


async def page(context: Context, *, before: str, limit: int) -> PlanPage:
    """Plans, the newest first, before the one of this id."""
    async with postgres.transaction(context.pool) as connection:
        found = await reconcile.plans(connection, before=before, limit=limit + 1)
    more = len(found) > limit
    return PlanPage(items=found[:limit], next_cursor=found[limit - 1].plan_id if more else None)


def _covered(scope: Scope, sides: Sides, found: Collection[Finding]) -> frozenset[Class]:
    strange = any(one.kind == "livemode_mismatch" for one in found)
    return classes.covered(listed=scope == "full", unread=bool(sides.unread), believed=not strange)


def _books_line(known: Known) -> BooksLine:
    return BooksLine(
        drift_id=known.drift_id,
        kind=known.kind,
        tenant_id=known.tenant_id,
        feature_id=known.feature_id,
        subject=known.subject,
        expected=str(known.expected),
        actual=str(known.actual),
        money=dict(known.money or {}),
        action=known.action,
        first_seen_at=known.first_seen_at,
    )
