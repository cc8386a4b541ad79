"""The only reader of time. Everything else takes an instant as an argument (law 8)."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What tells the service the time."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)


class FixedClock:
    """A clock that stands until it is moved: tests and simulations."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """The instant it was set to."""
        return self.at


class MovedClock:
    """The machine's clock and how far it was moved: it goes on from there."""

    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        """The present instant of whoever moved it."""
        return datetime.now(UTC) + self.ahead


def monotonic_s() -> float:
    """Seconds for measuring durations and waits; says nothing about the date."""
    return time.monotonic()


def real_now() -> datetime:
    """The instant by the clock on the wall, also where the service's clock was moved: what others signed."""
    return datetime.now(UTC)


def real_ms() -> int:
    """The same in milliseconds since 1970: what is spaced among several machines."""
    return time.time_ns() // 1_000_000
