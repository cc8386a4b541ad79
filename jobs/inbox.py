"""Counts the usage that was accepted while Redis was away."""

from datetime import datetime

from jobs.context import JobContext
from service.usecases import catching_up


async def run(context: JobContext, now: datetime) -> str:
    """Hands it to the scripts; says how much, or nothing.

    Errors: UnavailableError; it is right to run it again.
    """
    await context.uses.pressure.measure()
    if context.uses.pressure.full:
        return ""  # it is safe where it is
    counted = await catching_up.carry_on(context.uses, now)
    return f"{counted} events that had waited" if counted else ""
