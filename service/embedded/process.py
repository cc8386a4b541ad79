"""Starts a process that ends with us, and ends one within a bound."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from service.embedded import privileges
from service.embedded.wakeup import Wakeup

STOP_S: Final = 20.0
"""How long a process may take to end in order; a fast shutdown of PostgreSQL writes one checkpoint."""
KILL_S: Final = 5.0
"""How long the kernel may take to clear away what was killed."""
LOG_BYTES: Final = 10_000_000
"""A log larger than this is moved aside at the next start; one older is kept."""
_TAIL_BYTES: Final = 600


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A process that we started and answer for."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    stop_signal: signal.Signals

    @property
    def ended(self) -> bool:
        """True once it is gone (and reaped)."""
        return self.process.poll() is not None

    def epitaph(self) -> str:
        """How it ended, with the last line that it wrote if it went by itself. It must have ended."""
        code = self.process.returncode
        if code < 0:
            return f"{self.name} was killed by {signal.Signals(-code).name}"
        return f"{self.name} ended with exit status {code}{_last_line(self.log)}"


def start(
    argv: Sequence[str | Path],
    *,
    login: privileges.Login,
    folder: Path,
    death_signal: signal.Signals,
    output: int,
    environment: Mapping[str, str],
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own, so that Ctrl-C in a terminal does not reach it.

    `folder` becomes its working directory after the change of user: a server complains about one that it may
    not enter. `output` takes both its streams. On Linux `death_signal` reaches it when the calling thread
    ends, so call this from the main thread only.

    Errors: OSError or subprocess.SubprocessError when the login may not run the program or enter the folder.
    """
    parent = os.getpid()

    def enter() -> None:
        privileges.become(login)
        os.chdir(folder)
        privileges.die_with(parent, death_signal)

    return subprocess.Popen(  # noqa: S603 - the callers build argv from found programs and our own settings
        [str(argument) for argument in argv],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        pass_fds=tuple(keep_open),
        process_group=0,
        umask=0o077,
        # Popen's own `user=` cannot keep a capability, nor ask for a signal after the change of user. The
        # hook takes no lock, imports nothing and calls the kernel only, so it is safe between fork and exec.
        preexec_fn=enter,  # noqa: PLW1509 - see above
    )


def stop(children: Sequence[Child], wakeup: Wakeup, *, within_s: float = STOP_S) -> None:
    """End them in order: each gets its signal, all together get `within_s`, then they are killed."""
    for child in children:
        if not child.ended:
            child.process.send_signal(child.stop_signal)
    _wait(children, wakeup, within_s)
    for child in children:
        if not child.ended:
            os.killpg(child.process.pid, signal.SIGKILL)
    _wait(children, wakeup, KILL_S)


def open_log(path: Path) -> int:
    """A descriptor that appends to the log; the caller closes it once the process has it."""
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _wait(children: Sequence[Child], wakeup: Wakeup, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not all(child.ended for child in children):
        left = deadline - time.monotonic()
        if left <= 0:
            return
        wakeup.sleep(left)


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    written = [line.strip() for line in lines if line.strip()]
    return f' ("{written[-1]}")' if written else ""
