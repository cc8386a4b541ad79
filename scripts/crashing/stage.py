"""Where a run takes place: a world, the parts of an instance, clients; and in the end the judgement."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from scripts.crashing import clients, ledger, rest, world
from scripts.crashing.clients import Order
from scripts.crashing.judge import Judge, Verdict
from scripts.crashing.ledger import Ledger
from scripts.crashing.site import Site, await_
from scripts.crashing.world import Size, World
from service import bootstrap
from service.embedded.servers import ROOT, EmbeddedServers, Running

FINISH_S: Final = clients.FINISH_S + 60.0
Say = Callable[[str], None]


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """How large it is, and with what in place of what we ship."""

    apis: int = 2
    workers: int = 2
    size: Size = Size()
    valkey: Mapping[str, str] = {}
    """Settings of Valkey instead of ours."""
    server: Path | None = None
    """Another program than the Valkey that the embedded default would start; it begins with no data."""
    program: Sequence[str] = ("service",)
    """Whom `api` and `worker` are asked of."""
    environment: Mapping[str, str] = {}


class Judged(msgspec.Struct, frozen=True):
    """What was found, of which account, and how long it took until there was rest."""

    verdict: Verdict
    account: Ledger
    rest_s: float


class Stage:
    """One. All parts are down at first."""

    def __init__(self, setting: Setting, place: Path) -> None:
        self.place = place
        self.world = _make(setting.size, place)
        self.site = Site(
            place,
            apis=setting.apis,
            workers=setting.workers,
            valkey=setting.valkey,
            server=setting.server,
            program=setting.program,
            environment=setting.environment,
        )
        self._running = ExitStack()
        self._sending: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """All parts run; the servers answer."""
        self.site.start_servers()
        for part in (*self.site.apis, *self.site.workers):
            part.start()

    def await_ready(self) -> None:
        """Every API process lacks nothing. Errors: SiteError."""
        await_(lambda: all(api.ready for api in self.site.apis), "the API")

    def send(self, seed: int, crowd: clients.Kinds) -> None:
        """Lets clients send from now on."""
        order = Order(
            world=self.world, ports=self.site.ports, seed=seed, ledger=str(self._ledger), kinds=crowd
        )
        self._sending = self._running.enter_context(_clients(order, self.place / "clients.log"))

    @property
    def acknowledged(self) -> int:
        """How many acknowledgements the clients say they have by now."""
        lines = (self.place / "clients.log").read_bytes().splitlines()
        told = [line for line in lines if line.startswith(b"{")]
        return msgspec.json.decode(told[-1], type=clients.Progress).acknowledged if told else 0

    def judge(self, *, patience_s: float = rest.REST_S) -> Judged:
        """Kills what runs, starts all of it as an operator does, lets the clients finish, and looks."""
        self.site.kill_all()
        with self._operated() as running:
            self._finish()
            rest_s, busy = rest.await_rest(running.database_url, running.redis_url, patience_s=patience_s)
            account = ledger.read(self._ledger)
            judge = Judge(
                self.world,
                account,
                database_url=running.database_url,
                redis_url=running.redis_url,
                port=self.site.ports[0],
            )
        if busy:
            judge.verdict.note("restless", busy)
        return Judged(judge.verdict, account, rest_s)

    def close(self) -> None:
        """Nothing is left running."""
        self._running.close()
        self.site.kill_all()

    @property
    def _ledger(self) -> Path:
        return self.place / "ledger"

    @contextmanager
    def _operated(self) -> Iterator[Running]:
        """The servers by their supervisor, then the API and the workers."""
        programs = (*self.site.apis, *self.site.workers)
        with EmbeddedServers(self.site.layout.root) as servers:
            try:
                for part in programs:
                    part.start()
                yield servers.running
            finally:
                for part in programs:
                    part.kill()

    def _finish(self) -> None:
        """Lets the clients bring to an end what they have begun."""
        assert self._sending is not None
        assert self._sending.stdin is not None
        self._sending.stdin.write(b"finish\n")
        self._sending.stdin.flush()
        self._sending.wait(FINISH_S)


@contextmanager
def stage(setting: Setting, say: Say) -> Iterator[Stage]:
    """One, in a folder of its own, which is kept if something raises."""
    place = Path(tempfile.mkdtemp(prefix="mgc"))  # short: a socket's path is bounded
    place.chmod(0o755)
    try:
        made = Stage(setting, place)
        try:
            yield made
        finally:
            made.close()
    except BaseException:
        say(f"kept: {place}")
        raise
    shutil.rmtree(place, ignore_errors=True)


def _make(size: Size, place: Path) -> World:
    """The data folder, with all that the clients need in it."""
    with EmbeddedServers(place / "data") as servers:
        environment = {
            "METERGATE_DATABASE_URL": servers.running.database_url,
            "METERGATE_REDIS_URL": servers.running.redis_url,
        }
        asyncio.run(bootstrap.prepare(environment))
        return asyncio.run(world.make(environment, size))


@contextmanager
def _clients(order: Order, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The clients, sending; killed if they did not end."""
    argv = [sys.executable, "-P", "-m", clients.__name__]
    with log.open("wb") as output:
        sending = subprocess.Popen(  # noqa: S603 - our own module, by the interpreter that runs us
            argv,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    with sending:
        try:
            assert sending.stdin is not None
            sending.stdin.write(msgspec.json.encode(order) + b"\n")
            sending.stdin.flush()
            yield sending
        finally:
            sending.kill()
