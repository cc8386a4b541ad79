"""Moves the clock of an instance that is there to be tried: months pass in a second (R41)."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import msgspec

from policies import errors, limits, period
from service import clock, moved_clock
from service.context import Context
from service.usecases import changes
from service.usecases.changes import Changed, Done, Order, Reply
from store import moved_clock as kept
from store import postgres


class ClockView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the service's clock says."""

    now: datetime


def shown(context: Context) -> ClockView:
    """What it says now."""
    return ClockView(now=context.clock.now())


async def move(context: Context, order: Order, to: datetime) -> Reply:
    """Has the clock say this instant and go on from there, in every process of the instance.

    When this answers, all of them go by it, unless Postgres was slow for one.
    Errors: ConflictError for an instant before what the clock says: what was written would lie in the future,
    and Redis forgets by the machine's clock what has ended. InvalidError past CLOCK_LAST_YEAR.
    """

    async def act(connection: postgres.Connection, _: datetime) -> Done:
        before = clock.real_now() + await kept.lock(connection)
        if to < before:
            raise errors.ConflictError(
                f"The clock goes forward only, and says {period.written(before)}: begin with a new instance."
            )
        await kept.move(connection, to - clock.real_now())
        view = ClockView(now=to.astimezone(UTC))
        changed = Changed(
            action="clock.move", subject="clock", before={"now": before}, after={"now": view.now}
        )
        return Done(result=view, changed=[changed])

    if to.year > limits.CLOCK_LAST_YEAR:
        raise errors.invalid("/now", f"The clock goes as far as the year {limits.CLOCK_LAST_YEAR}.")
    # Its line is of then, and so is the answer that a repetition gets.
    there = replace(context, clock=clock.FixedClock(to))
    reply = await changes.carry_out(there, order, act, route="POST /test/clock", request={"now": to})
    await asyncio.sleep(moved_clock.SETTLE_S)
    return reply
