"""What was used: checks events one by one, books them through the record script, tells what became of each.

It has already happened, so it always counts: past the limit, without the feature in the plan, without a
subscription it is excess. Only what makes no sense is rejected, one event at a time.
"""

import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from policies import errors, limits, usage
from policies.model import Feature, Offer
from policies.snapshot import Snapshot
from policies.usage import Refusal, Usage
from service import ids
from service.context import Context
from service.rights import Standing
from service.usecases import acknowledging, booking, check, inbox
from store import postgres
from store import usage as usage_store
from store.counters import Recording, RecordStatus
from store.inbox import Waiting

Status = Literal["accepted", "duplicate", "rejected", "retry"]
_MARKED: Final = timedelta(hours=limits.MARK_HOURS)
"""How long Redis recognises what came before."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one event."""

    event_id: str
    status: Status
    refusal: Refusal | None = None


class _Item(msgspec.Struct):
    """One event on its way, with what was worked out for it."""

    event: Usage
    digest: bytes
    feature: Feature | None = None
    fingerprint: int | None = None
    """Of one that waited in the inbox."""
    recording: Recording | None = None
    result: Result | None = None


class _Rights:
    """Standings of one call. Those of now are kept for whoever asks next, others for this call only."""

    def __init__(self, context: Context, offer: Offer, now: datetime) -> None:
        self._context = context
        self._offer = offer
        self._now = now
        self._current: dict[tuple[str, str], Standing] = {}
        self._others: dict[tuple[str, str], Standing] = {}

    async def current(self, snapshot: Snapshot, feature_id: str) -> Standing:
        """That of now."""
        key = (snapshot.tenant_id, feature_id)
        standing = self._current.get(key)
        if standing is None:
            standing = self._context.rights.get(snapshot, self._offer, feature_id, self._now)
            if standing is None:
                standing = await check.resolve_and_keep(
                    self._context, self._offer, snapshot, feature_id, self._now
                )
            self._current[key] = standing
        return standing

    async def at(self, current: Standing, at: datetime) -> Standing:
        """That of another instant, which is mostly the same: resolved only where neither is known to hold."""
        if current.holds(at):
            return current
        snapshot, feature_id = current.snapshot, current.right.feature_id
        key = (snapshot.tenant_id, feature_id)
        other = self._others.get(key)
        if other is not None and other.holds(at):
            return other
        right = await check.resolve(self._context, self._offer, snapshot, feature_id, at)
        for known in (current, other):
            if known is not None and known.reach_back(right, at):
                return known
        self._others[key] = check.standing_on(snapshot, self._offer, right, at)
        return self._others[key]


async def record(
    context: Context, events: Sequence[Usage], *, waited: Sequence[Waiting] = ()
) -> tuple[list[Result], datetime]:
    """Records events; gives their results in order, and the instant by which all of them were kept.

    While Redis is away they are kept in Postgres instead, to be counted later. `waited` are those that were,
    for each event in order: they stay there until they are counted.

    An event without an id has an empty `event_id`; one is made. Errors: UnavailableError when a tenant is in
    no cache and Postgres is away, or no catalog is active; JournalFullError; nothing is recorded then.
    """
    now = context.clock.now()
    told = [_item(event) for event in events]
    items = told if waited else _with_room(context, told)
    for item, one in zip(items, waited, strict=False):
        item.fingerprint = one.fingerprint
    await _prepare(context, items, now)
    await _send(context, items, now)
    stale = [item for item in items if item.result is None]
    if stale:
        with contextlib.suppress(errors.UnavailableError):  # without a result it is `retry`
            for tenant_id in {item.event.tenant_id for item in stale}:
                await context.snapshots.renew(tenant_id)
            await _prepare(context, stale, now)
            await _send(context, stale, now)
    if not waited:
        await _commit(context, items)
        await _keep_aside(context, items, now)
    results = [item.result or Result(event_id=item.event.event_id, status="retry") for item in told]
    return results, context.clock.now()


