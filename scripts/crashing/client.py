"""What the clients of a run share: their world, their ledger, and how they wait."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from scripts.crashing.door import Answer, Door
from scripts.crashing.ledger import Kind, Ledger, Sent
from scripts.crashing.world import World

SERVICE: Final = "svc"
WAIT_S: Final = (0.01, 0.15)
"""Between an attempt that came to nothing and the next."""
GIVE_UP: Final = 0.02
"""How many of what came to nothing are never sent again: nobody may count them twice either."""
AGAIN: Final = 0.2
"""How many of what was acknowledged is sent again."""
ACCEPTED, OK, UNAVAILABLE = 202, 200, 503


@dataclass(frozen=True)
class Crowd:
    """What all clients of a run share."""

    world: World
    ports: Sequence[int]
    seed: int
    batch: int
    ledger: Ledger
    stop: asyncio.Event


class Client:
    """One of them. A subclass says in `act` what it does, again and again."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        name = f"{type(self).__name__}{number}"
        self.rnd = random.Random(f"{name} {crowd.seed}")  # noqa: S311 - to be told again, not to be secret
        self.crowd = crowd
        self.ledger = crowd.ledger
        self._name = name
        self._made = 0
        self._door = Door(crowd.ports, crowd.world.key, self.rnd)

    @property
    def stopping(self) -> bool:
        """Nothing new is to be begun."""
        return self.crowd.stop.is_set()

    async def run(self) -> None:
        """Acts until it is told to stop and has nothing under way."""
        while not self.stopping:
            await self.act()
        await self._door.close()

    async def act(self) -> None:
        """One thing, to its end: acknowledged, refused, or given up."""
        raise NotImplementedError

    def new(self, kind: Kind, tenant_id: str, quantity: int) -> Sent:
        """A new id, about to be sent."""
        self._made += 1
        return self.ledger.note(kind, tenant_id, f"{self._name}-{self._made}", quantity)

    async def ask(self, path: str, body: object, **headers: str) -> Answer | None:
        """One request; None if nobody knows what became of it, or it could not be done now."""
        return self.heard(await self._door.ask("POST", path, msgspec.json.encode(body), **headers))

    def heard(self, answer: Answer | None) -> Answer | None:
        """The answer, unless it says nothing."""
        self.ledger.count("none" if answer is None else str(answer.status))
        return None if answer is None or answer.status == UNAVAILABLE else answer

    async def persist(self, path: str, body: object, **headers: str) -> Answer | None:
        """The same again until there is an answer that says something; None if it gave up before."""
        while (answer := await self.ask(path, body, **headers)) is None:
            if self.rnd.random() < GIVE_UP:
                return None
            await self.wait()
        return answer

    async def wait(self) -> None:
        """A moment."""
        await asyncio.sleep(self.rnd.uniform(*WAIT_S))

    def wonder(self, what: str, answer: Answer, about: Any = None) -> None:
        """An answer that no fault explains."""
        self.ledger.wonder(f"{what}: {answer.status}", f"{about} {answer.body}"[:1000])
