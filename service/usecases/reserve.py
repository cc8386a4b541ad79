"""Reserves what is to be used: decided as a use is, counted at once, held until it is settled or overdue."""

from datetime import datetime

import msgspec

from policies import errors, limits
from policies.decision import Decision
from service.context import Context
from service.usecases import acknowledging, consumed_before, fitting, past
from service.usecases.fitting import Wanted
from store import journal, postgres, reservations
from store.consuming import Use
from store.holds import Name
from store.link import RedisAwayError
from store.reading import FenceClosedError


class Reserved(msgspec.Struct, frozen=True):
    """The decision, and what was reserved on it: nothing if it was denied, or could not be decided."""

    decision: Decision
    reservation_id: str | None = None
    expires_at: datetime | None = None


async def reserve(context: Context, wanted: Wanted) -> Reserved:
    """Decides and holds, for `wanted.seconds`.

    Errors: as consume.consume; ConflictError when the tenant has too many open reservations.
    """
    context.pressure.require_room(wanted.tenant_id)
    now = context.clock.now()
    assert wanted.seconds is not None, "a reservation ends"
    for _ in range(fitting.TRIES):
        asked = await fitting.ask(context, wanted, now)
        if asked is None:
            decision = await fitting.decision_without(context, wanted, now)
            if decision is None:
                continue
            return Reserved(decision)
        use = fitting.use(asked)
        try:
            held = await context.holds.reserve(use, seconds=wanted.seconds, now=now)
        except FenceClosedError as error:
            raise fitting.unavailable() from error
        except RedisAwayError as error:
            return Reserved(await fitting.decision_while_away(context, wanted, error))
        if held.found.outcome in ("counted", "repeated"):
            await acknowledging.require(context, wanted.tenant_id)
        if held.found.outcome == "repeated":
            return await _before(context, wanted, use)
        if held.found.outcome == "full":
            raise errors.ConflictError(
                f"{wanted.tenant_id} has {limits.RESERVATIONS_OPEN:,} open reservations, which is the most: "
                "settle or release some first."
            )
        decision = await fitting.decision_on(context, asked, held.found)
        if decision is not None:
            return _told(decision, use, held.expires_at)
    raise fitting.unavailable()


def _told(decision: Decision, use: Use, expires_at: int) -> Reserved:
    if not expires_at:
        return Reserved(decision)
    name = Name.of(use.account.tenant_id, use.digest)
    return Reserved(decision, str(name), journal.instant(expires_at))


async def _before(context: Context, wanted: Wanted, use: Use) -> Reserved:
    """The answer to a reservation that was made before, also if it has ended since."""
    tenant_id = wanted.tenant_id
    await past.bring_over(context, tenant_id)
    name = Name.of(tenant_id, use.digest)
    async with postgres.transaction(context.pool) as connection:
        found = await reservations.find(connection, name)
        if found is None:
            raise errors.UnavailableError("The reservation is not at hand yet.", retry_after_s=2)
        line = found.line
        if line.event.fingerprint != use.fingerprint:
            raise fitting.mismatch(fitting.usage_of(wanted))
        decision = await consumed_before.again(context, connection, tenant_id, reservations.decided_use(line))
    assert decision is not None, "a reserve was decided"
    return _told(decision, use, line.expires_at)
