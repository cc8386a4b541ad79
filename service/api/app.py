"""The route table made into a Litestar application."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from litestar import Litestar
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.types import HTTPScope, LifeSpanReceive, LifeSpanScope, LifeSpanSend, Receive, Scope, Send

from service import config as configuration
from service import wiring
from service.api import (
    auth,
    balances,
    billing,
    catalogs,
    consume,
    decision_log,
    decisions,
    direct,
    events,
    exchange,
    given,
    grants,
    health,
    invoices,
    keys,
    metrics,
    moved_clock,
    openapi,
    overrides,
    payment_notices,
    problems,
    reconcile,
    replays,
    reports,
    reservations,
    revisions,
    subscriptions,
    tenants,
    usage,
)
from service.config import Config
from service.context import Context
from service.telemetry import Telemetry

Routes = Sequence[HTTPRouteHandler]

ROUTERS: Final[tuple[Routes, ...]] = (
    health.ROUTES,
    metrics.ROUTES,
    openapi.ROUTES,
    decisions.ROUTES,
    decision_log.ROUTES,
    consume.ROUTES,
    reservations.ROUTES,
    usage.ROUTES,
    reports.ROUTES,
    events.ROUTES,
    revisions.ROUTES,
    catalogs.ROUTES,
    replays.ROUTES,
    keys.ROUTES,
    subscriptions.ROUTES,
    billing.ROUTES,
    grants.ROUTES,
    overrides.ROUTES,
    balances.ROUTES,
    invoices.ROUTES,
    payment_notices.ROUTES,
    reconcile.ROUTES,
    tenants.ROUTES,
)
"""Every module with routes; a new one is added here and nowhere else."""


class Metergate(Litestar):
    """A Litestar whose every answer, also where no route matched, has a request id and is measured."""

    direct: Mapping[str, direct.Route]
    """What does not wait for the framework, by path."""

    async def __call__(
        self,
        scope: Scope | LifeSpanScope,
        receive: Receive | LifeSpanReceive,
        send: Send | LifeSpanSend,
    ) -> None:
        """As ASGI has it."""
        if scope["type"] != ScopeType.HTTP:
            await super().__call__(scope, receive, send)
            return
        http = cast("HTTPScope", scope), cast("Receive", receive), cast("Send", send)
        route = self.direct.get(http[0]["path"])
        measures = self.state.telemetry
        if route is not None and http[0]["method"] == route.method:
            rest = await direct.serve(route, self.state.context, *http, measures=measures)
            if rest is None:
                return
            http = http[0], rest, http[2]
        await exchange.surround(super().__call__, *http, measures=measures)


def make_app(
    config: Config | None = None, context: Context | None = None, *, routes: Routes = ()
) -> Metergate:
    """The application. A context that is given is used as it is; else one is opened while it runs.

    `routes` are served beside those of ROUTERS.
    Errors: ConfigError when it must read the environment and that does not describe an instance.
    """
    settings = context.config if context is not None else config or configuration.read()
    table = [*routes, *(route for router in ROUTERS for route in router)]
    table += moved_clock.ROUTES if settings.test_clock else ()
    _all_declared(table)
    app = Metergate(
        route_handlers=table,
        guards=[auth.guard],
        dependencies=given.DEPENDENCIES,
        exception_handlers=problems.HANDLERS,
        lifespan=[_lifespan(settings) if context is None else _given(context)],
        state=State({"telemetry": measures(), "routes": tuple(table)}, deep_copy=False),
        openapi_config=None,  # openapi.py makes the description when it is asked for
        logging_config=None,
        request_max_body_size=None,  # decode.read bounds what it reads
        debug=False,
    )
    app.direct = direct.table(table)
    return app


def _all_declared(table: Iterable[HTTPRouteHandler]) -> None:
    open_ones = [str(route) for route in table if not auth.declared(route)]
    assert not open_ones, f"routes must say what they need (auth.needs, auth.PUBLIC): {open_ones}"


def measures() -> Telemetry:
    """What an application begins to measure with."""
    telemetry = Telemetry()
    telemetry.set("metergate_info", health.VERSION, value=1)
    return telemetry


def _lifespan(config: Config) -> Any:
    @asynccontextmanager
    async def opened(app: Litestar) -> AsyncIterator[None]:
        async with wiring.open_context(config) as context:
            app.state.context = context
            context.pool.heartbeat.start()
            yield

    return opened


def _given(context: Context) -> Any:
    @asynccontextmanager
    async def opened(app: Litestar) -> AsyncIterator[None]:
        app.state.context = context
        yield

    return opened
