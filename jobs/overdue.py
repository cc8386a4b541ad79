"""Tells subscriptions that an invoice of theirs is overdue, where their plan says by when it is due."""

from datetime import datetime

from jobs.context import JobContext
from service.usecases import overdue


async def run(context: JobContext, now: datetime) -> str:
    """Begins the days of grace of each; says how many, or nothing.

    Errors: UnavailableError; it is right to run it again.
    """
    if overdue.is_collected(context.uses):
        return ""  # what payments say comes from whoever collects
    told = await overdue.mark(context.uses, now)
    return f"{told} invoices are overdue" if told else ""
