"""Requests a second of `POST /v1/check` on a metered feature, beside a bare echo of the same bytes."""

from scripts.benchmarks import beside
from scripts.benchmarks.figure import Figure, Settings
from service.embedded import samples

BODY = b'{"tenantId": "%s", "featureId": "%s", "quantity": 150}'


def figures(settings: Settings) -> list[Figure]:
    """One worker process of the API, a tenant with overage and two caps, 32 connections."""
    body = BODY % (samples.TENANT.encode(), samples.FEATURE.encode())
    case = beside.Case(name="check", path="/v1/check", body=body, unit="requests/s")
    return beside.echo([case], settings)
