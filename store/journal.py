"""The journal: what the scripts wrote, entry by entry, read back, verified and taken apart."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from policies.rollover import Late
from store.accounts import Account, CapMove, GrantBucket

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


Kind = Literal["record", "consume", "reserve", "settle", "release", "expire", "amend", "void"]


class Draw(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How an act changed what is used of each bucket; below zero where units came back.

    Of a `reserve` it is what became held instead.
    """

    included: int
    overage: int
    excess: int
    grants: tuple[tuple[GrantBucket, int], ...] = ()
    """The grants that take part, and how much."""
    rollover: tuple[tuple[int, int], ...] = ()
    """The same of the generations of what earlier periods carried."""

    @property
    def total(self) -> int:
        """The units of all buckets together."""
        named = sum(amount for _, amount in (*self.grants, *self.rollover))
        return self.included + self.overage + self.excess + named


class Decided(msgspec.Struct, frozen=True, array_like=True):
    """What a decision stood on that no fact of its instant says: enough to make it again."""

    decision_id: str
    catalog: str
    """The hash of the catalog that was active."""
    context: dict[str, str]


class Rise(msgspec.Struct, frozen=True, array_like=True):
    """An act of a meter with a level: what it measured is what it drew, which only the script knew."""

    value: str = ""
    """Of a unique meter: the field of the value (store.keyspace.value_field)."""


class Revised(msgspec.Struct, frozen=True, array_like=True):
    """What a revision is beside its act: whose it is, of which event, and how that stood before."""

    event_digest: bytes
    revision: int
    """The number that the event has from now on."""
    quantity_before: int
    reason: str
    actor: str
    request: str
    """Digest of whose Idempotency-Key it came with; empty without one."""
    request_id: str


class Hold(msgspec.Struct, frozen=True, array_like=True):
    """What the end of a reservation needs to know, so that it needs no facts: those of its reserve hold."""

    account: Account
    caps: tuple[CapMove, ...]
    """As the scripts take them: `ends` is the end of their counters' life."""
    decimals: int
    counts: bool
    """The feature counts calls, whatever their quantity."""
    ends: int = 0
    """When the period of the reserve ends, in microseconds since 1970; 0: never. Kept whatever the plan:
    another one that lets the rest go on may come before that."""

    @property
    def period_ends(self) -> int:
        """The same, also of one that was made before it was kept for every plan."""
        return self.ends or (self.account.carrying.ends if self.account.carrying else 0)


class RecordEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A recorded event, with all that Postgres needs to keep it. Instants in microseconds since 1970.

    `window` is the usage interval whose buckets it moved (empty: it moved no counter), `ends` that interval's
    end in unix seconds (0: never). `measured` is what the caps move by, before what was held is taken off.
    """

    kind: Kind
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


class JournalEvent(RecordEvent, frozen=True, array_like=True, gc=False):
    """Any act: what a recorded event has, and what other kinds need beside it."""

    held: Draw | None = None
    """Of a settle, release or expire: what the reservation had held until then."""
    decided: Decided | None = None
    """Of a consume or reserve."""
    rise: Rise | None = None
    """Of a meter with a level (R21)."""
    late: Late = 0
    """How late it came for a period that carries something (policies.rollover)."""
    revised: Revised | None = None
    """Of an amend or void, whose `quantity` is the new one and whose `measured` is by how much it changed."""
    hold: Hold | None = None
    """Of a reserve."""
    reservation: bytes = b""
    """Of a settle, release or expire: the digest of its reserve, by which callers name the event."""


class Line(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One act as the script wrote it: what was sent, and what it did."""

    event: JournalEvent
    draw: Draw
    levels: tuple[int, ...] = ()
    """Of a consume or reserve: the counters that it was decided on, in the order of a check."""
    expires_at: int = 0
    """Of a reserve: until when it holds, by the shard's clock."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One batch as it was accepted. `damage` says why it cannot be believed; it has no events then."""

    entry_id: str
    events: tuple[Line, ...]
    number: int = 0
    """Of the entry in its shard, one after the other; 0: it has none that can be read."""
    damage: str = ""
    raw: tuple[tuple[str, str], ...] = ()
    """Of a damaged entry: its fields, values in base64."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[Line, ...])
_line_decoder = msgspec.msgpack.Decoder(Line)


def risen(event: RecordEvent, rise: Rise) -> JournalEvent:
    """The event as one of a meter with a level."""
    return JournalEvent(**msgspec.structs.asdict(event), rise=rise)


def encode(event: RecordEvent) -> bytes:
    """The payload that a script puts into an entry."""
    return _encoder.encode(event)


def encode_line(line: Line) -> bytes:
    """A line by itself, as the holds of open reservations have it."""
    return _encoder.encode(line)


def decode_line(text: bytes) -> Line:
    """What `encode_line` or a script wrote."""
    return _line_decoder.decode(text)


def decode(entry_id: bytes, fields: Sequence[bytes]) -> Entry:
    """Reads one entry. The append-only file has no checksums, so the digest says whether to believe it."""
    name = entry_id.decode()
    content = dict(zip(fields[::2], fields[1::2], strict=True))
    blob, number = content.get(b"b", b""), _number(content.get(b"s", b""))
    if hashlib.sha1(blob, usedforsecurity=False).hexdigest().encode() != content.get(b"x"):
        return _damaged(name, content, "the digest does not match the content")
    try:
        events = _decoder.decode(blob)
    except msgspec.MsgspecError as error:
        return _damaged(name, content, f"the content cannot be read: {error}")
    if str(len(events)).encode() != content.get(b"n"):
        return _damaged(name, content, "the number of events does not match")
    return Entry(name, events, number)


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() else 0


def raw(fields: Sequence[bytes]) -> tuple[tuple[str, str], ...]:
    """The fields of an entry as they are put aside: the values in base64."""
    pairs = zip(fields[::2], fields[1::2], strict=True)
    return tuple((name.decode(errors="replace"), base64.b64encode(value).decode()) for name, value in pairs)


def instant(microseconds: int) -> datetime:
    """Microseconds since 1970 as an instant."""
    return EPOCH + microseconds * MICROSECOND


def microseconds(at: datetime) -> int:
    """An instant as microseconds since 1970."""
    return (at - EPOCH) // MICROSECOND


def _damaged(name: str, content: dict[bytes, bytes], reason: str) -> Entry:
    flat = [part for pair in content.items() for part in pair]
    return Entry(name, (), _number(content.get(b"s", b"")), reason, raw(flat))
