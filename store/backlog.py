"""How far the flush is behind, and how much Redis holds for it: what somebody should be woken by."""

from datetime import datetime

import msgspec

from store import keyspace, postgres, queries
from store.link import RedisAwayError
from store.nodes import Servers

sql = queries.Queries("flush")


class Backlog:
    """What was measured last. With a server away its part stays as it was, and the lag grows."""

    def __init__(self) -> None:
        self.entries: int | None = None
        """Entries of all journals, those of the last minutes that have been brought over among them."""
        self.waiting: int | None = None
        """Events in the inbox; past 100,000 nobody counts."""
        self._reached: datetime | None = None

    async def measure_postgres(self, pool: postgres.Pool) -> None:
        """Errors: UnavailableError."""
        async with postgres.transaction(pool) as connection:
            row = await postgres.row(connection, sql.reached, {}, _Reached)
        if row is not None:
            self._reached, self.waiting = row.reached or self._reached, row.waiting

    async def measure_redis(self, link: Servers) -> None:
        """The lengths of the journals."""
        try:
            replies = await link.send([("XLEN", keyspace.journal(shard)) for shard in range(keyspace.SHARDS)])
        except RedisAwayError:
            return
        self.entries = sum(value for value in replies.values if isinstance(value, int))

    def lag_s(self, now: datetime) -> float | None:
        """How long ago everything that was acknowledged was in Postgres; None: nobody has looked yet."""
        return None if self._reached is None else max(0.0, (now - self._reached).total_seconds())


class _Reached(msgspec.Struct, frozen=True):
    reached: datetime | None
    waiting: int
