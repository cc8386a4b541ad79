"""The real thing, part by part: Postgres, Valkey, API and workers, each killed and started by itself.

As an operator has it whose servers are managed by others: they come and go without a restart of ours. The
servers are those of the embedded default, started by its own code on one of its data folders; so all of it
can also be started as `metergate run` does it (`EmbeddedServers`), which is how a run begins and ends.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from scripts.crashing import disk
from service.api import server
from service.embedded import binaries, folder, logins, postgres_server, privileges, process, valkey_server
from service.embedded.folder import Layout, Lock
from service.embedded.privileges import Login
from service.embedded.servers import DATABASE, ROOT
from store import crash_points

BOUND_S: Final = 60.0
"""Far above what a start or an end takes, on a machine that is busy."""
_LOOK_S: Final = 0.01
_ANSWER_S: Final = 1.0
_BARE: Final = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class SiteError(Exception):
    """A part did not start or end, which no crash explains."""


class Part:
    """A process that is started again and again. `pid` is what a kill hits."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    def start(self) -> None:
        """Starts it; it may take a while until it answers."""
        raise NotImplementedError

    @property
    def up(self) -> bool:
        """It was started, and has not ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """As by kill -9; waits until it is gone."""
        if self.up:
            os.kill(self.pid, signal.SIGKILL)
        self.await_end()

    def pause(self) -> None:
        """It stops where it is."""
        if self.up:
            os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """After a pause."""
        if self.up:
            os.kill(self.pid, signal.SIGCONT)

    def await_end(self) -> None:
        """Errors: SiteError when it does not come."""
        if self._process is not None:
            try:
                self._process.wait(BOUND_S)
            except subprocess.TimeoutExpired as error:
                raise SiteError(f"{self.name} does not end") from error
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()

    def _spawn(
        self,
        argv: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        login: Login | None = None,
        home: Path = ROOT,
        keep_open: Sequence[int] = (),
    ) -> None:
        output = process.open_log(self._log)
        try:
            self._process = process.start(
                argv,
                login=login or Login(),
                folder=home,
                death_signal=signal.SIGKILL,
                output=output,
                environment=environment,
                keep_open=keep_open,
            )
        finally:
            os.close(output)
        self.pid = self._process.pid


class Program(Part):
    """A process of ours: the API or a worker."""

    def __init__(self, name: str, log: Path, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        super().__init__(name, log)
        self._argv = (sys.executable, "-P", "-m", *argv)
        self._environment = environment

    def start(self, point: str = "") -> None:
        """Starts it, to end at a crash point if one is given (store/crash_points.py)."""
        armed = {crash_points.VARIABLE: point} if point else {}
        self._spawn(self._argv, environment={**self._environment, **armed})


class Api(Program):
    """One that serves."""

    def __init__(
        self, name: str, log: Path, argv: Sequence[str], environment: Mapping[str, str], port: int
    ) -> None:
        super().__init__(name, log, (*argv, "--port", str(port)), environment)
        self.port = port

    @property
    def ready(self) -> bool:
        """It says that it lacks nothing."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_S)
        try:
            connection.request("GET", "/health/ready")
            return b'"status":"ready"' in connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Postgres(Part):
    """The database server."""

    def __init__(self, site: "Site") -> None:
        super().__init__("postgres", site.log("postgres"))
        self._site = site

    def start(self) -> None:
        """Starts it once what is left of the run before is gone; it may take a while until it answers."""
        site = self._site
        with Lock(site.folder / "postgres.lock") as lock:
            await_(lock.take, "what is left of postgres")
            (site.layout.postgres / "postmaster.pid").unlink(missing_ok=True)
            self._spawn(
                postgres_server.command(site.found.postgres, site.layout.postgres, site.sockets),
                environment=_BARE,
                login=site.login,
                home=site.layout.postgres,
                keep_open=[lock.fd],
            )

    @property
    def ready(self) -> bool:
        """It says so."""
        return self.up and postgres_server.ready(self._site.layout.postgres)


