"""The two sides of a figure, each as its users would meet it: a process of its own behind a port."""

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol

import msgspec

from jobs import worker as jobs_worker
from scripts.benchmarks.echo import Answer
from scripts.benchmarks.load import LoadError, Shot
from service import bootstrap, clock, config
from service.api import server
from service.embedded import instance as embedded
from service.embedded.servers import EmbeddedServers, Running
from store import certify

START_S: Final = 60.0
STOP_S: Final = 20.0
READY: Final = b'"status":"ready"'
"""Before that the API answers too, without its counters."""
_LOOK_S: Final = 0.02


class Urls(Protocol):
    """Servers, whoever serves beside them."""

    @property
    def database_url(self) -> str: ...  # noqa: D102 - as it says
    @property
    def redis_url(self) -> str: ...  # noqa: D102


class Api(msgspec.Struct, frozen=True):
    """A running API with the demo tenants."""

    port: int
    key: str
    database_url: str
    redis_url: str
    environment: dict[str, str]
    """Of its processes."""
    pid: int
    """Of the first process that serves it."""
    valkey_pid: int
    postgres_pid: int
    worker_pid: int
    """0 without one."""
    ports: tuple[int, ...] = ()
    """Of all processes that serve it."""

    def shot(self, path: str, body: bytes, content_type: str = "application/json") -> Shot:
        """A request to it."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": content_type}
        return Shot(port=self.port, path=path, headers=headers, body=body)


class Instance(msgspec.Struct, frozen=True):
    """Private servers with the example catalog and the demo tenants, and nothing of ours that runs."""

    environment: dict[str, str]
    folder: Path
    running: Running
    key: str


@contextmanager
def instance() -> Iterator[Instance]:
    """One, in a folder that goes with it."""
    with temporary_folder() as folder, EmbeddedServers(folder / "data") as servers:
        environment = os.environ | {
            "METERGATE_DATABASE_URL": servers.running.database_url,
            "METERGATE_REDIS_URL": servers.running.redis_url,
            "METERGATE_EMBEDDED": "1",
        }
        asyncio.run(bootstrap.prepare(environment))
        key = asyncio.run(bootstrap.demo(environment, embedded.CATALOG))
        yield Instance(environment=environment, folder=folder, running=servers.running, key=key)


@contextmanager
def api(processes: int = 1, *, worker: bool = True) -> Iterator[Api]:
    """The API with a worker beside it, on private servers in a folder that goes with them.

    Without the worker nothing is flushed, and the shards are open before the API starts.
    """
    with instance() as made:
        environment, folder, key = made.environment, made.folder, made.key
        with contextlib.ExitStack() as running:
            worker_pid = 0
            if worker:
                log = folder / "worker.log"
                worker_pid = running.enter_context(_process(["service", "worker"], environment, log)).pid
            else:
                asyncio.run(certified(made))
            serving = [
                running.enter_context(_api_process(environment, folder / f"api{number}.log"))
                for number in range(processes)
            ]
            yield Api(
                port=serving[0][0],
                key=key,
                database_url=made.running.database_url,
                redis_url=made.running.redis_url,
                environment=environment,
                pid=serving[0][1],
                valkey_pid=made.running.report.valkey.pid,
                postgres_pid=made.running.report.postgres.pid,
                worker_pid=worker_pid,
                ports=tuple(port for port, _ in serving),
            )


async def certified(made: Instance) -> None:
    """Opens the shards of an instance, as its worker would."""
    async with jobs_worker.open_context(config.read(made.environment)) as context:
        await certify.certify(context.pool, context.link.of(0), now=context.clock.now())


@contextmanager
def _api_process(environment: Mapping[str, str], log: Path) -> Iterator[tuple[int, int]]:
    """The port and the process id of one that serves."""
    port = free_port()
    with _process(["service", "api", "--port", str(port)], environment, log) as serving:
        await_answer(port, "/health/ready", READY, serving, log)
        yield port, serving.pid


@contextmanager
def echo(answer: Answer, program: str = "echo", *arguments: str) -> Iterator[int]:
    """A bare ASGI program that gives this answer to every request; its port.

    `program` is one of the modules here, with what it is told beside port and answer.
    """
    with temporary_folder() as folder:
        kept, port = folder / "answer", free_port()
        kept.write_bytes(msgspec.json.encode(answer))
        argv = [f"scripts.benchmarks.{program}", str(port), str(kept), *arguments]
        with _process(argv, os.environ, folder / "echo.log") as serving:
            await_port(port, serving, folder / "echo.log")
            yield port


def ask(shot: Shot) -> Answer:
    """The answer to one request.

    Errors: LoadError unless it is good.
    """
    connection = http.client.HTTPConnection("127.0.0.1", shot.port, timeout=START_S)
    with contextlib.closing(connection):
        connection.request("POST", shot.path, shot.body.replace(b"{n}", b"0"), shot.headers)
        answer = connection.getresponse()
        body = answer.read()
    if answer.status not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
        raise LoadError(f"{shot.path} answers {answer.status}: {body.decode(errors='replace')}")
    return Answer(answer.status, answer.getheaders(), body)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for both sides, gone in the end."""
    with tempfile.TemporaryDirectory(prefix="mgb") as folder:  # short: a socket's path is bounded
        Path(folder).chmod(0o755)  # so that servers that run as another user reach their part of it
        yield Path(folder)


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with server.listen("127.0.0.1", 0) as listening:
        return int(listening.getsockname()[1])


def _process(
    module: Sequence[str], environment: Mapping[str, str], log: Path
) -> contextlib.AbstractContextManager["subprocess.Popen[bytes]"]:
    return program([sys.executable, "-P", "-m", *module], environment, log)


@contextmanager
def program(
    argv: Sequence[str], environment: Mapping[str, str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program in a process of its own, that ends with the `with`."""
    with (
        log.open("wb") as output,
        subprocess.Popen(argv, env=environment, stdout=output, stderr=subprocess.STDOUT) as process,  # noqa: S603 - our own modules, and what a benchmark names
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def await_answer(port: int, path: str, said: bytes, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Waits until a GET of the path is answered with these bytes in it.

    Errors: LoadError if the process ends or takes too long.
    """
    deadline = clock.monotonic_s() + START_S
    pause = threading.Event()
    while not _says(port, path, said):
        if process.poll() is not None or clock.monotonic_s() > deadline:
            raise LoadError(f"A side does not serve: {log.read_text()[-2000:]}")
        pause.wait(_LOOK_S)


def await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Waits until somebody listens there.

    Errors: LoadError if the process ends or takes too long.
    """
    deadline = clock.monotonic_s() + START_S
    pause = threading.Event()
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), START_S):
            return
        if process.poll() is not None or clock.monotonic_s() > deadline:
            raise LoadError(f"A side does not serve: {log.read_text()[-2000:]}")
        pause.wait(_LOOK_S)


def _says(port: int, path: str, said: bytes) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_S)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            return said in connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
