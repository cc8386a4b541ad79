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


class Used:
    """What the processes of an API and its servers use of the processors from here on."""

    def __init__(self, api: Api) -> None:
        self._pids = {"API": [api.pid], "Valkey": [api.valkey_pid]}
        if api.worker_pid:
            self._pids |= {"worker": [api.worker_pid], "PostgreSQL": _family(api.postgres_pid)}
        self._before = {name: self._now(name) for name in self._pids}

    def told(self, units: float, unit: str = "an event") -> str:
        """Microseconds of each for a unit."""
        used = {name: (self._now(name) - self._before[name]) / units * 1e6 for name in self._pids}
        return ", ".join(f"{name} {each:.1f} us {unit}" for name, each in used.items())

    def _now(self, name: str) -> float:
        return sum(processor_s(pid) for pid in self._pids[name] if Path(f"/proc/{pid}").exists())


def _family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *map(int, children)]


def processor_s(pid: int) -> float:
    """What a process has used of the processors until now, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def own_processor_s() -> float:
    """The same of this process."""
    return time.process_time()