class Valkey(Part):
    """Valkey on a disk whose power can be cut, or on a plain one where the kernel does not let us."""

    def __init__(self, site: "Site", settings: Mapping[str, str]) -> None:
        super().__init__("valkey", site.log("valkey"))
        self._site = site
        self.settings = dict(settings)
        """Instead of the usual ones, from the next start on."""
        self.no_cuts = ""
        """Why its power cannot be cut here."""

    def start(self) -> None:
        """As above."""
        self.await_end()  # if it went by itself, its disk may still be at work
        site = self._site
        with Lock(site.folder / "valkey.lock") as lock:
            await_(lock.take, "what is left of valkey")
            server = valkey_server.command(site.found.valkey, site.layout.valkey, site.valkey_socket)
            changed = [part for name, value in self.settings.items() for part in (f"--{name}", value)]
            argv = [*map(str, server), *changed]
            if not self.no_cuts:
                self._start_on_disk(argv, lock.fd)
            if self.no_cuts:
                self._spawn(
                    argv, environment=_BARE, login=site.login, home=site.layout.valkey, keep_open=[lock.fd]
                )

    def _start_on_disk(self, argv: Sequence[str], held: int) -> None:
        site = self._site
        record = ("--record", str(site.folder / "synced.json"), "--folder", str(site.layout.valkey))
        login = msgspec.json.encode(site.login).decode()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, by the interpreter that runs us
                [sys.executable, "-P", "-m", disk.__name__, *record, "--login", login, "--", *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_BARE | {"PYTHONPATH": str(ROOT)},
                pass_fds=[held],
                process_group=0,
                cwd=ROOT,
            )
        assert self._process.stdout is not None
        told = msgspec.json.decode(self._process.stdout.readline(), type=disk.Told)
        self.pid, self.no_cuts = told.pid, told.wrong

    @property
    def ready(self) -> bool:
        """It answers."""
        return self.up and valkey_server.ready(self._site.valkey_socket)

    def cut_power(self) -> None:
        """It is gone, and with it what was not on the disk; a plain kill where that cannot be had."""
        if self.no_cuts:
            self.kill()
        else:
            self.order("cut")
            self.await_end()

    def lose_data(self) -> None:
        """A disk that is gone; it is down."""
        assert not self.up, "it is down"
        folder.make_private(self._site.layout.valkey, self._site.login.account)

    def order(self, told: str) -> None:
        """An order to its disk (disk.Machine), which has heard it by the end."""
        if self.up and not self.no_cuts:
            assert self._process is not None
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            with contextlib.suppress(BrokenPipeError):  # it has just ended
                self._process.stdin.write(told.encode() + b"\n")
                self._process.stdin.flush()
                self._process.stdout.readline()


class Site:
    """The data folder of an instance, and its parts, all of which are down at first."""

    def __init__(
        self,
        place: Path,
        *,
        apis: int,
        workers: int,
        valkey: Mapping[str, str] | None = None,
        server: Path | None = None,
        program: Sequence[str] = ("service",),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """On a data folder that was made before.

        `valkey` are settings instead of the usual ones, `server` is another program than the usual one, and
        `program` is what is asked for `api` and `worker`.
        """
        self.folder = place
        self._added = environment or {}
        account = privileges.account(os.environ)
        self.layout: Layout = folder.open_root(place / "data", account)
        self.found = binaries.find()
        if server is not None:
            self.found = msgspec.structs.replace(self.found, valkey=server)
            folder.make_private(self.layout.valkey, account)
        self.sockets = folder.sockets(self.layout.root)
        folder.make_private(self.sockets, account)
        homes = {self.found.postgres: self.sockets, self.found.valkey: self.layout.valkey}
        self.login, self.versions = logins.choose(account, homes, _BARE)
        self.ports = tuple(free_port() for _ in range(apis))
        self.postgres = Postgres(self)
        self.valkey = Valkey(self, valkey or {})
        self.apis = [
            Api(f"api{number}", self.log(f"api{number}"), (*program, "api"), self.environment, port)
            for number, port in enumerate(self.ports)
        ]
        self.workers = [
            Program(f"worker{number}", self.log(f"worker{number}"), (*program, "worker"), self.environment)
            for number in range(workers)
        ]

    @property
    def valkey_socket(self) -> Path:
        """Where Valkey listens."""
        return self.sockets / folder.VALKEY_SOCKET

    @property
    def environment(self) -> dict[str, str]:
        """What our own processes get: the servers are not theirs, so their death is not the end."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("METERGATE_")},
            "PYTHONPATH": str(ROOT),
            "METERGATE_DATABASE_URL": self.database_url,
            "METERGATE_REDIS_URL": self.redis_url,
            **self._added,
        }

    @property
    def database_url(self) -> str:
        """Of the database `metergate`."""
        host = quote(str(self.sockets), safe="")
        return f"postgresql://{postgres_server.USER}@/{DATABASE}?host={host}"

    @property
    def redis_url(self) -> str:
        """Of Valkey."""
        return f"unix://{quote(str(self.valkey_socket))}"

    def log(self, name: str) -> Path:
        """Where a part's output goes."""
        return self.layout.log(name)

    @property
    def parts(self) -> list[Part]:
        """All of them."""
        return [self.postgres, self.valkey, *self.apis, *self.workers]

    def start_servers(self) -> None:
        """Both, until they answer."""
        folder.make_private(self.sockets, self.login.account)
        self.postgres.start()
        self.valkey.start()
        self.await_servers()

    def await_servers(self) -> None:
        """Errors: SiteError when one does not answer in time."""
        await_(lambda: self.postgres.ready, "postgres")
        await_(lambda: self.valkey.ready, "valkey")

    def kill_all(self) -> None:
        """The whole machine at once."""
        for part in self.parts:
            part.go_on()
            part.kill()


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with server.listen("127.0.0.1", 0) as listening:
        return int(listening.getsockname()[1])


def await_(done: Callable[[], bool], what: str) -> None:
    """Waits for a condition. Errors: SiteError."""
    deadline = time.monotonic() + BOUND_S
    while not done():
        if time.monotonic() > deadline:
            raise SiteError(f"{what} is not so after {BOUND_S:.0f} s")
        time.sleep(_LOOK_S)
