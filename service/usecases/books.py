"""The books: is what is kept of usage the same wherever it is kept? What differs is told, never put right.

A difference is suspected until a second look, some time later, has found the same; then it is drift.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from datetime import datetime, timedelta

import msgspec

from policies import drift as rule
from policies import errors, limits
from policies.drift import Class
from service.context import Context
from service.usecases import looking, tenants
from service.usecases.looking import Found, Scope
from store import drift, keyspace, postgres, queries, rounds, sight
from store.drift import Kept, Known
from store.rounds import Part

AGAIN = timedelta(seconds=limits.BOOKS_AGAIN_S)
_SHOWN: dict[bool, tuple[rule.State, ...]] = {False: ("open",), True: ("open", "suspected", "gone")}

sql = queries.Queries("books")
log = logging.getLogger("metergate.books")


class Listed(msgspec.Struct, frozen=True, rename="camel"):
    """What is known to differ, the oldest first, and how far the books were gone through."""

    items: list[Known]
    looked_through: datetime | None
    """All that was counted by then has been looked at since."""


class Checked(msgspec.Struct, frozen=True, rename="camel"):
    """What came of going through the books by hand."""

    tenants: int
    """Whose books were looked at."""
    open: list[Known]
    """What differs, found by two looks."""
    unsure: dict[str, str]
    """Tenants of whom nothing can be said, and why."""


class State(msgspec.Struct, frozen=True):
    """How the books stand, in numbers."""

    open: dict[Class, int]
    looked_through: datetime | None


async def state(context: Context) -> State:
    """How many differences of each class are open, and how far the books were gone through.

    Errors: UnavailableError.
    """
    async with postgres.transaction(context.pool) as connection:
        found = {one.kind: one.number for one in await drift.open_by_class(connection)}
        return State(found, await rounds.oldest(connection))


async def listed(
    context: Context, *, all_: bool = False, tenant_id: str | None = None, kind: Class | None = None
) -> Listed:
    """What differs; with `all_` also what is only suspected, and what is gone.

    Errors: UnavailableError.
    """
    async with postgres.transaction(context.pool) as connection:
        items = await drift.listed(
            connection, _SHOWN[all_], tenant_id=tenant_id, kind=kind, limit=limits.DRIFT_LISTED
        )
        return Listed(items, await rounds.oldest(connection))


async def get(context: Context, drift_id: str) -> Known:
    """One difference with its evidence.

    Errors: NotFoundError, UnavailableError.
    """
    async with postgres.transaction(context.pool) as connection:
        found = await drift.find(connection, drift_id)
    if found is None:
        raise errors.NotFoundError(f"There is no drift {drift_id}.")
    return found


async def look(
    context: Context,
    tenant_ids: Collection[str],
    *,
    now: datetime,
    apart: timedelta = AGAIN,
    windows: Collection[tuple[str, str]] = (),
    days: int = limits.BOOKS_DAYS,
) -> tuple[Found, Kept]:
    """Looks at the books of these tenants once, and keeps what that has found.

    Errors: UnavailableError, RedisAwayError.
    """
    async with postgres.transaction(context.pool) as connection:
        known = await drift.of_tenants(connection, tenant_ids)
    found = await looking.look(context, tenant_ids, Scope(now, known, windows, days))
    async with postgres.transaction(context.pool) as connection:
        kept = await drift.keep(connection, found.looked, found.drifts, now=now, apart=apart)
    for one in kept.opened:
        log.error("drift %s: %s", one.drift_id, msgspec.json.encode(one).decode())
    return found, kept


async def look_again(context: Context, *, now: datetime) -> Kept:
    """Looks once more at tenants of whom something was suspected a while ago.

    Errors: UnavailableError, RedisAwayError.
    """
    async with postgres.transaction(context.pool) as connection:
        due = await drift.due(connection, before=now - AGAIN, limit=limits.BOOKS_PAGE)
    if not due:
        return Kept()
    return (await look(context, due, now=now))[1]


async def go_on(context: Context, *, now: datetime) -> tuple[int, Kept] | None:
    """Takes the part of the books that waited longest one page further; None if all of them rest.

    How many tenants were looked at, and what that has found.
    Errors: UnavailableError, RedisAwayError.
    """
    rested = now - timedelta(seconds=limits.BOOKS_ROUND_S)
    async with postgres.transaction(context.pool) as connection:
        part = await rounds.take(connection, now=now, before=rested)
    if part is None:
        return None
    page = await _page(context, part, now)
    found, kept = await look(context, page.tenants, now=now, windows=page.windows)
    if not found.unsure:
        async with postgres.transaction(context.pool) as connection:
            await rounds.advance(connection, part, page.after, looked=page.looked, now=now)
    return len(found.looked), kept


class _Page(msgspec.Struct, frozen=True):
    """Tenants to be looked at, windows of theirs beside those that Postgres knows, and where to go on."""

    tenants: list[str]
    windows: Collection[tuple[str, str]]
    after: str
    looked: int


async def _page(context: Context, part: Part, now: datetime, *, tenant_id: str | None = None) -> _Page:
    if part.part == rounds.KEYS:
        names, after = await rounds.windows(context.counters.link, part.after, tenant_id=tenant_id)
        unknown = await _unknown(context, {name for name in names if sight.lives(name[1], now)})
        return _Page(sorted({name[0] for name in unknown}), unknown, after, len(names))
    async with postgres.transaction(context.pool) as connection:
        page = await rounds.tenants(connection, part.shard, part.after, limit=limits.BOOKS_PAGE)
    return _Page(page, (), page[-1] if len(page) == limits.BOOKS_PAGE else "", len(page))


class _Window(msgspec.Struct, frozen=True):
    tenant_id: str
    time_window: str


async def _unknown(context: Context, names: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of which Postgres has no sum."""
    params = {"tenants": [name[0] for name in names], "windows": [name[1] for name in names]}
    async with postgres.transaction(context.pool) as connection:
        found = await postgres.rows(connection, sql.unknown_windows, params, _Window)
    return {(one.tenant_id, one.time_window) for one in found}


