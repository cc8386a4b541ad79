"""Turns at a payment provider, shared by all processes: how many at once and how many a second."""

from collections.abc import Callable

import msgspec

from policies import limits
from store import keyspace, scripts
from store.nodes import Servers

_LONGEST_MS = 3 * limits.PAYMENT_TIMEOUT_S * 1000
"""A turn whose holder died comes back after this."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider takes."""

    at_once: int = limits.PAYMENT_IN_FLIGHT
    all: int = limits.PAYMENT_TEST_RATE
    """A second, in all."""
    lane: int = limits.PAYMENT_LANE_RATE
    """A second, of one kind."""


class Turns:
    """Those of one provider's account. `real_ms` is the time by the clock on the wall."""

    def __init__(self, link: Servers, rates: Rates, *, real_ms: Callable[[], int]) -> None:
        self._link = link
        self._rates = rates
        self._real_ms = real_ms

    async def take(self, lane: str, holder: str) -> int:
        """Takes a turn, which is to be given back; or the milliseconds after which to ask again.

        Errors: RedisAwayError.
        """
        keys = keyspace.TURNS_HELD, keyspace.turns("all"), keyspace.turns(lane)
        rates = self._rates
        arguments = (
            holder, self._real_ms(), _LONGEST_MS, rates.at_once, 1000 // rates.all, 1000 // rates.lane
        )  # fmt: skip
        call = ("EVALSHA", scripts.TAKE_TURN.sha, len(keys), *keys, *arguments)
        (reply,) = (await self._link.send([call])).values
        if isinstance(reply, Exception):
            raise reply
        return int(reply)

    async def give_back(self, holder: str) -> None:
        """Ends a turn.

        Errors: RedisAwayError; the turn ends by itself then.
        """
        await self._link.send([("ZREM", keyspace.TURNS_HELD, holder)])

    async def close(self, lane: str, seconds: float) -> None:
        """Nobody gets a turn in a lane for so long.

        Errors: RedisAwayError.
        """
        until = self._real_ms() + int(seconds * 1000) + 1000
        await self._link.send([("SET", keyspace.turns(lane), until, "PX", int(seconds * 1000) + 60_000)])
