"""How full Redis is: before it refuses to write anything more, usage is turned away, and decisions go on.

Of a cluster each node by itself: one that is nearly full turns away what is of its shards.
"""

import contextlib
import logging
from typing import Final

from policies import errors, limits
from store import fitness, keyspace
from store.link import Link, RedisAwayError
from store.nodes import Node, Servers

RETRY_AFTER_S: Final = 5

log = logging.getLogger("metergate.pressure")


class Gauge:
    """What was measured last of one server."""

    def __init__(self, name: str, link: Link) -> None:
        self.name = name
        self._link = link
        self.used = 0
        """Bytes."""
        self.limit = 0
        """Bytes that it may take: its `maxmemory`, or all that the machine has; 0: it does not say."""
        self.answers = False
        """It did when it was measured last."""
        self._full = False

    @property
    def full(self) -> bool:
        """Whether nothing more should be written there that could wait elsewhere."""
        return self._full or self._link.out_of_memory

    @property
    def share(self) -> int:
        """How much of it is used, in percent."""
        return 100 * self.used // self.limit if self.limit else 0

    async def measure(self) -> None:
        """Asks the server. While it is away the last answer stands."""
        try:
            (reply,) = (await self._link.send([("INFO", "memory")])).values
        except RedisAwayError:
            self.answers = False
            return
        self.answers = True
        if not isinstance(reply, bytes):
            return  # it may not be asked: then its refusals alone tell
        info = fitness.parse_info(reply.decode())
        self.used = int(info.get("used_memory", "0"))
        self.limit = int(info.get("maxmemory", "0")) or int(info.get("total_system_memory", "0"))
        self._link.out_of_memory = False
        full = self.share >= (limits.REDIS_ROOM_PERCENT if self._full else limits.REDIS_FULL_PERCENT)
        if full != self._full:
            told = "nearly full: usage is turned away" if full else "has room again"
            log.warning("%s uses %d of %d bytes, and %s", self.name or "Redis", self.used, self.limit, told)
        self._full = full


class Pressure:
    """What a process measured last; it measures each second. Unknown is taken for room."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.gauges: dict[Link, Gauge] = {}
        """Of each server that is known."""
        with contextlib.suppress(RedisAwayError):
            self.gauges = {node.link: Gauge(node.name, node.link) for node in servers.nodes()}

    @property
    def full(self) -> bool:
        """Whether any server is."""
        return any(gauge.full for gauge in self.gauges.values())

    @property
    def used(self) -> int:
        """Bytes of the server that is fullest."""
        return self._fullest.used if self._fullest else 0

    @property
    def limit(self) -> int:
        """Bytes that it may take."""
        return self._fullest.limit if self._fullest else 0

    @property
    def _fullest(self) -> Gauge | None:
        return max(self.gauges.values(), key=lambda gauge: gauge.share, default=None)

    def has_room(self, tenant_id: str) -> bool:
        """Whether what is of a tenant may be written. Where its server is away it waits elsewhere anyhow."""
        try:
            gauge = self.gauges.get(self._servers.of(keyspace.shard_of(tenant_id)))
        except RedisAwayError:
            return True
        return gauge is None or not gauge.full

    def require_room(self, tenant_id: str) -> None:
        """Errors: JournalFullError."""
        if self.full and not self.has_room(tenant_id):
            told = "The journal of usage is nearly full; what is reported now must be sent again later."
            raise errors.JournalFullError(told, retry_after_s=RETRY_AFTER_S)

    async def measure(self) -> None:
        """Asks each server."""
        try:
            nodes = self._servers.nodes()
        except RedisAwayError:
            return
        self.gauges = {node.link: self.gauge(node) for node in nodes}
        for gauge in [*self.gauges.values()]:
            await gauge.measure()

    def gauge(self, node: Node) -> Gauge:
        """That of one server."""
        return self.gauges.setdefault(node.link, Gauge(node.name, node.link))
