"""Rows of acts as a binary COPY takes them: nothing that the server has to parse, and little for us to make.

Of each act there is one row or two, so it is what they cost that a flush costs. What many acts share is made
once; the numbers of an act are packed in one go.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from struct import Struct, error
from typing import Final

import msgspec
import psycopg

from policies import limits
from store import postgres
from store.staging import Decision, Staged

_BEGIN: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_CHUNK: Final = 500
_DIGEST: Final = 16
_TO_2000: Final = 946_684_800_000_000
"""Instants of Postgres are microseconds since then, ours since 1970."""
_SIZE: Final = Struct(">i")
_COLUMNS: Final = Struct(">h")
_KEY: Final = Struct(">ii i16s ii iq")
_EVENT: Final = Struct(">i16s iq iq iq iq iq iq iq")
_NULL: Final = _SIZE.pack(-1)
_NOTHING: Final = 4 * _NULL


async def copy(connection: postgres.Connection, query: bytes, rows: Iterable[bytes]) -> None:
    """Sends the rows to a COPY from stdin; the server takes in some while the next are made.

    Errors: DataError where a row has what no row can have.
    """
    rest = iter(rows)
    chunk = _BEGIN + b"".join(islice(rest, _CHUNK))
    async with connection.cursor().copy(query) as stream:
        while chunk:
            await stream.write(chunk)
            chunk = b"".join(islice(rest, _CHUNK))
        await stream.write(_END)


def keys(acts: Sequence[Staged]) -> Iterator[bytes]:
    """The rows of `copy_keys`: what tells new acts from known ones, and the place of each.

    Errors: DataError.
    """
    pack = _KEY.pack
    try:
        for place, item in enumerate(acts):
            event = item.event
            digest, at = event.digest, event.event_at - _TO_2000
            if len(digest) != _DIGEST:  # packing would cut it or fill it up without a word
                raise psycopg.DataError(f"a digest has {len(digest)} bytes")
            yield (
                _begin(6, event.tenant_id, event.feature_id)
                + pack(4, place, _DIGEST, digest, 4, event.fingerprint, 8, at)
            )
    except error as problem:
        raise psycopg.DataError(f"a number is out of bounds: {problem}") from problem


def events(acts: Iterable[Staged]) -> Iterator[bytes]:
    """The rows of `copy_events`: what every event has, and then what may be null.

    Errors: DataError.
    """
    try:
        for item in acts:
            event = item.event
            begin = _begin(
                19,
                event.tenant_id,
                event.service_id,
                event.feature_id,
                event.entity_id,
                event.plan_id,
                event.window,
            )
            name = event.event_id.encode()
            yield b"%b%b%b%b%b" % (begin, _SIZE.pack(len(name)), name, _numbers(item), _rest(item))
    except error as problem:
        raise psycopg.DataError(f"a number is out of bounds: {problem}") from problem


@lru_cache(maxsize=limits.ROWS_ALIVE)
def _begin(columns: int, *texts: str) -> bytes:
    """How rows begin that have so many columns, and these texts first: many acts share them."""
    return _COLUMNS.pack(columns) + b"".join([_sized(text.encode()) for text in texts])


def _numbers(item: Staged) -> bytes:
    event, draw = item.event, item.draw
    digest = event.reservation or event.digest
    if len(digest) != _DIGEST:
        raise psycopg.DataError(f"a digest has {len(digest)} bytes")
    return _EVENT.pack(
        _DIGEST,
        digest,
        8,
        event.event_at - _TO_2000,
        8,
        event.accepted_at - _TO_2000,
        8,
        event.quantity,
        8,
        item.measured,
        8,
        draw.included,
        8,
        draw.overage,
        8,
        draw.excess,
    )


def _sized(field: bytes) -> bytes:
    return _SIZE.pack(len(field)) + field


def _rest(item: Staged) -> bytes:
    """Grants, generations, properties, and what it was decided on."""
    event, draw = item.event, item.draw
    if not (draw.grants or draw.rollover or event.properties or event.decided):
        return _NOTHING
    grants = {grant.grant_id: amount for grant, amount in draw.grants}
    generations = {str(number): amount for number, amount in draw.rollover}
    return b"".join(map(_json, (grants, generations, event.properties, _decided(item))))


def _json(value: object) -> bytes:
    """As a column of jsonb has it, after the number of its format; nothing where there is nothing to say."""
    return _sized(b"\x01" + msgspec.json.encode(value)) if value else _NULL


def _decided(item: Staged) -> Decision | None:
    """What a decision stood on, and the levels that it was made on."""
    decided = item.event.decided
    if decided is None:
        return None
    return Decision(decided.decision_id, decided.catalog, decided.context, item.levels)
