"""Is this process alive, and can it do its work now? If not, what is wrong, part by part."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from importlib import metadata
from typing import Final, Literal, cast

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from policies import errors, limits
from service.api import auth, openapi, wire
from service.config import Durability
from service.context import Context
from service.telemetry import Telemetry
from store import certify, incidents, keyspace, postgres, probes
from store.link import RedisAwayError, UnfitServerError
from store.nodes import Node

Probe = Callable[[Context], Awaitable[str | None]]
"""Asks one part whether it can do its work; answers what is wrong in one sentence, or None."""
Status = Literal["ready", "degraded", "unready"]

VERSION: Final = metadata.version("metergate")
_PROBE_S: Final = limits.REDIS_TIMEOUT_S + limits.POSTGRES_TIMEOUT_S
"""How long a probe may take, so that the answer comes before a load balancer's patience ends."""


class Live(wire.Answer, frozen=True):
    """This process answers; that is all it says."""

    status: str = "live"


class Finding(wire.Answer, frozen=True):
    """One thing that is wrong."""

    part: str
    detail: str


class Ready(wire.Answer, frozen=True):
    """Whether the work can be done, and what it stands on."""

    status: Status
    """`degraded`: a part is away, and what can be answered without it is."""
    findings: list[Finding]
    durability: Durability
    embedded: bool
    catalog: str | None
    """The hash of the active one."""
    test_clock: datetime | None
    """What the service's clock says where it may be moved; null where it is the machine's."""
    versions: dict[str, str]


async def _postgres(context: Context) -> str | None:
    return None if await probes.answers(context.pool) else "Postgres does not answer."


async def _schema(context: Context) -> str | None:
    with contextlib.suppress(errors.UnavailableError):  # the probe of Postgres says so
        return await probes.schema_finding(context.pool)
    return None


async def _redis(context: Context) -> str | None:
    """Of a cluster only in numbers: names of hosts are nobody's business here."""
    try:
        nodes = context.counters.link.nodes()
    except RedisAwayError:
        return "No node of Redis answers."
    found = await asyncio.gather(*map(_ping, nodes))
    reasons = {reason for reason in found if reason is not None}
    lost = sum(len(node.shards) for node, reason in zip(nodes, found, strict=True) if reason is not None)
    unowned = keyspace.SHARDS - sum(len(node.shards) for node in nodes)
    told = " ".join(sorted(reasons))
    if reasons and len(nodes) > 1:
        away = sum(reason is not None for reason in found)
        told = f"{away} of {len(nodes)} nodes, with {lost} of {keyspace.SHARDS} shards: {told}"
    if unowned:
        told = f"{unowned} of {keyspace.SHARDS} shards are on no node of the cluster. {told}".rstrip()
    return told or None


async def _ping(node: Node) -> str | None:
    try:
        await node.link.send([("PING",)])
    except UnfitServerError as error:
        return f"Redis is not fit: {error}."
    except RedisAwayError:  # its text may name hosts
        return "Redis does not answer."
    return None


async def _counters(context: Context) -> str | None:
    with contextlib.suppress(RedisAwayError):  # the probe of Redis says so
        closed = sum(await asyncio.gather(*map(_closed, context.counters.link.nodes())))
        if closed:
            return f"{closed} of {keyspace.SHARDS} shards are closed until a worker has certified them."
    return None


async def _closed(node: Node) -> int:
    with contextlib.suppress(RedisAwayError):
        return len(await certify.uncertified(node.link, node.shards))
    return 0


async def _memory(context: Context) -> str | None:
    await context.pressure.measure()
    if not context.pressure.full:
        return None
    share = 100 * context.pressure.used // max(context.pressure.limit, 1)
    which = "The fullest node of Redis" if len(context.pressure.gauges) > 1 else "Redis"
    return f"{which} uses {share} % of its memory: usage is turned away until the flush has made room."


async def _incidents(context: Context) -> str | None:
    with contextlib.suppress(errors.UnavailableError):  # the probe of Postgres says so
        async with postgres.transaction(context.pool) as connection:
            found = await incidents.open_by_kind(connection)
        if found:
            told = ", ".join(f"{one.incidents} of {one.kind}" for one in found)
            return f"Incidents are open: {told}. `metergate incidents list` shows them until they are closed."
    return None


async def _catalog(context: Context) -> str | None:
    with contextlib.suppress(errors.UnavailableError):  # the probe of Postgres says so
        await context.catalogs.refresh()
    return None if context.catalogs.active else "No catalog is active; publish and activate one."


PROBES: Final[dict[str, Probe]] = {
    "postgres": _postgres,
    "schema": _schema,
    "redis": _redis,
    "counters": _counters,
    "memory": _memory,
    "incidents": _incidents,
    "catalog": _catalog,
}
"""What must work, by part."""
NEEDED: Final = frozenset({"schema", "catalog"})
"""Without these nothing can be answered. Without the others much can, so a balancer must not turn away."""


async def findings(context: Context) -> dict[str, str | None]:
    """What each probe found, all asked at once."""
    answers = await asyncio.gather(*(_within(probe, context) for probe in PROBES.values()))
    return dict(zip(PROBES, answers, strict=True))


async def _within(probe: Probe, context: Context) -> str | None:
    try:
        async with asyncio.timeout(_PROBE_S):
            return await probe(context)
    except TimeoutError:
        return f"It does not answer within {_PROBE_S} s."


@get("/health/live", opt=auth.PUBLIC)
async def live() -> Live:
    """Says that this process answers. Restart it when this does not."""
    return Live()


@get("/health/ready", opt=auth.PUBLIC | openapi.answers(503))
async def ready(context: NamedDependency[Context], telemetry: NamedDependency[Telemetry]) -> Response[Ready]:
    """Says whether this instance can do its work. 200 when anything can be answered, else 503.

    What is wrong stands in `findings`.
    """
    found = await findings(context)
    for part, detail in found.items():
        telemetry.set("metergate_up", part, value=detail is None)
    wrong = [Finding(part=part, detail=detail) for part, detail in found.items() if detail]
    status = _status({finding.part for finding in wrong})
    body = Ready(
        status=status,
        findings=wrong,
        durability=context.config.durability,
        embedded=context.config.embedded,
        catalog=context.catalogs.active.hash if context.catalogs.active else None,
        test_clock=context.clock.now() if context.config.test_clock else None,
        versions={"metergate": VERSION, "redis": context.counters.link.version},
    )
    return Response(
        cast("Ready", msgspec.json.encode(body)),
        status_code=503 if status == "unready" else 200,
        media_type="application/json",
    )


def _status(wrong: set[str]) -> Status:
    if wrong & NEEDED:
        return "unready"
    return "degraded" if wrong else "ready"


@get("/healthz", opt=auth.PUBLIC, media_type="text/plain")
async def healthz() -> str:
    """Says `ok`, for probes that look for the word."""
    return "ok"


ROUTES: Final = (live, ready, healthz)
