"""Events one by one: what was counted, and what was not and why."""

import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from policies import errors, quantity
from service.context import Context
from store import postgres
from store import usage as usage_store
from store.usage import Rejected, StoredEvent

LATEST = "9999-12-31T00:00:00+00:00"
LAST_DIGEST = str(uuid.UUID(int=2**128 - 1))


class EventView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An event as it counted; `planId` is the plan of its instant, null without a subscription."""

    id: str
    tenant_id: str
    service_id: str
    feature_id: str
    entity_id: str | None
    quantity: int | str
    timestamp: datetime
    accepted_at: datetime
    plan_id: str | None
    properties: dict[str, str] | None


class RejectedView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An event that did not count: as it came, when, and why."""

    tenant_id: str
    rejected_at: datetime
    type: str
    detail: str
    event: Any


class EventPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of the list, newest first."""

    items: list[EventView]
    next_cursor: str | None


class RejectedPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of the list, newest first."""

    items: list[RejectedView]
    next_cursor: str | None


async def counted(
    context: Context, tenant_id: str, *, feature_id: str | None, after: str, limit: int
) -> EventPage:
    """A tenant's events that have been flushed, newest first.

    Errors: InvalidError for a cursor that no page gave; UnavailableError.
    """
    async with postgres.transaction(context.pool) as connection:
        found = await usage_store.events(
            connection, tenant_id, feature_id=feature_id, before=_place(after), limit=limit + 1
        )
    shown = found[:limit]
    more = len(found) > limit
    meanings = context.catalogs.meanings
    return EventPage(
        items=[
            _view(event, meanings[event.feature_id].decimals if event.feature_id in meanings else 0)
            for event in shown
        ],
        next_cursor=f"{shown[-1].event_at.isoformat()}~{shown[-1].digest}" if more else None,
    )


async def rejected(context: Context, tenant_id: str | None, *, after: str, limit: int) -> RejectedPage:
    """Events that did not count, newest first, of one tenant or of all.

    Errors: InvalidError for a cursor that no page gave; UnavailableError.
    """
    if after and not after.isdigit():
        raise errors.invalid("?cursor", "A cursor is the `nextCursor` of the page before, as it came.")
    before = int(after) if after else usage_store.LARGEST_ID
    async with postgres.transaction(context.pool) as connection:
        found = await usage_store.rejected(connection, tenant_id=tenant_id, before=before, limit=limit + 1)
    shown = found[:limit]
    return RejectedPage(
        items=[_rejected(one) for one in shown],
        next_cursor=str(shown[-1].rejected_id) if len(found) > limit else None,
    )


def _place(after: str) -> tuple[datetime, str]:
    at, _, digest = (after or f"{LATEST}~{LAST_DIGEST}").partition("~")
    try:
        return datetime.fromisoformat(at).astimezone(UTC), str(uuid.UUID(digest))
    except (ValueError, OverflowError) as error:
        raise errors.invalid(
            "?cursor", "A cursor is the `nextCursor` of the page before, as it came."
        ) from error


def _view(event: StoredEvent, decimals: int) -> EventView:
    return EventView(
        id=event.event_id,
        tenant_id=event.tenant_id,
        service_id=event.service_id,
        feature_id=event.feature_id,
        entity_id=event.entity_id or None,
        quantity=quantity.render(event.quantity, decimals),
        timestamp=event.event_at,
        accepted_at=event.accepted_at,
        plan_id=event.plan_id or None,
        properties=msgspec.json.decode(event.properties, type=dict[str, str]) if event.properties else None,
    )


def _rejected(one: Rejected) -> RejectedView:
    return RejectedView(
        tenant_id=one.tenant_id,
        rejected_at=one.rejected_at,
        type=one.slug,
        detail=one.detail,
        event=msgspec.json.decode(one.event),
    )
