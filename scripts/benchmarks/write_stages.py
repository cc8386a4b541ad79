"""What each stage of a use and of a single event costs a worker, as `stages` says it of a check.

In this process, without a server before it; 32 callers at once for the whole, each stage by itself.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import uvloop

from scripts.benchmarks import figure, sides, stages
from scripts.benchmarks.figure import Figure, Run, Settings
from service import config, wiring
from service.api import auth, consume, decisions, decode, exchange, usage
from service.api.app import Metergate, make_app
from service.context import Context
from service.embedded import samples
from service.usecases import fitting, levels, record
from store import certify, consuming, keyspace, recording
from store.gathering import Waiting

# ruff: noqa: SLF001 - each stage by itself
_SCOPES: Final = frozenset({"check", "report"})
_BODY: Final = b'{"tenantId": "%s", "serviceId": "bench", "featureId": "%s", "quantity": 1}' % (
    samples.TENANT.encode(),
    samples.FEATURE.encode(),
)
_SHARD: Final = keyspace.shard_of(samples.TENANT)
Stages = dict[str, Callable[[], object]]


def figures(settings: Settings) -> list[Figure]:
    """A tenant with overage and two caps, 32 callers at once, every act new."""
    with sides.instance() as made, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(made, settings))


async def _measure(made: sides.Instance, settings: Settings) -> list[Figure]:
    async with wiring.open_context(config.read(made.environment)) as context:
        await certify.certify(context.pool, context.counters.link.of(0), now=context.clock.now())
        app = make_app(context=context)
        app.state.context = context
        uses, events = _Asker(app, made.key, "/v1/consume"), _Asker(app, made.key, "/v1/usage")
        await uses.ask()
        await events.ask()
        found = await _runs("consume", uses, _of_use(context, uses), settings)
        return found + await _runs("usage", events, _of_event(context, events), settings)


class _Asker(stages._Asker):
    """Acts where that asks."""

    def __init__(self, app: Metergate, key: str, path: str) -> None:
        super().__init__(app, key)
        self._path = path

    def body(self) -> bytes:
        return _BODY

    def scope(self) -> Any:
        return super().scope() | {"path": self._path}

    async def ask(self) -> None:
        said: list[Any] = []

        async def send(message: Any) -> None:
            said.append(message)

        await self._app(self.scope(), self.receive, send)
        assert said[0]["status"] in (200, 202), said


async def _runs(name: str, asker: _Asker, alone: Stages, settings: Settings) -> list[Figure]:
    runs: dict[str, list[Run]] = {stage: [] for stage in (*alone, "whole")}
    for _ in range(settings.runs):
        whole = await stages._together(asker.ask)
        costs = {stage: stages._alone(act) for stage, act in alone.items()} | {"whole": whole}
        for stage, cost in costs.items():
            runs[stage].append(Run(round(cost, 2), round(whole, 2), round(cost / whole, 4)))
    return [figure.of(f"{name}: {stage}", "us", found) for stage, found in runs.items()]


def _head(context: Context, asker: _Asker) -> Stages:
    scope = asker.scope()
    exchange.enter(scope)
    return {
        "request id and headers": lambda: exchange.enter(scope),
        "key": lambda: auth.recognize(scope, context, _SCOPES),
    }


def _drive(work: Coroutine[Any, Any, object]) -> object:
    """Runs what never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


def _of_use(context: Context, asker: _Asker) -> Stages:
    now, run_id = context.clock.now(), context.counters.link.of(0).run_id
    body = decode.document(_BODY, consume.ConsumeBody)
    wanted = consume.wanted(body, {})
    asked: Any = _drive(fitting.ask(context, wanted, now))
    use = fitting.use(asked)
    counted = levels.of_use(asked.standing.right, None, (0,) * (4 + len(use.caps)))
    decision: Any = fitting._decided(context, asked, counted, counted_it=True)
    waiting: list[Any] = [Waiting(use, now, None)]  # type: ignore[arg-type]  # nobody waits
    return _head(context, asker) | {
        "decode": lambda: decode.document(_BODY, consume.ConsumeBody),
        "right and ceilings": lambda: _drive(fitting.ask(context, consume.wanted(body, {}), now)),
        "line of the journal": lambda: fitting.use(asked),
        "call": lambda: consuming._packed(_SHARD, waiting, run_id),
        "decide": lambda: fitting._decided(context, asked, counted, counted_it=True),
        "encode": lambda: decisions.encode(decision),
    }


def _of_event(context: Context, asker: _Asker) -> Stages:
    now, run_id = context.clock.now(), context.counters.link.of(0).run_id
    body = decode.document(_BODY, usage.EventBody)
    item = record._item(usage._usage(body))
    assert record._is_at_hand(context, item, now)
    waiting: list[Any] = [Waiting(item.recording, now, None)]  # type: ignore[arg-type]  # nobody waits

    def booked() -> None:
        record._is_at_hand(context, record._item(usage._usage(body)), now)

    return _head(context, asker) | {
        "decode": lambda: decode.well_formed([_BODY], usage.EventBody),
        "right and line of the journal": booked,
        "call": lambda: recording._packed(_SHARD, waiting, run_id),
    }
