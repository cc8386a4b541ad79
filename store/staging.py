"""Staging: events go through temporary tables, where the database tells new ones from known ones."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from policies import limits
from policies.rollover import SEALED
from store import journal, keyspace, partitions, postgres, queries
from store.journal import Draw, JournalEvent, Kind

sql = queries.Queries("flush")

_MAYBE_BILLED: Final = timedelta(seconds=limits.CLOSE_GRACE_LEAST_S) / 2
"""No billing period that ended later than so long ago is closed; half of its grace is left to clocks."""
_NO_EVENTS: Final[frozenset[Kind]] = frozenset({"reserve", "release", "expire", "amend", "void"})


class Decision(msgspec.Struct, frozen=True, rename="camel"):
    """What a use was decided on, beside the facts of its instant."""

    decision_id: str
    catalog: str
    context: dict[str, str]
    levels: tuple[int, ...]
    """As store.consuming.Found has them: overage, excess, reserved, finite buckets, caps."""


class Move(NamedTuple):
    """By how much an act moved a counter; `ends` is the end of its window in unix seconds, 0: never."""

    window: str
    field: str
    amount: int
    ends: int


class Staged(msgspec.Struct, frozen=True):
    """One act on its way into Postgres, and where in the journal it stood."""

    shard: int
    entry_id: str
    place: int
    event: JournalEvent
    draw: Draw
    levels: tuple[int, ...] = ()
    expires_at: int = 0

    @property
    def measured(self) -> int:
        """What the meter made of it: of a level, by how much it grew."""
        return self.draw.total if self.event.rise is not None else self.event.measured

    def moves(self) -> list[Move]:
        """What it did to counters.

        A bucket's counter has what is used and what is held. A reservation that ends gives back what it held.
        """
        event, held = self.event, self.event.held
        moves = _levels(event, self.draw)
        late = _late(event, self.draw)
        if event.kind == "reserve":
            moves += _reserved(event, moves)
        elif held is not None:
            given_back = [move._replace(amount=-move.amount) for move in _levels(event, held)]
            late += [move._replace(amount=-move.amount) for move in _late(event, held)]
            moves += [*given_back, *_reserved(event, given_back)]
        moves += late
        counted = self.measured - (held.total if held else 0)
        moves += [Move(cap.window, cap.field, counted, cap.ends) for cap in event.caps]
        if event.rise is not None:
            moves.append(_counted(event, event.rise.value))
        return [move for move in moves if move.amount]


def _counted(event: JournalEvent, value: str) -> Move:
    """The counter of acts that a level goes by: those with a value, or all (store/lua/parts/meters.lua)."""
    if value:
        came = -1 if event.kind == "void" else 1
        return Move(keyspace.values_window(event.window, event.feature_id), value, came, event.ends)
    return Move(event.window, keyspace.bucket_field(event.feature_id, "n"), 1, event.ends)


def _levels(event: JournalEvent, draw: Draw) -> list[Move]:
    """The buckets' counters of a draw."""
    found = [
        Move(event.window, keyspace.bucket_field(event.feature_id, bucket), amount, event.ends)
        for bucket, amount in zip("iox", (draw.included, draw.overage, draw.excess), strict=True)
    ]
    for grant, amount in draw.grants:
        field = keyspace.grant_field(event.feature_id, grant.grant_id)
        found.append(Move(grant.window, field, amount, grant.ends))
    for number, amount in draw.rollover:
        field = keyspace.generation_field(event.feature_id, number)
        found.append(Move(event.window, field, amount, event.ends))
    return found


def _late(event: JournalEvent, draw: Draw) -> list[Move]:
    """What is counted as late, apart: it changes nothing of what the period carries."""
    if not event.late:
        return []
    sealed = event.late == SEALED
    amounts = {keyspace.bucket_field(event.feature_id, "l"): draw.overage + (draw.included if sealed else 0)}
    for number, amount in draw.rollover if sealed else ():
        amounts[keyspace.late_field(keyspace.generation_field(event.feature_id, number))] = amount
    return [Move(event.window, field, amount, event.ends) for field, amount in amounts.items()]


