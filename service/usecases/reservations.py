"""Ends reservations: settled for what was really used, or given up; and shows what became of one.

One that is open is in Redis, and ends there; what became of any other Postgres says, once the journal is
brought over. What is used belongs to the instant of the reserve (R31).
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from policies import errors, limits, quantity, rollover
from service.context import Context
from service.usecases import acknowledging, carrying, check, fitting
from store import flush, holds, journal, postgres, reservations
from store.holds import End, EndOutcome, Name
from store.journal import Line
from store.link import RedisAwayError
from store.reading import FenceClosedError
from store.reservations import Reservation, State

Number = int | str
_TRIES: Final = 3


class ReservationView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A reservation as it stands, in the feature's unit."""

    reservation_id: str
    state: State
    tenant_id: str
    service_id: str
    event_id: str
    """The id of the usage that it becomes when it is settled: unique per tenant and service."""
    feature_id: str
    entity_id: str | None
    held: Number
    """What was reserved, and is held as long as it is open."""
    quantity: Number | None
    """What was really used and counted; None until it is settled."""
    returned: Number | None
    """What of the held came back unused; None while it is open."""
    timestamp: datetime
    """The instant of the reserve, which its usage belongs to."""
    expires_at: datetime
    ended_at: datetime | None


class Told(msgspec.Struct, frozen=True):
    """Which reservation is meant, and by whom: a tenant's own key knows no other tenant's."""

    reservation_id: str
    owner: str | None
    """The tenant whose key asks; None: a key for all."""

    def name(self) -> Name:
        """What it is found by. Errors: NotFoundError."""
        name = Name.parse(self.reservation_id)
        if name is None:
            raise self.unknown()
        return name

    def unknown(self) -> errors.NotFoundError:
        """The same whether it never was or is another tenant's."""
        return errors.NotFoundError(f"There is no reservation {self.reservation_id}.")


async def settle(context: Context, told: Told, said: Number) -> ReservationView:
    """Counts what was really used, more or less than was held; the same again is answered the same.

    Limits are not enforced: it has happened. Errors: NotFoundError; InvalidError for the quantity;
    ConflictError for one that was settled for another quantity or released, or whose instant is too long ago;
    UnavailableError.
    """
    for _ in range(_TRIES):
        line = await _open(context, told)
        if line is not None:
            used = _scaled(line, said)
            view = await _ended(context, await _settling(context, line, used))
        else:
            found = await _stored(context, told)
            used = _scaled(found.line, said)
            view = (
                await _settled_late(context, found, used)
                if found.state == "expired"
                else _as_settled(found, used)
            )
        if view is not None:
            return view
    raise fitting.unavailable()


async def release(context: Context, told: Told) -> ReservationView:
    """Gives up what is held; the same again is answered the same, and so is what has expired.

    Errors: NotFoundError; ConflictError for one that was settled; UnavailableError.
    """
    for _ in range(_TRIES):
        line = await _open(context, told)
        if line is not None:
            view = await _ended(context, End("release", line))
        else:
            found = await _stored(context, told)
            if found.state == "settled":
                raise errors.ConflictError(f"{told.reservation_id} was settled: what it used is counted.")
            view = None if found.state == "open" else view_of(found)
        if view is not None:
            return view
    raise fitting.unavailable()


async def show(context: Context, told: Told) -> ReservationView:
    """What became of it, up to this moment.

    Errors: NotFoundError, UnavailableError.
    """
    line = await _open(context, told)
    return _view(line, "open") if line is not None else view_of(await _stored(context, told))


def view_of(found: Reservation) -> ReservationView:
    """A reservation as Postgres has it."""
    return _view(found.line, found.state, ended_at=found.ended_at, settled=found.settled)


async def _open(context: Context, told: Told) -> Line | None:
    """The reserve, if it is open."""
    try:
        line = await context.holds.find(told.name())
    except (RedisAwayError, FenceClosedError) as error:
        raise fitting.unavailable() from error
    if line is not None and told.owner not in (None, line.event.tenant_id):
        raise told.unknown()
    return line


async def _stored(context: Context, told: Told) -> Reservation:
    """A reservation that is not open, with all that happened to it up to now."""
    name, now = told.name(), context.clock.now()
    try:
        complete = await flush.drain(context.pool, context.counters.link, shard=name.shard, now=now)
    except RedisAwayError as error:
        raise fitting.unavailable() from error
    if not complete:
        raise fitting.unavailable()
    async with postgres.transaction(context.pool) as connection:
        found = await reservations.find(connection, name)
    if found is None or told.owner not in (None, found.tenant_id):
        raise told.unknown()
    return found


