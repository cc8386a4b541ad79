"""How full Redis is: before it refuses to write anything more, usage is turned away, and decisions go on."""

import logging

from policies import errors, limits
from store import fitness
from store.link import Link, RedisAwayError

RETRY_AFTER_S = 5

log = logging.getLogger("metergate.pressure")


class Pressure:
    """What a process measured last; it measures each second. Unknown is taken for room."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.used = 0
        """Bytes."""
        self.limit = 0
        """Bytes that it may take: its `maxmemory`, or all that the machine has; 0: it does not say."""
        self._full = False

    @property
    def full(self) -> bool:
        """Whether nothing more should be written that could wait elsewhere."""
        return self._full or self._link.out_of_memory

    def require_room(self) -> None:
        """Errors: JournalFullError."""
        if self.full:
            told = "The journal of usage is nearly full; what is reported now must be sent again later."
            raise errors.JournalFullError(told, retry_after_s=RETRY_AFTER_S)

    async def measure(self) -> None:
        """Asks the server. While it is away the last answer stands."""
        try:
            (reply,) = (await self._link.send([("INFO", "memory")])).values
        except RedisAwayError:
            return
        if not isinstance(reply, bytes):
            return  # it may not be asked: then its refusals alone tell
        info = fitness.parse_info(reply.decode())
        self.used = int(info.get("used_memory", "0"))
        self.limit = int(info.get("maxmemory", "0")) or int(info.get("total_system_memory", "0"))
        self._link.out_of_memory = False
        self._judge()

    def _judge(self) -> None:
        share = 100 * self.used / self.limit if self.limit else 0
        full = share >= (limits.REDIS_ROOM_PERCENT if self._full else limits.REDIS_FULL_PERCENT)
        if full != self._full:
            told = "nearly full: usage is turned away" if full else "has room again"
            log.warning("Redis uses %d of %d bytes, and %s", self.used, self.limit, told)
        self._full = full
