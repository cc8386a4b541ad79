"""Journal entries that were put aside: their digest is wrong, or Postgres refuses what they say.

Nothing of them is counted for good until somebody applies them; the shard goes on without them.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from store import incidents, journal, keyspace, postgres, queries
from store.incidents import Incident
from store.journal import Entry
from store.link import RedisAwayError
from store.nodes import Servers

sql = queries.Queries("quarantine")

Ending = Literal["applied", "dismissed"]
KIND: Final[incidents.Kind] = "entry-quarantined"


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that was put aside."""

    shard: int
    entry_id: str
    reason: str
    found_at: datetime
    fields: dict[str, str]
    """What stood there, in base64."""
    ended_at: datetime | None = None
    ended_as: Ending | None = None

    def entry(self) -> Entry:
        """As the flush reads it."""
        flat: list[bytes] = []
        for name, value in self.fields.items():
            flat += (name.encode(), base64.b64decode(value))
        return journal.decode(self.entry_id.encode(), flat)

    @property
    def size(self) -> int:
        """Bytes of what stood there."""
        return sum(len(base64.b64decode(value)) for value in self.fields.values())


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    shard: int
    entry_id: str
    reason: str
    found_at: datetime
    fields: str
    ended_at: datetime | None
    ended_as: Ending | None


async def put(
    connection: postgres.Connection, entries: Sequence[tuple[int, Entry]], *, now: datetime
) -> None:
    """Puts damaged entries of these shards aside, and makes an incident of each."""
    for shard, entry in entries:
        params = {
            "shard": shard,
            "entry_id": entry.entry_id,
            "fields": msgspec.json.encode(dict(entry.raw)).decode(),
            "reason": entry.damage,
            "found_at": now,
        }
        await postgres.execute(connection, sql.insert, params)
    told = [
        Incident(
            kind=KIND,
            shard=shard,
            subject=entry.entry_id,
            entries=1,
            detail=f"Entry {entry.entry_id} was put aside, and is not counted: {entry.damage}.",
            found_at=now,
        )
        for shard, entry in entries
    ]
    await incidents.keep(connection, told)


async def refused(link: Servers, shard: int, entry: Entry, why: str) -> Entry:
    """An entry that Postgres refuses, as one that is put aside: with what stands there, and without events.

    Errors: RedisAwayError.
    """
    (reply,) = (await link.send([("XRANGE", keyspace.journal(shard), entry.entry_id, entry.entry_id)])).values
    if isinstance(reply, Exception) or not reply:
        raise RedisAwayError(f"entry {entry.entry_id} cannot be read again")
    ((_, fields),) = reply
    reason = f"the database refuses it: {' '.join(why.split())}"
    return Entry(entry.entry_id, (), entry.number, reason, journal.raw(fields))


async def listed(connection: postgres.Connection, *, ended: bool, limit: int) -> list[Aside]:
    """The newest first; `ended`: also those that were applied or dismissed."""
    rows = await postgres.rows(connection, sql.list, {"all": ended, "limit": limit}, _Row)
    return [_aside(row) for row in rows]


async def find(connection: postgres.Connection, shard: int, entry_id: str) -> Aside | None:
    """One of them, locked."""
    params = {"shard": shard, "entry_id": entry_id}
    row = await postgres.row(connection, sql.one, params, _Row)
    return None if row is None else _aside(row)


async def end(
    connection: postgres.Connection, aside: Aside, ending: Ending, *, by: str, reason: str, now: datetime
) -> None:
    """Says what became of it; its incident is closed with that."""
    params = {"shard": aside.shard, "entry_id": aside.entry_id, "now": now, "ending": ending}
    await postgres.execute(connection, sql.end, params)
    await incidents.close_subject(
        connection, KIND, aside.shard, aside.entry_id, by=by, reason=f"{ending}: {reason}", now=now
    )


async def waiting(connection: postgres.Connection) -> int:
    """How many nobody has dealt with."""
    found: list[int] = await postgres.scalars(connection, sql.waiting, {})
    return found[0]


def _aside(row: _Row) -> Aside:
    fields = msgspec.json.decode(row.fields, type=dict[str, str])
    return Aside(**(msgspec.structs.asdict(row) | {"fields": fields}))
