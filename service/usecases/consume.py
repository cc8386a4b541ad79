"""Uses something if all of it fits: decided and counted in one step, so that no unit is used twice."""

from datetime import datetime

import msgspec

from policies import errors
from policies.decision import Decision
from service.context import Context
from service.usecases import acknowledging, booking, check, consumed_before, fitting, inbox, record
from service.usecases.fitting import Asked, Wanted
from store.inbox import Waiting
from store.link import RedisAwayError
from store.reading import FenceClosedError


class Consumed(msgspec.Struct, frozen=True):
    """The decision, and whether it was counted."""

    decision: Decision
    consumed: bool


async def consume(context: Context, wanted: Wanted) -> Consumed:
    """Decides and counts.

    Errors: InvalidError for what cannot be used (a feature that has no usage, a time out of bounds, what the
    feature does not take); IdempotencyMismatchError, KeyExpiredError; UnavailableError when it could not be
    counted, or nobody knows whether it was: with the same id it may be asked again; JournalFullError.
    """
    context.pressure.require_room(wanted.tenant_id)
    now = context.clock.now()
    for _ in range(fitting.TRIES):
        asked = await fitting.ask(context, wanted, now)
        if asked is None:
            decision = await fitting.decision_without(context, wanted, now)
            if decision is None:
                continue
            return await _without_counting(context, wanted, decision, now)
        use = fitting.use(asked)
        try:
            found = await context.consumer.consume(use, now=now)
        except FenceClosedError as error:
            raise fitting.unavailable() from error
        except RedisAwayError as error:
            return await _while_away(context, wanted, asked, error)
        if found.outcome in ("counted", "repeated"):
            await acknowledging.require(context, wanted.tenant_id)
        if found.outcome == "repeated":
            return await _before(context, wanted, use.digest)
        decision = await fitting.decision_on(context, asked, found)
        if decision is not None:
            return Consumed(decision, consumed=found.outcome == "counted")
    raise fitting.unavailable()


async def _without_counting(context: Context, wanted: Wanted, decision: Decision, now: datetime) -> Consumed:
    """What may be used though it cannot be decided is recorded, like a report.

    What is denied by now may have been counted before, and is answered as it was then.
    """
    if not decision.allowed:
        digest = await fitting.digest_before(context, wanted, now)
        if digest is not None:
            return await _before(context, wanted, digest)
        return Consumed(decision, consumed=False)
    ((result,), _) = await record.record(context, (fitting.usage_of(wanted),))
    return Consumed(decision, consumed=result.status in ("accepted", "duplicate"))


async def _while_away(context: Context, wanted: Wanted, asked: Asked, error: RedisAwayError) -> Consumed:
    """Without Redis `whenUnavailable` decides; what it allows waits in Postgres to be counted (R29)."""
    decision = await fitting.decision_while_away(context, wanted, error)
    event, request = asked.event, asked.request
    identity = (event.tenant_id, booking.digest(event))
    waiting = Waiting(identity, booking.fingerprint(event, request.quantity, request.context), event)
    if not decision.allowed:
        # One that waits already was allowed, and is what leaves no room for itself now.
        before = decision.outcome == "indeterminate" and await inbox.waits(context, waiting)
        again = msgspec.structs.replace(decision, allowed=True) if before else decision
        return Consumed(again, consumed=before)
    try:
        found = await inbox.keep(context, [waiting], context.clock.now())
    except errors.UnavailableError:
        return Consumed(decision, consumed=False)
    if found[identity] == "mismatch":
        raise fitting.mismatch(event)
    if found[identity] == "accepted":
        fitting.remember_away(context, asked)
    return Consumed(decision, consumed=True)


async def _before(context: Context, wanted: Wanted, digest: bytes) -> Consumed:
    """The answer to a use that was counted before."""
    decision = await consumed_before.decision(context, wanted.tenant_id, digest)
    if decision is None:
        (decision,) = await check.check(context, (wanted,))
    return Consumed(decision, consumed=True)
