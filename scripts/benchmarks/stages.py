"""What each stage of a check costs a worker, in microseconds of its processor, and its share of the whole.

Everything runs in this process, without a server before it: what the server costs is the reference of
`check`. A stage alone is cheaper than among the others, which displace each other in the processor's caches;
so the sum of the stages is less than the whole.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import uvloop

from policies.decide import Request
from scripts.benchmarks import figure, sides
from scripts.benchmarks.figure import Figure, Run, Settings
from service import config, wiring
from service.api import auth, decisions, decode, exchange
from service.api.app import Metergate, make_app
from service.context import Context
from service.embedded import samples
from service.telemetry import Telemetry
from service.usecases import check
from store import certify

CALLERS: Final = 32
ROUNDS: Final = 300
"""Requests of each caller in one run."""
TIMES: Final = 5_000
"""Repetitions of a stage alone in one run."""
_SCOPES: Final = frozenset({"check"})
Stages = dict[str, Callable[[], object]]


def figures(settings: Settings) -> list[Figure]:
    """A tenant with overage and two caps, another quantity in each request, 32 callers at once."""
    with sides.instance() as made, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(made, settings))


async def _measure(made: sides.Instance, settings: Settings) -> list[Figure]:
    async with wiring.open_context(config.read(made.environment)) as context:
        await certify.certify(context.pool, context.counters.link.of(0), now=context.clock.now())
        app = make_app(context=context)
        app.state.context = context
        asker = _Asker(app, made.key)
        await asker.ask()
        stages = await _stages(context, asker)
        runs: dict[str, list[Run]] = {name: [] for name in (*stages, "read", "whole")}
        for _ in range(settings.runs):
            whole = await _together(asker.ask)
            costs = {name: _alone(stage) for name, stage in stages.items()}
            wants = [(await _case(context)).want]
            costs |= {"read": await _together(lambda: context.counters.read(wants)), "whole": whole}  # noqa: B023 - awaited in this round
            for name, cost in costs.items():
                runs[name].append(Run(round(cost, 2), round(whole, 2), round(cost / whole, 4)))
    return [figure.of(name, "us", found) for name, found in runs.items()]


class _Asker:
    """Requests to an application as a server would bring them."""

    def __init__(self, app: Metergate, key: str) -> None:
        self._app = app
        self._numbers = itertools.count(1)
        self.headers = [
            (b"host", b"127.0.0.1:8080"),
            (b"authorization", b"Bearer " + key.encode()),
            (b"content-type", b"application/json"),
            (b"content-length", b"70"),
        ]

    def body(self) -> bytes:
        number = next(self._numbers) % 20_000
        return b'{"tenantId": "%s", "featureId": "%s", "quantity": %d}' % (
            samples.TENANT.encode(),
            samples.FEATURE.encode(),
            number,
        )

    def scope(self) -> Any:
        body = self.body()
        return {
            "type": "http",
            "method": "POST",
            "path": "/v1/check",
            "headers": list(self.headers),
            "state": {},
            "extensions": {exchange.BODY: lambda: body},
        }

    async def receive(self) -> Any:
        return {"type": "http.request", "body": self.body(), "more_body": False}

    async def ask(self) -> None:
        said: list[Any] = []

        async def send(message: Any) -> None:
            said.append(message)

        await self._app(self.scope(), self.receive, send)
        assert said[0]["status"] == 200, said  # noqa: PLR2004 - of HTTP


async def _case(context: Context) -> Any:
    ask = check.Check(tenant_id=samples.TENANT, feature_id=samples.FEATURE)
    (case,) = await check._cases(context, [ask], check.whole, context.clock.now())  # noqa: SLF001 - a stage by itself
    return case


async def _stages(context: Context, asker: _Asker) -> Stages:
    """Each stage by itself, on what the one before it would give."""
    scope, telemetry, now = asker.scope(), Telemetry(), context.clock.now()
    exchange.enter(scope)
    raw = asker.body()
    question = decode.document(raw, decisions.CheckBody)
    numbers = itertools.count(1)
    (levels,) = await context.counters.read([(await _case(context)).want])
    case = await _case(context)
    (decision,) = await check.check(context, [question])

    def decide() -> object:
        case.request = Request(feature_id=samples.FEATURE, quantity=next(numbers) % 20_000)
        return check.decision_on(context, case, levels, now, degraded=False, noted=True)

    def told() -> None:
        telemetry.decided(decision.outcome, decision.reason, degraded=False)
        telemetry.request("POST", "/v1/check", 200, 0.001)

    return {
        "request id and headers": lambda: exchange.enter(scope),
        "key": lambda: auth.recognize(scope, context, _SCOPES),
        "body": lambda: decode.at_hand(scope),
        "decode": lambda: decode.document(raw, decisions.CheckBody),
        "right": lambda: check.at_hand(context, check.active_offer(context), question, now),
        "decide": decide,
        "encode": lambda: decisions.encode(decision),
        "count": told,
    }


def _alone(stage: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(TIMES):
        stage()
    return (time.process_time() - began) / TIMES * 1e6


async def _together(act: Callable[[], Awaitable[object]]) -> float:
    async def caller() -> None:
        for _ in range(ROUNDS):
            await act()

    began = time.process_time()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return (time.process_time() - began) / (CALLERS * ROUNDS) * 1e6
