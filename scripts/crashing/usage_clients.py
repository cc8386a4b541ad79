"""Clients that report what has happened: in batches, one by one, and such as change their minds."""

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from scripts.crashing import client, door
from scripts.crashing.client import Client, Crowd
from scripts.crashing.door import Answer
from scripts.crashing.ledger import Sent
from scripts.crashing.world import TOKENS
from service.clock import SystemClock

REMEMBERED = 500
"""Of what was acknowledged so many are sent again now and then."""
STAMPED = 0.3
"""How many say themselves when they happened."""


def body_of(entry: Sent, at: datetime | None = None) -> dict[str, Any]:
    """As it is sent, the first time and again."""
    body = {
        "id": entry.event_id,
        "tenantId": entry.tenant_id,
        "serviceId": client.SERVICE,
        "featureId": TOKENS,
        "quantity": entry.quantity,
    }
    return body | {"timestamp": at} if at else body


class Reporting(Client):
    """What those have in common that report."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        super().__init__(crowd, number)
        self.done: deque[tuple[Sent, dict[str, Any]]] = deque(maxlen=REMEMBERED)

    def event(self) -> tuple[Sent, dict[str, Any]]:
        """A new one, and its body."""
        entry = self.new("report", self.rnd.choice(self.crowd.world.reporting), self.rnd.randint(1, 9))
        at = None
        if self.rnd.random() < STAMPED:
            at = SystemClock().now().astimezone(UTC) - timedelta(seconds=self.rnd.randint(0, 40_000))
        return entry, body_of(entry, at)

    def acknowledged(self, entry: Sent, body: dict[str, Any]) -> None:
        """It is counted."""
        if entry.acknowledged:
            entry.repeated += 1
        else:
            self.done.append((entry, body))
        self.ledger.acknowledge(entry)


class Batches(Reporting):
    """Many at once, as lines of JSON, some of them twice."""

    async def act(self) -> None:
        """One batch, and again what of it is not acknowledged."""
        pending = [self.event() for _ in range(self.rnd.randint(1, self.crowd.batch))]
        while pending:
            again = [
                self.rnd.choice(self.done) for _ in pending if self.done and self.rnd.random() < client.AGAIN
            ]
            batch = [*pending, *again]
            content = b"\n".join(msgspec.json.encode(body) for _, body in batch)
            answer = self.heard(await self.send(content))
            pending = pending if answer is None else self._left(batch, answer)
            if answer is None:
                pending = [each for each in pending if self.rnd.random() >= client.GIVE_UP]
                await self.wait()

    async def send(self, content: bytes) -> Answer | None:
        """Lines of JSON."""
        return await self._door.ask("POST", "/v1/usage", content, door.NDJSON)

    def _left(
        self, batch: list[tuple[Sent, dict[str, Any]]], answer: Answer
    ) -> list[tuple[Sent, dict[str, Any]]]:
        """What is to be sent again."""
        if answer.status != client.ACCEPTED:
            self.wonder("a batch was refused", answer)
            return []
        odd = {result["index"]: result for result in answer.body["results"]}
        left = []
        for index, (entry, body) in enumerate(batch):
            status = odd[index]["status"] if index in odd else "accepted"
            if status in ("accepted", "duplicate"):
                self.acknowledged(entry, body)
            elif status == "retry":
                left += [(entry, body)] if not entry.acknowledged else []
            else:
                self.wonder("an event was rejected", answer, odd[index])
        return left


class Singles(Reporting):
    """One at a time."""

    async def act(self) -> None:
        """One, new or seen before."""
        old = self.done and self.rnd.random() < client.AGAIN
        entry, body = self.rnd.choice(self.done) if old else self.event()
        answer = await self.persist("/v1/usage", body)
        if answer is None:
            return
        if answer.status == client.ACCEPTED and answer.body["accepted"] + answer.body["duplicates"] == 1:
            self.acknowledged(entry, body)
        else:
            self.wonder("an event was refused", answer, body)


class Revisers(Reporting):
    """They report, and then amend or void it; some say the same again."""

    async def act(self) -> None:
        """One event and what becomes of it."""
        entry, body = self.event()
        answer = await self.persist("/v1/usage", body)
        if answer is None or answer.status != client.ACCEPTED:
            return
        self.acknowledged(entry, body)
        await self._revise(entry)

    async def _revise(self, entry: Sent) -> None:
        void = self.rnd.random() < 0.3  # noqa: PLR2004 - some
        entry.revised = 0 if void else entry.quantity + self.rnd.choice((-1, 1, 5)) or 2
        wish: dict[str, Any] = {"tenantId": entry.tenant_id, "reason": "of a crash run"}
        path = f"/v1/usage/{client.SERVICE}/{entry.event_id}/{'void' if void else 'amend'}"
        wish |= {} if void else {"quantity": entry.revised}
        for _ in range(1 + (self.rnd.random() < client.AGAIN)):
            answer = await self.persist(path, wish, **{"Idempotency-Key": f"revise-{entry.event_id}"})
            if answer is None:
                return
            if answer.status != client.OK or answer.body["quantity"] != entry.revised:
                self.wonder("a revision was refused", answer, entry)
                return
            self.ledger.acknowledge_revision(entry)