async def check(context: Context, tenant_id: str | None, *, apart_s: float) -> Checked:
    """Looks at a tenant or at all, and at all that Redis has counted of them: twice where something differs.

    Errors: NotFoundError for a tenant that does not exist; UnavailableError, RedisAwayError.
    """
    await context.catalogs.refresh()
    checked = Checked(0, [], {})
    async for page in _everybody(context, tenant_id):
        found, kept = await _twice(context, page, apart_s)
        checked = Checked(
            checked.tenants + len(found.looked),
            [*checked.open, *kept.open],
            {**checked.unsure, **found.unsure},
        )
    return checked


async def _everybody(context: Context, tenant_id: str | None) -> AsyncIterator[_Page]:
    """All pages of all parts; of one tenant all that Redis has counted of it."""
    if tenant_id is None:
        parts = [*(f"s{shard:03}" for shard in range(keyspace.SHARDS)), rounds.KEYS]
    else:
        if not (await context.snapshots.load(tenant_id)).known:
            raise tenants.unknown(tenant_id)
        parts = [rounds.KEYS]
        yield _Page([tenant_id], (), "", 1)
    for name in parts:
        part = Part(name, "")
        while True:
            page = await _page(context, part, context.clock.now(), tenant_id=tenant_id)
            if page.tenants:
                yield page
            if not page.after:
                break
            part = Part(name, page.after)


async def _twice(context: Context, page: _Page, apart_s: float) -> tuple[Found, Kept]:
    """The second look is only at whom the first had something to say of."""
    apart, days = timedelta(seconds=apart_s), limits.EVENT_AGE_DAYS
    now = context.clock.now()
    found, kept = await look(context, page.tenants, now=now, apart=apart, windows=page.windows, days=days)
    doubtful = {one.tenant_id for one in kept.suspected} | set(found.unsure)
    if not doubtful:
        return found, kept
    await asyncio.sleep(apart_s)
    now = context.clock.now()
    again, after = await look(context, doubtful, now=now, apart=apart, windows=page.windows, days=days)
    sure = tuple(tenant_id for tenant_id in found.looked if tenant_id not in doubtful)
    settled = tuple(one for one in kept.open if one.tenant_id not in doubtful)
    return (
        Found(looked=(*sure, *again.looked), unsure=again.unsure),
        Kept(open=(*settled, *after.open)),
    )
