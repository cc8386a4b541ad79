"""Closes billing periods that are over and issues their invoices."""

from datetime import datetime

from jobs.context import JobContext
from service.usecases import closing


async def run(context: JobContext, now: datetime) -> str:
    """Closes what has had its grace; says how much, or nothing.

    Errors: UnavailableError; it is right to run it again.
    """
    if await context.uses.catalogs.refresh() is None:
        return ""
    done = await closing.close_due(context.uses, now)
    told = [f"{done.periods} periods, {done.invoices} invoices"] if done.periods else []
    told += [f"{done.failed} could not be closed"] if done.failed else []
    return ", ".join(told)
