"""The journal: what the record script wrote, entry by entry, read back, verified and taken apart."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from store.counters import CapMove, GrantBucket

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class JournalEvent(msgspec.Struct, frozen=True, array_like=True):
    """One recorded event, with all that Postgres needs to keep it. Instants in microseconds since 1970.

    `window` is the usage interval it drew from (empty: it moved no counter), `ends` that interval's end in
    unix seconds (0: never).
    """

    kind: str
    tenant_id: str
    service_id: str
    event_id: str
    feature_id: str
    entity_id: str
    plan_id: str
    quantity: int
    measured: int
    event_at: int
    accepted_at: int
    window: str
    ends: int
    caps: tuple[CapMove, ...]
    digest: bytes
    fingerprint: int
    properties: dict[str, str] | None


class Draw(msgspec.Struct, frozen=True, array_like=True):
    """What an event took from each bucket."""

    included: int
    overage: int
    excess: int
    grants: tuple[tuple[GrantBucket, int], ...] = ()
    """The grants that it took something from, and how much."""


class Entry(msgspec.Struct, frozen=True):
    """One batch as it was accepted. `damage` says why it cannot be believed; it has no events then."""

    entry_id: str
    events: tuple[tuple[JournalEvent, Draw], ...]
    damage: str = ""
    raw: tuple[tuple[str, str], ...] = ()
    """Of a damaged entry: its fields, values in base64."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[tuple[JournalEvent, Draw], ...])


def encode(event: JournalEvent) -> bytes:
    """The payload that the record script puts into an entry."""
    return _encoder.encode(event)


def decode(entry_id: bytes, fields: Sequence[bytes]) -> Entry:
    """Reads one entry. The append-only file has no checksums, so the digest says whether to believe it."""
    name = entry_id.decode()
    content = dict(zip(fields[::2], fields[1::2], strict=True))
    blob = content.get(b"b", b"")
    if hashlib.sha1(blob, usedforsecurity=False).hexdigest().encode() != content.get(b"x"):
        return _damaged(name, content, "the digest does not match the content")
    try:
        events = _decoder.decode(blob)
    except msgspec.MsgspecError as error:
        return _damaged(name, content, f"the content cannot be read: {error}")
    if str(len(events)).encode() != content.get(b"n"):
        return _damaged(name, content, "the number of events does not match")
    return Entry(name, events)


def instant(microseconds: int) -> datetime:
    """Microseconds since 1970 as an instant."""
    return EPOCH + microseconds * MICROSECOND


def microseconds(at: datetime) -> int:
    """An instant as microseconds since 1970."""
    return (at - EPOCH) // MICROSECOND


def _damaged(name: str, content: dict[bytes, bytes], reason: str) -> Entry:
    raw = tuple(
        (key.decode(errors="replace"), base64.b64encode(value).decode()) for key, value in content.items()
    )
    return Entry(name, (), reason, raw)
