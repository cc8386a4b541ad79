"""The keys that callers show: what each may do, found by the digest of its secret."""

import contextlib
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from policies import errors, limits
from store import postgres
from store.queries import Queries

_SQL = Queries("api_keys")
_FRESH = timedelta(seconds=limits.KEY_SECONDS)
_LAST_KNOWN = timedelta(hours=limits.LAST_KNOWN_HOURS)


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key. The secret is not kept, only its sha256, which never leaves the table."""

    key_id: str
    name: str
    scopes: Sequence[str]
    tenant_id: str | None
    """The one tenant that it is bound to, or None."""
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class _Known(msgspec.Struct):
    key: ApiKey
    read_at: datetime
    tried_at: datetime
    """When it was last tried to read it again; while Postgres is away, few requests wait for it."""


class KeyRing:
    """The keys that this process has met lately, so that a request costs no look-up.

    A change of a key is seen within limits.KEY_SECONDS. While Postgres is away, what was known goes on to
    open doors, for limits.LAST_KNOWN_HOURS at most.
    """

    def __init__(self, pool: postgres.Pool, *, alive: int = limits.KEYS_ALIVE) -> None:
        self._pool = pool
        self._alive = alive
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._shown: dict[Hashable, tuple[bytes, _Known, Any]] = {}

    async def find(self, digest: bytes, *, now: datetime) -> ApiKey | None:
        """The key whose secret has this sha256, in whatever state; None if there is none.

        Errors: UnavailableError when it is not known here and Postgres is away.
        """
        known = self._known.get(digest)
        if known is None or abs(now - known.read_at) > _LAST_KNOWN:
            return await self._look_up(digest, now)
        if abs(now - known.tried_at) >= _FRESH:
            known.tried_at = now
            with contextlib.suppress(errors.UnavailableError):
                return await self._look_up(digest, now)
        return known.key

    def recall(self, shown: Hashable, *, now: datetime) -> tuple[ApiKey, Any] | None:
        """The key that was shown in just this way before, as long as `find` would not look it up again.

        Beside it stands what was made of it then.
        """
        found = self._shown.get(shown)
        if found is None:
            return None
        digest, known, made = found
        if self._known.get(digest) is not known or abs(now - known.tried_at) >= _FRESH:
            return None
        return known.key, made

    def keep(self, shown: Hashable, digest: bytes, made: Any) -> None:
        """Remembers how a key that was found came: the headers as they were, so that none is hashed again."""
        if len(self._shown) >= self._alive:
            self._shown.clear()
        if (known := self._known.get(digest)) is not None:
            self._shown[shown] = (digest, known, made)

    def forget(self, key_id: str) -> None:
        """Makes this process look the key up again: it was changed here."""
        for digest in [digest for digest, known in self._known.items() if known.key.key_id == key_id]:
            del self._known[digest]

    async def _look_up(self, digest: bytes, now: datetime) -> ApiKey | None:
        async with postgres.transaction(self._pool) as connection:
            key = await postgres.row(connection, _SQL.by_hash, {"hash": digest}, ApiKey)
        if key is None:
            self._known.pop(digest, None)
            return None
        self._known[digest] = _Known(key, now, now)
        self._known.move_to_end(digest)
        while len(self._known) > self._alive:
            self._known.popitem(last=False)
        return key


async def add(connection: postgres.Connection, key: ApiKey, *, digest: bytes) -> None:
    """Writes a new key; `digest` is the sha256 of its secret."""
    params = msgspec.structs.asdict(key) | {"scopes": list(key.scopes), "hash": digest}
    await postgres.execute(connection, _SQL.add, params)


async def lock(connection: postgres.Connection, key_id: str) -> ApiKey | None:
    """The key, held until the transaction ends."""
    return await postgres.row(connection, _SQL.lock, {"key_id": key_id}, ApiKey)


async def page(
    connection: postgres.Connection, *, tenant_id: str | None, after: str, limit: int
) -> list[ApiKey]:
    """Up to `limit` keys by id, behind the id `after`; of one tenant only, if one is named."""
    params = {"tenant_id": tenant_id, "after": after, "limit": limit}
    return await postgres.rows(connection, _SQL.page, params, ApiKey)


async def update(connection: postgres.Connection, key: ApiKey) -> None:
    """Writes the expiry and the revocation of a locked key."""
    params = {"key_id": key.key_id, "expires_at": key.expires_at, "revoked_at": key.revoked_at}
    await postgres.execute(connection, _SQL.update, params)
