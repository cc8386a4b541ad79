"""Decisions a second of `POST /v1/check/batch` with 100 questions, beside a bare echo of the same bytes."""

from typing import Final

from scripts.benchmarks import beside, sides, tenants_loaded
from scripts.benchmarks.figure import Figure, Settings
from service.embedded import samples

QUESTIONS: Final = 100


def figures(settings: Settings) -> list[Figure]:
    """One worker process; 100 questions of one tenant, then one question of each of 100 tenants.

    First the same questions again and again; then with other quantities each time, so that no answer can be
    one that was given before.
    """
    with sides.api() as api:
        tenants_loaded.load(api, "batch", QUESTIONS, copies=False)
        tenants = {
            "1-tenant": [samples.TENANT] * QUESTIONS,
            "100-tenants": [f"batch{n}" for n in range(QUESTIONS)],
        }
        cases = [
            _case(f"check-batch-{name}{kind}", asked, quantity)
            for name, asked in tenants.items()
            for kind, quantity in (("", "50"), ("-varied", "{n}"))
        ]
        return [beside.measure(api, case, settings) for case in cases]


def _case(name: str, tenants: list[str], quantity: str) -> beside.Case:
    questions = ", ".join(
        f'{{"tenantId": "{tenant}", "featureId": "{samples.FEATURE}", "quantity": 1{place:02}{quantity}}}'
        for place, tenant in enumerate(tenants)
    )
    return beside.Case(
        name=name,
        path="/v1/check/batch",
        body=f'{{"checks": [{questions}]}}'.encode(),
        unit="decisions/s",
        each=QUESTIONS,
        connections=4,  # more would only queue
        below=100,  # so that all are within the caps: a denial costs its line in the decision log, too
    )
