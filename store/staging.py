"""Acts on their way into Postgres, and what each of them did to the counters."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from policies.rollover import SEALED
from store import keyspace
from store.journal import Draw, JournalEvent, Kind

_PLAIN: Final[frozenset[Kind]] = frozenset({"record", "consume"})
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


class Staged(msgspec.Struct, frozen=True, gc=False):
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

    @property
    def is_event(self) -> bool:
        """Whether it used something of its own; other acts change what earlier ones did."""
        return self.event.kind not in _NO_EVENTS

    @property
    def is_plain(self) -> bool:
        """A use of no more than the plan's own buckets, of a sum, in time: as most are.

        It draws nothing below zero.
        """
        event, draw = self.event, self.draw
        return (
            event.kind in _PLAIN
            and not event.late
            and event.rise is None
            and not draw.grants
            and not draw.rollover
        )

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
        for bucket, amount in (("i", draw.included), ("o", draw.overage), ("x", draw.excess))
        if amount
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
