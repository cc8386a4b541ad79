"""Counters as all who know of them have them at one instant: Redis, its journal, and the sums in Postgres.

Postgres is read first, in a transaction that stands still: its sums go up to a place of the journal. Then one
script reads the counters and the journal from that place on, so that whatever was counted meanwhile is in
both. No writer waits for it.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from redis import exceptions

from policies import limits
from policies.drift import Count
from policies.period import LONGEST
from store import journal, keyspace, postgres, queries, script_call, scripts
from store.certify import CAP_LIFE, COUNTER_LIFE
from store.counters import Correction
from store.journal import Entry, Line
from store.link import RUN_ID, RedisAwayError
from store.nodes import Servers
from store.reading import FenceClosedError
from store.staging import Staged

sql = queries.Queries("books")

MARGIN = timedelta(hours=1)
"""Counters that are about to go are not looked at: clocks may differ, and they go one by one."""
Place = tuple[str, str, str]
"""Tenant, time window, field."""


class Sight(msgspec.Struct, frozen=True):
    """A time window of a tenant to be looked at: all of its counters, or some of a large one."""

    tenant_id: str
    window: str
    fields: tuple[str, ...] = ()


class Hold(msgspec.Struct, frozen=True):
    """A reservation by who knows of it as open at one instant."""

    tenant_id: str
    digest: bytes
    expected: bool
    """By Postgres and what the journal has beyond that."""
    actual: bool
    """By Redis."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one look has found. `unsure`: why nothing can be said; there is nothing else then."""

    counts: tuple[Count, ...] = ()
    """Of every counter that one of them knows."""
    holds: tuple[Hold, ...] = ()
    cursor: str = ""
    """The journal entry up to which the sums go."""
    open_lines: tuple[Line, ...] = ()
    """The reserves of what is open in Postgres."""
    unsure: str = ""


class _Sum(msgspec.Struct, frozen=True):
    tenant_id: str
    time_window: str
    field: str
    used: int
    kept: bool


class _Reservation(msgspec.Struct, frozen=True):
    tenant_id: str
    digest: Any
    reserve: bytes


class _Known(msgspec.Struct, frozen=True):
    """What Postgres has, at one instant."""

    now: datetime

    cursor: str
    sums: dict[Place, _Sum]
    corrections: list[Correction]
    reservations: list[_Reservation]


async def look(
    connection: postgres.Connection,
    link: Servers,
    *,
    shard: int,
    sights: Sequence[Sight],
    tenants: Collection[str],
    now: datetime,
) -> Seen:
    """Looks at these windows of one shard, and at the open reservations of these tenants.

    `connection` is in a transaction that stands still (`postgres.standing_still`).
    Errors: FenceClosedError, RedisAwayError, UnavailableError.
    """
    known = await _in_postgres(connection, shard, sights, tenants, now)
    command = _command(shard, sights, sorted(tenants), known)
    reply = (await link.send([command])).values[0]
    if isinstance(reply, exceptions.ResponseError):
        if "FENCED" in str(reply):
            raise FenceClosedError
        raise RedisAwayError(str(reply))
    entries, applied, windows, held = reply
    if entries and not windows:
        return Seen(
            cursor=known.cursor, unsure="the journal is longer than one look reads: the flush is behind"
        )
    tail = [journal.decode(entry_id, fields) for entry_id, fields in entries]
    if damaged := [entry.entry_id for entry in tail if entry.damage]:
        return Seen(
            cursor=known.cursor, unsure=f"journal entry {damaged[0]} is damaged, and not put aside yet"
        )
    counted = {
        (sight.tenant_id, sight.window, field.decode()): value and int(value)
        for sight, flat in zip(sights, windows, strict=True)
        for field, value in zip(flat[::2], flat[1::2], strict=True)
    }
    owed = [one for one, done in zip(known.corrections, applied, strict=True) if not done]
    return Seen(
        counts=tuple(_counts(sights, known, tail, owed, counted)),
        holds=tuple(_holds(sorted(tenants), known, tail, held)),
        cursor=known.cursor,
        open_lines=tuple(journal.decode_line(one.reserve) for one in known.reservations),
    )


