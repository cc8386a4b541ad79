"""Whether a use fits: what is asked of Cedar before a script counts, and what the script's reply then means.

Cedar is asked beforehand how far each counter may go (`policies.allowance`); the script compares and counts.
The answer is Cedar's decision on the counters as the script found them.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from policies import allowance, decide, errors, limits, usage
from policies.allowance import Allowance
from policies.balance import Levels
from policies.decide import Request
from policies.decision import Decision
from policies.entitlement import Right
from policies.model import Feature
from policies.usage import Refusal, Usage
from service import ids
from service.context import Context
from service.rights import Standing
from service.usecases import booking, carrying, check, levels
from store.consuming import Found, Use
from store.link import RedisAwayError
from store.reading import FenceClosedError, Want

RETRY_AFTER_S: Final = 2
TRIES: Final = 8
"""How often a use is sent again because something changed meanwhile; each change is one that was made."""

log = logging.getLogger("metergate.consume")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
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
    seconds: int | None = None
    """For how long it is reserved, if it is not used at once."""
    explain: bool = False


class Asked(msgspec.Struct, frozen=True):
    """A use on its way: what it stands on, how far the counters may go, and the names of its decision."""

    event: Usage
    standing: Standing
    request: Request
    bounds: Allowance
    moment: booking.Moment


async def ask(context: Context, wanted: Wanted, now: datetime) -> Asked | None:
    """What a script is to be asked; None where a look at the counters answers (`decision_without`).

    Errors: InvalidError for what cannot be used: a feature that has no usage, a time out of bounds, what the
    feature does not take; UnavailableError.
    """
    at = _instant(wanted, now)
    standing = await check.standing_of(context, wanted.tenant_id, wanted.feature_id, at)
    request = check.request_of(wanted, standing.right, 0, check.whole)
    event = usage_of(wanted)
    feature = standing.right.feature
    if feature is not None:
        _refuse_senseless(event, request, feature, now)
        if wanted.seconds is not None and feature.is_level():
            raise errors.invalid("/featureId", f"{feature.id} counts a level: nothing of it can be reserved.")
    bounds = _allowance(context, standing, request)
    if bounds is None:
        return None
    after = await _right_after(context, standing, now)
    moment = booking.Moment(at, now, ids.DECISIONS.new(), wanted.seconds, after)
    return Asked(event, standing, request, bounds, moment)


def use(asked: Asked) -> Use:
    """What the script is given."""
    return booking.use(asked.event, asked.standing, asked.request, asked.bounds, asked.moment)


async def _right_after(context: Context, standing: Standing, now: datetime) -> Right:
    """The right of the next period, if one that something is carried from ended a moment ago."""
    right = standing.right
    if not carrying.lateness(right, now):
        return right
    at = carrying.following(right, now)
    return await check.resolve(context, standing.offer, standing.snapshot, right.feature_id, at)


def _instant(wanted: Wanted, now: datetime) -> datetime:
    """When it is used: now, or a moment ago or ahead, by the caller's clock."""
    at = wanted.timestamp or now
    if abs(at - now) > timedelta(seconds=limits.EVENT_AHEAD_SECONDS):
        minutes = limits.EVENT_AHEAD_SECONDS // 60
        raise errors.invalid("/timestamp", f"A use is of now: at most {minutes} minutes from our clock.")
    return at


def _refuse_senseless(event: Usage, request: Request, feature: Feature, now: datetime) -> None:
    """What could not be recorded cannot be consumed either; a feature that nobody knows is denied."""
    refusal = usage.refusal(event, feature, now=now) or _quantity_refusal(feature, request)
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


def usage_of(wanted: Wanted) -> Usage:
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


def _allowance(context: Context, standing: Standing, request: Request) -> Allowance | None:
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


def _fits_unnamed_entity(right: Right, request: Request, bounds: Allowance) -> bool:
    """A cap per entity judges a use without one as that of an entity that has used nothing yet."""
    if request.entity_id is not None:
        return True
    caps = zip(booking.caps_of(right), bounds.caps, strict=True)
    return all(cap.per == "tenant" or most is None or request.quantity <= most for cap, most in caps)


async def decision_without(context: Context, wanted: Wanted, now: datetime) -> Decision | None:
    """A plain check: it denies; or Cedar cannot decide, and the feature says what to answer then.

    None if it allows after all: the check has learned of something that changed.
    """
    (decision,) = await check.check(context, (wanted,), at=_instant(wanted, now))
    return None if decision.outcome == "allowed" else decision


