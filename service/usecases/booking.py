"""How an event is booked: the buckets it draws from, the caps it moves, its line in the journal."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from policies import balance, limits, meter, period
from policies.allowance import Allowance
from policies.decide import Request
from policies.entitlement import Right
from policies.grant import Grant
from policies.model import Cap, Feature, Interval, MeteredTerms
from policies.period import Period
from policies.snapshot import Snapshot
from policies.usage import Usage
from service.rights import Place, Standing
from service.usecases import carrying
from store import journal, keyspace
from store.accounts import Account, BucketRoom, CapMove, Carrying, GrantBucket
from store.certify import COUNTER_LIFE
from store.consuming import Ceilings, Use
from store.counters import Recording
from store.revisions import RevisedEvent


class Booked(msgspec.Struct, frozen=True):
    """An event that makes sense: `scaled` is its quantity, `at` its instant, `now` that of its arrival."""

    event: Usage
    scaled: int
    digest: bytes
    at: datetime
    now: datetime
    fingerprint: int | None = None
    """As it came, where that is not as `fingerprint` says: a use that had to wait."""


def digest(event: Usage) -> bytes:
    """What an event is recognised by: 16 bytes over tenant, service and id."""
    return identity(event.tenant_id, event.service_id, event.event_id)


def identity(tenant_id: str, service_id: str, event_id: str) -> bytes:
    """The digest of an event's name."""
    return hashlib.sha256(f"{tenant_id} {service_id} {event_id}".encode()).digest()[:16]  # ids hold no space


def fingerprint(
    event: Usage, scaled: int, context: Mapping[str, str] | None = None, seconds: int | None = None
) -> int:
    """31 bits of what the caller said, so that the same id with another body is told apart.

    `context` is said where something is consumed, and `seconds` where it is reserved: that is never the same
    as a report of it.
    """
    said: tuple[object, ...] = (
        event.feature_id,
        scaled,
        event.timestamp.astimezone(UTC).isoformat() if event.timestamp else "",
        event.entity_id or "",
        sorted((event.properties or {}).items()),
    )
    if context is not None:
        said = (*said, "consume" if seconds is None else seconds, sorted(context.items()))
    digest = hashlib.sha256(msgspec.json.encode(said)).digest()
    return int.from_bytes(digest[:4]) >> 1


class Moment(msgspec.Struct, frozen=True):
    """When something is used, when that is decided, and what the decision is called."""

    at: datetime
    now: datetime
    decision_id: str
    seconds: int | None = None
    """For how long it is reserved, if it is not used at once."""
    after: Right | None = None
    """The right of the next period, if that has begun: something may have been carried there."""


class Ground(msgspec.Struct, frozen=True):
    """Where a change of an event is counted: its account, and the caps that it moves."""

    account: Account
    ends: int
    """The end of the account's window, in unix seconds; 0: never."""
    caps: tuple[CapMove, ...]
    kept_caps: tuple[CapMove, ...]
    """The same with the end of their counters' life."""


def recording(booked: Booked, standing: Standing, current: Standing) -> Recording:
    """What the record script is given. `standing` holds at the event's instant, `current` at this one."""
    event, right = booked.event, standing.right
    assert right.feature is not None, "an unknown feature was refused"
    own = standing is current
    place = _own_place(standing, booked.now) if own else _late_place(standing, current, booked.now)
    caps, kept_caps = place.caps, place.kept_caps
    if event.entity_id is not None:
        caps = _cap_moves(right, event.entity_id, booked.now)
        kept_caps = _kept(caps)
    rise, carried = _rise(right.feature, event), place.account.carrying
    line = journal.RecordEvent(
        kind="record",
        tenant_id=event.tenant_id,
        service_id=event.service_id,
        event_id=event.event_id,
        feature_id=event.feature_id,
        entity_id=event.entity_id or "",
        plan_id=right.plan.plan_id if right.plan else "",
        quantity=booked.scaled,
        measured=meter.measured(right.feature, booked.scaled),
        event_at=journal.microseconds(booked.at),
        accepted_at=journal.microseconds(event.arrived_at or booked.now),
        window=place.account.window,
        ends=place.ends,
        caps=caps,
        digest=booked.digest,
        fingerprint=booked.fingerprint or fingerprint(event, booked.scaled),
        properties=dict(event.properties) if event.properties else None,
    )
    if carried is not None and carried.late:
        line = journal.JournalEvent(**msgspec.structs.asdict(line), late=carried.late)
    return Recording(
        account=place.account,
        measured=line.measured,
        digest=booked.digest,
        fingerprint=line.fingerprint,
        payload=journal.encode(line if rise is None else journal.risen(line, rise)),
        caps=kept_caps,
        value=rise.value if rise is not None else "",
    )


