"""An hour of real calls of a language model, sent twice: each counts once, and limits refuse in time."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import psycopg
import pytest

from jobs import flush
from jobs.context import JobContext
from scripts.replay import calls as trace
from scripts.replay import replay, show, spread
from scripts.replay.replay import Plan
from service.api.app import make_app
from service.clock import monotonic_s
from service.context import Caller, Context
from service.usecases import keys
from service.usecases.changes import Order
from tests.conftest import NOW

TRACE = Path(__file__).parents[1] / "data" / "azure-llm-trace-2023-code.csv"
LIMITS = {"free": 10_000, "starter": 50_000, "pro": 100_000}
"""Where the first refusal comes on each example plan: the included quantity, or the cap of a day."""


class RunningClock:
    """Runs as the machine's does, from NOW on: so the calls lie within one day."""

    def __init__(self) -> None:
        self._begun_s = monotonic_s()

    def now(self) -> datetime:
        return NOW + timedelta(seconds=monotonic_s() - self._begun_s)


@pytest.fixture
def clock() -> RunningClock:
    return RunningClock()


@pytest.fixture
async def http(context: Context, catalog: object) -> AsyncIterator[httpx.AsyncClient]:
    """The application in this process with a key for it, and a flush that never rests."""
    app = make_app(context=context)
    app.state.context = context
    root = Caller(
        actor="cli:tests",
        key_id="",
        scopes=frozenset(keys.SCOPES),
        tenant_id=None,
        request_id="req_tests",
    )
    reply = await keys.create(context, Order(caller=root), keys.Wish(name="tests", scopes=keys.SCOPES))
    headers = {"authorization": f"Bearer {msgspec.json.decode(reply.body)['secret']}"}
    flushing = asyncio.create_task(flush_for_ever(context))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://metergate", headers=headers) as client:
        yield client
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)


async def flush_for_ever(context: Context) -> None:
    worker = JobContext(
        config=context.config,
        clock=context.clock,
        pool=context.pool,
        link=context.counters.link,
        counters=context.counters,
        snapshots=context.snapshots,
        uses=context,
    )
    while True:
        await flush.run(worker, context.clock.now())


def refusals(plan: Plan) -> dict[str, str]:
    """By tenant, what the table must say: worked out from the sums of the calls alone."""
    found = {}
    for tenant, own in spread.spread(plan.calls, spread.tenants(plan.tenants)).items():
        limit = LIMITS.get(tenant.plan_id, trace.total(own))
        sums = itertools.accumulate(call.tokens for call in own)
        place = next((place for place, used in enumerate(sums) if used > limit), None)
        found[tenant.tenant_id] = (
            "none" if place is None else f"call {place + 1:,} at {own[place].at:%H:%M:%S}"
        )
    return found


async def usage(http: httpx.AsyncClient, plan: Plan) -> list[tuple[int, int]]:
    """What each tenant is told of its usage now."""
    told = []
    for tenant in spread.tenants(plan.tenants):
        body = {"tenantId": tenant.tenant_id, "featureId": spread.FEATURE}
        decision = (await http.post("/v1/check", json=body)).json()
        told.append((decision["usage"], decision["overage"]))
    return told


async def test_the_whole_trace_counts_exactly_and_a_second_sending_changes_nothing(
    http: httpx.AsyncClient, context: Context, database_url: str, capsys: pytest.CaptureFixture[str]
):
    file = trace.read(TRACE)
    plan = replay.plan(TRACE.name, file, end=NOW, now=context.clock.now())
    screen = show.Screen()

    assert await replay.run(plan, http, screen=screen, database=database_url) == replay.DONE, (
        capsys.readouterr().out
    )
    first = capsys.readouterr().out
    assert "8,819 accepted, 0 duplicates, 0 rejected" in first
    for tenant_id, begin in refusals(plan).items():
        (row,) = [line for line in first.splitlines() if line.startswith(f"{tenant_id} ")]
        assert begin in row
    counted = await usage(http, plan)

    assert await replay.run(plan, http, screen=screen, database=database_url) == replay.DONE
    assert "0 accepted, 8,819 duplicates, 0 rejected" in capsys.readouterr().out
    assert await usage(http, plan) == counted

    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        query = "select event_id, event_at, quantity from usage_events"
        kept = await (await connection.execute(query)).fetchall()
    assert sorted(kept) == sorted((f"{TRACE.name}:{c.row}", c.at, c.tokens) for c in plan.calls)
    assert len(kept) == 8_819
    assert sum(quantity for _, _, quantity in kept) == 18_305_870
