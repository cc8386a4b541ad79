"""Months pass in a second: the clock is moved over HTTP, and every process goes by it (R41)."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest

from jobs import worker
from jobs.schedule import JOBS
from service import wiring
from service.api.app import Metergate, make_app
from service.context import Context
from service.usecases import keys
from service.usecases.changes import Order
from store import postgres
from tests.conftest import PATIENT, ROOT, open_counters

CLOCK = "/test/clock"
ASK = {"tenantId": "acme", "featureId": "ai-tokens"}
FLUSH = next(job for job in JOBS if job.name == "flush")
SECOND = timedelta(seconds=1)


class Instance:
    """Two processes of the API and a worker, on the machine's clock until it is moved."""

    def __init__(self, first: httpx.AsyncClient, second: httpx.AsyncClient, jobs) -> None:
        self.first, self.second, self.jobs = first, second, jobs

    async def move(self, to: datetime, **headers: str) -> httpx.Response:
        return await self.first.post(CLOCK, json={"now": to.isoformat()}, headers=headers)

    async def used(self) -> tuple[int, str]:
        """By the other process."""
        told = (await self.second.post("/v1/check", json=ASK)).json()
        return told["usage"], told["resetAt"]

    async def report(self, quantity: int) -> None:
        body = ASK | {"serviceId": "chat", "quantity": quantity}
        assert (await self.first.post("/v1/usage", json=body)).status_code == 202


@pytest.fixture
async def instance(config, catalog, context) -> AsyncIterator[Instance]:
    """`context` and `catalog` stand on the fixed clock of other tests; they only fill the database."""
    moved = msgspec.structs.replace(config, test_clock=True)
    wish = keys.Wish(name="of a test", scopes=keys.SCOPES, tenant_id=None)
    async with AsyncExitStack() as stack:
        sides = [await stack.enter_async_context(wiring.open_context(moved, None, PATIENT)) for _ in range(2)]
        jobs = await stack.enter_async_context(worker.open_context(moved))
        await open_counters(sides[0])
        secret = msgspec.json.decode((await keys.create(sides[0], Order(caller=ROOT), wish)).body)["secret"]
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(of(side)),
                    base_url="http://metergate",
                    headers={"authorization": f"Bearer {secret}"},
                )
            )
            for side in sides
        ]
        await clients[0].put("/v1/tenants/acme", json={})
        yield Instance(*clients, jobs)


def month_after(first: datetime) -> datetime:
    return (first + timedelta(days=32)).replace(day=1)


def of(side: Context) -> Metergate:
    app = make_app(context=side)
    app.state.context = side  # as its lifespan does, which must end in the task that began it
    return app


async def test_months_pass_in_a_second(instance: Instance):
    """Each has usage of its own, which every process sees and the reports add up."""
    edge = datetime(2190, 1, 1, tzinfo=UTC)
    await instance.move(edge - timedelta(days=31))
    body = {"planId": "free", "startAt": "2189-12-01T00:00:00Z"}
    assert (await instance.first.post("/v1/tenants/acme/subscription", json=body)).status_code == 201
    for quantity in (1, 20, 300):
        await instance.move(edge - SECOND)
        await instance.report(quantity)
        assert await instance.used() == (quantity, edge.strftime("%Y-%m-%dT%H:%M:%SZ"))
        assert (await instance.move(edge)).status_code == 200
        edge = month_after(edge)
        assert await instance.used() == (0, edge.strftime("%Y-%m-%dT%H:%M:%SZ"))
    await worker.run_job(FLUSH, instance.jobs)
    asked = {"tenantId": "acme", "step": "month", "from": "2189-11-01T00:00:00Z"}
    (series,) = (await instance.second.get("/v1/reports/usage", params=asked)).json()["series"]
    assert [point[1] for point in series["points"]] == [0, 1, 20, 300, 0]


async def test_the_clock_goes_on_and_is_shown(instance: Instance):
    to = datetime(2190, 2, 28, 23, 59, 59, tzinfo=UTC)
    told = (await instance.move(to)).json()
    assert datetime.fromisoformat(told["now"]) == to
    shown = (await instance.second.get(CLOCK)).json()
    ready = (await instance.second.get("/health/ready")).json()
    assert to < datetime.fromisoformat(shown["now"]) < datetime.fromisoformat(ready["testClock"])
    assert to < instance.jobs.clock.now() < to + timedelta(minutes=1)


async def test_it_never_goes_back_and_not_past_the_calendar(instance: Instance):
    to = datetime(2190, 3, 1, tzinfo=UTC)
    first = await instance.move(to, **{"idempotency-key": "march"})
    again = await instance.move(to, **{"idempotency-key": "march"})
    assert (first.status_code, again.content) == (200, first.content)
    back = await instance.move(to - SECOND)
    assert (back.status_code, back.json()["type"].rpartition("/")[2]) == (409, "conflict")
    assert "2190-03-01T00:00:0" in back.json()["detail"]
    far = await instance.move(datetime(3000, 1, 1, tzinfo=UTC))
    assert (far.status_code, far.json()["errors"][0]["pointer"]) == (422, "/now")
    for wrong in ({}, {"now": "tomorrow"}, {"now": "2190-04-01T00:00:00"}, {"now": to.isoformat(), "by": 1}):
        assert (await instance.first.post(CLOCK, json=wrong)).status_code == 422
    assert instance.jobs.clock.now() < to + timedelta(minutes=1)


async def test_who_moves_it_needs_the_scope_and_leaves_a_line(instance: Instance, context, make_key):
    for scope, status in (("manage", 403), ("operate", 200)):
        headers = {"authorization": f"Bearer {await make_key(scope)}"}
        assert (await instance.move(datetime(2190, 1, 1, tzinfo=UTC), **headers)).status_code == status
    async with postgres.transaction(context.pool) as connection:
        lines = await postgres.scalars(connection, b"select action from audit where subject = 'clock'", {})
    assert lines == ["clock.move"]


async def test_without_the_setting_there_is_nothing_to_move(api, context):
    assert (await api.post(CLOCK, json={"now": "2190-01-01T00:00:00Z"})).status_code == 404
    assert (await api.get("/health/ready")).json()["testClock"] is None
