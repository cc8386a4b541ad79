"""Asks the payment provider what has happened, and takes what did not reach us."""

import logging
from datetime import datetime, timedelta

from integrations.payments import Done, StoppedError
from jobs.context import JobContext
from policies import limits
from policies.errors import UnavailableError
from service.usecases import payment_notices
from store import notices, postgres
from store.crash_points import crash_point

log = logging.getLogger("metergate.charging")
_FIRST = timedelta(days=1)
"""How far back the first question goes."""


async def run(context: JobContext, now: datetime) -> str:
    """Every limits.NOTICES_S, from a little before the last time; says how many were new, or nothing.

    Errors: UnavailableError, also when the provider does not answer; the next run asks for the same.
    """
    payments = context.uses.payments
    if payments is None:
        return ""
    async with postgres.transaction(context.pool) as connection:
        last = await notices.asked_until(connection, payments.account)
    if last is not None and last > now - timedelta(seconds=limits.NOTICES_S):
        return ""
    since = now - _FIRST if last is None else last - timedelta(seconds=limits.NOTICES_AGAIN_S)
    try:
        found = await payments.notices(since=since)
    except StoppedError as error:
        raise UnavailableError(f"the payment provider does not let us in: {error}") from error
    if not isinstance(found, Done):
        raise UnavailableError(f"the payment provider was asked what has happened: {found.reason}")
    crash_point("notices-asked")
    new = [
        notice
        for notice in found.value
        if await payment_notices.take(context.uses, payments, notice, "asked", now=now)
    ]
    crash_point("notices-kept")
    async with postgres.transaction(context.pool) as connection:
        await notices.ask_from(connection, payments.account, now)
        await notices.forget(connection, before=now - timedelta(days=limits.NOTICE_DAYS))
    late = [one for one in new if one.happened_at < now - timedelta(seconds=limits.NOTICES_AGAIN_S)]
    if late and payments.hears:
        log.warning("%d notices had not reached us; is the endpoint at the provider enabled?", len(late))
    return f"{len(new)} notices had not reached us" if new else ""