async def _ended(context: Context, end: End) -> ReservationView | None:
    """The view of what was ended just now; None if somebody else was first."""
    now = context.clock.now()
    try:
        (outcome,) = await context.holds.end([end], now=now)
    except (RedisAwayError, FenceClosedError) as error:
        raise fitting.unavailable() from error
    _refuse_overflow(outcome)
    if outcome != "done":
        return None
    await acknowledging.require(context, end.line.event.tenant_id)
    if end.kind == "settle":
        return _view(end.line, "settled", ended_at=now, settled=end.quantity)
    return _view(end.line, "released", ended_at=now)


async def _settled_late(context: Context, found: Reservation, used: int) -> ReservationView | None:
    """What was used of one that has expired is recorded, with the facts of its reserve."""
    now, line = context.clock.now(), found.line
    if journal.instant(line.event.event_at) < now - timedelta(days=limits.EVENT_AGE_DAYS):
        raise errors.ConflictError(f"Usage of more than {limits.EVENT_AGE_DAYS} days ago cannot be counted.")
    end = await _settling(context, line, used)
    (status,) = await context.counters.record([holds.late(end, now)], now=now)
    if status == "retry":
        raise fitting.unavailable()
    _refuse_overflow("overflow" if status == "overflow" else "done")
    await acknowledging.require(context, line.event.tenant_id)
    return _view(line, "settled", ended_at=now, settled=used) if status == "accepted" else None


async def _settling(context: Context, line: Line, used: int) -> End:
    """The end of a reserve for what was used, with what its period hands on if it rolls over (R19).

    The facts of now say so, however long ago the next one began: since the reserve its period may have been
    cut short. Those of the reserve do where nothing has changed, or where the period goes on and no facts are
    at hand.
    """
    event, hold, now = line.event, line.event.hold, context.clock.now()
    assert hold is not None, "a reserve says what its end needs"
    end = End("settle", line, used)
    over = rollover.lateness_of(hold.period_ends, journal.microseconds(now)) > 0
    try:
        snapshot = await context.snapshots.get(event.tenant_id)
    except errors.UnavailableError:
        if over:
            raise
        return end
    if not over and snapshot.version == hold.account.snapshot_version:
        return end
    offer, at = check.active_offer(context), journal.instant(event.event_at)
    right = await check.resolve(context, offer, snapshot, event.feature_id, at)
    then = carrying.following(right, now)
    following = await check.resolve(context, offer, snapshot, event.feature_id, then)
    found = carrying.of(right, following, now)
    if found is None:
        return msgspec.structs.replace(end, late=0)
    return msgspec.structs.replace(end, late=found.late, after=found.after)


def _as_settled(found: Reservation, used: int) -> ReservationView | None:
    """The answer to a settle that came before; None if it seems open, which somebody is about to change."""
    view = view_of(found)
    if found.state == "open":
        return None
    if found.state == "released":
        raise errors.ConflictError(f"{view.reservation_id} was released: there is nothing to settle.")
    if found.settled != used:
        raise errors.ConflictError(f"{view.reservation_id} was settled for {view.quantity} already.")
    return view


def _refuse_overflow(outcome: EndOutcome) -> None:
    if outcome == "overflow":
        raise errors.invalid("/quantity", "With this quantity the tenant's counter would pass its bound.")


def _scaled(line: Line, said: Number) -> int:
    """The quantity as an integer. Errors: InvalidError."""
    hold = line.event.hold
    assert hold is not None, "a reserve says what its end needs"
    try:
        scaled = quantity.parse(said, hold.decimals)
    except ValueError as error:
        raise errors.invalid("/quantity", str(error)) from error
    if hold.counts and scaled not in (0, 10**hold.decimals):
        raise errors.invalid("/quantity", f"{line.event.feature_id} counts calls: it was one, or none.")
    return scaled


def _view(
    line: Line, state: State, *, ended_at: datetime | None = None, settled: int | None = None
) -> ReservationView:
    event, hold = line.event, line.event.hold
    assert hold is not None, "a reserve says what its end needs"
    returned = None if state == "open" else max(0, event.quantity - (settled or 0))
    return ReservationView(
        reservation_id=str(Name.of(event.tenant_id, event.digest)),
        state=state,
        tenant_id=event.tenant_id,
        service_id=event.service_id,
        event_id=event.event_id,
        feature_id=event.feature_id,
        entity_id=event.entity_id or None,
        held=quantity.render(event.quantity, hold.decimals),
        quantity=None if settled is None else quantity.render(settled, hold.decimals),
        returned=None if returned is None else quantity.render(returned, hold.decimals),
        timestamp=journal.instant(event.event_at),
        expires_at=journal.instant(line.expires_at),
        ended_at=ended_at,
    )
