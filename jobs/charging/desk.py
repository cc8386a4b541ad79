"""A tenant's desk: whoever holds it may ask the provider for something of the tenant's, and nobody else."""

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import msgspec

from integrations.payments import Payments
from jobs.context import JobContext
from policies import limits
from policies.charging import dunning
from store import charges, postgres
from store.charges import ChargeRow, Held

log = logging.getLogger("metergate.charging")


class LeaseLostError(Exception):
    """Another worker has taken over: it took this one too long."""


class Desk:
    """Held by one worker for one tenant."""

    def __init__(self, context: JobContext, payments: Payments, tenant_id: str, holder: str) -> None:
        self.context = context
        self.payments = payments
        self.tenant_id = tenant_id
        self._holder = holder
        self.customer_ref = ""
        self.woken_at: datetime | None = None

    @property
    def now(self) -> datetime:
        """The present instant."""
        return self.context.clock.now()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[postgres.Connection]:
        """A transaction in which the desk is still held, and is from now on for limits.PUSH_LEASE_S.

        Errors: LeaseLostError, UnavailableError.
        """
        until = self.now + timedelta(seconds=limits.PUSH_LEASE_S)
        async with postgres.transaction(self.context.pool) as connection:
            held: Held | None = await charges.hold(connection, self.tenant_id, self._holder, until=until)
            if held is None:
                raise LeaseLostError(self.tenant_id)
            self.customer_ref = held.customer_ref or ""
            self.woken_at = held.woken_at
            yield connection

    async def write(self, charge: ChargeRow, **changes: object) -> ChargeRow:
        """The charge with these changes, kept."""
        changed = msgspec.structs.replace(charge, **changes)
        async with self.writing() as connection:
            await charges.write(connection, changed)
        return changed

    async def put_off(self, charge: ChargeRow, reason: str, after_s: float | None = None) -> None:
        """Goes on later: after a wait that doubles, or that the provider asked for."""
        wait = dunning.backoff_s(charge.tries, charge.invoice_id) if after_s is None else after_s
        next_at = self.now + timedelta(seconds=wait)
        await self.write(charge, next_at=next_at, tries=charge.tries + 1, reason=reason)

    async def stop(self, charge: ChargeRow, reason: str) -> None:
        """A person is to look: going on by itself could charge what is wrong."""
        log.error("the charge of invoice %s was stopped: %s", charge.invoice_id, reason)
        await self.write(charge, state="stopped", next_at=None, reason=reason)


def holder() -> str:
    """A name for a worker."""
    return secrets.token_hex(8)