async def digest_before(context: Context, wanted: Wanted, now: datetime) -> bytes | None:
    """The digest of a use that was counted under this id, though nothing would be now; None if none was.

    Errors: IdempotencyMismatchError; UnavailableError.
    """
    event = usage_of(wanted)
    digest = booking.digest(event)
    try:
        found = await context.consumer.fingerprint(event.tenant_id, digest, now=now)
    except RedisAwayError:
        return None
    if found is None:
        return None
    standing = await check.standing_of(context, event.tenant_id, event.feature_id, _instant(wanted, now))
    if standing.right.feature is not None:
        request = check.request_of(wanted, standing.right, 0, check.whole)
        if found != booking.fingerprint(event, request.quantity, request.context, wanted.seconds):
            raise mismatch(event)
    return digest


async def decision_while_away(context: Context, wanted: Wanted, error: RedisAwayError) -> Decision:
    """Without Redis `whenUnavailable` decides (R29).

    Errors: UnavailableError if it has come back: nobody knows whether this use was counted.
    """
    (decision,) = await check.check(context, (wanted,))
    if not decision.degraded:
        raise unavailable() from error
    return decision


async def decision_on(context: Context, asked: Asked, found: Found) -> Decision | None:
    """What a script's reply comes to; None if it must be asked again on what holds now.

    Errors: IdempotencyMismatchError; InvalidError for a counter at its bound; UnavailableError.
    """
    if found.outcome == "mismatch":
        raise mismatch(asked.event)
    if found.outcome == "overflow":
        raise errors.invalid("/quantity", "With this quantity the tenant's counter would pass its bound.")
    feature = asked.standing.right.feature
    if found.outcome == "crowded" and feature is not None:
        raise _invalid(usage.crowded(feature))
    if found.outcome == "stale":
        await context.snapshots.renew(asked.event.tenant_id)
        return None
    if found.outcome == "due":
        await _sweep(context, asked)
        return None
    counted = levels.of_use(asked.standing.right, asked.request.entity_id, found.levels)
    if found.outcome == "moved":
        asked.standing.granted_at, asked.standing.allowed = counted, None
        context.rights.keep(asked.standing)  # another use may have put the right of its own instant there
        return None
    if found.outcome == "refused" and await _has_new_catalog(context, asked, found):
        return None
    return _decided(context, asked, counted, counted_it=found.outcome == "counted")


async def _sweep(context: Context, asked: Asked) -> None:
    """What expired reservations of the tenant hold comes back first: nothing that fits is refused."""
    try:
        await context.holds.sweep(asked.event.tenant_id, now=asked.moment.now)
    except (RedisAwayError, FenceClosedError) as error:
        raise unavailable() from error


async def _has_new_catalog(context: Context, asked: Asked, found: Found) -> bool:
    """Whether something else is offered now than what this was decided on."""
    offer = asked.standing.offer
    if found.catalog is None or found.catalog == offer.hash:
        return False
    await context.follower.heed(found.catalog)
    return check.active_offer(context) is not offer


def _decided(context: Context, asked: Asked, counted: Levels, *, counted_it: bool) -> Decision | None:
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
    if counted_it and asked.standing.remembered:
        _remember(context, asked, counted)
    context.decisions.note(decision, asked.standing, asked.request, counted)
    return decision


def _remember(context: Context, asked: Asked, before: Levels) -> None:
    """What was used counts for `lastKnown` as what was read does."""
    values = _after(asked, before)
    if values is not None:
        context.last_known.keep(_want(asked), values, asked.moment.now)


def remember_away(context: Context, asked: Asked) -> None:
    """What an outage let pass counts for the next one that asks this process."""
    if not asked.standing.remembered:
        return
    want = _want(asked)
    known = context.last_known.recall(want, asked.moment.now)
    if known is not None:
        right, entity_id = asked.standing.right, asked.request.entity_id
        values = _after(asked, levels.read(right, entity_id, known))
        if values is not None:
            context.last_known.count(want, values)


def _after(asked: Asked, before: Levels) -> levels.Values | None:
    right, entity_id = asked.standing.right, asked.request.entity_id
    held = asked.moment.seconds is not None
    return levels.after(right, entity_id, before, use(asked).measured, held=held)


def _want(asked: Asked) -> Want:
    entity_id = asked.request.entity_id
    named = entity_id is not None and asked.standing.by_entity
    return levels.want(asked.standing.right, entity_id) if named else asked.standing.want


def mismatch(event: Usage) -> errors.IdempotencyMismatchError:
    """The id came before, with another body."""
    return errors.IdempotencyMismatchError(f"The id {event.event_id} came before with another body.")


def unavailable() -> errors.UnavailableError:
    """It can be asked again."""
    return errors.UnavailableError("It cannot be counted now.", retry_after_s=RETRY_AFTER_S)
