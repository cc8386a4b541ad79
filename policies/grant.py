"""Extra quantity for one tenant: a grant is a bucket of its own, drawn by its priority while it holds."""

from datetime import datetime

from policies.model import Noun


class Grant(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """An immutable fact; voiding it ends it at an instant, and what was drawn from it stays drawn."""

    id: str
    feature_id: str
    quantity: int
    """Scaled."""
    priority: int = 100
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
