"""Connects the payment provider that the configuration names, and spaces what is asked of it."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from integrations.file_billing.gateway import FilePayments
from integrations.payments import BusyError, Limiter, Payments
from integrations.stripe_billing import keys
from policies import limits
from service import clock
from service.config import Config
from store.link import RedisAwayError
from store.nodes import Servers
from store.turns import Rates, Turns

_REFUSED_S = 2.0
"""How long a lane is closed after a refusal that does not say."""


class Spaced:
    """The Limiter that all processes share, through Redis."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    @asynccontextmanager
    async def turn(self, lane: str) -> AsyncIterator[None]:
        """As the protocol has it; with Redis away there are no turns."""
        holder = secrets.token_hex(8)
        await self._wait(lane, holder)
        try:
            yield
        finally:
            with contextlib.suppress(RedisAwayError):
                await self._turns.give_back(holder)

    async def refused(self, lane: str, after_s: float | None) -> None:
        """As the protocol has it."""
        with contextlib.suppress(RedisAwayError):
            await self._turns.close(lane, after_s or _REFUSED_S)

    async def _wait(self, lane: str, holder: str) -> None:
        left_ms = limits.PAYMENT_WAIT_S * 1000
        try:
            while wait_ms := await self._turns.take(lane, holder):
                if wait_ms > left_ms:
                    raise BusyError(f"{lane}: no turn in time", after_s=wait_ms / 1000)
                left_ms -= wait_ms
                await asyncio.sleep(wait_ms / 1000)
        except RedisAwayError as error:
            raise BusyError(f"{lane}: turns are given by Redis, which is away", after_s=_REFUSED_S) from error


def connect(config: Config, link: Servers) -> Payments | None:
    """The provider; None where none is configured."""
    if config.billing_folder:
        return FilePayments(Path(config.billing_folder), now=clock.SystemClock().now)
    if not config.stripe_key:
        return None
    rate = limits.PAYMENT_RATE if keys.is_live(config.stripe_key) else limits.PAYMENT_TEST_RATE
    return stripe(config, Spaced(Turns(link, Rates(all=rate), real_ms=clock.real_ms)))


def stripe(config: Config, limiter: Limiter) -> Payments:
    """Stripe; its library is imported only where there is a key, since that takes a while."""
    from integrations.stripe_billing.gateway import StripePayments  # noqa: PLC0415 - see above

    secrets_ = config.stripe_webhook_secret, config.stripe_webhook_secret_previous
    return StripePayments(config.stripe_key, limiter, address=config.stripe_address, secrets=secrets_)
