"""Ends the starter's other children when the starter did not live to do it."""

import contextlib
import os
import signal
import sys
import time
from typing import Final

from service.embedded.wakeup import Wakeup

STOP_S: Final = 10.0
"""How long they may take to finish what they are doing while the servers still answer."""
KILL_S: Final = 5.0


class Wards:
    """Processes that are not our children but use the servers; they are held by pidfd, so no pid is mistaken.

    Only Linux has pidfds. Elsewhere the set stays empty, and such processes end when their servers are gone.
    """

    def __init__(self) -> None:
        self._held: dict[int, int] = {}
        self._rest = b""

    def add(self, told: bytes) -> None:
        """Take in what came over the pipe: pids, one a line, possibly cut anywhere."""
        *lines, self._rest = (self._rest + told).split(b"\n")
        if sys.platform != "linux":
            return
        for pid in map(int, lines):
            with contextlib.suppress(ProcessLookupError):
                self._held[pid] = os.pidfd_open(pid)

    def stop(self, wakeup: Wakeup) -> None:
        """SIGTERM to each, a bounded wait for all, SIGKILL to the group of each that is left."""
        if sys.platform == "linux":
            for descriptor in self._held.values():
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        self._wait(wakeup, STOP_S)
        for pid in self._held:
            # Its pidfd says that it lives, so the number still names it, and the group that it leads.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self._wait(wakeup, KILL_S)

    def _wait(self, wakeup: Wakeup, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while self._held and (left := deadline - time.monotonic()) > 0:
            ended = wakeup.sleep(left, *self._held.values())
            for pid, descriptor in list(self._held.items()):
                if descriptor in ended:
                    os.close(self._held.pop(pid))
