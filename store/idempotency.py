"""The answers that were given under an Idempotency-Key, so that a repeated request changes nothing twice."""

from datetime import datetime, timedelta

import msgspec

from policies import limits
from store import postgres
from store.queries import Queries

_SQL = Queries("idempotency")
_LOCK_FAMILY = 0x6D67
"""Sets these advisory locks apart from others in the same database."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One answer and the digest of the request that it answered."""

    fingerprint: bytes
    status: int
    body: bytes
    etag: str | None


async def recall(connection: postgres.Connection, scope: str, key: str, *, now: datetime) -> Kept | None:
    """What was answered under this key in the last limits.IDEMPOTENCY_HOURS.

    Until the transaction ends, others with the same key wait here: of two at once, one acts and one recalls.
    """
    params = {"scope": scope, "idempotency_key": key, "family": _LOCK_FAMILY}
    await postgres.execute(connection, _SQL.hold, params)
    params["since"] = now - timedelta(hours=limits.IDEMPOTENCY_HOURS)
    return await postgres.row(connection, _SQL.recall, params, Kept)


async def keep(connection: postgres.Connection, scope: str, key: str, kept: Kept, *, now: datetime) -> None:
    """Remembers an answer, in the transaction of the change that it tells of."""
    params = {"scope": scope, "idempotency_key": key, "created_at": now} | msgspec.structs.asdict(kept)
    await postgres.execute(connection, _SQL.keep, params)
