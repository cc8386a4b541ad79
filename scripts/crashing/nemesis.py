"""What goes wrong in a run: which part, when and how, all of it from one seed."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
import redis

from scripts.crashing.site import Part, Site
from store.crash_points import BILLING, POINTS, Point

CALM: Final = 0.6
"""How often everything may come up again first."""
CALM_S: Final = 8.0
BETWEEN_S: Final = (0.1, 1.2)
"""From there, or from the last fault, to the next."""
DOWN_S: Final = (0.0, 0.7)
PAUSE_S: Final = (0.2, 2.5)
SLOW_MS: Final = (50, 900)
POINT_S: Final = 12.0
"""How long a process gets to come to the point at which it is to die."""
PASSES: Final = 3
_LOOK_S: Final = 0.01

OF_API: Final[frozenset[Point]] = frozenset(
    {"recorded", "consumed", "reserved", "ended", "revised", "inbox-kept", "inbox-committed"}
)
"""Points that a request passes; all others are passed by workers."""
HUNTED: Final = tuple(point for point in POINTS if point not in BILLING)
"""Where usage leads; the others are killed at by `scripts/charging_trials`."""
POINTS_SHARE: Final = 0.55


class Nemesis:
    """Does it, and counts it."""

    def __init__(self, site: Site, seed: int, deck: "Deck", *, may_lose_valkey: bool = False) -> None:
        self._site = site
        self._may_lose_valkey = may_lose_valkey
        self._diary = site.folder / "nemesis.log"
        self._begun = time.monotonic()
        self._rnd = random.Random(f"nemesis {seed}")  # noqa: S311 - to be told again, not to be secret
        self._deck = deck
        self.killed: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self._acts: Sequence[tuple[int, Callable[[], None]]] = (
            (4, self.kill_program),
            (2, self.kill_valkey),
            (1, self.lose_valkey),
            (2, self.kill_postgres),
            (1, self.kill_backend),
            (2, self.kill_two),
            (2, self.pause),
            (2, self.stall_worker),
            (2, self.cut_connections),
            (1, self.slow_disk),
            (1, self.failing_disk),
            (1, self.forget_marks),
            (1, self.kill_everything),
        )

    @property
    def kills(self) -> int:
        """Processes that ended by kill -9."""
        return self.killed.total()

    def run(self, until_s: float) -> None:
        """Fault after fault until that instant (of the monotonic clock); then everything is up."""
        while time.monotonic() < until_s:
            if self._rnd.random() < CALM:
                self._await_calm()
            time.sleep(self._rnd.uniform(*BETWEEN_S))
            if self._rnd.random() < POINTS_SHARE:
                self.at_point(self._deck.draw(self._rnd))
            else:
                weights, acts = zip(*self._acts, strict=True)
                (act,) = self._rnd.choices(acts, weights)
                self.done[act.__name__] += 1
                self._note(act.__name__)
                act()
        self.restore()

    def _await_calm(self) -> None:
        """Until all is well, or nearly: some faults are to hit work in full swing."""
        deadline = time.monotonic() + CALM_S
        while not all(api.ready for api in self._site.apis) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)

    def restore(self) -> None:
        """All parts run."""
        site = self._site
        site.valkey.order("slow 0")
        for part in (site.postgres, site.valkey, *site.apis, *site.workers):
            part.go_on()
            if not part.up:
                part.start()

    # --- one part -----------------------------------------------------------------------------------

    def kill_program(self) -> None:
        """The API or a worker, for a moment."""
        part = self._rnd.choice((*self._site.apis, *self._site.workers))
        self._kill(part)
        self._rest()
        part.start()

    def kill_valkey(self) -> None:
        """With or without its power."""
        self._kill(self._site.valkey)
        self._rest()
        self._site.valkey.start()

    def lose_valkey(self) -> None:
        """With all that it had, where that is to be survived; else as above."""
        self._kill(self._site.valkey)
        if self._may_lose_valkey:
            self._note("valkey lost its data")
            self._site.valkey.lose_data()
        self._rest()
        self._site.valkey.start()

    def kill_postgres(self) -> None:
        """The postmaster: all its processes end."""
        self._kill(self._site.postgres)
        self._rest()
        self._site.postgres.start()

    def kill_backend(self) -> None:
        """A process that serves a connection: the postmaster then ends all others, and recovers."""
        if found := self._ask(_BACKENDS):
            (pid,) = self._rnd.choice(found)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed["postgres backend"] += 1

    def pause(self) -> None:
        """A part hangs for a while; what it was asked meanwhile it does afterwards."""
        part = self._rnd.choice(self._site.parts)
        pids = [part.pid, *_children(part.pid)] if part.up else []
        _signal(pids, signal.SIGSTOP)
        time.sleep(self._rnd.uniform(*PAUSE_S))
        _signal(pids, signal.SIGCONT)

    def stall_worker(self) -> None:
        """One hangs at a crash point while others work; sometimes it loses its connections meanwhile."""
        worker = self._rnd.choice(self._site.workers)
        point = self._rnd.choice([point for point in HUNTED if point not in OF_API])
        self._note(f"{worker.name} hangs at {point}")
        self._kill(worker)
        worker.start(f"{self._armed(point)}:stop")
        self._provoke(point)
        deadline = time.monotonic() + POINT_S
        while worker.up and not _is_stopped(worker.pid) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        if worker.up and _is_stopped(worker.pid):
            self._deck.stalled[point] += 1
            if self._rnd.random() < 0.6:  # noqa: PLR2004 - often
                self._ask(_CUT)
            time.sleep(self._rnd.uniform(*PAUSE_S))
            worker.go_on()
        self.restore()

    def slow_disk(self) -> None:
        """What Valkey writes takes long to be on the disk, sometimes longer than anybody waits."""
        self._site.valkey.order(f"slow {self._rnd.randint(*SLOW_MS)}")
        time.sleep(self._rnd.uniform(*PAUSE_S))
        self._site.valkey.order("slow 0")

    def failing_disk(self) -> None:
        """An fsync fails, and Valkey ends by itself: what it wrote before is in doubt."""
        valkey = self._site.valkey
        if valkey.no_cuts or not valkey.up:
            return
        valkey.order("fail")
        if self._await_end(valkey):
            self._rest()
            valkey.start()

    # --- between the parts --------------------------------------------------------------------------

    def cut_connections(self) -> None:
        """Of all clients of Valkey or of Postgres: what they had asked may have been done."""
        if self._rnd.random() < 0.6:  # noqa: PLR2004 - a little more often
            with contextlib.suppress(redis.RedisError), self._valkey() as client:
                client.client_kill_filter(_type="normal", skipme=True)
        else:
            self._ask(_CUT)

    def forget_marks(self) -> None:
        """As after 48 hours: duplicates are counted in Redis, and found by the flush."""
        with contextlib.suppress(redis.RedisError), self._valkey() as client:
            keys = list(client.scan_iter("d:*", count=2000))
            if keys:
                client.unlink(*keys)

    # --- several --------------------------------------------------------------------------------------

    def kill_two(self) -> None:
        """Two parts at once, in either order up again."""
        parts = self._rnd.sample(self._site.parts, 2)
        for part in parts:
            self._kill(part)
        self._rest()
        self._rnd.shuffle(parts)
        for part in parts:
            part.start()
            self._rest()

    def kill_everything(self) -> None:
        """The machine, and some time later everything is up again."""
        self.kill_machine()
        self._rest()
        self.restore()

    def kill_machine(self) -> None:
        """All processes at once, and the power."""
        for part in self._site.parts:
            self._kill(part, cut=True)

    def at_point(self, point: Point) -> None:
        """A process dies at a crash point; sometimes another with it, or itself again when it is back."""
        site, partner = self._site, self._rnd.random()
        api = point in OF_API
        others = site.apis if api else site.workers
        for other in others:
            self._kill(other)
        victim = others[0]
        self._note(f"{victim.name} at {point}")
        victim.start(self._armed(point))
        self._provoke(point)
        if self._await_end(victim):
            self.killed[victim.name] += 1
            self._deck.reached[point] += 1
            self._note(f"{victim.name} died at {point}")
            if partner < 0.4:  # noqa: PLR2004 - often
                second_part = self._rnd.choice((site.valkey, site.postgres))
                self._kill(second_part)
                self._deck.pairs[point, second_part.name] += 1
            elif partner < 0.6:  # noqa: PLR2004 - sometimes
                second = self._deck.second(self._rnd, point)
                victim.start(self._armed(second))
                self._provoke(second)
                if self._await_end(victim):
                    self.killed[victim.name] += 1
                    self._deck.pairs[point, second] += 1
        else:
            self._kill(victim)
        self.restore()

    def _armed(self, point: Point) -> str:
        """The point and a pass; some are passed once and then not for long."""
        rare = point.startswith(("certify", "trim", "correction"))
        return f"{point}:{1 if rare else self._rnd.randint(1, PASSES)}"

    def _provoke(self, point: Point) -> None:
        """Brings about what leads to a point."""
        valkey = self._site.valkey
        if point.startswith("certify"):
            self._kill(valkey)
            valkey.start()
        elif point.startswith("correction"):
            self.forget_marks()
        elif point.startswith("inbox"):
            self._kill(valkey)
            time.sleep(self._rnd.uniform(0.3, 1.0))
            if point == "inbox-sent":
                valkey.start()

    # --- how ------------------------------------------------------------------------------------------

    def _kill(self, part: Part, *, cut: bool | None = None) -> None:
        """Kill -9; Valkey's power goes with it every other time."""
        if not part.up:
            return
        if part is self._site.valkey and (self._rnd.random() < 0.5 if cut is None else cut):  # noqa: PLR2004 - half
            self._site.valkey.cut_power()
            self.killed["valkey, power cut"] += 1
            self._note("valkey, power cut")
        else:
            part.kill()
            self.killed[part.name] += 1
            self._note(f"{part.name} killed")

    def _note(self, what: str) -> None:
        """For whoever wants to know what led to a finding."""
        with self._diary.open("a") as diary:
            diary.write(f"{time.monotonic() - self._begun:8.3f} {what}\n")

    def _await_end(self, part: Part) -> bool:
        """Whether it ends by itself in time."""
        deadline = time.monotonic() + POINT_S
        while part.up and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return not part.up

    def _rest(self) -> None:
        if self._rnd.random() < 0.6:  # noqa: PLR2004 - else it is up again at once
            time.sleep(self._rnd.uniform(*DOWN_S))

    def _valkey(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self._site.valkey_socket), socket_timeout=1.0)

    def _ask(self, query: LiteralString) -> list[tuple[Any, ...]]:
        """What Postgres answers; nothing if it does not."""
        with (
            contextlib.suppress(psycopg.Error),
            psycopg.connect(self._site.database_url, autocommit=True, connect_timeout=2) as connection,
        ):
            return connection.execute(query).fetchall()
        return []


class Deck:
    """The crash points, shuffled: each comes before any comes again, over all rounds."""

    def __init__(self) -> None:
        self._left: list[Point] = []
        self.reached: Counter[Point] = Counter()
        self.stalled: Counter[Point] = Counter()
        self.pairs: Counter[tuple[Point, str]] = Counter()

    def draw(self, rnd: random.Random) -> Point:
        """The next."""
        if not self._left:
            self._left = list(HUNTED)
            rnd.shuffle(self._left)
        return self._left.pop()

    def second(self, rnd: random.Random, first: Point) -> Point:
        """One that the same kind of process passes."""
        return rnd.choice([point for point in HUNTED if (point in OF_API) == (first in OF_API)])


def _children(pid: int) -> list[int]:
    """Of a process, as the kernel lists them."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(child) for child in text.split()]


def _is_stopped(pid: int) -> bool:
    """Whether a process stands still."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


_BACKENDS: Final = """
select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()
"""
_CUT: Final = """
select pg_terminate_backend(pid) from pg_stat_activity
where backend_type = 'client backend' and pid <> pg_backend_pid()
"""