async def _in_postgres(
    connection: postgres.Connection,
    shard: int,
    sights: Sequence[Sight],
    tenants: Collection[str],
    now: datetime,
) -> _Known:
    (cursor,) = await postgres.scalars(connection, sql.cursor, {"shard": shard})
    since: dict[str, object] = {"since": now - COUNTER_LIFE + MARGIN, "capped_since": now - CAP_LIFE + MARGIN}
    whole = [sight for sight in sights if not sight.fields]
    names: dict[str, object] = {
        "tenants": [sight.tenant_id for sight in whole],
        "windows": [sight.window for sight in whole],
    }
    sums = await postgres.rows(connection, sql.sums, names | since, _Sum)
    for sight in sights:
        if sight.fields:
            some: dict[str, object] = {
                "tenant_id": sight.tenant_id,
                "time_window": sight.window,
                "fields": list(sight.fields),
            }
            sums += await postgres.rows(connection, sql.sums_of_fields, some | since, _Sum)
    whose = {"shard": shard, "tenants": sorted({sight.tenant_id for sight in sights} | set(tenants))}
    return _Known(
        now,
        cursor,
        {(one.tenant_id, one.time_window, one.field): one for one in sums},
        await postgres.rows(connection, sql.corrections, whose, Correction),
        await postgres.rows(connection, sql.open_reservations, whose, _Reservation),
    )


def _command(
    shard: int, sights: Sequence[Sight], tenants: Sequence[str], known: _Known
) -> tuple[str | bytes | int, ...]:
    keys = script_call.Keys(
        keyspace.fence(shard), keyspace.journal(shard), keyspace.corrected(shard), keyspace.holds(shard)
    )
    body: list[str | bytes | int] = [len(known.corrections)]
    body += [correction.correction_id for correction in known.corrections]
    body.append(len(sights))
    for sight in sights:
        place = keys.place(keyspace.counters(shard, sight.tenant_id, sight.window))
        body += (place, len(sight.fields), *sight.fields)
    body.append(len(tenants))
    body += [keys.place(keyspace.expiries(shard, tenant_id)) for tenant_id in tenants]
    return keys.call(scripts.LOOK, RUN_ID, known.cursor, limits.BOOKS_ENTRIES, *body)


def _counts(
    sights: Sequence[Sight],
    known: _Known,
    tail: Sequence[Entry],
    owed: Iterable[Correction],
    counted: dict[Place, int | None],
) -> Iterable[Count]:
    """One for each counter that anybody knows of, but those that may be gone by now."""
    asked = {(sight.tenant_id, sight.window): set(sight.fields) for sight in sights}
    moved: dict[Place, int] = {}
    entries: dict[Place, list[str]] = {}
    for entry in tail:
        for place, amount in _moves(entry):
            moved[place] = moved.get(place, 0) + amount
            entries.setdefault(place, []).append(entry.entry_id)
    due: dict[Place, int] = {}
    for one in owed:
        place = (one.tenant_id, one.time_window, one.field)
        due[place] = due.get(place, 0) + one.amount
    for place in sorted({*known.sums, *moved, *due, *counted}):
        tenant_id, window, field = place
        fields = asked.get((tenant_id, window))
        if fields is None or (fields and field not in fields):
            continue
        row = known.sums.get(place)
        if not (row.kept if row else lives(window, known.now)):
            continue
        yield Count(
            tenant_id=tenant_id,
            window=window,
            field=field,
            rollup=row.used if row else None,
            journal=moved.get(place, 0),
            owed=due.get(place, 0),
            counter=counted.get(place),
            entries=tuple(dict.fromkeys(entries.get(place, ()))),
        )


def _moves(entry: Entry) -> Iterable[tuple[Place, int]]:
    for number, line in enumerate(entry.events):
        act = Staged(0, entry.entry_id, number, line.event, line.draw, line.levels, line.expires_at)
        for move in act.moves():
            yield (line.event.tenant_id, move.window, move.field), move.amount


def lives(window: str, now: datetime) -> bool:
    """Must Postgres still have the sums of a window of this name, if anything was counted in it?"""
    letter, start = window.split(".")[:2]
    if start == "0" or letter == "n":
        return True
    begins = journal.EPOCH + timedelta(seconds=int(start))
    ends = begins if letter == "g" else begins + LONGEST[keyspace.parse_window(f"{letter}.{start}")[0]]
    return now < ends + COUNTER_LIFE - MARGIN


def _holds(
    tenants: Sequence[str], known: _Known, tail: Sequence[Entry], held: Sequence[Sequence[Any]]
) -> Iterable[Hold]:
    expected = {(one.tenant_id, one.digest.bytes) for one in known.reservations}
    for entry in tail:
        for line in entry.events:
            if line.event.kind == "reserve":
                expected.add((line.event.tenant_id, line.event.digest))
            elif line.event.reservation:
                expected.discard((line.event.tenant_id, line.event.reservation))
    actual = {
        (tenant_id, digest)
        for tenant_id, flat in zip(tenants, held, strict=True)
        for digest, there in zip(flat[::2], flat[1::2], strict=True)
        if there
    }
    for tenant_id, digest in sorted(expected | actual):
        if tenant_id in tenants:
            one = (tenant_id, digest)
            yield Hold(tenant_id, digest, one in expected, one in actual)
