"""Lets a process sleep until a signal comes, a child ends or a descriptor can be read, whichever is first."""

import os
import select
import signal
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final, Self

SLEEP_S: Final = 60.0
"""The longest single sleep: a guard against a missed wake, not a pace."""
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Wakeup:
    """Signal handlers and the pipe that they write to, for as long as the `with` lasts. Main thread only.

    `on_stop` is called, in the main thread, for each of STOP_SIGNALS.
    """

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self._on_stop = on_stop
        self._before: dict[signal.Signals, Any] = {}
        self._reader = self._writer = -1

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def install(self) -> None:
        """Take the signals; to be called again after an event loop, which may let go of them."""
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            self._take(number, self._stop)
        # The handler has nothing to do, but without one the end of a child would not write to the pipe.
        self._take(signal.SIGCHLD, lambda *_: None)

    def sleep(self, timeout_s: float, *readable: int) -> Sequence[int]:
        """Sleep until something happens, at most `timeout_s`; returns those of `readable` that can be read.

        What happened between the caller's last look and this call ends the sleep at once: nothing is missed.
        """
        ready, _, _ = select.select([self._reader, *readable], [], [], min(timeout_s, SLEEP_S))
        if self._reader in ready:
            ready.remove(self._reader)
            self._drain()
        return ready

    def _drain(self) -> None:
        try:
            os.read(self._reader, 4096)
        except BlockingIOError:
            return

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._on_stop()

    def _take(self, number: signal.Signals, handler: Callable[..., None]) -> None:
        before = signal.signal(number, handler)
        self._before.setdefault(number, signal.SIG_DFL if before is None else before)