def _reserved(event: JournalEvent, moves: Sequence[Move]) -> list[Move]:
    """The counters that say how much of the buckets is held: of each, and of all in the period's window."""
    own = [move._replace(field=keyspace.reserved_field(move.field)) for move in moves]
    total = sum(move.amount for move in moves)
    return [*own, Move(event.window, keyspace.bucket_field(event.feature_id, "r"), total, event.ends)]


async def store(connection: postgres.Connection, staged: Sequence[Staged], *, now: datetime) -> list[Staged]:
    """Keeps what is new and gives back what was there already."""
    month = partitions.month_of(now.date())
    await _ensure_partitions(connection, staged, month)
    await connection.execute("set local client_min_messages = warning")
    await connection.execute(sql.make_staging)
    await _copy_events(connection, staged)
    await _copy_moves(connection, staged)
    horizon = partitions.horizon(now.date())
    await postgres.execute(connection, sql.insert_keys, {"month": month, "horizon": horizon})
    stale = await postgres.scalars(connection, sql.stale_places, {})
    for query in (sql.insert_events, sql.add_to_rollups, sql.add_to_counters):
        await postgres.execute(connection, query, {})
    if any(journal.instant(item.event.event_at) < now - _MAYBE_BILLED for item in staged):
        await postgres.execute(connection, sql.note_late, {})
    return [staged[place] for place in stale]


async def _ensure_partitions(connection: postgres.Connection, staged: Sequence[Staged], month: date) -> None:
    months = {partitions.month_of(journal.instant(item.event.event_at).date()) for item in staged}
    wanted = {("usage_events", event_month) for event_month in months}
    await partitions.ensure(connection, wanted | {("usage_keys", month)})


async def _copy_events(connection: postgres.Connection, staged: Sequence[Staged]) -> None:
    async with connection.cursor().copy(sql.copy_events) as copy:
        for place, item in enumerate(staged):
            event, draw = item.event, item.draw
            grants = {grant.grant_id: amount for grant, amount in draw.grants}
            generations = {str(number): amount for number, amount in draw.rollover}
            await copy.write_row(
                (
                    place,
                    event.tenant_id,
                    journal.instant(event.event_at),
                    event.digest.hex(),
                    event.fingerprint,
                    event.service_id,
                    event.event_id,
                    event.feature_id,
                    event.entity_id,
                    event.plan_id,
                    event.quantity,
                    item.measured,
                    event.window,
                    draw.included,
                    draw.overage,
                    draw.excess,
                    msgspec.json.encode(grants).decode() if grants else None,
                    msgspec.json.encode(generations).decode() if generations else None,
                    msgspec.json.encode(event.properties).decode() if event.properties else None,
                    journal.instant(event.accepted_at),
                    _decided(item),
                    _event_digest(event),
                )
            )


def _event_digest(event: JournalEvent) -> str | None:
    """What the event is found by that an act is about; None for one that uses nothing of its own."""
    return None if event.kind in _NO_EVENTS else (event.reservation or event.digest).hex()


def _decided(item: Staged) -> str | None:
    """What a decision stood on, and the levels that it was made on, as the column has it."""
    decided = item.event.decided
    if decided is None:
        return None
    return msgspec.json.encode(
        Decision(decided.decision_id, decided.catalog, decided.context, item.levels)
    ).decode()


async def _copy_moves(connection: postgres.Connection, staged: Sequence[Staged]) -> None:
    async with connection.cursor().copy(sql.copy_moves) as copy:
        for place, item in enumerate(staged):
            for window, field, amount, ends in item.moves():
                ends_at = datetime.fromtimestamp(ends, UTC) if ends else "infinity"
                await copy.write_row((place, item.event.tenant_id, window, field, amount, ends_at))