async def record_one(context: Context, event: Usage) -> tuple[Result, datetime]:
    """As `record` of one event: by a shorter way where all that it is made of is at hand.

    Errors: as `record`.
    """
    context.pressure.require_room(event.tenant_id)
    now = context.clock.now()
    item = _item(event)
    if not _is_at_hand(context, item, now):
        return await _record_alone(context, item)
    if item.recording is not None:
        _note(item, await context.recorder.record(item.recording, now=now))
        if item.result is None:
            return await _record_alone(context, item)
        if context.committer is not None:
            await _commit(context, (item,))
        if item.result.status == "retry":
            await _keep_aside(context, (item,), now)
    return item.result or Result(event_id=item.event.event_id, status="retry"), context.clock.now()


async def _record_alone(context: Context, item: _Item) -> tuple[Result, datetime]:
    (result,), kept = await record(context, (item.event,))
    return result, kept


def _is_at_hand(context: Context, item: _Item, now: datetime) -> bool:
    """Whether this process knows all that the event is judged by; it has its recording or its result then."""
    event = item.event
    snapshot = context.snapshots.cached(event.tenant_id)
    if snapshot is None or not snapshot.known:
        return False
    standing = context.rights.get(snapshot, check.active_offer(context), event.feature_id, now)
    at = event.instant(now)
    if standing is None or not standing.holds(at) or at < now - _MARKED:
        return False
    refusal = _book(item, standing, standing, at, now)
    if refusal is not None:
        item.result = Result(event_id=event.event_id, status="rejected", refusal=refusal)
    return True


async def keep_rejected(
    context: Context, rejected: Sequence[tuple[str, Refusal, bytes]], now: datetime
) -> None:
    """Keeps rejected events (tenant, why, JSON as it came) to be seen. Best effort: Postgres may be away."""
    rows = [
        usage_store.Rejected(0, tenant_id, now, refusal.slug, refusal.detail, raw.decode())
        for tenant_id, refusal, raw in rejected
    ]
    try:
        async with postgres.transaction(context.pool) as connection:
            await usage_store.keep_rejected(connection, rows)
    except errors.UnavailableError:
        return


def _with_room(context: Context, items: Sequence[_Item]) -> Sequence[_Item]:
    """All of them, but for those whose node of a cluster is nearly full: they must come again.

    Errors: JournalFullError, if that is all of them.
    """
    if not context.pressure.full or not items:
        return items
    found = [item for item in items if context.pressure.has_room(item.event.tenant_id)]
    if not found:
        context.pressure.require_room(items[0].event.tenant_id)
    return found


def _item(event: Usage) -> _Item:
    if not event.event_id:
        event = msgspec.structs.replace(event, event_id=ids.EVENTS.new())
    return _Item(event, booking.digest(event))


async def _prepare(context: Context, items: Sequence[_Item], now: datetime) -> None:
    """Gives every item its recording, or the result that makes one needless."""
    offer = check.active_offer(context)
    rights = _Rights(context, offer, now)
    snapshots = await _snapshots(context, {item.event.tenant_id for item in items})
    for item in items:
        refusal = await _weigh(rights, item, snapshots[item.event.tenant_id], now)
        if refusal is not None:
            item.result = Result(event_id=item.event.event_id, status="rejected", refusal=refusal)
    await _find_old(context, [item for item in items if item.result is None], now)


async def _snapshots(context: Context, tenant_ids: set[str]) -> dict[str, Snapshot]:
    """Each tenant's snapshot, once for the whole call; one that seems unknown is looked up again."""
    found = {}
    for tenant_id in tenant_ids:
        snapshot = await context.snapshots.get(tenant_id)
        found[tenant_id] = snapshot if snapshot.known else await context.snapshots.load(tenant_id)
    return found


async def _weigh(rights: _Rights, item: _Item, snapshot: Snapshot, now: datetime) -> Refusal | None:
    event = item.event
    if not snapshot.known:
        return Refusal("invalid", "/tenantId", f"There is no tenant {event.tenant_id}.")
    at = event.instant(now)
    current = await rights.current(snapshot, event.feature_id)
    return _book(item, await rights.at(current, at), current, at, now)


