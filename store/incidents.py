"""Incidents: what should never happen and is never hidden, each told once and open until somebody closes it.

Entries of a journal are numbered one by one, and go on from a new epoch when their shard is certified
(store/tips.py). A number that was acknowledged and lies between two epochs is that of an entry which the
server has lost; one that is left out within an epoch, of one that its file has lost.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from policies import errors
from store import keyspace, postgres, queries
from store.conversation import Command
from store.link import Link
from store.tips import EPOCH, Tip, Tips

sql = queries.Queries("incidents")
log = logging.getLogger("metergate.incidents")

Kind = Literal["entries-lost", "journal-gap", "journal-older", "entry-quarantined"]
NEWEST: Final = 2**63 - 1


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to the journal of a shard."""

    kind: Kind
    shard: int
    subject: str
    """What it is about: of one subject a kind is told once."""
    entries: int | None
    """How many entries of the journal, where that is known."""
    detail: str
    found_at: datetime


class Stored(Incident, frozen=True, kw_only=True):
    """One as it is kept, and what somebody made of it."""

    incident_id: int
    closed_at: datetime | None
    closed_by: str | None
    reason: str | None


class Reach(msgspec.Struct, frozen=True):
    """How far a shard's journal was brought over."""

    shard: int
    number: int
    drained_at: datetime | None = None


class Edge(msgspec.Struct, frozen=True):
    """Where numbers of a shard ended, and where they go on."""

    shard: int
    ended: int
    began: int


class Checked(msgspec.Struct):
    """What the numbers of entries say: what is missing, where an epoch began, and the last number."""

    gaps: list[Incident]
    edges: list[Edge]
    last: int


class OfKind(msgspec.Struct, frozen=True, rename="camel"):
    """How many incidents are open."""

    kind: str
    incidents: int
    entries: int


class _Lost(msgspec.Struct, frozen=True):
    shard: int
    epoch: int
    number: int
    ended: int
    certified_at: datetime


async def keep(connection: postgres.Connection, incidents: Sequence[Incident]) -> None:
    """Keeps those that are new, and says so in the log."""
    for incident in incidents:
        if await postgres.execute(connection, sql.insert, msgspec.structs.asdict(incident)):
            log.error("shard %d: %s: %s", incident.shard, incident.kind, incident.detail)


def checked(reach: Reach, numbers: Sequence[tuple[str, int]], *, now: datetime) -> Checked:
    """Holds entries of one shard (their ids and numbers) one against the other.

    Before the first number there is nothing that could be missed: entries of earlier versions have none. An
    edge is seen where the certification that began the epoch died before its commit.
    """
    found = Checked([], [], reach.number)
    for entry_id, number in numbers:
        before = found.last
        if number % EPOCH == 1 and number > before + 1:
            found.edges.append(Edge(reach.shard, before, number - 1))
        elif before and number != before + 1:
            found.gaps.append(_gap(reach.shard, entry_id, before, number, now))
        found.last = number or (before + 1 if before else 0)
    return found


async def keep_checked(connection: postgres.Connection, checks: Sequence[Checked], *, now: datetime) -> None:
    """Keeps what was found."""
    await keep(connection, [incident for one in checks for incident in one.gaps])
    edges = [edge for one in checks for edge in one.edges]
    if edges:
        await _put_epochs(connection, edges, now)
        await _tell_lost(connection, now)


async def _put_epochs(connection: postgres.Connection, edges: Sequence[Edge], now: datetime) -> None:
    params = {
        "shards": [edge.shard for edge in edges],
        "ended": [edge.ended for edge in edges],
        "began": [edge.began for edge in edges],
    }
    await postgres.execute(connection, sql.put_epochs, params | {"now": now})


def _gap(shard: int, entry_id: str, before: int, number: int, now: datetime) -> Incident:
    missing = number - before - 1 if before < number < before + EPOCH else None
    told = f"the {missing} before it are gone" if missing else "its number or that before it is wrong"
    return Incident(
        kind="journal-gap",
        shard=shard,
        subject=entry_id,
        entries=missing,
        detail=f"After entry {before:,} of the journal came {entry_id} with number {number:,}: {told}.",
        found_at=now,
    )


