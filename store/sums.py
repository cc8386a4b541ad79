"""What a batch of acts adds up to, before it goes to Postgres: by the hour, and by counter."""

from collections.abc import Iterable
from typing import Final

import msgspec

from store import copying
from store.staging import Staged

HOUR: Final = 3_600_000_000
"""In microseconds."""


class Hour(msgspec.Struct):
    """Usage of one hour so far."""

    quantity: int = 0
    events: int = 0


class Level(msgspec.Struct):
    """By how much a counter moved; `ends` is the latest end of its window in unix seconds, 0: never."""

    amount: int
    ends: int


def hours(acts: Iterable[Staged]) -> list[str]:
    """The rows of what was used: tenant, feature, hour, service, entity, plan, quantity, events."""
    found: dict[tuple[str, str, int, str, str, str], Hour] = {}
    for item in acts:
        event = item.event
        if not item.is_event:
            continue
        key = (
            event.tenant_id,
            event.feature_id,
            event.event_at // HOUR,
            event.service_id,
            event.entity_id,
            event.plan_id,
        )
        hour = found.get(key)
        if hour is None:
            hour = found[key] = Hour()
        hour.quantity += item.measured
        hour.events += 1
    return [
        copying.line(
            [tenant, feature, copying.instant(at * HOUR), *names, str(hour.quantity), str(hour.events)]
        )
        for (tenant, feature, at, *names), hour in found.items()
    ]


def counters(acts: Iterable[Staged]) -> list[str]:
    """The rows of the counters that moved: tenant, window, field, amount, end of the window."""
    found: dict[tuple[str, str, str], Level] = {}
    for item in acts:
        tenant_id = item.event.tenant_id
        for window, field, amount, ends in item.moves():
            key = (tenant_id, window, field)
            level = found.get(key)
            if level is None:
                found[key] = Level(amount, ends)
                continue
            level.amount += amount
            level.ends = max(level.ends, ends) if level.ends and ends else 0
    return [copying.line([*key, str(level.amount), _end(level.ends)]) for key, level in found.items()]


def _end(seconds: int) -> str:
    return copying.instant(seconds * 1_000_000) if seconds else "infinity"
