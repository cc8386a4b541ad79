"""Extra quantity for one tenant: a grant is a bucket of its own, drawn by its priority while it holds."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from policies.model import Noun
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
    if period is None:
        return 0
    included = (INCLUDED_PRIORITY, period.end or _NEVER, period.start, "included")
    return sum(_draw_order(grant) < included for grant in ordered)


def _draw_order(grant: Grant) -> _DrawOrder:
    return (grant.priority, ends_at(grant) or _NEVER, grant.effective_at, grant.id)
