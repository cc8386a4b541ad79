"""Usage as services report it: many tenants, ids that are new each time, instants a moment apart."""

import itertools
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from policies.usage import Usage
from scripts.benchmarks import tenants_loaded
from scripts.benchmarks.sides import Api
from service import clock
from service.embedded import samples

SERVICE: Final = "bench"
PREFIX: Final = "t"
_numbers: Final = itertools.count()
_TICKS: Final = 100
"""Of /proc, a second."""


def load(api: Api, tenants: int) -> None:
    """Tenants `t0` to `t<tenants - 1>`, on the plan of the demo tenant."""
    tenants_loaded.load(api, PREFIX, tenants, copies=False)


def events(count: int, tenants: int) -> list[Usage]:
    """So many new events, each tenant's turn coming after that of all others."""
    now = clock.SystemClock().now()
    return [_event(next(_numbers), tenants, now) for _ in range(count)]


def _event(number: int, tenants: int, now: datetime) -> Usage:
    return Usage(
        tenant_id=f"{PREFIX}{number % tenants}",
        service_id=SERVICE,
        event_id=f"{now.timestamp():.0f}-{number:012x}",
        feature_id=samples.FEATURE,
        quantity=1 + number % 900,
        timestamp=now - timedelta(milliseconds=number % 10_000),
    )


def ndjson(reported: Sequence[Usage]) -> bytes:
    """These events as the body of a request, a line for each."""
    return b"\n".join(map(_line, reported))


def _line(event: Usage) -> bytes:
    assert event.timestamp is not None, "events of a benchmark say when"
    return msgspec.json.encode(
        {
            "id": event.event_id,
            "tenantId": event.tenant_id,
            "serviceId": event.service_id,
            "featureId": event.feature_id,
            "quantity": event.quantity,
            "timestamp": event.timestamp.astimezone(UTC),
        }
    )


def processor_s(pid: int) -> float:
    """What a process has used of the processors until now, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def own_processor_s() -> float:
    """The same of this process."""
    return time.process_time()
