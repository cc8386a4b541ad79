"""Amends and voids events that were counted: each once, both versions kept, and every sum follows.

What the journal holds is brought to Postgres first, the event is read there, the script changes the counters,
and the flush keeps the revision with its audit line in one transaction; only then is it answered. Of two at
once one is kept: both ask for the same revision number.
"""

import hashlib
from datetime import datetime
from typing import Final

import msgspec

from policies import errors, quantity, revision
from policies.model import LEVELS
from policies.revision import Change, Countable
from service.context import Context
from service.usecases import booking, carrying, changes, check, events, past, revised_level
from service.usecases.changes import Order, Reply
from service.usecases.events import EventName, EventView
from store import grants as grant_store
from store import journal, keyspace, postgres, revising
from store.link import RedisAwayError
from store.reading import FenceClosedError
from store.revising import Outcome, Revising
from store.revisions import Drawn, RevisedEvent, StoredRevision

ROUTE: Final = "usage.revise"
TRIES: Final = 3
"""How often it is sent on facts that were read again because a change of them was made meanwhile."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of an event: another quantity, in its feature's unit, or with None nothing of it."""

    quantity: int | str | None
    reason: str
    revision: int | None = None
    """The one that the caller has seen; None: whatever it is."""


class _Asked(msgspec.Struct, frozen=True):
    """A wish on its way. `request` names its Idempotency-Key."""

    name: EventName
    wish: Wish
    order: Order
    request: str


async def revise(context: Context, order: Order, name: EventName, wish: Wish) -> Reply:
    """Amends or voids an event; answers with the event as that left it.

    The same request again (by its Idempotency-Key, or by the revision that it names) answers the same.
    Errors: NotFoundError, InvalidError; ConflictError for a revision that is not the present one, for what
    was voided, and for an event that is not kept any more; PreconditionError; IdempotencyMismatchError;
    UnavailableError, and then nobody knows whether it was kept.
    """
    said = (name, wish)
    kept = await changes.recalled(context, order, route=ROUTE, request=said)
    if kept is not None:
        return kept
    await context.catalogs.refresh()
    asked = _Asked(name, wish, order, changes.named(order, ROUTE))
    reply = _reply(await _revised(context, asked))
    await changes.remember(context, order, reply, route=ROUTE, request=said)
    return reply


async def _revised(context: Context, asked: _Asked) -> EventView:
    event = await _read(context, asked.name)
    made = _made_before(context, event, asked)
    if made is not None:
        return events.as_of(context, event, made)
    changes.require(asked.order, etag(event.revision))
    countable = _countable(context, event)
    revision.expect(countable, asked.wish.revision)
    change = _change(countable, asked.wish)
    if change is None:
        return events.of(context, event)
    await _send(context, asked, event, countable, change)
    after = await _read(context, asked.name)
    kept = [one for one in after.revisions if one.revision == event.revision + 1]
    if not kept or not _is(kept[0], asked, change.quantity):
        raise errors.ConflictError(
            f"Somebody else was first: the event is at revision {after.revision} by now."
        )
    return events.as_of(context, after, kept[0])


async def _read(context: Context, name: EventName) -> RevisedEvent:
    """The event as it stands, with all that was accepted up to now.

    Errors: NotFoundError, ConflictError, UnavailableError.
    """
    await _bring_over(context, name.tenant_id)
    async with postgres.transaction(context.pool) as connection:
        return await events.find(connection, name, now=context.clock.now())


async def _bring_over(context: Context, tenant_id: str) -> None:
    if not await past.bring_over(context, tenant_id):
        raise errors.UnavailableError("The event cannot be changed now.", retry_after_s=2)


def _made_before(context: Context, event: RevisedEvent, asked: _Asked) -> StoredRevision | None:
    """The revision that this very request has made, if it came before.

    Errors: IdempotencyMismatchError.
    """
    wish = asked.wish
    scaled = _scaled(context, event, wish.quantity)
    for one in event.revisions:
        if asked.request and one.request == asked.request:
            if not _is(one, asked, scaled):
                raise errors.IdempotencyMismatchError("This Idempotency-Key came before with another body.")
            return one
        if wish.revision is not None and one.revision == wish.revision + 1 and _is(one, asked, scaled):
            return one
    return None


def _scaled(context: Context, event: RevisedEvent, said: int | str | None) -> int | None:
    """The quantity of a wish as revisions have it; None for one that no revision can have."""
    if said is None:
        return 0
    try:
        return quantity.parse(said, events.decimals(context, event.feature_id))
    except ValueError:
        return None


def _is(one: StoredRevision, asked: _Asked, scaled: int | None) -> bool:
    kind = "void" if asked.wish.quantity is None else "amend"
    return (one.kind, one.quantity, one.reason) == (kind, scaled, asked.wish.reason)


def _countable(context: Context, event: RevisedEvent) -> Countable:
    meaning = context.catalogs.meanings[event.feature_id]  # for life, so it is never missing
    return Countable(
        feature_id=event.feature_id,
        aggregation=meaning.aggregation,
        decimals=meaning.decimals,
        quantity=event.quantity,
        measured=event.measured,
        revision=event.revision,
        voided=event.voided,
    )


def _change(event: Countable, wish: Wish) -> Change | None:
    return revision.voided(event) if wish.quantity is None else revision.amended(event, wish.quantity)


