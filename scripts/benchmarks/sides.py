"""The two sides of a figure, each as its users would meet it: a process of its own behind a port."""

import asyncio
import contextlib
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec

from scripts.benchmarks.echo import Answer
from scripts.benchmarks.load import LoadError, Shot
from service import bootstrap, clock
from service.api import server
from service.embedded import instance
from service.embedded.servers import EmbeddedServers

START_S: Final = 60.0
STOP_S: Final = 20.0
READY: Final = b'"status":"ready"'
"""Before that the API answers too, without its counters."""
_LOOK_S: Final = 0.02


class Api(msgspec.Struct, frozen=True):
    """A running API with the demo tenants."""

    port: int
    key: str

    def shot(self, path: str, body: bytes, content_type: str = "application/json") -> Shot:
        """A request to it."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": content_type}
        return Shot(port=self.port, path=path, headers=headers, body=body)


@contextmanager
def api() -> Iterator[Api]:
    """The API with a worker beside it, on private servers in a folder that goes with them."""
    with _folder() as folder, EmbeddedServers(folder / "data") as servers:
        environment = os.environ | {
            "METERGATE_DATABASE_URL": servers.running.database_url,
            "METERGATE_REDIS_URL": servers.running.redis_url,
            "METERGATE_EMBEDDED": "1",
        }
        asyncio.run(bootstrap.prepare(environment))
        key = asyncio.run(bootstrap.demo(environment, instance.CATALOG))
        port = _free_port()
        with (
            _process(["service", "api", "--port", str(port)], environment, folder / "api.log") as serving,
            _process(["service", "worker"], environment, folder / "worker.log"),
        ):
            _await(port, READY, serving, folder / "api.log")
            yield Api(port, key)


@contextmanager
def echo(answer: Answer) -> Iterator[int]:
    """A bare ASGI program that gives this answer to every request; its port."""
    with _folder() as folder:
        kept, port = folder / "answer", _free_port()
        kept.write_bytes(msgspec.json.encode(answer))
        argv = ["scripts.benchmarks.echo", str(port), str(kept)]
        with _process(argv, os.environ, folder / "echo.log") as serving:
            _await(port, b"", serving, folder / "echo.log")
            yield port


def ask(shot: Shot) -> Answer:
    """The answer to one request.

    Errors: LoadError unless it is good.
    """
    connection = http.client.HTTPConnection("127.0.0.1", shot.port, timeout=START_S)
    with contextlib.closing(connection):
        connection.request("POST", shot.path, shot.body, shot.headers)
        answer = connection.getresponse()
        body = answer.read()
    if answer.status not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
        raise LoadError(f"{shot.path} answers {answer.status}: {body.decode(errors='replace')}")
    return Answer(answer.status, answer.getheaders(), body)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mgb") as folder:  # short: a socket's path is bounded
        Path(folder).chmod(0o755)  # so that servers that run as another user reach their part of it
        yield Path(folder)


def _free_port() -> int:
    with server.listen("127.0.0.1", 0) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def _process(
    module: Sequence[str], environment: Mapping[str, str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """A Python module in a process of its own, that ends with the `with`."""
    argv = [sys.executable, "-P", "-m", *module]
    with (
        log.open("wb") as output,
        subprocess.Popen(argv, env=environment, stdout=output, stderr=subprocess.STDOUT) as process,  # noqa: S603 - our own modules
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _await(port: int, said: bytes, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = clock.monotonic_s() + START_S
    pause = threading.Event()
    while not _says(port, said):
        if process.poll() is not None or clock.monotonic_s() > deadline:
            raise LoadError(f"A side does not serve: {log.read_text()[-2000:]}")
        pause.wait(_LOOK_S)


def _says(port: int, said: bytes) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_S)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/health/ready")
            return said in connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
