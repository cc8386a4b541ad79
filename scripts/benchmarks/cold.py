"""How long the first check of a tenant takes that no cache knows, beside later checks of the same tenants."""

import contextlib
import http.client
from collections.abc import Sequence
from typing import Final

from scripts.benchmarks import figure, sides, tenants_loaded
from scripts.benchmarks.figure import Figure, Settings
from service import clock
from service.embedded import samples

EACH: Final = 1_000
"""Tenants of one run."""


def figures(settings: Settings) -> list[Figure]:
    """The 99th of 100 answers, one question after the other on one connection. Less is better."""
    with sides.api() as api:
        tenants_loaded.load(api, "cold", EACH * (settings.runs + 1), copies=False)
        fresh = iter(range(settings.runs + 1))
        last: list[str] = []

        def first() -> float:
            number = next(fresh)
            last[:] = [f"cold{tenant}" for tenant in range(number * EACH, (number + 1) * EACH)]
            return _p99_us(api, last)

        def later() -> float:
            return _p99_us(api, last)

        first()
        return [figure.measure("cold", unit="us p99", ours=first, reference=later, settings=settings)]


def _p99_us(api: sides.Api, tenants: Sequence[str]) -> float:
    waits = []
    connection = http.client.HTTPConnection("127.0.0.1", api.port)
    with contextlib.closing(connection):
        for tenant in tenants:
            body = f'{{"tenantId": "{tenant}", "featureId": "{samples.FEATURE}"}}'.encode()
            shot = api.shot("/v1/check", body)
            began = clock.monotonic_s()
            connection.request("POST", shot.path, shot.body, shot.headers)
            said = connection.getresponse().read()
            waits.append(clock.monotonic_s() - began)
            assert b'"planId":"pro"' in said, said
    return sorted(waits)[len(waits) * 99 // 100] * 1e6
