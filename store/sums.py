"""What a batch of acts adds up to, before it goes to Postgres: by the hour, and by counter."""

from collections.abc import Iterable
from typing import Final

import msgspec

from store import copying, keyspace
from store.journal import Draw, JournalEvent
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
    plain: dict[tuple[str, str, str, int], _Used] = {}
    for item in acts:
        if item.is_plain:
            _use(plain, found, item.event, item.draw)
        else:
            for window, field, amount, ends in item.moves():
                _move(found, (item.event.tenant_id, window, field), amount, ends)
    for (tenant_id, window, feature_id, ends), used in plain.items():
        for bucket, amount in (("i", used.included), ("o", used.overage), ("x", used.excess)):
            if amount:
                key = (tenant_id, window, keyspace.bucket_field(feature_id, bucket))
                _move(found, key, amount, ends)
    return [copying.line([*key, str(level.amount), _end(level.ends)]) for key, level in found.items()]


class _Used(msgspec.Struct, gc=False):
    """What plain acts of a feature in one window drew, all together."""

    included: int = 0
    overage: int = 0
    excess: int = 0


def _use(
    plain: dict[tuple[str, str, str, int], _Used],
    found: dict[tuple[str, str, str], Level],
    event: JournalEvent,
    draw: Draw,
) -> None:
    """The moves of a plain act (Staged.moves), its buckets' summed up by what they share."""
    key = (event.tenant_id, event.window, event.feature_id, event.ends)
    used = plain.get(key)
    if used is None:
        used = plain[key] = _Used()
    used.included += draw.included
    used.overage += draw.overage
    used.excess += draw.excess
    if event.measured:
        for cap in event.caps:
            _move(found, (event.tenant_id, cap.window, cap.field), event.measured, cap.ends)


def _move(
    found: dict[tuple[str, str, str], Level], key: tuple[str, str, str], amount: int, ends: int
) -> None:
    level = found.get(key)
    if level is None:
        found[key] = Level(amount, ends)
        return
    level.amount += amount
    level.ends = max(level.ends, ends) if level.ends and ends else 0


def _end(seconds: int) -> str:
    return copying.instant(seconds * 1_000_000) if seconds else "infinity"
