"""Owns the private servers: starts them, watches them, and stops them when their starter is gone.

A process of its own: `python -m service.embedded.supervisor DATA --pipe FD`. FD is the reading end of a pipe
whose other end only the starter holds, so its end of file means that the starter is gone, however it went.
Lines on the pipe are pids of the starter's other children: they use the servers, so they are stopped first.
"""

import argparse
import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from service.embedded import binaries, folder, logins, postgres_server, privileges, process, valkey_server
from service.embedded.binaries import Binaries
from service.embedded.errors import EmbeddedError
from service.embedded.folder import Lock
from service.embedded.privileges import Login
from service.embedded.process import Child
from service.embedded.protocol import Failed, Message, Ready, Started
from service.embedded.wakeup import SLEEP_S, Wakeup
from service.embedded.wards import Wards

START_S: Final = 120.0
"""How long making or starting may take: recovery after a power cut and a long journal included."""
LEFTOVER_S: Final = 60.0
"""How long what is left of a killed run may take to end before a new run gives up."""
REFUSE_S: Final = 1.0
"""How long a supervisor may take to notice that its starter was killed, before it counts as running."""
LOCALES: Final = ("C.UTF-8", "C")
"""Of the cluster; the second is for systems that do not know the first. The encoding is UTF-8 in both."""
_LOOK_S: Final = 0.01
_RUNNING: Final = "running"
_STOPPING: Final = "stopping"
_ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
"""A fixed one: no locale, PGDATA or LD_PRELOAD of the starter reaches a server."""


class LeaveError(Exception):
    """The starter is gone, or a signal asked us to stop. Nothing went wrong."""


