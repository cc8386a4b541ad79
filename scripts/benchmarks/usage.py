"""Events a second of `POST /v1/usage`, one by one and in batches, beside a bare echo of the same bytes."""

from scripts.benchmarks import beside
from scripts.benchmarks.figure import Figure, Settings

EVENT = b'{"tenantId": "demo-enterprise", "serviceId": "bench", "featureId": "ai-tokens", "quantity": 150}'
BATCH = 1_000


def figures(settings: Settings) -> list[Figure]:
    """Events without ids, so that each is new: the answer has the ids that were made."""
    single = beside.Case(name="usage", path="/v1/usage", body=EVENT, unit="events/s")
    batch = beside.Case(
        name="usage-ndjson",
        path="/v1/usage",
        body=b"\n".join([EVENT] * BATCH),
        content_type="application/x-ndjson",
        unit="events/s",
        each=BATCH,
        connections=4,  # more would only queue, and in the end be told to come again
    )
    return beside.echo([single, batch], settings)
