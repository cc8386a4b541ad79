"""Clients that use what is limited: they consume, and they reserve, settle and release."""

from collections import deque
from typing import Any, Final

from scripts.crashing import client
from scripts.crashing.client import Client, Crowd
from scripts.crashing.door import Answer
from scripts.crashing.ledger import Sent
from scripts.crashing.world import CREDITS

REMEMBERED: Final = 200
BRIEF_S: Final = 1
LONG_S: Final = 86_400
UNKNOWN, CONFLICT = 404, 409


def body_of(entry: Sent) -> dict[str, Any]:
    """As it is sent, the first time and again."""
    return {
        "id": entry.event_id,
        "tenantId": entry.tenant_id,
        "serviceId": client.SERVICE,
        "featureId": CREDITS,
        "quantity": entry.quantity,
    }


class Consumers(Client):
    """They ask for units, often those of others at the same time."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        super().__init__(crowd, number)
        self._done: deque[Sent] = deque(maxlen=REMEMBERED)

    async def act(self) -> None:
        """One use, new or seen before."""
        old = self._done and self.rnd.random() < client.AGAIN
        entry = self.rnd.choice(self._done) if old else self._new()
        answer = await self.persist("/v1/consume", body_of(entry))
        if answer is None:
            return
        if answer.status != client.OK:
            self.wonder("a use was refused", answer, entry)
        elif answer.body["consumed"]:
            if entry.acknowledged:
                entry.repeated += 1
            else:
                self._done.append(entry)
            self.ledger.acknowledge(entry)
        elif answer.body["outcome"] == "indeterminate":
            self.ledger.count("indeterminate")
            await self.wait()
        else:
            entry.denied = True
            self.ledger.count("denied")
            if entry.acknowledged:
                self.wonder("a use that was counted is denied when it comes again", answer, entry)
            await self.wait()

    def _new(self) -> Sent:
        return self.new("consume", self.rnd.choice(self.crowd.world.consuming), self.rnd.randint(1, 5))


class Holders(Client):
    """They hold units, and then use some of them, or give them up, or forget them."""

    async def act(self) -> None:
        """One reservation and its end."""
        entry = self.new("reserve", self.rnd.choice(self.crowd.world.consuming), self.rnd.randint(1, 9))
        entry.brief = self.rnd.random() < 0.2  # noqa: PLR2004 - some
        body = body_of(entry) | {"ttlSeconds": BRIEF_S if entry.brief else LONG_S}
        answer = await self.persist("/v1/reservations", body)
        if answer is None:
            return
        if answer.status != client.OK:
            self.wonder("a reservation was refused", answer, entry)
        elif not answer.body["allowed"]:
            self.ledger.count("not held")
            await self.wait()
        elif "reservationId" not in answer.body:
            self.wonder("a reservation has no name", answer, entry)
        else:
            entry.reservation_id = answer.body["reservationId"]
            self.ledger.acknowledge(entry)
            if not entry.brief:
                await self._end(entry)

    async def _end(self, entry: Sent) -> None:
        chance = self.rnd.random()
        if chance < 0.05:  # noqa: PLR2004 - few
            return
        entry.end = "settle" if chance < 0.6 else "release"  # noqa: PLR2004 - about half
        body: dict[str, Any] = {}
        if entry.end == "settle":
            entry.settled = self.rnd.randint(1, entry.quantity)
            body = {"quantity": entry.settled}
        for _ in range(1 + (self.rnd.random() < client.AGAIN)):
            answer = await self.persist(f"/v1/reservations/{entry.reservation_id}/{entry.end}", body)
            if answer is None:
                return
            self._ended(entry, answer)

    def _ended(self, entry: Sent, answer: Answer) -> None:
        if answer.status != client.OK:
            self.wonder("a reservation could not be ended", answer, entry)
        elif entry.end == "settle" and answer.body["quantity"] != entry.settled:
            self.wonder("a reservation was settled for something else", answer, entry)
        else:
            self.ledger.acknowledge_end(entry)
