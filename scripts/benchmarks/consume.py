"""Uses a second of `POST /v1/consume` beside a bare echo of the same bytes; and of one tenant beside many."""

from functools import partial
from typing import Final

import msgspec

from scripts.benchmarks import beside, figure, load, sides, tenants_loaded
from scripts.benchmarks.figure import Figure, Settings

TENANTS: Final = 1_000
_BODY: Final = b'{"tenantId": "%s", "serviceId": "bench", "featureId": "api-calls"}'


def figures(settings: Settings) -> list[Figure]:
    """One worker process, 32 connections, uses without ids: each is new, and on disk before its answer.

    The feature has an included quantity and overage, so every use is compared and every one fits. First over
    many tenants, as in life; then all of one tenant, whose counters every use wants.
    """
    many = beside.Case(
        name="consume", path="/v1/consume", body=_BODY % b"many{n}", below=TENANTS, unit="uses/s"
    )
    with sides.api() as api:
        tenants_loaded.load(
            api, "many", TENANTS, copies=False, plans=tenants_loaded.plan_of(api, "demo-enterprise")
        )
        return [beside.measure(api, many, settings), _contended(api, many, settings)]


def _contended(api: sides.Api, many: beside.Case, settings: Settings) -> Figure:
    """One tenant, beside as many uses spread over all of them."""
    spread = msgspec.structs.replace(api.shot(many.path, many.body), below=TENANTS)
    one = api.shot(many.path, _BODY % b"many0")
    for shot in (spread, one):
        load.rate(shot, beside.WARM_UP_S)
    return figure.measure(
        "consume-contended",
        unit=many.unit,
        ours=partial(load.rate, one, settings.seconds),
        reference=partial(load.rate, spread, settings.seconds),
        settings=settings,
    )
