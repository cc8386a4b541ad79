"""Uses a second of `POST /v1/consume` beside a bare echo of the same bytes; and of one tenant beside many.

What can be had at all is measured, too: a bare client that sends the very calls of the script, made
beforehand, as if the API cost nothing; and the API while nothing is flushed.
"""

import random
from functools import partial
from typing import Final

import msgspec

from scripts.benchmarks import bare, beside, figure, load, reported, sides, tenants_loaded
from scripts.benchmarks.beside import Case
from scripts.benchmarks.figure import Figure, Settings
from service import clock, ids
from service.usecases.fitting import Wanted

TENANTS: Final = 1_000
PREPARED_A_SECOND: Final = 5_000
"""Calls of the bare client, for each second that was asked for."""
_FEATURE: Final = "api-calls"
_BODY: Final = b'{"tenantId": "%s", "serviceId": "bench", "featureId": "api-calls"}'
_MANY: Final = Case(name="consume", path="/v1/consume", body=_BODY % b"many{n}", below=TENANTS, unit="uses/s")


def figures(settings: Settings) -> list[Figure]:
    """One worker process, 32 connections, uses without ids: each is new, and on disk before its answer.

    The feature has an included quantity and overage, so every use is compared and every one fits. First over
    many tenants, as in life; then all of one tenant, whose counters every use wants.
    """
    with sides.api() as api:
        _load(api)
        found = [beside.measure(api, _MANY, settings), _contended(api, settings), _bound(api, settings)]
    with sides.api(worker=False) as api:
        _load(api)
        return [
            *found,
            beside.measure(api, msgspec.structs.replace(_MANY, name="consume-unflushed"), settings),
        ]


def _load(api: sides.Api) -> None:
    plans = tenants_loaded.plan_of(api, "demo-enterprise")
    tenants_loaded.load(api, "many", TENANTS, copies=False, plans=plans)


def _contended(api: sides.Api, settings: Settings) -> Figure:
    """One tenant, beside as many uses spread over all of them."""
    spread = msgspec.structs.replace(api.shot(_MANY.path, _MANY.body), below=TENANTS)
    one = api.shot(_MANY.path, _BODY % b"many0")
    for shot in (spread, one):
        load.rate(shot, beside.WARM_UP_S)
    return figure.measure(
        "consume-contended",
        unit=_MANY.unit,
        ours=partial(load.rate, one, settings.seconds),
        reference=partial(load.rate, spread, settings.seconds),
        settings=settings,
    )


def _bound(api: sides.Api, settings: Settings) -> Figure:
    """The API beside a bare client of the same script, spread and server: what a free API could have."""
    spread = msgspec.structs.replace(api.shot(_MANY.path, _MANY.body), below=TENANTS)
    return figure.measure(
        "consume-bound",
        unit=_MANY.unit,
        ours=partial(load.rate, spread, settings.seconds),
        reference=partial(_bare, api, settings),
        settings=settings,
    )


def _bare(api: sides.Api, settings: Settings) -> float:
    count = PREPARED_A_SECOND * settings.seconds
    packed = bare.uses(api.environment, [_wanted() for _ in range(count)])
    used, began = reported.Used(api), clock.monotonic_s()
    bare.send(api.redis_url, packed)
    took = clock.monotonic_s() - began
    settings.say(f"  bare: {used.told(count, 'a use')}")
    return count / took


def _wanted() -> Wanted:
    return Wanted(
        event_id=ids.EVENTS.new(),
        tenant_id=f"many{random.randrange(TENANTS)}",  # noqa: S311 - no secret
        service_id="bench",
        feature_id=_FEATURE,
        quantity=1,
    )