class Supervisor:
    """One run of the servers in one data folder."""

    def __init__(self, data: Path, *, pipe: int) -> None:
        self._pipe = pipe
        self._status = 0
        self._stop_asked = False
        self._wakeup = Wakeup(self._ask_stop)
        self._wards = Wards()
        self._servers: list[Child] = []
        self._account = privileges.account(os.environ)
        self._layout = folder.open_root(data, self._account)

    def run(self) -> int:
        """Start, serve until the starter is gone, stop; the exit status. No server is left by then."""
        layout = self._layout
        try:
            with self._wakeup, Lock(layout.lock) as lock, Lock(layout.servers_lock) as shared:
                self._claim(lock)
                self._await_leftovers(shared)
                self._serve(lock, shared)
        except LeaveError:
            pass
        except EmbeddedError as error:
            self._fail(error)
        return self._status

    def _claim(self, lock: Lock) -> None:
        """Take the folder. An instance whose starter has just been killed gets the time to end."""
        begun = time.monotonic()
        while not lock.take():
            holder = lock.signature()
            patience_s = LEFTOVER_S if holder.endswith(_STOPPING) else REFUSE_S
            if time.monotonic() - begun > patience_s:
                raise EmbeddedError(f"{self._layout.root} is in use by another instance ({holder}).")
            self._look(_LOOK_S)
        lock.sign(_RUNNING)

    def _serve(self, lock: Lock, shared: Lock) -> None:
        begun = time.monotonic()
        found = binaries.find()
        folder.furnish(self._layout, self._account)
        sockets = folder.sockets(self._layout.root)
        folder.make_private(sockets, self._account)
        try:
            homes = {found.postgres: sockets, found.valkey: self._layout.valkey}
            login, versions = logins.choose(self._account, homes, _ENVIRONMENT)
            initdb_s = self._make_cluster(found, login, shared)
            self._start(found, sockets, login, shared)
            postgres, valkey = self._servers
            ready = Ready(
                supervisor=os.getpid(),
                postgres=_started(postgres, versions[found.postgres], sockets / folder.POSTGRES_SOCKET),
                valkey=_started(valkey, versions[found.valkey], sockets / folder.VALKEY_SOCKET),
                sockets=str(sockets),
                user=login.account.name if login.account else None,
                capability=privileges.CAPABILITY_NAMES[login.capability] if login.capability else None,
                initdb_s=round(initdb_s, 3),
                total_s=round(time.monotonic() - begun, 3),
            )
            _say(ready)
            while True:
                self._look(SLEEP_S)
        except EmbeddedError as error:
            # Said before the rest is stopped: the starter must not take its own children's end for the cause.
            self._fail(error)
        finally:
            lock.sign(_STOPPING)
            self._wards.stop(self._wakeup)
            process.stop(self._servers, self._wakeup)
            folder.remove(sockets)

    def _make_cluster(self, found: Binaries, login: Login, shared: Lock) -> float:
        """Make the cluster if there is none; seconds that it took."""
        layout = self._layout
        if layout.postgres.exists():
            return 0.0
        begun = time.monotonic()
        for locale in LOCALES:
            # Made under another name: an interrupted one is never taken for a cluster.
            folder.make_private(layout.unfinished, self._account)
            argv = postgres_server.initdb(found.initdb, layout.unfinished, locale=locale)
            initdb = self._spawn(
                "initdb", argv, login=login, home=layout.unfinished, stop=signal.SIGTERM, shared=shared
            )
            try:
                self._wait(lambda: initdb.ended, "initdb does not end")  # noqa: B023 - called within this turn only
            finally:
                process.stop([initdb], self._wakeup)
            if initdb.process.returncode == 0:
                folder.adopt(layout.unfinished, layout.postgres)
                return time.monotonic() - begun
        raise EmbeddedError(f"{initdb.epitaph()}; its log is {initdb.log}.")

    def _start(self, found: Binaries, sockets: Path, login: Login, shared: Lock) -> None:
        layout = self._layout
        # No process of an earlier run is alive, as we hold its lock. So this file is stale, and the pid in it
        # may by now be a foreign process, which PostgreSQL would take for a running postmaster.
        (layout.postgres / "postmaster.pid").unlink(missing_ok=True)
        argv = postgres_server.command(found.postgres, layout.postgres, sockets)
        self._servers.append(
            self._spawn(
                "PostgreSQL", argv, login=login, home=layout.postgres, stop=signal.SIGINT, shared=shared
            )
        )
        listens = sockets / folder.VALKEY_SOCKET
        argv = valkey_server.command(found.valkey, layout.valkey, listens)
        self._servers.append(
            self._spawn("Valkey", argv, login=login, home=layout.valkey, stop=signal.SIGTERM, shared=shared)
        )
        self._wait(lambda: valkey_server.ready(listens), "Valkey does not answer")
        self._wait(lambda: postgres_server.ready(layout.postgres), "PostgreSQL does not get ready")

    def _spawn(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        login: Login,
        home: Path,
        stop: signal.Signals,
        shared: Lock,
    ) -> Child:
        log = self._layout.log(name.lower())
        output = process.open_log(log)
        try:
            started = process.start(
                argv,
                login=login,
                folder=home,
                death_signal=stop,
                output=output,
                environment=_ENVIRONMENT,
                keep_open=[shared.fd],
            )
        except (OSError, ValueError) as error:
            raise EmbeddedError(f"{name} cannot be started: {error}.") from error
        finally:
            os.close(output)
        return Child(name=name, process=started, log=log, stop_signal=stop)

    def _await_leftovers(self, shared: Lock) -> None:
        path = self._layout.servers_lock
        self._wait(
            shared.take, f"Servers of an earlier run still hold {path} and do not end", within_s=LEFTOVER_S
        )

    def _wait(self, done: Callable[[], bool], otherwise: str, *, within_s: float = START_S) -> None:
        deadline = time.monotonic() + within_s
        while not done():
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"{otherwise} within {within_s:.0f} s; the logs are in {self._layout.log('').parent}."
                )
            self._look(_LOOK_S)

    def _look(self, timeout_s: float) -> None:
        """Sleep until something happens, then see what it was."""
        if self._pipe in self._wakeup.sleep(timeout_s, self._pipe):
            told = os.read(self._pipe, 4096)
            if not told:
                raise LeaveError
            self._wards.add(told)
        if self._stop_asked:
            raise LeaveError
        for server in self._servers:
            if server.ended:
                raise EmbeddedError(f"{server.epitaph()}, so everything is stopped; its log is {server.log}.")

    def _ask_stop(self) -> None:
        self._stop_asked = True

    def _fail(self, error: EmbeddedError) -> None:
        self._status = 1
        _say(Failed(reason=str(error)))


def _started(server: Child, version: str, listens: Path) -> Started:
    return Started(pid=server.process.pid, version=version, socket=str(listens))


def _say(message: Message) -> None:
    # A starter that is gone cannot hear it.
    with contextlib.suppress(BrokenPipeError):
        os.write(1, msgspec.json.encode(message) + b"\n")


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="service.embedded.supervisor", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pipe", type=int, required=True)
    arguments = parser.parse_args()
    try:
        return Supervisor(arguments.data, pipe=arguments.pipe).run()
    except EmbeddedError as error:
        _say(Failed(reason=str(error)))
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
