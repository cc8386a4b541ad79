"""Events a second of `POST /v1/usage`, one by one and in batches, beside a bare echo of the same bytes."""

from functools import partial
from typing import Final

import msgspec

from scripts.benchmarks import bare, beside, figure, load, reported, sides
from scripts.benchmarks.figure import Figure, Settings
from service import clock

EVENT = b'{"tenantId": "demo-enterprise", "serviceId": "bench", "featureId": "ai-tokens", "quantity": 150}'
BATCH = 1_000
TENANTS: Final = 1_000
PREPARED_A_SECOND: Final = 5_000
"""Calls of the bare client, for each second that was asked for."""


def figures(settings: Settings) -> list[Figure]:
    """Events without ids, so that each is new: the answer has the ids that were made.

    Single events of one tenant, whose calls of the script are shared, then spread over many, a call for each;
    and these beside a bare client that sends the same calls, as if the API cost nothing.
    """
    single = beside.Case(name="usage", path="/v1/usage", body=EVENT, unit="events/s")
    spread = msgspec.structs.replace(
        single, name="usage-spread", body=EVENT.replace(b"demo-enterprise", b"t{n}"), below=TENANTS
    )
    batch = beside.Case(
        name="usage-ndjson",
        path="/v1/usage",
        body=b"\n".join([EVENT] * BATCH),
        content_type="application/x-ndjson",
        unit="events/s",
        each=BATCH,
        connections=4,  # more would only queue, and in the end be told to come again
    )
    settings.say(f"Client: {load.client_name()}")
    with sides.api() as api:
        reported.load(api, TENANTS)
        found = [beside.measure(api, case, settings) for case in (single, spread)]
        return [*found, _bound(api, spread, settings), beside.measure(api, batch, settings)]


def _bound(api: sides.Api, spread: beside.Case, settings: Settings) -> Figure:
    shot = msgspec.structs.replace(api.shot(spread.path, spread.body), below=TENANTS)
    return figure.measure(
        "usage-bound",
        unit=spread.unit,
        ours=partial(load.rate, shot, settings.seconds),
        reference=partial(_bare, api, settings),
        settings=settings,
    )


def _bare(api: sides.Api, settings: Settings) -> float:
    count = PREPARED_A_SECOND * settings.seconds
    packed = bare.events(api.environment, reported.events(count, TENANTS))
    used, began = reported.Used(api), clock.monotonic_s()
    bare.send(api.redis_url, packed)
    took = clock.monotonic_s() - began
    settings.say(f"  bare: {used.told(count)}")
    return count / took