async def begin_epochs(
    connection: postgres.Connection, link: Link, reaches: Sequence[Reach], *, now: datetime
) -> list[Command]:
    """Lets the numbers of drained shards go on from a new epoch, and keeps what their server has lost.

    Gives the commands that tell the server so. Errors: RedisAwayError.
    """
    replies = await link.send([("HGET", keyspace.versions(r.shard), keyspace.NUMBER) for r in reaches])
    known = [int(value) if isinstance(value, bytes) else 0 for value in replies.values]
    edges = [
        Edge(r.shard, r.number, (max(r.number, there) // EPOCH + 1) * EPOCH)
        for r, there in zip(reaches, known, strict=True)
    ]
    await _put_epochs(connection, edges, now)
    numbers = {"shards": [edge.shard for edge in edges], "began": [edge.began for edge in edges]}
    await postgres.execute(connection, sql.set_numbers, numbers)
    found = [compared(r, there, now=now) for r, there in zip(reaches, known, strict=True)]
    await keep(connection, [one for one in found if one is not None])
    await _tell_lost(connection, now)
    return [("HSET", keyspace.versions(edge.shard), keyspace.NUMBER, edge.began) for edge in edges]


def compared(reach: Reach, there: int, *, now: datetime) -> Incident | None:
    """What the last number that the server gave says, beside the last that was brought over."""
    if there > reach.number and there // EPOCH == reach.number // EPOCH and reach.number:
        lost = there - reach.number
        detail = f"The server had numbered {lost:,} entries after {reach.number:,}, and has none of them."
        return _incident("entries-lost", reach, lost, detail, now)
    if there < reach.number and reach.number % EPOCH:
        since = f" Since {reach.drained_at:%Y-%m-%d %H:%M:%S} UTC" if reach.drained_at else " Since then"
        detail = (
            f"The server came with entry {there:,} of the journal, though {reach.number:,} had been brought "
            f"over: its file is older, empty, or another's.{since} it may have lost what it acknowledged."
        )
        return _incident("journal-older", reach, None, detail, now)
    return None


def _incident(kind: Kind, reach: Reach, entries: int | None, detail: str, now: datetime) -> Incident:
    return Incident(
        kind=kind,
        shard=reach.shard,
        subject=str(reach.number // EPOCH),
        entries=entries,
        detail=detail,
        found_at=now,
    )


async def tell_tips(pool: postgres.Pool, tips: Tips, *, now: datetime) -> None:
    """Lets Postgres know how far this process has acknowledged; later, if it is away."""
    fresh = tips.take()
    if not fresh:
        return
    try:
        async with postgres.transaction(pool) as connection:
            await _put(connection, fresh)
            await _tell_lost(connection, now)
    except errors.UnavailableError:
        tips.give_back(fresh)


async def _put(connection: postgres.Connection, tips: Sequence[Tip]) -> None:
    params = {
        "shards": [tip.shard for tip in tips],
        "numbers": [tip.number for tip in tips],
        "epoch": EPOCH,
    }
    await postgres.execute(connection, sql.put_tips, params)


async def _tell_lost(connection: postgres.Connection, now: datetime) -> None:
    """Keeps what was acknowledged and is nowhere; whoever tells of an epoch later may know of more."""
    for lost in await postgres.rows(connection, sql.lost, {}, _Lost):
        count = lost.number - lost.ended
        detail = (
            f"{count:,} entries after {lost.ended:,} were acknowledged, and the server that was certified at "
            f"{lost.certified_at:%Y-%m-%d %H:%M:%S} UTC has none of them."
        )
        reach = Reach(lost.shard, lost.ended)
        incident = _incident("entries-lost", reach, count, detail, now)
        await keep(connection, [incident])
        await postgres.execute(connection, sql.raise_lost, msgspec.structs.asdict(incident))
    await postgres.execute(connection, sql.forget_tips, {})


async def open_by_kind(connection: postgres.Connection) -> list[OfKind]:
    """How many are open of each kind."""
    return await postgres.rows(connection, sql.open_by_kind, {}, OfKind)


async def listed(
    connection: postgres.Connection, *, closed: bool, before: int = NEWEST, limit: int
) -> list[Stored]:
    """The newest first; `closed`: also those that somebody has closed."""
    params = {"all": closed, "before": before, "limit": limit}
    return await postgres.rows(connection, sql.list, params, Stored)


async def find(connection: postgres.Connection, incident_id: int) -> Stored | None:
    """One, locked."""
    return await postgres.row(connection, sql.one, {"incident_id": incident_id}, Stored)


async def close(
    connection: postgres.Connection, incident_id: int, *, by: str, reason: str, now: datetime
) -> None:
    """Somebody says what they made of it."""
    params = {"incident_id": incident_id, "by": by, "reason": reason, "now": now}
    await postgres.execute(connection, sql.close, params)


async def close_subject(
    connection: postgres.Connection,
    kind: Kind,
    shard: int,
    subject: str,
    *,
    by: str,
    reason: str,
    now: datetime,
) -> None:
    """The same, by what it is about."""
    params = {"kind": kind, "shard": shard, "subject": subject, "by": by, "reason": reason, "now": now}
    await postgres.execute(connection, sql.close_subject, params)
