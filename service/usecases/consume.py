"""Uses something if all of it fits: decided and counted in one step, so that no unit is used twice.

Cedar is asked beforehand how far each counter may go (`policies.allowance`); the script compares and counts.
The answer is Cedar's decision on the counters as the script found them.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from policies import allowance, decide, errors, limits, usage
from policies.balance import Levels
from policies.decide import Request
from policies.decision import Decision
from policies.entitlement import Right
from policies.model import Feature
from policies.usage import Refusal, Usage
from service import ids
from service.context import Context
from service.rights import Standing
from service.usecases import booking, carrying, check, consumed_before, inbox, levels, record
from store.consuming import Found, Use
from store.inbox import Waiting
from store.link import RedisAwayError
from store.reading import FenceClosedError

RETRY_AFTER_S: Final = 2
TRIES: Final = 8
"""How often a use is sent again because something changed meanwhile; each change is one that was made."""


log = logging.getLogger("metergate.consume")


class Consume(msgspec.Struct, frozen=True, kw_only=True):
    """A use that is asked for, its types and bounds checked at the border. As `check.Question` has it."""

    event_id: str
    tenant_id: str
    service_id: str
    feature_id: str
    quantity: int | str
    entity_id: str | None = None
    context: dict[str, str] | None = None
    properties: Mapping[str, str] | None = None
    timestamp: datetime | None = None
    explain: bool = False


class Consumed(msgspec.Struct, frozen=True):
    """The decision, and whether it was counted."""

    decision: Decision
    consumed: bool


class _Asked(msgspec.Struct, frozen=True):
    """A use on its way: what it stands on, and the names of its decision."""

    wanted: Consume
    standing: Standing
    request: Request
    moment: booking.Moment


async def consume(context: Context, wanted: Consume) -> Consumed:
    """Decides and counts.

    Errors: InvalidError for what cannot be used (a feature that has no usage, a time out of bounds, what the
    feature does not take); IdempotencyMismatchError, KeyExpiredError; UnavailableError when it could not be
    counted, or nobody knows whether it was: with the same id it may be asked again.
    """
    now = context.clock.now()
    at = _instant(wanted, now)
    for _ in range(TRIES):
        standing = await check.standing_of(context, wanted.tenant_id, wanted.feature_id, at)
        request = check.request_of(wanted, standing.right, 0, check.whole)
        event = usage_of(wanted)
        _refuse_senseless(event, request, standing.right, now)
        bounds = _allowance(context, standing, request)
        if bounds is None:
            given = await _without_counting(context, wanted, at)
            if given is not None:
                return given
            continue
        asked = _Asked(wanted, standing, request, booking.Moment(at, now, ids.DECISIONS.new()))
        current = await _current(context, standing, now)
        use = booking.use(event, standing, request, bounds, asked.moment, current=current)
        try:
            found = await context.consumer.consume(use, now=now)
        except FenceClosedError as error:
            raise _unavailable() from error
        except RedisAwayError as error:
            return await _while_away(context, wanted, event, request, error)
        answer = await _answer(context, asked, use, found)
        if answer is not None:
            return answer
    raise _unavailable()


async def _current(context: Context, standing: Standing, now: datetime) -> Right:
    """The right that holds now: another one if a period that something is carried from ended a moment ago."""
    right = standing.right
    if not carrying.lateness(right, now):
        return right
    return await check.resolve(context, standing.offer, standing.snapshot, right.feature_id, now)


def _instant(wanted: Consume, now: datetime) -> datetime:
    """When it is used: now, or a moment ago or ahead, by the caller's clock."""
    at = wanted.timestamp or now
    if abs(at - now) > timedelta(seconds=limits.EVENT_AHEAD_SECONDS):
        minutes = limits.EVENT_AHEAD_SECONDS // 60
        raise errors.invalid("/timestamp", f"A use is of now: at most {minutes} minutes from our clock.")
    return at


def _refuse_senseless(event: Usage, request: Request, right: Right, now: datetime) -> None:
    """What could not be recorded cannot be consumed either; a feature that nobody knows is denied."""
    if right.feature is None:
        return
    refusal = usage.refusal(event, right.feature, now=now) or _quantity_refusal(right.feature, request)
    if refusal is not None:
        raise _invalid(refusal)


def _invalid(refusal: Refusal) -> errors.InvalidError:
    return errors.invalid(refusal.pointer, refusal.detail)


def _quantity_refusal(feature: Feature, request: Request) -> Refusal | None:
    counted = {"count": "calls", "unique": "values"}.get(feature.aggregation)
    if counted is not None and request.quantity != 10**feature.decimals:
        detail = f"{feature.id} counts {counted}: each is consumed by itself, with a quantity of 1."
        return Refusal("invalid", "/quantity", detail)
    if request.quantity == 0:
        return Refusal("invalid", "/quantity", "There is nothing to consume: the quantity is at least 1.")
    return None


def usage_of(wanted: Consume) -> Usage:
    """The event that it becomes."""
    return Usage(
        tenant_id=wanted.tenant_id,
        service_id=wanted.service_id,
        event_id=wanted.event_id,
        feature_id=wanted.feature_id,
        quantity=wanted.quantity,
        timestamp=wanted.timestamp,
        entity_id=wanted.entity_id,
        properties=wanted.properties,
    )


