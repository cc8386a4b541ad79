"""Servers of a test's own: killed, paused, started again, replaced, and given a replica."""

import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from service.embedded import binaries, valkey_server

BOUND_S = 60.0
"""Far above what anything here takes, so that a slow machine fails no test."""


def until(happens: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + BOUND_S
    while not happens():
        assert time.monotonic() < deadline, f"not within {BOUND_S} s: {what}"
        select.select([], [], [], 0.002)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Server:
    """A process that can be made to fail."""

    process: "subprocess.Popen[bytes] | None" = None

    def kill(self) -> None:
        """As kill -9 does; a process that was paused, too."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None, "it does not run"
        os.kill(self.process.pid, number)


class Valkey(Server):
    """One on a socket in a folder; with a port it can have replicas."""

    def __init__(self, folder: Path, name: str, *, port: int = 0, **settings: str) -> None:
        self.folder = folder / name
        self.port = port
        self._socket = folder / f"{name}.sock"
        self._settings = settings
        self.folder.mkdir()

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def start(self) -> None:
        self._socket.unlink(missing_ok=True)
        argv = valkey_server.command(binaries.find().valkey, self.folder, self._socket)
        argv += ["--port", str(self.port), "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"]
        for name, value in self._settings.items():
            argv += [f"--{name.replace('_', '-')}", value]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: valkey_server.ready(self._socket) or self.process.poll() is not None, "Valkey is ready")

    def kept(self) -> Path:
        """A copy of its files as they are now."""
        copy = self.folder.with_name(f"{self.folder.name}.kept")
        shutil.copytree(self.folder, copy)
        return copy

    def put_back(self, copy: Path | None) -> None:
        """Replaces its files by a copy, or by none at all."""
        shutil.rmtree(self.folder)
        if copy is None:
            self.folder.mkdir()
        else:
            shutil.copytree(copy, self.folder)
