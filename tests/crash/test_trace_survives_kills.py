"""Parts of the instance are killed in the middle of real usage: is any of it lost, or counted twice?"""

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest

from scripts.replay import calls as trace
from scripts.replay import spread
from service.cli import settings
from service.embedded import instance
from service.embedded.servers import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

TRACE = ROOT / "tests" / "data" / "azure-llm-trace-2023-code.csv"
BOUND_S = 60.0
"""Far above what anything here takes, so that a slow machine fails no test."""


def until(happens: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + BOUND_S
    while not happens():
        assert time.monotonic() < deadline, f"not within {BOUND_S} s: {what}"
        select.select([], [], [], 0.005)


class Program:
    """A process whose output is read from a file."""

    def __init__(self, output: Path, *argv: object) -> None:
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-P", *map(str, argv)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=output.parent,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )

    def said(self) -> str:
        return self._output.read_text()

    def end(self) -> int:
        until(lambda: self.process.poll() is not None, f"the end of a process, which said:\n{self.said()}")
        return self.process.returncode


class Instance:
    """`metergate run` on one data folder, started again after each death."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.port = instance._free_port(0)
        self._folder = folder
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return (self.data / "key").read_text().strip()

    def start(self) -> None:
        argv = ("-m", "service", "run", "--port", self.port, "--data", self.data)
        self.program = Program(self._folder / "instance.txt", *argv)

    def await_ready(self) -> None:
        until(lambda: "READY" in self.program.said() or self.program.process.poll() is not None, "READY")
        assert "READY" in self.program.said(), self.program.said()

    def kill(self, part: str) -> None:
        """Kills one process; all others must then end by themselves."""
        found: list[int] = []  # one that renames itself has no name meanwhile; a child of it comes later
        until(lambda: found.extend(self._pids(part)) or found, f"a process of {part}")
        os.kill(min(found), signal.SIGKILL)
        assert self.program.end() == 1, self.program.said()
        assert "killed by SIGKILL" in self.program.said()

    def _pids(self, part: str) -> list[int]:
        return [
            pid
            for pid, line in processes()
            if (part == "valkey" and "valkey-server" in line and str(self.data) in line)
            or (f"service {part}" in line and parent(pid) == self.program.process.pid)
        ]

    def stop(self) -> None:
        self.program.process.send_signal(signal.SIGTERM)
        self.program.end()


def processes() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                yield (
                    int(entry.name),
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"),
                )
            except OSError:
                continue  # gone meanwhile


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.fixture
def running() -> Iterator[Instance]:
    folder = Path(tempfile.mkdtemp(prefix="mgt"))  # short: a socket's path is bounded
    folder.chmod(0o755)
    found = Instance(folder)
    try:
        found.await_ready()
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder)


def replay(running: Instance, end: datetime, name: str) -> Program:
    output = running.data.parent / name
    argv = ("--url", running.url, "--data", running.data, "--end", end.isoformat())
    return Program(output, "-m", "scripts.replay", TRACE, *argv)


def sent(program: Program) -> int:
    """How many calls it says it has sent."""
    lines = [line for line in program.said().splitlines() if line.startswith("Sent ") and " of " in line]
    return int(lines[-1].split()[1].replace(",", "")) if lines else 0


def await_calls(program: Program, more: int) -> None:
    """Until so many more are sent, and not all."""
    calls = sent(program) + more
    until(lambda: sent(program) >= calls or program.process.poll() is not None, f"{calls} calls sent")
    assert sent(program) < 8_819, f"it must be in the middle:\n{program.said()}"


def test_kills_of_the_api_the_worker_and_valkey_in_the_middle_lose_nothing_and_count_nothing_twice(
    running: Instance,
):
    end = datetime.now(UTC)  # noqa: TID251 - the instance runs by the machine's clock
    first = replay(running, end, "first.txt")
    for part in ("api", "worker", "valkey"):
        await_calls(first, 800)
        running.kill(part)
        running.start()
        running.await_ready()  # what is killed while it starts is for test_supervisor
    assert first.end() == 0, first.said()
    assert "Waiting for the instance" in first.said()  # not for each: one may be back before the next call
    assert "EQUAL: every call of the file counts exactly once." in first.said()

    again = replay(running, end, "again.txt")
    assert again.end() == 0, again.said()
    assert "0 accepted, 8,819 duplicates, 0 rejected" in again.said()

    urls = settings.embedded(running.data)
    assert urls is not None
    with psycopg.connect(urls["METERGATE_DATABASE_URL"]) as connection:
        kept = connection.execute(
            "select count(*), sum(quantity), max(event_at) from usage_events"
        ).fetchone()
        damaged = connection.execute("select count(*) from journal_quarantine").fetchone()
    assert kept == (8_819, 18_305_870, end)
    assert damaged == (0,)
    counters_are_right(running)


def counters_are_right(running: Instance) -> None:
    """Where nothing is refused, the counters that checks read have exactly the calls of the file."""
    shares = spread.spread(trace.read(TRACE), spread.tenants(spread.TENANTS))
    with httpx.Client(base_url=running.url, headers={"Authorization": f"Bearer {running.key}"}) as client:
        for tenant, own in shares.items():
            body = {"tenantId": tenant.tenant_id, "featureId": spread.FEATURE}
            decision = client.post("/v1/check", json=body).json()
            assert decision["degraded"] is False
            if tenant.plan_id == "enterprise":
                assert decision["usage"] == trace.total(own)
