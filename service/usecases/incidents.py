"""Incidents: what happened to the journal that never should, and what somebody made of it."""

from datetime import datetime

import msgspec

from policies import errors
from service.context import Context
from service.usecases import changes
from service.usecases.changes import Changed, Done, Order, Reply
from store import incidents, postgres
from store.incidents import Stored

ROUTE = "incidents"


class IncidentView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One of them."""

    incident_id: int
    kind: str
    shard: int
    entries: int | None
    """How many entries of the journal, where that is known."""
    detail: str
    found_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    reason: str | None


async def listed(context: Context, *, closed: bool, limit: int) -> list[IncidentView]:
    """The newest first; `closed`: also those that somebody has closed.

    Errors: UnavailableError.
    """
    async with postgres.transaction(context.pool) as connection:
        return [_view(one) for one in await incidents.listed(connection, closed=closed, limit=limit)]


async def close(context: Context, order: Order, incident_id: int, *, reason: str) -> Reply:
    """Says what was made of it; it stays to be seen.

    Errors: NotFoundError; ConflictError for one that is closed; UnavailableError.
    """

    async def act(connection: postgres.Connection, now: datetime) -> Done:
        found = await incidents.find(connection, incident_id)
        if found is None:
            raise errors.NotFoundError(f"There is no incident {incident_id}.")
        if found.closed_at is not None:
            raise errors.ConflictError(f"{found.closed_by} has closed incident {incident_id}: {found.reason}")
        by = order.caller.actor
        await incidents.close(connection, incident_id, by=by, reason=reason, now=now)
        after = _view(msgspec.structs.replace(found, closed_at=now, closed_by=by, reason=reason))
        changed = Changed(
            action="incident.close", subject=str(incident_id), before=_view(found), after=after, reason=reason
        )
        return Done(result=after, changed=[changed])

    return await changes.carry_out(context, order, act, route=ROUTE, request=(incident_id, reason))


def _view(one: Stored) -> IncidentView:
    return IncidentView(
        incident_id=one.incident_id,
        kind=one.kind,
        shard=one.shard,
        entries=one.entries,
        detail=one.detail,
        found_at=one.found_at,
        closed_at=one.closed_at,
        closed_by=one.closed_by,
        reason=one.reason,
    )
