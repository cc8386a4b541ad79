"""Reservations in Postgres: what was held, how that ended, and what a server that lost its holds is given."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from store import journal, postgres, queries, revisions
from store.holds import Name
from store.journal import Kind, Line
from store.staging import Decision, Staged
from store.usage import DecidedUse

sql = queries.Queries("reservations")

State = Literal["open", "settled", "released", "expired"]
_STATES: Final[dict[Kind, State]] = {"release": "released", "expire": "expired", "settle": "settled"}


class Reservation(msgspec.Struct, frozen=True):
    """A reservation as it stands; `settled` is what was really used, scaled."""

    tenant_id: str
    state: State
    ended_at: datetime | None
    settled: int | None
    reserve: bytes

    @property
    def line(self) -> Line:
        """The reserve as the journal had it."""
        return journal.decode_line(self.reserve)


class OpenLine(msgspec.Struct, frozen=True):
    """The reserve of one that is open."""

    reserve: bytes


async def keep(connection: postgres.Connection, acts: Sequence[Staged]) -> None:
    """Keeps reservations that are new, and how others ended; one that has expired may still be settled."""
    new = [item for item in acts if item.event.kind == "reserve"]
    if new:
        lines = [Line(item.event, item.draw, item.levels, item.expires_at) for item in new]
        params = _named((item.event.tenant_id, item.event.digest) for item in new) | {
            "shards": [item.shard for item in new],
            "lines": [journal.encode_line(line) for line in lines],
        }
        await postgres.execute(connection, sql.insert, params)
    returned = [item for item in acts if item.event.kind in ("release", "expire")]
    settled = [item for item in acts if item.event.kind == "settle"]
    await revisions.keep_shifts(connection, returned)
    await revisions.keep_held_over(connection, [*returned, *settled])
    await _close(connection, returned)
    await _close(connection, settled)


async def _close(connection: postgres.Connection, ends: Sequence[Staged]) -> None:
    if not ends:
        return
    events = [item.event for item in ends]
    params = _named((event.tenant_id, event.reservation) for event in events) | {
        "states": [_STATES[event.kind] for event in events],
        "ended": [journal.instant(event.accepted_at) for event in events],
        "settled": [event.quantity if event.kind == "settle" else None for event in events],
    }
    await postgres.execute(connection, sql.close, params)


def decided_use(line: Line) -> DecidedUse:
    """What a reserve was decided on, so that it can be decided again."""
    event, decided = line.event, line.event.decided
    assert decided is not None, "a reserve was decided"
    return DecidedUse(
        feature_id=event.feature_id,
        entity_id=event.entity_id,
        quantity=event.quantity,
        event_at=journal.instant(event.event_at),
        accepted_at=journal.instant(event.accepted_at),
        decided=Decision(decided.decision_id, decided.catalog, decided.context, line.levels),
    )


async def find(connection: postgres.Connection, name: Name) -> Reservation | None:
    """The reservation of this name, whoever's it is."""
    params = {"shard": name.shard, "digest": uuid.UUID(bytes=name.digest)}
    return await postgres.row(connection, sql.find, params, Reservation)


def _named(names: Iterable[tuple[str, bytes]]) -> dict[str, object]:
    pairs = list(names)
    return {
        "tenants": [tenant_id for tenant_id, _ in pairs],
        "digests": [uuid.UUID(bytes=digest) for _, digest in pairs],
    }
