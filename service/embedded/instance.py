"""Runs a whole instance in one terminal: the private servers, the API and the worker (`metergate run`).

Whatever ends it, nothing stays: in order, the API and the worker go before the servers that they use. If this
process is killed, the supervisor of the servers does the same.
"""

import asyncio
import http.client
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from rich.console import Console

from service.embedded import folder, process, samples
from service.embedded.errors import EmbeddedError
from service.embedded.folder import Layout
from service.embedded.privileges import Login
from service.embedded.process import Child
from service.embedded.progress import Progress
from service.embedded.servers import ROOT, EmbeddedServers, Running
from service.embedded.wakeup import SLEEP_S, STOP_SIGNALS, Wakeup

HOST: Final = "127.0.0.1"
DATA: Final = ROOT / ".metergate"
CATALOG: Final = ROOT / "policies" / "catalog"
PUBLISH: Final = ".venv/bin/metergate catalog publish policies/catalog --message first --yes"
"""As it is said to people, who stand in the repository."""
READY_S: Final = 60.0
"""How long the API may take until it is ready."""
STOP_S: Final = 10.0
"""How long the API and the worker may take to finish what they are doing."""
VERDICT_S: Final = 0.3
"""How long a dead server's supervisor gets to say so, before the API's end is taken for the cause."""
_LOOK_S: Final = 0.05
_DIED: Final = 1
_NOT_RUN: Final = 2
_Result = TypeVar("_Result")

Environment = Mapping[str, str]
"""What the children get: ours, with METERGATE_DATABASE_URL, METERGATE_REDIS_URL and METERGATE_EMBEDDED=1."""


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """Comes between the start of the servers and that of the API. Each may run again on the same data."""

    prepare: Callable[[Environment], Coroutine[Any, Any, None]]
    """Brings the database to this version."""
    demo: Callable[[Environment, Path], Coroutine[Any, Any, str]]
    """Publishes the catalog in the folder, makes the demo tenants and a key with every scope: its secret."""
    key: Callable[[Environment], Coroutine[Any, Any, str]]
    """Makes that key alone, for an instance that starts empty."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that the API lacks."""

    part: str
    detail: str


class Health(msgspec.Struct, frozen=True):
    """What the API says of itself at /health/ready."""

    status: str
    findings: tuple[Finding, ...] = ()

    def serves(self, *, empty: bool) -> bool:
        """Is this what a start waits for? An empty instance has no catalog yet, and lacks nothing else.

        A degraded one is waited for: until the worker has opened the shards nothing is counted.
        """
        return self.status == "ready" or (empty and self.lacks_catalog_alone)

    @property
    def lacks_catalog_alone(self) -> bool:
        """A publish is all that is missing."""
        return {finding.part for finding in self.findings} == {"catalog"}


class Programs(msgspec.Struct, frozen=True, kw_only=True):
    """The commands that serve; the API's gets `--port N` after it."""

    api: Sequence[str] = (sys.executable, "-m", "service", "api")
    worker: Sequence[str] = (sys.executable, "-m", "service", "worker")


def run(
    *,
    steps: Steps,
    port: int = 8080,
    data: Path = DATA,
    empty: bool = False,
    programs: Programs | None = None,
) -> int:
    """Run until Ctrl-C, SIGTERM or the death of a part; the exit status.

    0 when it was asked to stop, 1 when a part died while it ran, 2 when it could not run: the port or the
    folder cannot be used, or a part did not start. What went wrong is one sentence on the error output.
    """
    progress = Progress(Console())
    try:
        port = _free_port(port)
    except OSError as error:
        _complain(f"Port {port} of {HOST} cannot be used ({error.strerror}); choose another one with --port.")
        return _NOT_RUN
    instance: _Instance | None = None
    try:
        with Wakeup(_interrupt) as wakeup:
            instance = _Instance(data, progress, wakeup)
            instance.run(port, empty=empty, steps=steps, programs=programs or Programs())
    except KeyboardInterrupt:
        progress.line("Stopped; the data stay where they are.")
        return 0
    except EmbeddedError as error:
        _complain(str(error))
        return _DIED if instance is not None and instance.announced else _NOT_RUN
    return 0


