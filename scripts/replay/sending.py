"""Sends each tenant's calls in the order of time: asks whether a call is allowed, then reports it.

A tenant's calls go in groups, as a trace of an hour is sent in seconds. Checking never consumes and a limit
is a bound on a sum, so one check of a whole group's quantity that is allowed says that each call of the group
would be allowed in its turn. A group that is not is gone through call by call, each with its own check before
its own report: so the first call that is refused is found exactly. Past it there is nothing more to find.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from scripts.replay import calls as trace
from scripts.replay.calls import Call
from scripts.replay.client import AwayError, Client
from scripts.replay.spread import FEATURE, Tenant

GROUP: Final = 20
"""Calls of one group, so that a replay takes seconds and is still many requests."""
CONCURRENCY: Final = 8
Status = Literal["accepted", "duplicate", "rejected", "retry"]


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """What the replay reads of a decision."""

    outcome: Literal["allowed", "denied", "indeterminate"]
    reason: str
    overage: int | None
    degraded: bool
    as_of: datetime


class Result(msgspec.Struct, frozen=True):
    """What became of an event that was not plainly accepted."""

    index: int
    status: Status
    type: str | None = None
    detail: str | None = None


class Receipt(msgspec.Struct, frozen=True):
    """What a report of usage is answered."""

    results: list[Result]


class Refusal(msgspec.Struct, frozen=True):
    """The first call that would not have been allowed; `number` counts the tenant's calls from 1."""

    number: int
    call: Call
    reason: str


class Sent(msgspec.Struct, kw_only=True):
    """What is known of one tenant."""

    tenant: Tenant
    calls: list[Call]
    before: Answer | None = None
    after: Answer | None = None
    refusal: Refusal | None = None
    statuses: Counter[str] = msgspec.field(default_factory=Counter)
    rejected: list[str] = msgspec.field(default_factory=list)
    """Why, for the first few."""


class Names(msgspec.Struct, frozen=True):
    """How the file's events are called."""

    service_id: str
    event_id: Callable[[int], str]


class OtherTimesError(Exception):
    """The ids are known with other bodies: the file was sent before, with another `--end`."""


REASONS_KEPT: Final = 3
_MISMATCH: Final = "idempotency-mismatch"


class Sender:
    """Sends the calls of all tenants, so many tenants at a time."""

    def __init__(
        self,
        client: Client,
        names: Names,
        *,
        group: int = GROUP,
        concurrency: int = CONCURRENCY,
        sent: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`sent` is told how many more calls have been answered for."""
        self._client = client
        self._names = names
        self._group = group
        self._places = asyncio.Semaphore(concurrency)
        self._told = sent

    async def send(self, spread: dict[Tenant, list[Call]]) -> list[Sent]:
        """Everything, and what became of it.

        Errors: OtherTimesError, GaveUpError, RefusedError; what was sent until then stays counted.
        """
        outcomes = [Sent(tenant=tenant, calls=own) for tenant, own in spread.items()]
        try:
            async with asyncio.TaskGroup() as tasks:
                for outcome in outcomes:
                    tasks.create_task(self._send_tenant(outcome))
        except BaseExceptionGroup as group:
            # One reason is enough; the others are the same or its consequences.
            raise group.exceptions[0] from group
        return outcomes

    async def _send_tenant(self, sent: Sent) -> None:
        async with self._places:
            sent.before = await self._check(sent, 1)
            for start in range(0, len(sent.calls), self._group):
                await self._send_group(sent, start, sent.calls[start : start + self._group])
            sent.after = await self._check(sent, 1)

    async def _send_group(self, sent: Sent, start: int, group: Sequence[Call]) -> None:
        if sent.refusal is None:
            whole = await self._check(sent, trace.total(group))
            if whole.outcome != "allowed" and len(group) > 1:
                for place, call in enumerate(group):
                    await self._send_group(sent, start + place, [call])
                return
            if whole.outcome != "allowed":
                sent.refusal = Refusal(start + 1, group[0], whole.reason)
        await self._report(sent, group)
        self._told(len(group))

    async def _check(self, sent: Sent, quantity: int) -> Answer:
        body = {"tenantId": sent.tenant.tenant_id, "featureId": FEATURE, "quantity": quantity}

        async def decided() -> Answer:
            content = await self._client.once("POST", "/v1/check", body)
            answer = self._client.decoded(content, Answer)
            if answer.degraded or answer.outcome == "indeterminate":
                raise AwayError("it could not decide from its counters.")
            return answer

        return await self._client.persist(decided)

    async def _report(self, sent: Sent, group: Sequence[Call]) -> None:
        left = list(group)

        async def report() -> None:
            body = {"events": [self._event(sent.tenant, call) for call in left]}
            receipt = self._client.decoded(await self._client.once("POST", "/v1/usage", body), Receipt)
            odd = {result.index: result for result in receipt.results}
            again = [call for index, call in enumerate(left) if _status(odd.get(index)) == "retry"]
            for index in range(len(left)):
                _note(sent, odd.get(index))
            left[:] = again
            if again:
                raise AwayError(f"{len(again)} events were not counted yet.")

        await self._client.persist(report)

    def _event(self, tenant: Tenant, call: Call) -> dict[str, object]:
        return {
            "id": self._names.event_id(call.row),
            "tenantId": tenant.tenant_id,
            "serviceId": self._names.service_id,
            "featureId": FEATURE,
            "quantity": call.tokens,
            "timestamp": call.at,
        }


def _status(result: Result | None) -> Status:
    return "accepted" if result is None else result.status


def _note(sent: Sent, result: Result | None) -> None:
    status = _status(result)
    if status == "retry":
        return
    sent.statuses[status] += 1
    if result is not None and status == "rejected":
        if result.type == _MISMATCH:
            raise OtherTimesError(result.detail)
        if len(sent.rejected) < REASONS_KEPT:
            sent.rejected.append(result.detail or "no reason given")
