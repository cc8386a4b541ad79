"""One run: a world is made, used, wrecked for a while, started as an operator would, and judged."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from scripts.crashing import clients, ledger, rest, world
from scripts.crashing.clients import Order
from scripts.crashing.judge import Judge, Verdict
from scripts.crashing.nemesis import Deck, Nemesis
from scripts.crashing.site import Site
from scripts.crashing.world import World
from service import bootstrap
from service.embedded.servers import ROOT, EmbeddedServers, Running

FINISH_S: Final = clients.FINISH_S + 60.0
Say = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How large a run is, and with what in place of what we ship."""

    seconds: float
    apis: int = 2
    workers: int = 2
    reporting: int = 40
    limited: int = 3
    capped: int = 2
    batch: int = 800
    valkey: Mapping[str, str] = {}
    """Settings of Valkey instead of ours."""
    program: Sequence[str] = ("service",)
    """Whom `api` and `worker` are asked of."""
    environment: Mapping[str, str] = {}


class Outcome(msgspec.Struct, kw_only=True):
    """What came of it."""

    verdict: Verdict
    kills: dict[str, int]
    done: dict[str, int]
    answers: dict[str, int]
    rest_s: float
    power_cuts: str
    """Empty, or why there were none."""


def run(plan: Plan, seed: int, deck: Deck, say: Say) -> Outcome:
    """One run, in a folder of its own that goes with it unless something was found.

    Errors: SiteError, RestlessError.
    """
    place = Path(tempfile.mkdtemp(prefix="mgc"))  # short: a socket's path is bounded
    place.chmod(0o755)
    sound = False
    try:
        outcome = _run(plan, seed, deck, place)
        sound = outcome.verdict.sound
        return outcome
    finally:
        if sound:
            shutil.rmtree(place, ignore_errors=True)
        else:
            say(f"kept: {place}")


def _run(plan: Plan, seed: int, deck: Deck, place: Path) -> Outcome:
    made = _make(plan, place)
    site = Site(
        place,
        apis=plan.apis,
        workers=plan.workers,
        valkey=plan.valkey,
        program=plan.program,
        environment=plan.environment,
    )
    nemesis = Nemesis(site, seed, deck)
    try:
        site.start_servers()
        for part in (*site.apis, *site.workers):
            part.start()
        order = Order(world=made, ports=site.ports, seed=seed, ledger=str(place / "ledger"), batch=plan.batch)
        with _clients(order, place / "clients.log") as sending:
            nemesis.run(time.monotonic() + plan.seconds)
            nemesis.kill_machine()
            with _operated(site) as running:
                _finish(sending)
                rested = rest.await_rest(running.database_url, running.redis_url)
                account = ledger.read(Path(order.ledger))
                judge = Judge(
                    made,
                    account,
                    database_url=running.database_url,
                    redis_url=running.redis_url,
                    port=site.ports[0],
                )
    finally:
        site.kill_all()
    return Outcome(
        verdict=judge.verdict,
        kills=dict(nemesis.killed),
        done=dict(nemesis.done),
        answers=account.answers,
        rest_s=rested,
        power_cuts=site.valkey.no_cuts,
    )


def _make(plan: Plan, place: Path) -> World:
    """The data folder, with all that the clients need in it."""
    with EmbeddedServers(place / "data") as servers:
        environment = {
            "METERGATE_DATABASE_URL": servers.running.database_url,
            "METERGATE_REDIS_URL": servers.running.redis_url,
        }
        asyncio.run(bootstrap.prepare(environment))
        return asyncio.run(
            world.make(environment, reporting=plan.reporting, limited=plan.limited, capped=plan.capped)
        )


@contextmanager
def _operated(site: Site) -> Iterator[Running]:
    """All of it as an operator starts it: the servers by their supervisor, then the API and a worker."""
    with EmbeddedServers(site.layout.root) as servers:
        try:
            for part in (*site.apis, *site.workers):
                part.start()
            yield servers.running
        finally:
            for part in (*site.apis, *site.workers):
                part.kill()


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


def _finish(sending: "subprocess.Popen[bytes]") -> None:
    """Lets the clients bring to an end what they have begun."""
    assert sending.stdin is not None
    sending.stdin.write(b"finish\n")
    sending.stdin.flush()
    sending.wait(FINISH_S)


def total(outcomes: Sequence[Outcome]) -> Verdict:
    """What was found in all of them."""
    found = Verdict()
    for outcome in outcomes:
        found.add(outcome.verdict)
    return found


def kills(outcomes: Sequence[Outcome]) -> Counter[str]:
    """Processes that were killed, by part."""
    found: Counter[str] = Counter()
    for outcome in outcomes:
        found.update(outcome.kills)
    return found
