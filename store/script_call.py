"""How a call of a script is put together: its keys, each named by its place, and what stands in ARGV."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from policies import limits
from store import keyspace, scripts
from store.accounts import Account, CapMove
from store.conversation import Command

Argument: TypeAlias = str | bytes | int

_line: Final = msgspec.msgpack.Encoder().encode


class Keys:
    """The KEYS of one script call: every key once, found again by its place."""

    def __init__(self, *first: str) -> None:
        self._places = {key: place for place, key in enumerate(first, start=1)}

    def place(self, key: str) -> int:
        """Where a key stands, from 1."""
        return self._places.setdefault(key, len(self._places) + 1)

    def names(self) -> tuple[str, ...]:
        """All of them, in their places."""
        return tuple(self._places)

    def call(self, script: scripts.Script, *arguments: Argument) -> Command:
        """The whole command."""
        return ("EVALSHA", script.sha, len(self._places), *self._places, *arguments)


class Accounts:
    """The accounts of one call, each once (store/lua/parts/buckets.lua)."""

    def __init__(self, shard: int, keys: Keys) -> None:
        self._shard = shard
        self._keys = keys
        self._places: dict[Account, int] = {}
        self._arguments: list[Argument] = []

    def place(self, account: Account) -> int:
        """Which of them it is, from 1."""
        place = self._places.get(account)
        if place is None:
            place = self._places[account] = len(self._places) + 1
            self._arguments += account_of(self._shard, self._keys, account)
        return place

    def arguments(self) -> tuple[Argument, ...]:
        """Their number, and each of them."""
        return (len(self._places), *self._arguments)


def account_of(shard: int, keys: Keys, account: Account) -> list[Argument]:
    """One account, as parts/buckets.lua takes it."""
    return [keys.place(part.name) if isinstance(part, _Key) else part for part in _said(shard, account)]


class _Key(msgspec.Struct, frozen=True):
    """Stands in the arguments of an account for the place of a key."""

    name: str


@lru_cache(maxsize=limits.ACCOUNTS_ALIVE)
def _said(shard: int, account: Account) -> tuple[Argument | _Key, ...]:
    """An account as the scripts read it: made once, since most are used again."""

    def counters(window: str) -> _Key:
        return _Key(keyspace.counters(shard, account.tenant_id, window))

    said: list[Argument | _Key] = [
        account.tenant_id,
        account.snapshot_version,
        counters(account.window) if account.window else 0,
        f"{account.feature_id}:",
        -1 if account.overage is None else account.overage,
        account.ends,
        account.meter,
    ]
    if account.meter == "unique":
        values = keyspace.values_window(account.window, account.feature_id)
        said += (counters(values), limits.UNIQUE_VALUES)
    said.append(len(account.finite))
    for room in account.finite:
        name = _line(room.generation) if room.generation else "" if room.grant is None else _line(room.grant)
        said += (counters(room.window), room.field, room.size, room.life, name)
    if account.carrying is None:
        return (*said, -1)
    links, late, after = account.carrying.links, account.carrying.late, account.carrying.after
    said.append(len(links))
    for link in links:
        said += (counters(link.window), link.included, link.max, link.lasts)
    said += (
        (late, 0, 0, 0, 0)
        if after is None
        else (
            late,
            counters(after.window),
            after.included,
            after.max,
            after.lasts,
        )
    )
    return tuple(said)


def mark(shard: int, keys: Keys, digest: bytes, today: int) -> tuple[Argument, ...]:
    """Where an act's mark is looked for, and its digest as marks have it; the fingerprint comes after it."""
    bucket = keyspace.mark_bucket(digest)
    places = [keys.place(keyspace.marks(shard, today - age, bucket)) for age in range(3)]
    return (*places, digest[:12])


def caps(shard: int, keys: Keys, tenant_id: str, moves: Sequence[CapMove]) -> list[Argument]:
    """The caps that an act moves (store/lua/parts/caps.lua)."""
    arguments: list[Argument] = [len(moves)]
    for cap in moves:
        arguments += (keys.place(keyspace.counters(shard, tenant_id, cap.window)), cap.field, cap.ends)
    return arguments
