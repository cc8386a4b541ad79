"""The inbox: usage that is accepted while Redis is away, kept in Postgres until the scripts can take it.

It is a queue in front of the record script, never a second source: nothing is counted from it, and a row goes
only when its key has come back to Postgres through the journal.
"""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import msgspec

from policies import limits
from policies.usage import Usage
from store import partitions, postgres, queries

sql = queries.Queries("inbox")

Identity = tuple[str, bytes]
"""Tenant and digest."""


class Waiting(msgspec.Struct, frozen=True):
    """An event that waits."""

    identity: Identity
    fingerprint: int
    event: Usage
    """Of one that was taken out again, `arrived_at` says since when it waits."""


class _Known(msgspec.Struct, frozen=True):
    tenant_id: str
    digest: str
    fingerprint: int


class _Row(_Known, frozen=True):
    arrived_at: datetime
    event: str


async def is_full(connection: postgres.Connection) -> bool:
    """Whether it takes nothing more."""
    found: list[int] = await postgres.scalars(connection, sql.size, {})
    return found[0] >= limits.INBOX_BYTES


async def keep(
    connection: postgres.Connection, waiting: Sequence[Waiting], *, now: datetime
) -> set[Identity]:
    """Keeps what is known neither here nor among the events that were counted; names what it kept."""
    params = _identities([one.identity for one in waiting]) | {
        "fingerprints": [one.fingerprint for one in waiting],
        "events": [msgspec.json.encode(one.event).decode() for one in waiting],
        "now": now,
        "horizon": partitions.horizon(now.date()),
    }
    return {_identity(row) for row in await postgres.rows(connection, sql.insert, params, _Known)}


async def known(connection: postgres.Connection, ids: Collection[Identity]) -> dict[Identity, int]:
    """The fingerprints of those that are here."""
    rows = await postgres.rows(connection, sql.known, _identities(ids), _Known)
    return {_identity(row): row.fingerprint for row in rows}


async def take(connection: postgres.Connection, *, now: datetime) -> list[Waiting]:
    """The oldest, up to limits.INBOX_BATCH, locked: others take those behind them."""
    before = now - timedelta(seconds=limits.INBOX_AGAIN_S)
    params = {"before": before, "limit": limits.INBOX_BATCH}
    found = []
    for row in await postgres.rows(connection, sql.take, params, _Row):
        event = msgspec.json.decode(row.event, type=Usage)
        arrived = msgspec.structs.replace(event, arrived_at=row.arrived_at)
        found.append(Waiting(_identity(row), row.fingerprint, arrived))
    return found


async def mark_sent(connection: postgres.Connection, ids: Collection[Identity], *, now: datetime) -> None:
    """A script has taken these."""
    await postgres.execute(connection, sql.mark_sent, _identities(ids) | {"now": now})


async def forget_kept(connection: postgres.Connection) -> int:
    """Lets go of what has come back through the journal; how many."""
    return await postgres.execute(connection, sql.forget_kept, {})


async def forget(connection: postgres.Connection, ids: Collection[Identity]) -> None:
    """Lets go of these: they cannot be counted, and are shown elsewhere."""
    await postgres.execute(connection, sql.forget, _identities(ids))


def _identities(ids: Collection[Identity]) -> dict[str, object]:
    return {
        "tenants": [tenant_id for tenant_id, _ in ids],
        "digests": [uuid.UUID(bytes=digest) for _, digest in ids],
    }


def _identity(row: _Known) -> Identity:
    return row.tenant_id, uuid.UUID(row.digest).bytes
