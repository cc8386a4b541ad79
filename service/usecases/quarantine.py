"""Journal entries that were put aside: seen, and applied or dismissed by somebody who says why.

Either way the counters of the shard are rebuilt from what Postgres then has: its fence is closed, and a
worker opens it again within a second.
"""

from datetime import datetime

import msgspec

from policies import errors
from service.context import Context
from service.usecases import changes
from service.usecases.changes import Changed, Done, Order, Reply
from store import flush, keyspace, postgres, quarantine
from store.journal import Line
from store.quarantine import Aside, Ending

ROUTE = "quarantine"


class AsideView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An entry that was put aside."""

    shard: int
    entry_id: str
    reason: str
    found_at: datetime
    size: int
    """Bytes that stand in it."""
    events: int | None
    """None: its digest is wrong, so that nothing in it can be believed."""
    ended_at: datetime | None
    ended_as: Ending | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Which entry is meant, and why something becomes of it."""

    shard: int
    entry_id: str
    reason: str


class AsideWhole(AsideView, frozen=True, kw_only=True, rename="camel"):
    """The same with all that stands in it."""

    lines: list[Line]
    fields: dict[str, str]
    """As it stood in the journal, in base64."""


async def listed(context: Context, *, ended: bool, limit: int) -> list[AsideView]:
    """The newest first; `ended`: also what was applied or dismissed.

    Errors: UnavailableError.
    """
    async with postgres.transaction(context.pool) as connection:
        return [_view(one) for one in await quarantine.listed(connection, ended=ended, limit=limit)]


async def show(context: Context, shard: int, entry_id: str) -> AsideWhole:
    """One with its content.

    Errors: NotFoundError, UnavailableError.
    """
    async with postgres.transaction(context.pool) as connection:
        aside = await _find(connection, shard, entry_id)
    lines = list(aside.entry().events)
    return AsideWhole(**msgspec.structs.asdict(_view(aside)), lines=lines, fields=aside.fields)


async def apply(context: Context, order: Order, verdict: Verdict) -> Reply:
    """Keeps what the entry says after all; what Postgres has by now of it is not counted again.

    Errors: NotFoundError; ConflictError for one that is dealt with, that nobody can believe, or that Postgres
    still refuses; UnavailableError.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        aside = await _waiting(connection, verdict)
        entry = aside.entry()
        if entry.damage:
            raise errors.ConflictError(f"Nobody can believe what it says: {entry.damage}. Dismiss it.")
        await _close_shard(context, connection, aside.shard)
        try:
            await flush.keep_aside(connection, aside.shard, entry, now=now)
        except flush.RefusedError as error:
            raise errors.ConflictError(f"The database still refuses it: {error}.") from error
        await quarantine.end(
            connection, aside, "applied", by=order.caller.actor, reason=verdict.reason, now=now
        )
        return _done(aside, "applied", verdict, now)

    return await changes.carry_out(context, order, act, route=f"{ROUTE} apply", request=verdict)


async def dismiss(context: Context, order: Order, verdict: Verdict) -> Reply:
    """Gives it up: what it says never counts. It stays to be seen.

    Errors: NotFoundError; ConflictError for one that is dealt with; UnavailableError.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        aside = await _waiting(connection, verdict)
        await _close_shard(context, connection, aside.shard)
        await quarantine.end(
            connection, aside, "dismissed", by=order.caller.actor, reason=verdict.reason, now=now
        )
        return _done(aside, "dismissed", verdict, now)

    return await changes.carry_out(context, order, act, route=f"{ROUTE} dismiss", request=verdict)


async def _close_shard(context: Context, connection: postgres.Connection, shard: int) -> None:
    """Whoever certifies it waits for the cursor's row, and so for the commit of this change."""
    await postgres.scalars(connection, flush.sql.wait_for_cursors, {"shards": [shard]})
    await context.counters.send_all([("DEL", keyspace.fence(shard))])


def _done(aside: Aside, ending: Ending, verdict: Verdict, now: datetime) -> Done:
    ended = msgspec.structs.replace(aside, ended_at=now, ended_as=ending)
    changed = Changed(
        action=f"quarantine.{'apply' if ending == 'applied' else 'dismiss'}",
        subject=f"{aside.shard}/{aside.entry_id}",
        before=_view(aside),
        after=_view(ended),
        reason=verdict.reason,
    )
    return Done(result=_view(ended), changed=[changed])


async def _waiting(connection: postgres.Connection, verdict: Verdict) -> Aside:
    aside = await _find(connection, verdict.shard, verdict.entry_id)
    if aside.ended_as is not None:
        raise errors.ConflictError(f"Entry {aside.entry_id} was {aside.ended_as} already.")
    return aside


async def _find(connection: postgres.Connection, shard: int, entry_id: str) -> Aside:
    aside = await quarantine.find(connection, shard, entry_id)
    if aside is None:
        raise errors.NotFoundError(f"No entry {entry_id} of shard {shard} was put aside.")
    return aside


def _view(aside: Aside) -> AsideView:
    entry = aside.entry()
    return AsideView(
        shard=aside.shard,
        entry_id=aside.entry_id,
        reason=aside.reason,
        found_at=aside.found_at,
        size=aside.size,
        events=None if entry.damage else len(entry.events),
        ended_at=aside.ended_at,
        ended_as=aside.ended_as,
    )
