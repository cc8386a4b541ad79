"""The answer to a use that was consumed before, given again (R27): decided anew on what it was decided on.

Nothing but its levels was kept for it: the facts are those of its instant, the catalog is the one it names.
"""

from datetime import timedelta

import msgspec

from policies import decide, errors, limits
from policies.decide import Request
from policies.decision import Decision
from policies.engine import Engine
from policies.snapshot import Snapshot
from service.context import Context
from service.usecases import levels, past
from service.usecases.past import Then
from store import postgres, usage
from store.staging import Decision as Decided
from store.usage import DecidedUse


async def decision(context: Context, tenant_id: str, digest: bytes) -> Decision | None:
    """The decision of a use that was consumed, as it was answered; None if it was allowed without one.

    That is so where Redis was away, or Cedar could not decide.

    Errors: KeyExpiredError once limits.IDEMPOTENCY_HOURS are over; IdempotencyMismatchError for the id of
    something else; UnavailableError when it cannot be read now.
    """
    await past.bring_over(context, tenant_id)
    async with postgres.transaction(context.pool) as connection:
        use = await usage.decided_use(connection, tenant_id, digest)
        if use is None:
            raise errors.UnavailableError("The use is not at hand yet.", retry_after_s=2)
        return await again(context, connection, tenant_id, use)


async def again(
    context: Context, connection: postgres.Connection, tenant_id: str, use: DecidedUse
) -> Decision | None:
    """The decision on a use, made again; as of `decision`."""
    if use.accepted_at < context.clock.now() - timedelta(hours=limits.IDEMPOTENCY_HOURS):
        hours = limits.IDEMPOTENCY_HOURS
        detail = f"The answer was kept for {hours} hours; it was counted then, and is not counted again."
        raise errors.KeyExpiredError(detail)
    if use.decided is None:
        return None
    then = await past.facts(
        connection, tenant_id, use.feature_id, use.accepted_at, catalog=use.decided.catalog
    )
    return _again(use, use.decided, then)


def _again(use: DecidedUse, decided: Decided, then: Then) -> Decision:
    known = msgspec.structs.replace(then, snapshot=_as_known(then.snapshot, use))
    right = known.right(use.event_at)
    entity_id = use.entity_id or None
    return decide.decide(
        Engine(),  # of its own: slices of old plans would push out those of today
        right,
        Request(
            feature_id=use.feature_id,
            quantity=use.quantity,
            entity_id=entity_id,
            context=decided.context,
        ),
        levels.of_use(right, entity_id, decided.levels),
        now=use.accepted_at,
        decision_id=decided.decision_id,
        catalog_hash=decided.catalog,
    )


def _as_known(snapshot: Snapshot, use: DecidedUse) -> Snapshot:
    """Without grants that were made later, though they hold since before."""
    known = tuple(grant for grant in snapshot.grants if grant.created_at <= use.accepted_at)
    return msgspec.structs.replace(snapshot, grants=known)