async def _send(
    context: Context, asked: _Asked, event: RevisedEvent, countable: Countable, change: Change
) -> None:
    """Lets the script keep it; whether this one or another was kept, Postgres knows afterwards."""
    for _ in range(TRIES):
        sent = await _revising(context, asked, event, countable, change)
        outcome = await _outcome(context, sent)
        if outcome == "overflow":
            detail = "With this quantity the tenant's counter would pass its bound."
            raise errors.invalid("/quantity", detail)
        if outcome == "stale":
            await context.snapshots.renew(event.tenant_id)
        elif outcome == "moved":
            await _bring_over(context, event.tenant_id)
        else:
            return
    raise errors.UnavailableError("What it is counted with changes too fast.", retry_after_s=2)


async def _outcome(context: Context, sent: Revising) -> Outcome:
    try:
        return await revising.revise(context.counters.link, sent, now=context.clock.now())
    except (RedisAwayError, FenceClosedError) as error:
        raise errors.UnavailableError("The event cannot be changed now.", retry_after_s=2) from error


async def _revising(
    context: Context, asked: _Asked, event: RevisedEvent, countable: Countable, change: Change
) -> Revising:
    """What the script is given: where the change is counted, and how much comes back or is drawn more."""
    now, drawn = context.clock.now(), event.drawn
    snapshot = await context.snapshots.get(event.tenant_id)
    offer, feature_id = check.active_offer(context), event.feature_id
    right = await check.resolve(context, offer, snapshot, feature_id, event.event_at)
    after = await check.resolve(context, offer, snapshot, feature_id, carrying.following(right, now))
    async with postgres.transaction(context.pool) as connection:
        own = await grant_store.named(connection, event.tenant_id, drawn.grants)
        ground = booking.ground(snapshot, right, after, event, drawn_from=own, now=now)
        found = await _level(context, connection, event, ground, change)
    finite = _by_bucket(ground, event.feature_id, drawn)
    counted = sum(finite) + drawn.overage + drawn.excess if ground.account.window else 0
    line = _line(asked, event, ground, change, now)
    if found is not None:
        line = msgspec.structs.replace(line, measured=found.measured, rise=found.rise)
    back, more = revision.moves(countable, change, counted) if found is None else (0, 0)
    return Revising(
        account=ground.account,
        digest=line.digest,
        fingerprint=line.fingerprint,
        payload=journal.encode(line),
        back=back,
        own=finite,
        more=more,
        change=line.measured,
        caps=ground.kept_caps,
        level=found.level if found is not None else None,
    )


async def _level(
    context: Context,
    connection: postgres.Connection,
    event: RevisedEvent,
    ground: booking.Ground,
    change: Change,
) -> revised_level.Found | None:
    """What becomes of the level of its feature; None if that has none."""
    meaning = context.catalogs.meanings[event.feature_id]
    if meaning.aggregation not in LEVELS:
        return None
    return await revised_level.found(connection, event, meaning, change, counted=bool(ground.account.window))


def _by_bucket(ground: booking.Ground, feature_id: str, drawn: Drawn) -> tuple[int, ...]:
    """What the event has drawn of each finite bucket, in their order."""
    amounts = {keyspace.bucket_field(feature_id, "i"): drawn.included}
    for grant_id, amount in drawn.grants.items():
        amounts[keyspace.grant_field(feature_id, grant_id)] = amount
    for number, amount in drawn.rollover.items():
        amounts[keyspace.generation_field(feature_id, int(number))] = amount
    return tuple(amounts.get(room.field, 0) for room in ground.account.finite)


def _line(
    asked: _Asked, event: RevisedEvent, ground: booking.Ground, change: Change, now: datetime
) -> journal.JournalEvent:
    caller, number = asked.order.caller, event.revision + 1
    event_digest = booking.identity(event.tenant_id, event.service_id, event.event_id)
    return journal.JournalEvent(
        kind=change.kind,
        tenant_id=event.tenant_id,
        service_id=event.service_id,
        event_id=event.event_id,
        feature_id=event.feature_id,
        entity_id=event.entity_id,
        plan_id=event.plan_id,
        quantity=change.quantity,
        measured=change.measured - event.measured,
        event_at=journal.microseconds(event.event_at),
        accepted_at=journal.microseconds(now),
        window=ground.account.window,
        ends=ground.ends,
        caps=ground.caps,
        digest=revising.digest(event_digest, number),
        fingerprint=_fingerprint(asked, change),
        properties=None,
        late=ground.account.carrying.late if ground.account.carrying else 0,
        revised=journal.Revised(
            event_digest=event_digest,
            revision=number,
            quantity_before=event.quantity,
            reason=asked.wish.reason,
            actor=caller.actor,
            request=asked.request,
            request_id=caller.request_id,
        ),
    )


def _fingerprint(asked: _Asked, change: Change) -> int:
    """31 bits of what is to become of the event, and of who asked."""
    said = (change.kind, change.quantity, asked.wish.reason, asked.request)
    return int.from_bytes(hashlib.sha256(msgspec.json.encode(said)).digest()[:4]) >> 1


def _reply(view: EventView) -> Reply:
    return Reply(status=200, body=msgspec.json.encode(view), etag=etag(view.revision))


def etag(number: int) -> str:
    """The version of an event: its revision."""
    return f'"{number}"'
