"""Looks at what the payment provider's notices are about: what is so is fetched, never read off a notice."""

import asyncio
import logging
from datetime import datetime, timedelta

from integrations.payments import Done, Payments, StoppedError
from jobs.context import JobContext
from policies import limits
from policies.charging import dunning
from policies.errors import UnavailableError
from service.usecases import payment_looks
from store import notices, postgres
from store.crash_points import crash_point
from store.notices import Look

log = logging.getLogger("metergate.charging")


async def run(context: JobContext, now: datetime) -> str:
    """Everything that is to be looked at, up to limits.LOOK_BATCH; says how many, or nothing.

    Errors: UnavailableError, also when the provider lets us in no more; it is right to run it again.
    """
    payments = context.uses.payments
    if payments is None:
        return ""
    until = now + timedelta(seconds=limits.LOOK_LEASE_S)
    async with postgres.transaction(context.pool) as connection:
        found = await notices.claim(connection, now=now, until=until, limit=limits.LOOK_BATCH)
    crash_point("look-claimed")
    at_once = asyncio.Semaphore(limits.PUSH_AT_ONCE)

    async def bounded(one: Look) -> None:
        async with at_once:
            await look(context, payments, one, now)

    try:
        await asyncio.gather(*(bounded(one) for one in found))
    except StoppedError as error:
        raise UnavailableError(f"the payment provider does not let us in: {error}") from error
    return f"{len(found)} things looked at" if found else ""


async def look(context: JobContext, payments: Payments, one: Look, now: datetime) -> None:
    """One look: fetched, kept unless a later look was, and what follows from it."""
    fetched = await payments.fetch(one.thing)
    crash_point("look-fetched")
    if isinstance(fetched, Done):
        await payment_looks.take(context.uses, one, fetched.value, now=now)
        return
    if one.tries >= limits.RECONCILE_STUCK:
        log.error("%s cannot be looked at: %s", one.ref, fetched.reason)
    wait = timedelta(seconds=dunning.backoff_s(one.tries, one.ref))
    async with postgres.transaction(context.pool) as connection:
        await notices.put_off(connection, one, fetched.reason, until=now + wait)
