"""What a script leaves when a crash tears it: in turn each of its writes is the last that is on the disk.

A server writes what a script did between MULTI and EXEC, and of a part of that nothing is to be loaded. Some
have done it all the same; so the order of a script's writes must be right by itself: the journal first,
counters next, marks last. Here the file is cut as such a server would have left it, the server started and
certified, and the act sent again, as whoever was not answered does.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import psycopg

from policies import errors
from policies.usage import Usage
from scripts.crashing import aof, rest, world
from scripts.crashing.client import SERVICE
from scripts.crashing.judge import Judge, Verdict
from scripts.crashing.ledger import Ledger, Sent
from scripts.crashing.site import BOUND_S
from scripts.crashing.stage import Stage
from service import clock, wiring
from service.config import Config
from service.context import Caller, Context
from service.usecases import catching_up, consume, keys, record, reservations, reserve, revise
from service.usecases.changes import Order
from service.usecases.events import EventName
from service.usecases.fitting import Wanted
from service.usecases.reservations import Told
from store import certify, corrections, flush
from store.link import RedisAwayError
from store.reading import FenceClosedError

HELD, USED, AMENDED = 5, 3, 4
AFTER_A_CUT: Final = 5
FLUSHED: Final = 2
"""Up to this one of them the flush passes: an entry that comes back later with an older id is passed over."""
LONG_S: Final = 86_400
_AGAIN_S: Final = 0.02


class Scene(msgspec.Struct, frozen=True):
    """An act and what led to it, on a stage whose servers run."""

    stage: Stage
    context: Context
    ledger: Ledger
    rewrite: bool = True
    """Whether a server that is certified is to write its file anew."""

    def entry(self, kind: str, number: str) -> Sent:
        """What is about to be sent."""
        made = self.stage.world
        tenant_id = made.reporting[0] if kind == "report" else made.limited[0]
        quantity = HELD if kind == "reserve" else USED
        return self.ledger.note(kind, tenant_id, number, quantity)  # type: ignore[arg-type]  # one of the three

    async def at_rest(self) -> None:
        """Certifies the server, and brings everything over; waits for what a dead process had locked."""
        deadline = clock.monotonic_s() + BOUND_S
        while True:
            try:
                await self._work()
            except (RedisAwayError, FenceClosedError, errors.UnavailableError):
                if clock.monotonic_s() > deadline:
                    raise
            else:
                with psycopg.connect(self.stage.site.database_url) as connection:
                    busy = rest.busy(connection, self.stage.site.redis_url)
                if not busy:
                    return
                assert clock.monotonic_s() < deadline, busy
            await asyncio.sleep(_AGAIN_S)

    async def _work(self) -> None:
        """As a worker does."""
        context, link = self.context, self.context.counters.link
        await certify.certify(context.pool, link.of(0), now=context.clock.now(), rewrite=self.rewrite)
        await catching_up.carry_on(context, context.clock.now())
        while (await flush.flush_once(context.pool, link, now=context.clock.now())).more:
            pass
        await corrections.apply_corrections(context.pool, context.counters)

    async def forget_marks(self) -> None:
        """As after 48 hours."""
        link = self.context.counters.link
        (marks,) = (await link.send([("KEYS", "d:*")])).values
        await link.send([("UNLINK", *marks)])

    async def restart(self) -> None:
        """Valkey begins anew, as it is on its disk; until all is at rest."""
        self.stage.site.valkey.kill()
        self.stage.site.valkey.start()
        await self.at_rest()

    async def record(self, name: str) -> None:
        """An event that is acknowledged."""
        await recorded(self, self.entry("report", name))

    def judge(self) -> Verdict:
        """What is wrong by now."""
        return self.look().verdict

    def look(self) -> Judge:
        """The judge; the API does not run, so nobody is asked for balances."""
        site = self.stage.site
        return Judge(
            self.stage.world, self.ledger, database_url=site.database_url, redis_url=site.redis_url, port=None
        )


async def recorded(scene: Scene, entry: Sent) -> None:
    """An event that is sent, be it again, is acknowledged."""
    event = Usage(
        tenant_id=entry.tenant_id,
        service_id=SERVICE,
        event_id=entry.event_id,
        feature_id=world.TOKENS,
        quantity=entry.quantity,
    )
    ((result,), _) = await record.record(scene.context, [event])
    assert result.status in ("accepted", "duplicate"), result
    scene.ledger.acknowledge(entry)


async def _consumed(scene: Scene, entry: Sent) -> None:
    found = await consume.consume(scene.context, wanted(entry))
    assert found.consumed, found
    scene.ledger.acknowledge(entry)


async def _reserved(scene: Scene, entry: Sent) -> None:
    found = await reserve.reserve(scene.context, wanted(entry, LONG_S))
    assert found.reservation_id is not None, found
    entry.reservation_id = found.reservation_id
    scene.ledger.acknowledge(entry)


async def _settled(scene: Scene, entry: Sent) -> None:
    entry.end, entry.settled = "settle", USED
    found = await reservations.settle(scene.context, Told(entry.reservation_id, None), USED)
    assert (found.state, found.quantity) == ("settled", USED), found
    scene.ledger.acknowledge_end(entry)


async def _released(scene: Scene, entry: Sent) -> None:
    entry.end = "release"
    found = await reservations.release(scene.context, Told(entry.reservation_id, None))
    assert found.state == "released", found
    scene.ledger.acknowledge_end(entry)


async def _amended(scene: Scene, entry: Sent) -> None:
    entry.revised = AMENDED
    name = EventName(entry.tenant_id, SERVICE, entry.event_id)
    wish = revise.Wish(quantity=AMENDED, reason="of a crash run", revision=1)
    await revise.revise(scene.context, Order(caller=_CALLER), name, wish)
    scene.ledger.acknowledge_revision(entry)


Step = Callable[[Scene, Sent], Awaitable[None]]
ACTS: Final[dict[str, tuple[str, Step | None, Step]]] = {
    "record": ("report", None, recorded),
    "consume": ("consume", None, _consumed),
    "reserve": ("reserve", None, _reserved),
    "settle": ("reserve", _reserved, _settled),
    "release": ("reserve", _reserved, _released),
    "amend": ("report", recorded, _amended),
}
"""By name: as what it stands in the ledger, what comes before it, and itself."""


async def sweep(scene: Scene, act: str) -> int:
    """Tears the script of an act after each of its writes, and before the first; how many times that was.

    Errors: AssertionError, which says after which write what was wrong.
    """
    kind, before, step = ACTS[act]
    kept = writes = 0
    while kept <= writes:
        entry = scene.entry(kind, f"{act}-{kept}-{len(scene.ledger.entries)}")
        if before is not None:
            await before(scene, entry)
        await step(scene, entry)
        scene.stage.site.valkey.kill()
        block = aof.last_script(aof.present(scene.stage.site.layout.valkey))
        writes = len(block.commands)
        block.tear(kept)
        await scene.restart()
        await step(scene, entry)
        await scene.at_rest()
        verdict = scene.judge()
        last = block.commands[kept - 1].words[:2] if kept else "nothing"
        assert verdict.sound, f"{act}, torn after {last}: {verdict.examples}"
        kept += 1
    return kept


async def crash_twice(scene: Scene) -> int:
    """Cuts the file within a script; what is acknowledged after that must outlive one crash more.

    Some servers leave the torn script's MULTI in the file. With what is written behind it, the torn script
    comes back at the next start: its mark, and its journal entry with an id that the flush has passed. So the
    file must have been written anew by then. How many cuts there were.
    Errors: AssertionError, which says after which write the file was cut.
    """
    kept = writes = 0
    while kept <= writes:
        torn = scene.entry("report", f"cut-{kept}")
        await recorded(scene, torn)
        torn.acknowledged = False  # its answer was never sent: the file ends within its script
        scene.ledger.acknowledgements -= 1
        scene.stage.site.valkey.kill()
        block = aof.last_script(aof.present(scene.stage.site.layout.valkey))
        writes = len(block.commands)
        block.cut(kept)
        await scene.restart()
        for number in range(AFTER_A_CUT):
            await scene.record(f"after-{kept}-{number}")
            if number == FLUSHED:
                await scene.at_rest()
        scene.stage.site.valkey.kill()
        await scene.restart()
        await recorded(scene, torn)
        await scene.at_rest()
        verdict = scene.judge()
        assert verdict.sound, f"cut after {kept} of {writes} writes: {verdict.examples}"
        kept += 1
    return kept


@asynccontextmanager
async def scene(stage: Stage, *, rewrite: bool = True) -> AsyncIterator[Scene]:
    """One in this process, the servers certified."""
    site = stage.site
    site.start_servers()
    config = Config(database_url=site.database_url, redis_url=site.redis_url)
    async with wiring.open_context(config) as context:
        made = Scene(stage, context, Ledger(), rewrite)
        await made.at_rest()
        yield made


def wanted(entry: Sent, seconds: int | None = None) -> Wanted:
    """What is asked for."""
    return Wanted(
        event_id=entry.event_id,
        tenant_id=entry.tenant_id,
        service_id=SERVICE,
        feature_id=world.CREDITS,
        quantity=entry.quantity,
        seconds=seconds,
    )


_CALLER: Final = Caller(
    actor="cli:crash", key_id="", scopes=frozenset(keys.SCOPES), tenant_id=None, request_id="crash"
)
