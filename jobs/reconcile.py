"""Compares our records with the payment provider's, hourly what is open and daily all.

It changes nothing, unless METERGATE_RECONCILE_APPLY lets it do what is safe: then by a plan of a whole look
that the breaker has not stopped, and of that only what two looks have found.
"""

import logging
from collections import Counter
from datetime import datetime, timedelta
from typing import Final

from jobs.context import JobContext
from policies.reconcile.looks import APART
from policies.reconcile.plan import Plan, Scope
from service.context import Caller
from service.usecases import reconcile, reconcile_apply
from store import postgres
from store import reconcile as turns

log = logging.getLogger("metergate.reconcile")
EVERY: Final[dict[Scope, timedelta]] = {"open": timedelta(hours=1), "full": timedelta(days=1)}
_CALLER: Final = Caller(
    actor="job:reconcile",
    key_id="",
    scopes=frozenset({"operate"}),
    tenant_id=None,
    request_id="job:reconcile",
)
_LONGEST: Final = timedelta(minutes=30)
"""After which a look that died is begun again by another worker."""


async def run(context: JobContext, now: datetime) -> str:
    """Makes a plan of what is due to be looked at, and once more a minute later if something new may differ.

    Errors: UnavailableError; it is right to run it again.
    """
    told = [text for scope in EVERY if (text := await _scope(context, scope, now))]
    return "; ".join(told)


async def _scope(context: JobContext, scope: Scope, now: datetime) -> str:
    async with postgres.transaction(context.pool) as connection:
        if not await turns.take_turn(connection, scope, now=now, until=now + _LONGEST):
            return ""
    made = await reconcile.make(context.uses, scope, now)
    done = await _apply(context, made)
    soon = any(total.suspected for total in made.totals) and not any(total.open for total in made.totals)
    async with postgres.transaction(context.pool) as connection:
        await turns.next_turn(connection, scope, now + (APART if soon else EVERY[scope]))
    return _told(made) + done


async def _apply(context: JobContext, made: Plan) -> str:
    """What a machine may do, where it was told to."""
    if context.config.reconcile_apply == "off" or made.unread or not made.actions:
        return ""
    view = await reconcile_apply.apply(context.uses, _CALLER, made.plan_id)
    states = Counter(one.state for one in view.done)
    return "; " + ", ".join(f"{count} {state}" for state, count in sorted(states.items()))


def _told(made: Plan) -> str:
    for text in made.unread:
        log.warning("reconcile could not read %s", text)
    if made.broken:
        log.error("reconcile has stopped: too much is found of %s (%s)", ", ".join(made.broken), made.plan_id)
    if made.is_clean:
        return ""
    found = ", ".join(f"{total.open} {total.kind}" for total in made.totals if total.open)
    return f"{made.plan_id}: {found or 'something may differ'}"
