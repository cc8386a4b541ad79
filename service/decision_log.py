"""Keeps decisions to be looked at and run again, without ever keeping a request waiting.

A check leaves the objects that it decided with, which costs an append. A task of the process turns them into
rows each second and writes these to Postgres. Both stores are bounded; what does not fit is dropped, and
counted.
"""

import asyncio
import logging
from collections import deque
from importlib import metadata
from typing import Final

import msgspec

from policies import errors, limits, logged
from policies.balance import Levels
from policies.decide import Request
from policies.decision import Decision
from policies.logged import Facts, Logged
from service.rights import Standing
from store import decisions, postgres
from store.decisions import Row

log = logging.getLogger("metergate.decision_log")

RELEASE: Final = f"metergate {metadata.version('metergate')}, cedarpy {metadata.version('cedarpy')}"
FLUSH_S: Final = 1.0
"""How often the log is written: what a process that is killed had decided since then is not kept."""
CLOSE_S: Final = 3.0
"""How long a process that ends waits for Postgres to take the rest."""
_SLICE: Final = 50
"""Decisions turned into rows before requests have their turn: about 1 ms."""
_ROWS: Final = 1_000
"""Rows of one transaction."""
_ROW_BYTES: Final = 500
"""What a row weighs beside its body."""

_encode: Final = msgspec.json.Encoder().encode


class _Noted(msgspec.Struct, frozen=True):
    """A decision with the objects that it was made of."""

    decision: Decision
    standing: Standing
    request: Request
    levels: Levels | None
    weight: int
    away: bool
    stale: bool


class DecisionLog:
    """The log of one process: denials and doubts, and of allows every Nth.

    Of denials every one up to DECISION_LOG_DENIALS a second, then every DECISION_LOG_OVERth: a tenant that
    runs against its limit in a loop must not cost more than it is refused. Where all allows are kept, so are
    all denials.
    """

    def __init__(self, pool: postgres.Pool, *, sample: int) -> None:
        """`sample`: N of the allows; 0 keeps none of them."""
        self._pool = pool
        self._sample = sample
        self._passed = 0
        """Allows since the last that was kept."""
        self._refused = 0
        """Denials and doubts since the last flush, as far as all are kept."""
        self._over = 0
        """Those past that since the last that was kept."""
        self._noted: deque[_Noted] = deque()
        self._rows: deque[Row] = deque()
        self._bytes = 0
        self._dropped = 0
        self._flushing = asyncio.Lock()

    def note(
        self,
        decision: Decision,
        standing: Standing,
        request: Request,
        levels: Levels | None,
        *,
        away: bool = False,
        stale: bool = False,
    ) -> None:
        """Keeps a decision, if it is one to keep and there is room. `away`, `stale`: as in Logged."""
        weight = 1
        if decision.outcome == "allowed":
            self._passed += 1
            if self._passed < self._sample or not self._sample:
                return
            self._passed, weight = 0, self._sample
        elif self._refused >= limits.DECISION_LOG_DENIALS and self._sample != 1:
            self._over += 1
            if self._over < limits.DECISION_LOG_OVER:
                return
            self._over, weight = 0, limits.DECISION_LOG_OVER
        else:
            self._refused += 1
        if len(self._noted) >= limits.DECISION_LOG_ENTRIES:
            self._dropped += 1
            return
        self._noted.append(_Noted(decision, standing, request, levels, weight, away, stale))

    def take_dropped(self) -> int:
        """How many were dropped since this was asked last."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    async def flush(self) -> None:
        """Writes all that is kept.

        Errors: UnavailableError; what was not written stays, within the bounds.
        """
        async with self._flushing:
            self._refused = 0
            await self._encode()
            while self._rows:
                batch = [self._rows[place] for place in range(min(_ROWS, len(self._rows)))]
                await self._write(batch)
                for row in batch:
                    self._rows.popleft()
                    self._bytes -= _weight(row)

    async def run(self) -> None:
        """Writes each second until it is cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
            except errors.UnavailableError:
                continue  # it is kept, and said in /health/ready
            except Exception:  # one decision that cannot be written must not end the log of this process
                log.exception("decision log: a decision is lost")

    async def close(self) -> None:
        """Writes the rest, if Postgres takes it in time."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.flush()
        except (errors.UnavailableError, TimeoutError):
            log.warning("decision log: %d decisions are lost with this process", len(self._rows))

    async def _encode(self) -> None:
        """Makes rows of what was noted; the facts of one right are put together once."""
        known: dict[int, Facts] = {}
        held = []
        left = len(self._noted)  # what comes while this goes on waits for the next time
        while left:
            for _ in range(min(_SLICE, left)):
                noted = self._noted.popleft()
                left -= 1
                held.append(noted.standing)  # its id stands for it as long as it lives
                self._keep(_row(noted, known))
            await asyncio.sleep(0)

    def _keep(self, row: Row) -> None:
        weight = _weight(row)
        if self._bytes + weight > limits.DECISION_LOG_BYTES:
            self._dropped += 1
            return
        self._rows.append(row)
        self._bytes += weight

    async def _write(self, batch: list[Row]) -> None:
        try:
            async with postgres.transaction(self._pool) as connection:
                await decisions.write(connection, batch)
        except errors.UnavailableError:
            raise
        except Exception:  # what is refused once is refused for ever, and must not hold up the rest
            log.exception("decision log: a batch cannot be kept")
            self._dropped += len(batch)


def _row(noted: _Noted, known: dict[int, Facts]) -> Row:
    decision, standing = noted.decision, noted.standing
    facts = known.get(id(standing))
    if facts is None:
        facts = logged.facts(standing.snapshot, standing.offer, standing.right, decision.as_of)
        known[id(standing)] = facts
    whole = Logged(
        decision_id=decision.decision_id,
        as_of=decision.as_of,
        release=RELEASE,
        weight=noted.weight,
        tenant_id=decision.tenant_id,
        feature_id=decision.feature_id,
        quantity=noted.request.quantity,
        entity_id=noted.request.entity_id,
        context=noted.request.context,
        facts=facts,
        levels=noted.levels,
        away=noted.away,
        stale=noted.stale,
        answer=logged.answered(decision),
    )
    return Row(
        tenant_id=decision.tenant_id,
        as_of=decision.as_of,
        decision_id=decision.decision_id,
        feature_id=decision.feature_id,
        outcome=decision.outcome,
        reason=decision.reason,
        weight=noted.weight,
        body=_encode(whole),
    )


def _weight(row: Row) -> int:
    return len(row.body) + _ROW_BYTES
