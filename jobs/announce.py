"""Tells Redis the snapshot versions whose announcement was lost, so that no worker keeps an old right."""

from datetime import datetime

from jobs.context import JobContext


async def run(context: JobContext, now: datetime) -> str:
    """Says them again; idempotent, since a version never goes back.

    Errors: UnavailableError, RedisAwayError.
    """
    del now
    told = await context.snapshots.say_again()
    return f"{told} versions" if told else ""
