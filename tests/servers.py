"""Servers of a test's own: killed, paused, started again, replaced, and given a replica."""

import asyncio
import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self
from urllib.parse import quote

from service.embedded import binaries, postgres_server, valkey_server

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
    def socket(self) -> Path:
        return self._socket

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


class Postgres(Server):
    """A cluster of its own, migrated and listening on a socket in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "postgres"
        self.folder.mkdir()
        self._sockets = folder
        # It refuses root; whoever else we are, it may be the same.
        self._as = {"user": "nobody"} if os.getuid() == 0 else {}
        if self._as:
            shutil.chown(self.folder, "nobody")
            shutil.chown(folder, "nobody")
        self.folder.chmod(0o700)
        argv = postgres_server.initdb(binaries.find().initdb, self.folder, locale="C")
        subprocess.run([*argv, "--no-sync"], check=True, capture_output=True, cwd="/", **self._as)

    @property
    def url(self) -> str:
        return f"postgresql://{postgres_server.USER}@/postgres?host={quote(str(self._sockets), safe='')}"

    def start(self) -> None:
        argv = postgres_server.command(binaries.find().postgres, self.folder, self._sockets)
        (self.folder / "postmaster.pid").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [*argv, "-c", "fsync=off"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            **self._as,
        )
        until(lambda: postgres_server.ready(self.folder), "PostgreSQL is ready")

    def kill(self) -> None:
        """With all of its children, as a power cut ends them."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
        super().kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None, "it does not run"
        for pid in [self.process.pid, *_children(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


class Proxy:
    """Stands before a server on a socket, and can be slow to pass its answers on."""

    def __init__(self, path: Path, behind: Path) -> None:
        self.delay_s = 0.0
        self._path, self._behind = path, behind
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            there, back = await asyncio.open_unix_connection(self._behind)
        except OSError:
            writer.close()
            return
        self._writers.append(back)
        for one in (self._pass(reader, back, slow=False), self._pass(there, writer, slow=True)):
            task = asyncio.create_task(one)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slow: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if slow and self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()
        writer.close()