def use(event: Usage, standing: Standing, request: Request, bounds: Allowance, moment: Moment) -> Use:
    """What the scripts that count only what fits are given: the event, and how far each counter may go."""
    right, place = standing.right, _place(standing, moment)
    assert right.feature is not None, "an unknown feature is denied"
    entity_id = request.entity_id
    caps = place.caps if entity_id is None else _cap_moves(right, entity_id)
    identity, rise = digest(event), _rise(right.feature, event)
    kept_caps = place.kept_caps if entity_id is None else _kept(caps)
    line = journal.JournalEvent(
        kind="consume" if moment.seconds is None else "reserve",
        tenant_id=event.tenant_id,
        service_id=event.service_id,
        event_id=event.event_id,
        feature_id=event.feature_id,
        entity_id=entity_id or "",
        plan_id=right.plan.plan_id if right.plan else "",
        quantity=request.quantity,
        measured=meter.measured(right.feature, request.quantity),
        event_at=journal.microseconds(moment.at),
        accepted_at=journal.microseconds(moment.now),
        window=place.account.window,
        ends=place.ends,
        caps=caps,
        digest=identity,
        fingerprint=fingerprint(event, request.quantity, request.context, moment.seconds),
        properties=dict(event.properties) if event.properties else None,
        decided=journal.Decided(moment.decision_id, standing.offer.hash, request.context),
        rise=rise,
        late=place.account.carrying.late if place.account.carrying else 0,
        hold=None if moment.seconds is None else _hold(right, right.feature, place.account, kept_caps),
    )
    return Use(
        account=place.account,
        measured=line.measured,
        digest=identity,
        fingerprint=line.fingerprint,
        payload=journal.encode(line),
        ceilings=_ceilings(bounds, right, entity_id),
        caps=kept_caps,
        value=rise.value if rise is not None else "",
    )


def _rise(feature: Feature, event: Usage) -> journal.Rise | None:
    """What is told of a level beside the measured quantity; None if the meter has none."""
    if not feature.is_level():
        return None
    value = meter.value(feature, event.properties)
    return journal.Rise() if value is None else journal.Rise(keyspace.value_field(value))


def _hold(right: Right, feature: Feature, account: Account, caps: tuple[CapMove, ...]) -> journal.Hold:
    end = right.period.end if right.period is not None else None
    ends = 0 if end is None else journal.microseconds(end)
    return journal.Hold(account, caps, feature.decimals, feature.aggregation == "count", ends)


def _place(standing: Standing, moment: Moment) -> Place:
    """Where uses of a right are booked: worked out once, but for those early or late for what rolls over."""
    right, span, now = standing.right, standing.right.period, moment.now
    if carrying.concerns(right) and span is not None and not period.contains(span, now):
        return _placed(standing, carrying.of(right, moment.after or right, now))
    return _own_place(standing, now)


def _own_place(standing: Standing, now: datetime) -> Place:
    """Where a right books acts of its own time."""
    if standing.place is None:
        standing.place = _placed(standing, carrying.of(standing.right, standing.right, now))
    return standing.place


def _placed(standing: Standing, carried: Carrying | None) -> Place:
    right = standing.right
    window, ends = _window(right, right)
    account, caps = _account(standing.snapshot, right, window, ends, carried), _cap_moves(right, None)
    return Place(account, ends, caps, _kept(caps))


def _late_place(standing: Standing, current: Standing, now: datetime) -> Place:
    """Where a right of another time than this one is booked; kept for others of the same call."""
    if standing.place is None:
        right = standing.right
        window, ends = _window(right, current.right)
        carried = carrying.of(right, current.right, now) if window else None
        caps = _cap_moves(right, None, now)
        account = _account(standing.snapshot, right, window, ends, carried)
        standing.place = Place(account, ends, caps, _kept(caps))
    return standing.place


def ground(
    snapshot: Snapshot,
    right: Right,
    after: Right,
    event: RevisedEvent,
    *,
    drawn_from: Sequence[Grant],
    now: datetime,
) -> Ground:
    """Where changes of an event are counted: in the window it was booked in, while its counters are kept.

    `right` holds at the event's instant by the facts of today, `after` in the next period once that has
    begun. Where the periods lie otherwise than when the event was booked, nothing is given there.
    `drawn_from` are the grants that it drew from.
    """
    same_plan = right.plan is not None and right.plan.plan_id == event.plan_id
    caps = _cap_moves(right, event.entity_id or None, now) if same_plan else ()
    right, window, ends = _booked_in(right, event.window)
    if not _lives(_life(ends), now):
        window, ends = "", 0
    carried = carrying.of(right, after, now) if window and carrying.concerns(right) else None
    account = _account(snapshot, right, window, ends, carried)
    if window:
        known = {room.field for room in account.finite}
        over = [room for room in map(_grant_room, drawn_from) if _lives(room.life, now)]
        closed = [msgspec.structs.replace(room, size=0) for room in over if room.field not in known]
        account = msgspec.structs.replace(account, finite=(*closed, *account.finite))
    return Ground(account, ends, caps, _kept(caps))


def _booked_in(right: Right, window: str) -> tuple[Right, str, int]:
    """The right in a window of before, and the window's end; of another shape, it gives nothing there."""
    if right.period is not None and _window(right, right)[0] == window:
        return right, *_window(right, right)
    nothing = msgspec.structs.replace(right, terms=None, grants=(), grants_before=0, rollover=(), lasts=0)
    if not window:
        return nothing, "", 0
    interval, start = keyspace.parse_window(window)
    return nothing, window, _ends(interval, Period(datetime.fromtimestamp(start, UTC), None))


