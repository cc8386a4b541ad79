"""Requests a second of `POST /v1/check` on a metered feature, beside a bare echo of the same bytes."""

from scripts.benchmarks import beside
from scripts.benchmarks.figure import Figure, Settings
from service.embedded import samples

BODY = b'{"tenantId": "%s", "featureId": "%s", "quantity": %s}'


def figures(settings: Settings) -> list[Figure]:
    """One worker process of the API, a tenant with overage and two caps, 32 connections.

    First the same question again and again; then one that asks another quantity each time, so that no answer
    can be one that was given before; all are within the caps.
    """
    same, varied = (BODY % (samples.TENANT.encode(), samples.FEATURE.encode(), n) for n in (b"150", b"{n}"))
    cases = [
        beside.Case(name="check", path="/v1/check", body=same, unit="requests/s"),
        beside.Case(name="check-varied", path="/v1/check", body=varied, below=20_000, unit="requests/s"),
    ]
    return beside.echo(cases, settings)
