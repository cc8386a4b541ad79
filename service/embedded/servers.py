"""The private servers as seen by the process that uses them: two URLs, and gone when that process is gone."""

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

import msgspec
import psycopg

from service.embedded import postgres_server
from service.embedded.errors import EmbeddedError
from service.embedded.protocol import Failed, Message, Ready

ROOT: Final = Path(__file__).resolve().parents[2]
"""The folder that holds our packages; processes start there, so that `-m service…` finds ours."""
DATABASE: Final = "metergate"
START_S: Final = 660.0
"""More than all waits of the supervisor together; beyond it something hangs that should not."""
STOP_S: Final = 60.0
"""The same for its stop."""

_MESSAGES: Final[msgspec.json.Decoder[Message]] = msgspec.json.Decoder(Message)


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """What a user of the servers needs to know."""

    database_url: str
    """Of the database `metergate`, a libpq URL."""
    redis_url: str
    data: Path
    report: Ready
    """Pids, versions, socket paths, seconds of the start."""


class EmbeddedServers:
    """The servers of one data folder, as a context manager or by `start` and `stop`."""

    def __init__(self, data: Path) -> None:
        self.data = data.resolve()
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._heard = b""
        self._running: Running | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Running:
        """Start them and wait until both answer; the database is made when it is missing.

        Errors: EmbeddedError, with nothing left running; for a folder in use the running ones are untouched.
        """
        assert self._supervisor is None, "already started"
        reader, self._pipe = os.pipe()
        argv = [sys.executable, "-m", "service.embedded.supervisor", str(self.data), "--pipe", str(reader)]
        try:
            self._supervisor = subprocess.Popen(  # noqa: S603 - our own module, by the interpreter that runs us
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                pass_fds=[reader],
                process_group=0,
                cwd=ROOT,
            )
        finally:
            os.close(reader)
        try:
            self._running = _connect(self._await_ready(), self.data)
        except BaseException:
            self.stop()
            raise
        return self._running

    @property
    def running(self) -> Running:
        """What `start` returned."""
        assert self._running is not None, "not started"
        return self._running

    def stop(self) -> None:
        """Stop them in order and wait; does nothing when nothing runs."""
        if self._pipe != -1:
            os.close(self._pipe)
            self._pipe = -1
        if self._supervisor is None:
            return
        supervisor, self._supervisor, self._running = self._supervisor, None, None
        with supervisor:
            try:
                supervisor.wait(STOP_S)
            except subprocess.TimeoutExpired:
                supervisor.kill()

    def ward(self, pid: int) -> None:
        """Have a child of ours, leader of its group, stopped before the servers, should we be killed."""
        # A supervisor that is gone cannot hear it; `failure` tells of that.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, b"%d\n" % pid)

    def failure(self, *, within_s: float = 0.0) -> str | None:
        """Why the servers are gone, in one sentence; None while they run."""
        match self._hear(within_s):
            case Failed(reason=reason):
                return reason
            case "gone":
                return "The supervisor of the servers was stopped, and the servers with it."
        return None

    def fileno(self) -> int:
        """A descriptor that can be read when there is a failure to ask for."""
        return self._output()

    def _await_ready(self) -> Ready:
        match self._hear(START_S):
            case Ready() as ready:
                return ready
            case Failed(reason=reason):
                raise EmbeddedError(reason)
            case "gone":
                raise EmbeddedError("The supervisor of the servers ended before they were ready.")
        raise EmbeddedError(
            f"The servers did not start within {START_S:.0f} s; the logs are in {self.data / 'logs'}."
        )

    def _hear(self, within_s: float) -> Message | str | None:
        """The next message, "gone" at the end of its output, None when the time is over."""
        deadline = time.monotonic() + within_s
        while b"\n" not in self._heard:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._output()], [], [], left)[0]:
                return None
            said = os.read(self._output(), 4096)
            if not said:
                return "gone"
            self._heard += said
        line, _, self._heard = self._heard.partition(b"\n")
        return _MESSAGES.decode(line)

    def _output(self) -> int:
        assert self._supervisor is not None
        assert self._supervisor.stdout is not None
        return self._supervisor.stdout.fileno()


def _connect(ready: Ready, data: Path) -> Running:
    host = quote(ready.sockets, safe="")
    url = f"postgresql://{postgres_server.USER}@/{{}}?host={host}"
    _make_database(url.format("postgres"))
    return Running(
        database_url=url.format(DATABASE),
        redis_url=f"unix://{quote(ready.valkey.socket)}",
        data=data,
        report=ready,
    )


def _make_database(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone()
        if found is None:
            connection.execute(f"create database {DATABASE}")
