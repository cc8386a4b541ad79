"""What this process measured, for Prometheus, and what is known to be wrong.

No key is needed, as for the health routes: it names no tenant, but keep it inside your own network.
"""

import asyncio
import contextlib
from typing import Final, get_args

from litestar import Response, get
from litestar.di import NamedDependency

from policies import errors
from policies.charging.charge import State
from policies.drift import Class
from policies.reconcile import classes
from service.api import auth
from service.context import Context
from service.telemetry import CONTENT_TYPE, Telemetry
from service.usecases import books
from store import charges, incidents, postgres, reconcile

_STORED_S: Final = 0.5
"""How long the answer waits for Postgres; without it the last numbers stand."""


@get("/metrics", opt=auth.PUBLIC, media_type="text/plain")
async def metrics(
    context: NamedDependency[Context], telemetry: NamedDependency[Telemetry]
) -> Response[bytes]:
    """Shows all metrics in Prometheus' text format. They name no tenant."""
    telemetry.count("metergate_decision_log_dropped_total", amount=context.decisions.take_dropped())
    with contextlib.suppress(errors.UnavailableError, TimeoutError):
        async with asyncio.timeout(_STORED_S):
            await _tell_books(context, telemetry)
            await context.backlog.measure_postgres(context.pool)
            await _tell_incidents(context, telemetry)
            await _tell_charges(context, telemetry)
            await _tell_reconcile(context, telemetry)
    await _tell_journal(context, telemetry)
    return Response(telemetry.text(), media_type=CONTENT_TYPE)


async def _tell_journal(context: Context, telemetry: Telemetry) -> None:
    await context.backlog.measure_redis(context.counters.link)
    await context.pressure.measure()
    numbers = {
        "metergate_flush_lag_seconds": context.backlog.lag_s(context.clock.now()),
        "metergate_journal_entries": context.backlog.entries,
        "metergate_inbox_events": context.backlog.waiting,
        "metergate_redis_used_bytes": context.pressure.used,
        "metergate_redis_limit_bytes": context.pressure.limit,
    }
    for name, value in numbers.items():
        if value is not None:
            telemetry.set(name, value=value)
    _tell_nodes(context, telemetry)


def _tell_nodes(context: Context, telemetry: Telemetry) -> None:
    """Of a cluster each node; a server by itself has no name."""
    gauges = [gauge for gauge in context.pressure.gauges.values() if gauge.name]
    if not gauges:
        return
    shards = {node.name: len(node.shards) for node in context.counters.link.nodes()}
    telemetry.retell("metergate_redis_node_shards", shards)
    telemetry.retell("metergate_redis_node_up", {gauge.name: gauge.answers for gauge in gauges})
    telemetry.retell("metergate_redis_node_used_bytes", {gauge.name: gauge.used for gauge in gauges})
    telemetry.retell("metergate_redis_node_limit_bytes", {gauge.name: gauge.limit for gauge in gauges})


async def _tell_books(context: Context, telemetry: Telemetry) -> None:
    state = await books.state(context)
    for kind in get_args(Class):
        telemetry.set("metergate_drift_open", kind, value=state.open.get(kind, 0))
    if state.looked_through is not None:
        age = context.clock.now() - state.looked_through
        telemetry.set("metergate_books_age_seconds", value=age.total_seconds())


async def _tell_incidents(context: Context, telemetry: Telemetry) -> None:
    async with postgres.transaction(context.pool) as connection:
        found = {one.kind: one.incidents for one in await incidents.open_by_kind(connection)}
    for kind in get_args(incidents.Kind):
        telemetry.set("metergate_incidents_open", kind, value=found.get(kind, 0))


async def _tell_charges(context: Context, telemetry: Telemetry) -> None:
    if context.payments is None:
        return
    async with postgres.transaction(context.pool) as connection:
        found = await charges.count_by_state(connection)
    for state in get_args(State):
        telemetry.set("metergate_charges", state, value=found.get(state, 0))


async def _tell_reconcile(context: Context, telemetry: Telemetry) -> None:
    async with postgres.transaction(context.pool) as connection:
        found = await reconcile.open_by_class(connection)
        last = await reconcile.last_plans(connection)
    now = context.clock.now()
    for kind in get_args(classes.Class):
        count = sum(one.findings for one in found if one.kind == kind)
        telemetry.set("metergate_reconcile_open", kind, value=count)
    telemetry.forget("metergate_reconcile_risk_minor")
    for currency in {one.currency for one in found if one.money}:
        money = sum(one.money for one in found if one.currency == currency)
        telemetry.set("metergate_reconcile_risk_minor", currency, value=money)
    oldest = min((one.oldest for one in found), default=now)
    telemetry.set("metergate_reconcile_oldest_seconds", value=max(0.0, (now - oldest).total_seconds()))
    for one in last:
        age = (now - one.made_at).total_seconds()
        telemetry.set("metergate_reconcile_age_seconds", one.scope, value=max(0.0, age))


ROUTES: Final = (metrics,)
