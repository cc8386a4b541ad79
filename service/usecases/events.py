"""Events one by one: what was counted, what became of it, and what was not counted and why."""

import uuid
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from policies import errors, limits, quantity
from service.context import Context
from service.usecases import booking, past
from store import inbox, postgres, revisions
from store import usage as usage_store
from store.revisions import RevisedEvent, StoredRevision
from store.usage import Rejected, StoredEvent

LATEST = "9999-12-31T00:00:00+00:00"
LAST_DIGEST = str(uuid.UUID(int=2**128 - 1))


class EventView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An event as it counts; `planId` is the plan of its instant, null without a subscription."""

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
    revision: int
    """1 as it was reported; each amendment is one more."""
    voided: bool
    """It counts nothing any more."""


class RevisionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A version of an event; `reason` and `actor` are null of what was reported."""

    revision: int
    kind: Literal["report", "amend", "void"]
    quantity: int | str
    reason: str | None
    actor: str | None
    at: datetime


class EventHistory(EventView, frozen=True, kw_only=True, rename="camel"):
    """An event with all its versions, oldest first."""

    revisions: list[RevisionView]


class EventName(msgspec.Struct, frozen=True):
    """What an event is named by: an id is unique per tenant and service."""

    tenant_id: str
    service_id: str
    event_id: str


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
    return EventPage(
        items=[_view(event, decimals(context, event.feature_id)) for event in shown],
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


async def history(context: Context, name: EventName) -> EventHistory:
    """An event with what became of it, also one of a moment ago.

    Errors: NotFoundError, ConflictError for one that is not kept any more; UnavailableError, also where it
    may have been accepted without having come so far.
    """
    complete = await past.bring_over(context, name.tenant_id)
    await context.catalogs.refresh()
    try:
        async with postgres.transaction(context.pool) as connection:
            event = await find(connection, name, now=context.clock.now())
    except errors.NotFoundError:
        if complete:
            raise
        raise _not_at_hand(name) from None
    return EventHistory(**msgspec.structs.asdict(of(context, event)), revisions=_versions(event, context))


async def find(connection: postgres.Connection, name: EventName, *, now: datetime) -> RevisedEvent:
    """The event of a name.

    Errors: NotFoundError; ConflictError for one that is not kept any more; UnavailableError for one that was
    accepted while Redis was away, and waits to be counted.
    """
    digest = booking.identity(name.tenant_id, name.service_id, name.event_id)
    found = await revisions.find(connection, name.tenant_id, digest)
    if found is not None:
        return found
    if await revisions.is_known(connection, name.tenant_id, digest):
        raise errors.ConflictError(
            f'"{name.event_id}" of "{name.service_id}" stands for no event: it is not kept any more, '
            "or was reserved and not used."
        )
    if await inbox.known(connection, [(name.tenant_id, digest)]):
        raise _not_at_hand(name)
    if await revisions.is_old(connection, name.tenant_id, digest, today=now.date()):
        raise errors.ConflictError(
            f'"{name.event_id}" of "{name.service_id}" cannot be asked for or changed by its id any more: '
            f"ids are kept for {limits.DEDUPE_DAYS} days. The list of events has it."
        )
    raise errors.NotFoundError(
        f'The tenant "{name.tenant_id}" has no event "{name.event_id}" of "{name.service_id}".'
    )


def _not_at_hand(name: EventName) -> errors.UnavailableError:
    told = f'The event "{name.event_id}" of "{name.service_id}" is not at hand yet.'
    return errors.UnavailableError(told, retry_after_s=2)


def of(context: Context, event: RevisedEvent) -> EventView:
    """An event as it stands."""
    return EventView(
        id=event.event_id,
        tenant_id=event.tenant_id,
        service_id=event.service_id,
        feature_id=event.feature_id,
        entity_id=event.entity_id or None,
        quantity=quantity.render(event.quantity, decimals(context, event.feature_id)),
        timestamp=event.event_at,
        accepted_at=event.accepted_at,
        plan_id=event.plan_id or None,
        properties=event.properties,
        revision=event.revision,
        voided=event.voided,
    )


def as_of(context: Context, event: RevisedEvent, revision: StoredRevision) -> EventView:
    """An event as a revision left it."""
    return msgspec.structs.replace(
        of(context, event),
        quantity=quantity.render(revision.quantity, decimals(context, event.feature_id)),
        revision=revision.revision,
        voided=revision.kind == "void",
    )


def decimals(context: Context, feature_id: str) -> int:
    """Those of the feature, for life."""
    meaning = context.catalogs.meanings.get(feature_id)
    return meaning.decimals if meaning else 0


def _versions(event: RevisedEvent, context: Context) -> list[RevisionView]:
    digits = decimals(context, event.feature_id)
    first = event.revisions[0].quantity_before if event.revisions else event.quantity
    reported = RevisionView(
        revision=1,
        kind="report",
        quantity=quantity.render(first, digits),
        reason=None,
        actor=None,
        at=event.accepted_at,
    )
    return [reported] + [
        RevisionView(
            revision=one.revision,
            kind=one.kind,
            quantity=quantity.render(one.quantity, digits),
            reason=one.reason,
            actor=one.actor,
            at=one.revised_at,
        )
        for one in event.revisions
    ]


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
        revision=event.revision,
        voided=event.voided,
    )


def _rejected(one: Rejected) -> RejectedView:
    return RejectedView(
        tenant_id=one.tenant_id,
        rejected_at=one.rejected_at,
        type=one.slug,
        detail=one.detail,
        event=msgspec.json.decode(one.event),
    )
