"""What a reported event must be to count."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from policies import limits, meter, quantity
from policies.model import Feature


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """An event as a service reports it; the border has checked types and bounds, not meaning."""

    tenant_id: str
    service_id: str
    event_id: str
    feature_id: str
    quantity: int | str
    timestamp: datetime | None = None
    """None: the instant of its arrival."""
    entity_id: str | None = None
    properties: Mapping[str, str] | None = None
    arrived_at: datetime | None = None
    """When it came, if it had to wait before it could be counted."""

    def instant(self, now: datetime) -> datetime:
        """When it was used."""
        return self.timestamp or self.arrived_at or now


class Refusal(msgspec.Struct, frozen=True):
    """Why an event cannot count: the slug of its page, the field (`/quantity`) and one sentence."""

    slug: str
    pointer: str
    detail: str


def scaled_quantity(event: Usage, feature: Feature) -> int | Refusal:
    """The reported quantity as an integer of 10^-decimals."""
    try:
        return quantity.parse(event.quantity, feature.decimals)
    except ValueError as error:
        return _invalid("/quantity", str(error))


def refusal(event: Usage, feature: Feature | None, *, now: datetime) -> Refusal | None:
    """What is wrong with an event of a known tenant, first finding first; None if it counts."""
    if feature is None:
        return _invalid("/featureId", f"No plan knows a feature {event.feature_id}.")
    if feature.type != "metered":
        detail = f"{feature.id} is a {feature.type} feature: it has no usage to report."
        return _invalid("/featureId", detail)
    return _entity_refusal(event, feature) or _property_refusal(event, feature) or _time_refusal(event, now)


def crowded(feature: Feature) -> Refusal:
    """Why an event of a unique meter cannot count: more values than can be kept."""
    detail = f"In this period {feature.id} has counted {limits.UNIQUE_VALUES:,} values; no more are kept."
    return _invalid(f"/properties/{feature.property}", detail)


def _entity_refusal(event: Usage, feature: Feature) -> Refusal | None:
    if feature.entity == "required" and event.entity_id is None:
        return _invalid("/entityId", f"Usage of {feature.id} is counted by entity: say which.")
    if feature.entity == "none" and event.entity_id is not None:
        return _invalid("/entityId", f"Usage of {feature.id} is not counted by entity: leave it out.")
    return None


def _property_refusal(event: Usage, feature: Feature) -> Refusal | None:
    for key in event.properties or {}:
        if key not in feature.properties:
            known = ", ".join(feature.properties) or "none"
            return _invalid(f"/properties/{key}", f"{feature.id} declares {known}, not this one.")
    if feature.aggregation == "unique" and meter.value(feature, event.properties) is None:
        detail = f"{feature.id} counts the values of {feature.property}: say which."
        return _invalid(f"/properties/{feature.property}", detail)
    return None


def _time_refusal(event: Usage, now: datetime) -> Refusal | None:
    if event.timestamp is None:
        return None
    if event.timestamp > now + timedelta(seconds=limits.EVENT_AHEAD_SECONDS):
        minutes = limits.EVENT_AHEAD_SECONDS // 60
        return _invalid("/timestamp", f"The event is more than {minutes} minutes ahead of our clock.")
    if event.timestamp < now - timedelta(days=limits.EVENT_AGE_DAYS):
        return _invalid("/timestamp", f"The event is older than {limits.EVENT_AGE_DAYS} days.")
    return None


def _invalid(pointer: str, detail: str) -> Refusal:
    return Refusal("invalid", pointer, detail)
