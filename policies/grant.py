"""Extra quantity for one tenant: a grant is a bucket of its own, drawn by its priority while it holds."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from policies import limits, period, quantity
from policies.errors import ConflictError, FieldError, InvalidError
from policies.model import Feature, Noun
from policies.period import Period

INCLUDED_PRIORITY: Final = 100
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_DrawOrder = tuple[int, datetime, datetime, str]


class Grant(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """An immutable fact; voiding it ends it at an instant, and what was drawn from it stays drawn."""

    id: str
    feature_id: str
    quantity: int
    """Scaled."""
    priority: int = INCLUDED_PRIORITY
    """Lower draws first; what the plan includes has 100, a rollover 90."""
    effective_at: datetime
    expires_at: datetime | None = None
    created_at: datetime
    voided_at: datetime | None = None
    reason: str = ""


def ends_at(grant: Grant) -> datetime | None:
    """Where it stops to be drawn from: its expiry, or the instant it was voided at if that is sooner."""
    return min((at for at in (grant.expires_at, grant.voided_at) if at is not None), default=None)


def holds(grant: Grant, at: datetime) -> bool:
    """May an event of this instant draw from it?"""
    end = ends_at(grant)
    return grant.effective_at <= at and (end is None or at < end)


def in_draw_order(held: Iterable[Grant]) -> tuple[Grant, ...]:
    """Lower priority first; then earlier expiry (none is last), earlier start, id (R13)."""
    return tuple(sorted(held, key=_draw_order))


def before_included(ordered: Iterable[Grant], period: Period | None) -> int:
    """How many of the grants are drawn before what the terms include in this period."""
    return 0 if period is None else before(ordered, INCLUDED_PRIORITY, period, "included")


def before(ordered: Iterable[Grant], priority: int, holds_in: Period, name: str) -> int:
    """How many of the grants are drawn before a bucket of this priority, span and name."""
    bucket = (priority, holds_in.end or _NEVER, holds_in.start, name)
    return sum(_draw_order(grant) < bucket for grant in ordered)


def issue(
    grant_id: str,
    feature: Feature,
    *,
    said: int | str,
    priority: int = INCLUDED_PRIORITY,
    effective_at: datetime | None = None,
    expires_at: datetime | None = None,
    reason: str,
    now: datetime,
) -> Grant:
    """A new grant, by default from now on and until further notice; `said` is the quantity as it came in.

    It takes effect at most limits.GRANT_BACK_DAYS ago: no event that is older comes any more. It changes
    nothing about what was drawn before it was made; late events may draw from it.

    Errors: InvalidError with every field whose value is out of bounds.
    """
    found = [FieldError("/featureId", message) for message in _unfit(feature)]
    starts = effective_at or now
    earliest = now - timedelta(days=limits.GRANT_BACK_DAYS)
    latest = now + timedelta(days=limits.START_AHEAD_DAYS)
    if not earliest <= starts <= latest:
        message = f"A grant takes effect between {period.written(earliest)} and {period.written(latest)}."
        found.append(FieldError("/effectiveAt", message))
    if expires_at is not None and expires_at <= max(starts, now):
        found.append(FieldError("/expiresAt", "A grant expires after it takes effect, and in the future."))
    if not 0 <= priority <= limits.PRIORITY_MAX:
        found.append(FieldError("/priority", f"A priority is from 0 to {limits.PRIORITY_MAX:,}."))
    scaled, refusal = _scaled(said, feature)
    if refusal is not None:
        found.append(FieldError("/quantity", refusal))
    if found:
        raise InvalidError(found[0].message, errors=tuple(found))
    return Grant(
        id=grant_id,
        feature_id=feature.id,
        quantity=scaled,
        priority=priority,
        effective_at=starts,
        expires_at=expires_at,
        created_at=now,
        reason=reason,
    )


def void(grant: Grant, now: datetime) -> Grant:
    """The grant with its end now; one that was voided stays as it is.

    Errors: ConflictError if it has expired by itself.
    """
    if grant.voided_at is not None:
        return grant
    if grant.expires_at is not None and grant.expires_at <= now:
        raise ConflictError(
            f"The grant expired on {period.written(grant.expires_at)}; there is nothing to void."
        )
    return msgspec.structs.replace(grant, voided_at=now)


def _draw_order(grant: Grant) -> _DrawOrder:
    return (grant.priority, ends_at(grant) or _NEVER, grant.effective_at, grant.id)


def _unfit(feature: Feature) -> list[str]:
    """Why nothing can be granted of a feature (R21)."""
    if feature.type != "metered":
        return [f"{feature.id} is {feature.type}, not metered: there is no quantity to grant. Override it."]
    if feature.is_level():
        instead = 'Raise its "included" by an override.'
        return [f"{feature.id} is metered by {feature.aggregation}, so nothing draws from a grant. {instead}"]
    return []


def _scaled(said: int | str, feature: Feature) -> tuple[int, str | None]:
    try:
        scaled = quantity.parse(said, feature.decimals)
    except ValueError as error:
        return 0, str(error)
    return scaled, None if scaled > 0 else "A grant gives more than nothing."