def _lives(life: int, now: datetime) -> bool:
    return life == 0 or now.timestamp() < life


def _ceilings(bounds: Allowance, right: Right, entity_id: str | None) -> Ceilings:
    """Those of the caps that a use moves: of one without an entity, the tenant's."""
    caps = bounds.caps
    if entity_id is None and caps:
        caps = tuple([most for cap, most in zip(caps_of(right), caps, strict=True) if cap.per == "tenant"])
    return Ceilings(bounds.granted, bounds.drawn, caps)


def caps_of(right: Right) -> tuple[Cap, ...]:
    """The caps of its terms."""
    return right.terms.caps if isinstance(right.terms, MeteredTerms) else ()


def _account(snapshot: Snapshot, right: Right, window: str, ends: int, carried: Carrying | None) -> Account:
    room = balance.capacity(right.terms, overage=right.has_overage)
    return Account(
        tenant_id=right.tenant_id,
        snapshot_version=snapshot.version,
        feature_id=right.feature_id,
        window=window,
        overage=room.up_to,
        ends=_life(ends),
        finite=_rooms(right, window, ends) if window else (),
        meter=meter.of(right.feature),
        carrying=carried,
    )


def _rooms(right: Right, window: str, ends: int) -> tuple[BucketRoom, ...]:
    """The finite buckets in the order in which they are drawn; the script knows how much is carried."""
    terms = right.terms if isinstance(right.terms, MeteredTerms) else None
    size = 0 if terms is None else limits.COUNTER_MAX if terms.included is None else terms.included
    rooms = [_grant_room(grant) for grant in right.grants[: limits.GRANTS_OF_FEATURE]]
    included = BucketRoom(window, keyspace.bucket_field(right.feature_id, "i"), size, _life(ends))
    rooms.insert(right.grants_before, included)
    for number, link in enumerate(right.rollover, start=1):
        field = keyspace.generation_field(right.feature_id, number)
        rooms.insert(link.before, BucketRoom(window, field, 0, _life(ends), generation=number))
    return tuple(rooms)


def _grant_room(grant: Grant) -> BucketRoom:
    """A grant with its counter: kept as long as an event of the time before it expired may come."""
    ends = int(grant.expires_at.timestamp()) if grant.expires_at else 0
    bucket = GrantBucket(keyspace.grant_window(grant.expires_at), grant.id, ends)
    field = keyspace.grant_field(grant.feature_id, grant.id)
    return BucketRoom(bucket.window, field, grant.quantity, _life(ends), bucket)


def _window(right: Right, current: Right) -> tuple[str, int]:
    """The time window whose buckets an event draws from, and its end (unix seconds, 0: never).

    Late events move only the current and the previous period (R20); older ones change reports, not counters.
    Of a level the period's own counters say by how much it grows, so they are moved however late an event is.
    """
    span, ours = right.period, current.period
    assert span is not None, "a metered right has a period"
    level = right.feature is not None and right.feature.is_level()
    if not level and ours is not None and span.end is not None and span != ours and span.end < ours.start:
        return "", 0
    interval = right.terms.interval if isinstance(right.terms, MeteredTerms) else "month"
    return keyspace.window(interval, span), _ends(interval, span, right.lasts)


def _cap_moves(right: Right, entity_id: str | None, now: datetime | None = None) -> tuple[CapMove, ...]:
    """The caps of its windows; only of those that the event shares with `now`, if that is given."""
    moves = []
    for cap, span in zip(caps_of(right), right.cap_windows, strict=True):
        current = now is None or span.end is None or now < span.end
        if current and (cap.per == "tenant" or entity_id is not None):
            field = keyspace.cap_field(right.feature_id, cap.per, entity_id)
            moves.append(CapMove(keyspace.window(cap.interval, span), field, _ends(cap.interval, span)))
    return tuple(dict.fromkeys(moves))


def _ends(interval: Interval, span: Period, lasts: int = 0) -> int:
    """The latest end of a time window of this name, in unix seconds; 0: never. A rest of it may last longer.

    By the name alone, not by the span: a scheduled change may cut a span short and be taken back, and a cap's
    window may have the name of a period. What shares a name shares its counters' life. A year counts twice:
    terms that come in at its end may carry its rest through the next.
    """
    if interval == "never":
        return 0
    lasts = max(lasts, 1) if interval == "year" else lasts
    return int((span.start + (1 + lasts) * period.LONGEST[interval]).timestamp())


def _kept(caps: Sequence[CapMove]) -> tuple[CapMove, ...]:
    """The caps with the end of their counters' life."""
    return tuple([CapMove(cap.window, cap.field, _life(cap.ends)) for cap in caps])


def _life(ends: int) -> int:
    """Until when the counters of a window are kept: late events may still draw from them."""
    return ends + int(COUNTER_LIFE.total_seconds()) if ends else 0