def _book(item: _Item, standing: Standing, current: Standing, at: datetime, now: datetime) -> Refusal | None:
    """Gives an event its recording, or says why it cannot count. `current` is the standing of now."""
    event, feature = item.event, standing.right.feature
    refusal = usage.refusal(event, feature, now=event.arrived_at or now)
    if refusal is not None:
        return refusal
    assert feature is not None, "an unknown feature was refused"
    scaled = usage.scaled_quantity(event, feature)
    if isinstance(scaled, Refusal):
        return scaled
    item.feature = feature
    booked = booking.Booked(event, scaled, item.digest, at, now, item.fingerprint)
    item.recording = booking.recording(booked, standing, current)
    return None


async def _find_old(context: Context, items: Sequence[_Item], now: datetime) -> None:
    """Events older than the marks in Redis are looked up in Postgres before they are sent (R26)."""
    edge = now - _MARKED
    old = [item for item in items if item.event.instant(now) < edge]
    if not old:
        return
    ids = [(item.event.tenant_id, item.digest) for item in old]
    try:
        async with postgres.transaction(context.pool) as connection:
            seen = await usage_store.seen(connection, ids, today=now.date())
    except errors.UnavailableError:
        for item in old:
            item.result = Result(event_id=item.event.event_id, status="retry")
        return
    for item, identity in zip(old, ids, strict=True):
        if identity in seen and item.recording is not None:
            item.result = _repeated(item, same=seen[identity] == item.recording.fingerprint)


async def _send(context: Context, items: Sequence[_Item], now: datetime) -> None:
    """Sends what has no result yet; what is stale has none afterwards either."""
    waiting = [item for item in items if item.result is None]
    recordings = [item.recording for item in waiting if item.recording is not None]
    if not recordings:
        return
    statuses = await context.counters.record(recordings, now=now)
    for item, status in zip(waiting, statuses, strict=True):
        _note(item, status)


def _note(item: _Item, status: RecordStatus) -> None:
    """What the script said of an event; one that is stale has no result."""
    if status in ("accepted", "retry"):
        item.result = Result(event_id=item.event.event_id, status=status)
    elif status in ("duplicate", "mismatch"):
        item.result = _repeated(item, same=status == "duplicate")
    elif status == "overflow":
        detail = "With this quantity the tenant's counter would pass its bound."
        refusal = Refusal("invalid", "/quantity", detail)
        item.result = Result(event_id=item.event.event_id, status="rejected", refusal=refusal)
    elif status == "crowded" and item.feature is not None:
        refusal = usage.crowded(item.feature)
        item.result = Result(event_id=item.event.event_id, status="rejected", refusal=refusal)


async def _commit(context: Context, items: Sequence[_Item]) -> None:
    """What a script took is acknowledged once it is durable enough; else nobody knows."""
    taken = [
        item
        for item in items
        if item.recording is not None
        and item.result is not None
        and item.result.status in ("accepted", "duplicate")
    ]
    if not await acknowledging.committed(context, {item.event.tenant_id for item in taken}):
        for item in taken:
            item.result = Result(event_id=item.event.event_id, status="retry")


async def _keep_aside(context: Context, items: Sequence[_Item], now: datetime) -> None:
    """What Redis may not have counted goes to the inbox; with Postgres away too its sender comes again."""
    away = {
        (item.event.tenant_id, item.digest): item
        for item in items
        if item.recording is not None and item.result is not None and item.result.status == "retry"
    }
    if not away:
        return
    waiting = [
        Waiting(identity, item.recording.fingerprint, item.event)
        for identity, item in away.items()
        if item.recording is not None
    ]
    with contextlib.suppress(errors.UnavailableError):
        found = await inbox.keep(context, waiting, now)
        for identity, item in away.items():
            item.result = _kept(item, found[identity])
        for item in items:
            if item.result is not None and item.result.status == "retry" and item.recording is not None:
                item.result = _repeated(item, same=True)  # it stands twice among them


def _kept(item: _Item, how: inbox.Kept) -> Result:
    if how == "accepted":
        return Result(event_id=item.event.event_id, status="accepted")
    return _repeated(item, same=how == "duplicate")


def _repeated(item: _Item, *, same: bool) -> Result:
    if same:
        return Result(event_id=item.event.event_id, status="duplicate")
    detail = f"The id {item.event.event_id} came before with another body."
    refusal = Refusal("idempotency-mismatch", "/id", detail)
    return Result(event_id=item.event.event_id, status="rejected", refusal=refusal)
