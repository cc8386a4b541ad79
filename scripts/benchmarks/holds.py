"""Checks a second of a tenant with 20 buckets and 1,000 open reservations, beside one with neither."""

import http.client
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Any, Final

import msgspec

from scripts.benchmarks import beside, figure, load, sides, tenants_loaded
from scripts.benchmarks.figure import Figure, Settings
from service import clock
from service.embedded import samples

GRANTS: Final = 17
"""Beside what the plan includes, overage and excess: 20 buckets."""
HOLDS: Final = 1_000


def figures(settings: Settings) -> list[Figure]:
    """One worker process, 32 connections, another quantity in each question, all within the limit."""
    with sides.api() as api:
        tenants_loaded.load(api, "held", 2, copies=False)
        _fill(api, "held0")
        full, plain = (
            msgspec.structs.replace(api.shot("/v1/check", _question(f"held{n}")), below=100) for n in (0, 1)
        )
        told = msgspec.json.decode(sides.ask(full).body, type=dict[str, Any])
        settings.say(f"One tenant has {told['reserved']} units reserved, {told['granted']:,} granted")
        for shot in (full, plain):
            load.rate(shot, beside.WARM_UP_S)
        return [
            figure.measure(
                "holds",
                unit="requests/s",
                ours=partial(load.rate, full, settings.seconds),
                reference=partial(load.rate, plain, settings.seconds),
                settings=settings,
            )
        ]


def _question(tenant_id: str) -> bytes:
    body = f'{{"tenantId": "{tenant_id}", "featureId": "{samples.FEATURE}", "quantity": 1{{n}}}}'
    return body.encode()


def _fill(api: sides.Api, tenant_id: str) -> None:
    """Gives the grants, each with an expiry of its own, and reserves."""
    ends = clock.SystemClock().now() + timedelta(days=400)
    grants = [
        {
            "featureId": samples.FEATURE,
            "quantity": 1_000,
            "expiresAt": (ends + timedelta(days=number)).isoformat(),
            "reason": "benchmark",
        }
        for number in range(GRANTS)
    ]
    hold = {
        "tenantId": tenant_id,
        "serviceId": "bench",
        "featureId": samples.FEATURE,
        "quantity": 1,
        "ttlSeconds": 86_400,
    }
    _post(api, f"/v1/tenants/{tenant_id}/grants", grants)
    _post(api, "/v1/reservations", [hold] * HOLDS)


def _post(api: sides.Api, path: str, bodies: Iterable[dict[str, Any]]) -> None:
    """Sends these, one after the other on one connection.

    Errors: LoadError unless each is answered well.
    """
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=sides.START_S)
    for body in bodies:
        shot = api.shot(path, msgspec.json.encode(body))
        connection.request("POST", path, shot.body, shot.headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= http.client.BAD_REQUEST or b'"allowed":false' in text:
            raise load.LoadError(f"{path} answers {answer.status}: {text.decode(errors='replace')}")
    connection.close()
