"""Usage while Redis is away: acknowledged once Postgres has it, counted as soon as the scripts can (R28)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from policies import errors
from service.context import Context
from store import inbox, postgres
from store import usage as usage_store
from store.crash_points import crash_point
from store.inbox import Identity, Waiting

Kept = Literal["accepted", "duplicate", "mismatch"]


async def waits(context: Context, one: Waiting) -> bool:
    """Whether this very event waits to be counted; False if nobody can say."""
    try:
        async with postgres.transaction(context.pool) as connection:
            known = await inbox.known(connection, [one.identity])
    except errors.UnavailableError:
        return False
    return known.get(one.identity) == one.fingerprint


async def keep(context: Context, waiting: Sequence[Waiting], now: datetime) -> dict[Identity, Kept]:
    """Keeps events to be counted later; what is known already is a duplicate, or came with another body.

    Errors: UnavailableError when Postgres is away too, or the inbox is full; nothing is kept then.
    """
    first = {one.identity: one for one in reversed(waiting)}
    async with postgres.transaction(context.pool) as connection:
        if await inbox.is_full(connection):
            raise errors.UnavailableError("Too much usage waits to be counted.", retry_after_s=60)
        kept = await inbox.keep(connection, list(first.values()), now=now)
        crash_point("inbox-kept")
        lacking = first.keys() - kept
        known = await inbox.known(connection, lacking)
        known |= await usage_store.seen(connection, list(lacking), today=now.date())
    crash_point("inbox-committed")
    found: dict[Identity, Kept] = dict.fromkeys(kept, "accepted")
    for identity in lacking:
        same = known.get(identity) == first[identity].fingerprint
        found[identity] = "duplicate" if same else "mismatch"
    return found
