"""Revising: an event that was counted is amended or voided, once for each of its revision numbers."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from redis import exceptions

from store import keyspace, script_call, scripts
from store.accounts import Account, CapMove
from store.counters import MARK_LIFE_S
from store.crash_points import crash_point
from store.link import RUN_ID, RedisAwayError
from store.nodes import Servers
from store.reading import FenceClosedError

Outcome = Literal["kept", "repeated", "taken", "stale", "overflow", "moved"]
_OUTCOMES: Final[tuple[Outcome, ...]] = ("kept", "repeated", "taken", "stale", "overflow", "moved")


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a level: of `max` how high it is, of `unique` which value has one event less."""

    to: int = 0
    acts: int = 0
    """From how many acts `to` was found: with another number of them it is found anew."""
    value: str = ""


class Revising(msgspec.Struct, frozen=True, kw_only=True):
    """One revision on its way into the script. `payload` is one msgpack value, kept as it is."""

    account: Account
    digest: bytes
    fingerprint: int
    payload: bytes
    back: int = 0
    """Units that come back to buckets."""
    own: tuple[int, ...]
    """What the event has drawn by now of each finite bucket of the account."""
    more: int = 0
    """Units that are drawn beyond what was."""
    change: int
    """By how much what was measured changes: what the caps move by."""
    caps: tuple[CapMove, ...] = ()
    level: Level | None = None
    """Of a meter with a level, whose counters are kept: what comes back or is drawn more follows from it."""


def digest(event_digest: bytes, revision: int) -> bytes:
    """What a revision is recognised by: of an event each number is given once, so of two one stays."""
    return hashlib.sha256(event_digest + f"revision {revision}".encode()).digest()[:16]


async def revise(link: Servers, revising: Revising, *, now: datetime) -> Outcome:
    """Keeps a revision; `moved`: acts came that its level was not found from.

    Errors: FenceClosedError; RedisAwayError, and then nobody knows whether it was kept.
    """
    account, tenant_id = revising.account, revising.account.tenant_id
    shard = keyspace.shard_of(tenant_id)
    keys = script_call.Keys(keyspace.fence(shard), keyspace.journal(shard), keyspace.versions(shard))
    arguments = [
        *script_call.account_of(shard, keys, account),
        *script_call.mark(shard, keys, revising.digest, keyspace.day_of(now)),
        revising.fingerprint,
        revising.payload,
        *_changes(shard, keys, revising),
    ]
    script = scripts.REVISE if revising.level is None else scripts.RELEVEL
    replies = await link.send([keys.call(script, RUN_ID, MARK_LIFE_S, *arguments)])
    crash_point("revised")
    (reply,) = replies.values
    if isinstance(reply, exceptions.ResponseError):
        raise FenceClosedError if "FENCED" in str(reply) else RedisAwayError(str(reply))
    return _OUTCOMES[int(reply)]


def _changes(shard: int, keys: script_call.Keys, revising: Revising) -> Sequence[script_call.Argument]:
    level = revising.level
    if level is not None:
        return (level.value,) if level.value else (level.to, level.acts)
    caps = script_call.caps(shard, keys, revising.account.tenant_id, revising.caps)
    return (revising.back, *revising.own, revising.more, revising.change, *caps)