class _Instance:
    announced = False
    """It was ready, and said so."""

    def __init__(self, data: Path, progress: Progress, wakeup: Wakeup) -> None:
        self._layout = Layout(root=data.resolve())
        self._progress = progress
        self._wakeup = wakeup
        self._servers = EmbeddedServers(data)
        self._children: list[Child] = []

    def run(self, port: int, *, empty: bool, steps: Steps, programs: Programs) -> None:
        try:
            with self._progress.step(f"Start PostgreSQL and Valkey in {self._layout.root}"):
                running = self._servers.start()
            environment = _environment(running)
            key = self._fill(environment, empty=empty, steps=steps)
            self._wakeup.install()
            self._spawn("api", "The API", [*programs.api, "--port", str(port)], environment)
            self._spawn("worker", "The worker", programs.worker, environment)
            with self._progress.step("Start the API and the worker"):
                health = self._await_ready(port, empty=empty)
            self._announce(f"http://{HOST}:{port}", key, health, empty=empty)
            while True:
                self._look(SLEEP_S)
        finally:
            # A second Ctrl-C ends us at once; the supervisor then does the rest.
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            process.stop(self._children, self._wakeup, within_s=STOP_S)
            self._servers.stop()

    def _fill(self, environment: Environment, *, empty: bool, steps: Steps) -> str:
        """Bring the stores to where the API can serve; the secret of the key."""
        with self._progress.step("Bring the database to this version"):
            self._do(steps.prepare(environment))
        layout = self._layout
        if not empty and not layout.demo.exists():
            with self._progress.step("Publish the example catalog and make the demo tenants"):
                _keep(layout.key, self._do(steps.demo(environment, CATALOG)))
            layout.demo.touch(mode=0o600)
        if not layout.key.exists():
            with self._progress.step("Make a key"):
                _keep(layout.key, self._do(steps.key(environment)))
        return layout.key.read_text().strip()

    def _do(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        try:
            return asyncio.run(work)
        except Exception as error:
            reason = self._servers.failure(within_s=VERDICT_S)
            if reason is not None:
                raise EmbeddedError(reason) from error
            raise

    def _spawn(self, log_name: str, name: str, argv: Sequence[str], environment: Environment) -> None:
        log = self._layout.log(log_name)
        output = process.open_log(log)
        try:
            started = process.start(
                argv,
                login=Login(),
                folder=ROOT,
                death_signal=signal.SIGTERM,
                output=output,
                environment=environment,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedError(f"{name} cannot be started: {error}.") from error
        finally:
            os.close(output)
        self._children.append(Child(name=name, process=started, log=log, stop_signal=signal.SIGTERM))
        self._servers.ward(started.pid)

    def _await_ready(self, port: int, *, empty: bool) -> Health:
        deadline = time.monotonic() + READY_S
        while (health := _health(port)) is None or not health.serves(empty=empty):
            if time.monotonic() > deadline:
                raise EmbeddedError(self._late(health))
            self._look(_LOOK_S)
        # What answered was ours only if ours lives: another program may have taken the port in between.
        self._look(0)
        return health

    def _late(self, health: Health | None) -> str:
        sentence = f"The API is not ready after {READY_S:.0f} s; its log is {self._layout.log('api')}."
        findings = health.findings if health else ()
        return "\n  ".join([sentence, *(f"{finding.part}: {finding.detail}" for finding in findings)])

    def _look(self, timeout_s: float) -> None:
        """Sleep until something happens, then see whether a part died."""
        self._wakeup.sleep(timeout_s, self._servers.fileno())
        dead = next((child for child in self._children if child.ended), None)
        reason = self._servers.failure(within_s=VERDICT_S if dead else 0.0)
        if reason is not None:
            raise EmbeddedError(reason)
        if dead is not None:
            raise EmbeddedError(f"{dead.epitaph()}, so everything is stopped; its log is {dead.log}.")

    def _announce(self, url: str, key: str, health: Health, *, empty: bool) -> None:
        self._progress.line()
        if health.lacks_catalog_alone:
            data = shlex.quote(str(self._layout.root))
            self._progress.line(f"Publish a catalog: {PUBLISH} --data {data}")
        for shows, command in [] if empty else samples.curls(url, key):
            self._progress.line(shows)
            self._progress.line(f"  {command}")
        self._progress.line()
        self._progress.line(f"READY {url} key={key}")
        self.announced = True


def _environment(running: Running) -> dict[str, str]:
    ours = {
        "METERGATE_DATABASE_URL": running.database_url,
        "METERGATE_REDIS_URL": running.redis_url,
        "METERGATE_EMBEDDED": "1",
    }
    # A file wins over the variable itself, so one that names other servers must not be handed on.
    files = {f"{name}_FILE" for name in ours}
    return {name: value for name, value in os.environ.items() if name not in files} | ours


def _keep(path: Path, secret: str) -> None:
    """Keep the key for the next start; one that is there already stays, as people have copied it."""
    if path.exists():
        return
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 - a Path cannot open with a mode
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    folder.adopt(unfinished, path)


def _free_port(port: int) -> int:
    """The port if it is free, or for 0 one that is."""
    with socket.socket() as probe:
        # As the API's own server does: a port whose last connections are still closing down is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return int(probe.getsockname()[1])


def _health(port: int) -> Health | None:
    """What the API says, be it a 503; None if nobody answers, or somebody else."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return msgspec.json.decode(connection.getresponse().read(), type=Health)
    except (OSError, http.client.HTTPException, msgspec.DecodeError):
        return None
    finally:
        connection.close()


def _interrupt() -> None:
    raise KeyboardInterrupt


def _complain(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")
