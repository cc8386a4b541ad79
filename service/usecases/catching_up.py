"""Counts what was accepted while Redis was away, in the order in which it came."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from policies.usage import Usage
from service.context import Context
from service.usecases import record
from service.usecases.record import Result
from store import inbox, postgres
from store.crash_points import crash_point
from store.inbox import Identity, Waiting


async def carry_on(context: Context, now: datetime) -> int:
    """Hands what waits to the scripts, the oldest first, until nothing waits or Redis is away; how many.

    Errors: UnavailableError.
    """
    async with postgres.transaction(context.pool) as connection:
        await inbox.forget_kept(connection)
    total = 0
    await context.catalogs.refresh()
    while True:
        async with postgres.transaction(context.pool) as connection:
            waiting = await inbox.take(connection, now=now)
            if not waiting:
                return total
            results, _ = await record.record(context, [one.event for one in waiting], waited=waiting)
            crash_point("inbox-sent")
            by_identity = {one.identity: result for one, result in zip(waiting, results, strict=True)}
            taken = [key for key, one in by_identity.items() if one.status in ("accepted", "duplicate")]
            await inbox.mark_sent(connection, taken, now=now)
            refused = [one for one in waiting if by_identity[one.identity].status == "rejected"]
            await inbox.forget(connection, [one.identity for one in refused])
        await _show(context, refused, by_identity, now)
        total += len(taken)
        if len(taken) + len(refused) < len(waiting):
            return total  # the rest must be tried again


async def _show(
    context: Context, refused: Sequence[Waiting], results: dict[Identity, Result], now: datetime
) -> None:
    """What cannot be counted after all is shown among the rejected events."""
    rejected = []
    for one in refused:
        refusal = results[one.identity].refusal
        assert refusal is not None, "what is rejected has a reason"
        rejected.append((one.event.tenant_id, refusal, _as_it_came(one.event)))
    if rejected:
        await record.keep_rejected(context, rejected, now)


def _as_it_came(event: Usage) -> bytes:
    told = {
        "id": event.event_id,
        "tenantId": event.tenant_id,
        "serviceId": event.service_id,
        "featureId": event.feature_id,
        "quantity": event.quantity,
        "timestamp": event.timestamp or event.arrived_at,
    }
    return msgspec.json.encode(told)