def _allowance(context: Context, standing: Standing, request: Request) -> allowance.Allowance | None:
    """How far the counters may go; None where a look at them answers: nothing fits, or it cannot be told.

    What was granted last is tried first: it seldom changes, and the script tells if it did.
    """
    right = standing.right
    if not decide.needs_levels(right):
        return None
    bounds = standing.allowed
    if bounds is None or request.context:
        held = standing.granted_at or Levels(grants=(0,) * len(right.grants))
        try:
            bounds = allowance.of(context.engine, right, request, held)
        except ValueError:
            return None
        if not request.context:
            standing.allowed = bounds
    return bounds if bounds and _fits_unnamed_entity(right, request, bounds) else None


def _fits_unnamed_entity(right: Right, request: Request, bounds: allowance.Allowance) -> bool:
    """A cap per entity judges a use without one as that of an entity that has used nothing yet."""
    if request.entity_id is not None:
        return True
    caps = zip(booking.caps_of(right), bounds.caps, strict=True)
    return all(cap.per == "tenant" or most is None or request.quantity <= most for cap, most in caps)


async def _without_counting(context: Context, wanted: Consume, at: datetime) -> Consumed | None:
    """A plain check: it denies; or Cedar cannot decide, and the feature says what to answer then.

    None if it allows after all: the check has learned of something that changed.
    """
    (decision,) = await check.check(context, (wanted,), at=at)
    if not decision.allowed:
        return Consumed(decision, consumed=False)
    if decision.outcome != "indeterminate":
        return None
    ((result,), _) = await record.record(context, (usage_of(wanted),))
    return Consumed(decision, consumed=result.status in ("accepted", "duplicate"))


async def _while_away(
    context: Context, wanted: Consume, event: Usage, request: Request, error: RedisAwayError
) -> Consumed:
    """Without Redis `whenUnavailable` decides; what it allows waits in Postgres to be counted (R29)."""
    (decision,) = await check.check(context, (wanted,))
    if not decision.degraded:
        raise _unavailable() from error  # it is back: nobody knows whether this use was counted
    if not decision.allowed:
        return Consumed(decision, consumed=False)
    identity = (event.tenant_id, booking.digest(event))
    waiting = Waiting(identity, booking.fingerprint(event, request.quantity, request.context), event)
    try:
        found = await inbox.keep(context, [waiting], context.clock.now())
    except errors.UnavailableError:
        return Consumed(decision, consumed=False)
    if found[identity] == "mismatch":
        raise _mismatch(wanted)
    return Consumed(decision, consumed=True)


async def _answer(context: Context, asked: _Asked, use: Use, found: Found) -> Consumed | None:
    """What the script's reply comes to; None if it must be tried again on what holds now."""
    if found.outcome == "repeated":
        decision = await consumed_before.decision(context, asked.wanted.tenant_id, use.digest)
        if decision is None:
            (decision,) = await check.check(context, (asked.wanted,))
        return Consumed(decision, consumed=True)
    if found.outcome == "mismatch":
        raise _mismatch(asked.wanted)
    if found.outcome == "overflow":
        raise errors.invalid("/quantity", "With this quantity the tenant's counter would pass its bound.")
    feature = asked.standing.right.feature
    if found.outcome == "crowded" and feature is not None:
        raise _invalid(usage.crowded(feature))
    if found.outcome == "stale":
        await context.snapshots.renew(asked.wanted.tenant_id)
        return None
    counted = levels.of_use(asked.standing.right, asked.request.entity_id, found.levels)
    if found.outcome == "moved":
        asked.standing.granted_at, asked.standing.allowed = counted, None
        return None
    if found.outcome == "refused" and await _has_new_catalog(context, asked, found):
        return None
    return _decided(context, asked, counted, counted_it=found.outcome == "counted")


async def _has_new_catalog(context: Context, asked: _Asked, found: Found) -> bool:
    """Whether something else is offered now than what this was decided on."""
    offer = asked.standing.offer
    if found.catalog is None or found.catalog == offer.hash:
        return False
    await context.follower.heed(found.catalog)
    return check.active_offer(context) is not offer


def _decided(context: Context, asked: _Asked, counted: Levels, *, counted_it: bool) -> Consumed | None:
    """Cedar's decision on what the script found; None should the two not say the same."""
    decision = decide.decide(
        context.engine,
        asked.standing.right,
        asked.request,
        counted,
        now=asked.moment.now,
        decision_id=asked.moment.decision_id,
        catalog_hash=asked.standing.offer.hash,
    )
    if decision.allowed != counted_it:
        if counted_it:
            log.error("%s was counted against Cedar's word: %s", asked.moment.decision_id, decision.message)
        else:
            return None
    context.decisions.note(decision, asked.standing, asked.request, counted)
    return Consumed(decision, consumed=counted_it)


def _mismatch(wanted: Consume) -> errors.IdempotencyMismatchError:
    return errors.IdempotencyMismatchError(f"The id {wanted.event_id} came before with another body.")


def _unavailable() -> errors.UnavailableError:
    return errors.UnavailableError("It cannot be counted now.", retry_after_s=RETRY_AFTER_S)
