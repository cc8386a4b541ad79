"""How far the books have been gone through: part by part, each again once it has rested."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from policies import limits
from store import keyspace, postgres, queries
from store.conversation import Command
from store.link import Link, RedisAwayError
from store.nodes import Servers

sql = queries.Queries("rounds")

KEYS = "keys"
"""The part that goes through the names of all counters in Redis; the others are the shards' tenants."""


class Part(msgspec.Struct, frozen=True):
    """One part, and what of it was looked at last."""

    part: str
    after: str

    @property
    def shard(self) -> int:
        """Whose tenants it is."""
        return int(self.part.removeprefix("s"))


async def take(connection: postgres.Connection, *, now: datetime, before: datetime) -> Part | None:
    """The part that waited longest, of those that were whole last by `before`; now all others come first."""
    return await postgres.row(connection, sql.take, {"now": now, "before": before}, Part)


async def advance(
    connection: postgres.Connection, part: Part, after: str, *, looked: int, now: datetime
) -> None:
    """Notes how far it is; `after` empty: it is whole."""
    params = {"part": part.part, "before": part.after, "after": after, "looked": looked, "now": now}
    await postgres.execute(connection, sql.advance, params)


async def oldest(connection: postgres.Connection) -> datetime | None:
    """All that was counted by then has been looked at since; None before the first round is whole."""
    found: list[datetime | None] = await postgres.scalars(connection, sql.oldest, {})
    return found[0]


async def tenants(connection: postgres.Connection, shard: int, after: str, *, limit: int) -> list[str]:
    """A page of a shard's tenants."""
    params = {"shard": shard, "after": after, "limit": limit}
    return await postgres.scalars(connection, sql.tenants, params)


async def windows(
    servers: Servers, after: str, *, tenant_id: str | None = None
) -> tuple[set[tuple[str, str]], str]:
    """Some of the tenants and windows that Redis has counters of, and where to go on; empty: that is all.

    One server after the other. A scan of another run of one says nothing of this, so it begins anew there.
    Errors: RedisAwayError.
    """
    run_id, _, place = after.rpartition(":")
    links = [node.link for node in servers.nodes()]
    names = "c:*"
    if tenant_id is not None:
        shard = keyspace.shard_of(tenant_id)
        links, names = [servers.of(shard)], keyspace.counters(shard, tenant_id, "*")
    at = next((n for n, link in enumerate(links) if place and link.run_id == run_id), None)
    link, cursor = (links[0], "0") if at is None else (links[at], place)
    command: Command = ("SCAN", cursor, "MATCH", names, "COUNT", limits.BOOKS_NAMES)
    replies = await link.send([command])
    reply = replies.values[0]
    if isinstance(reply, Exception):
        raise RedisAwayError(str(reply))
    found = {keyspace.parse_counters(name.decode()) for name in reply[1]}
    if tenant_id is not None:
        found = {place for place in found if place[0] == tenant_id}
    if reply[0] != b"0":
        return found, f"{replies.run_id}:{reply[0].decode()}"
    return found, await _begin(links[(at or 0) + 1 :])


async def _begin(links: Sequence[Link]) -> str:
    """Where to go on on the next server; empty: there is none."""
    return f"{(await links[0].send([('PING',)])).run_id}:0" if links else ""
