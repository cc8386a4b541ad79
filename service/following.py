"""Keeps this process on the active catalog: Redis names it with every read, Postgres is asked each second.

The word in Redis makes a publish effective in the next check everywhere. It may be lost or late, so it only
makes this process look; what holds is in Postgres.
"""

import asyncio
from typing import Final

from policies import errors
from service import clock
from store.catalogs import Catalogs

REFRESH_S: Final = 1.0
"""How often Postgres is asked without a word, and for how long a word that it did not bear out is left."""


class Follower:
    """One for each process; many may hear the same word at once, and one of them looks."""

    def __init__(self, catalogs: Catalogs) -> None:
        self._catalogs = catalogs
        self._looking = asyncio.Lock()
        self._left = ""
        self._left_until = 0.0
        self._away = False

    async def heed(self, word: str) -> bool:
        """Looks whether the catalog of this hash is active; False if nobody can tell, with Postgres away."""
        async with self._looking:
            now = clock.monotonic_s()
            if word == self._hash():
                return True
            if word == self._left and now < self._left_until:
                return not self._away
            self._away = False
            try:
                await self._catalogs.refresh()
            except errors.UnavailableError:
                self._away = True
            if word != self._hash():
                self._left, self._left_until = word, now + REFRESH_S
            return not self._away

    def _hash(self) -> str:
        return self._catalogs.active.hash if self._catalogs.active else ""
