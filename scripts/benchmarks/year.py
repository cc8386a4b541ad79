"""How long the report of a tenant's year takes, beside a bare query of the sums that it is made of."""

import contextlib
import http.client
import statistics
from functools import partial
from typing import Final

import psycopg

from scripts.benchmarks import figure, reported, sides
from scripts.benchmarks.figure import Figure, Settings
from scripts.benchmarks.load import LoadError
from service import clock
from service.embedded import samples

ENTITIES: Final = 100
"""With a sum for each of them in every hour of the year: 876,000 hours, 36,500 days."""
ASKED: Final = 7
"""Reports of one run of a side; its figure is their median."""
YEAR: Final = ("2025-11-01T00:00:00Z", "2026-11-01T00:00:00Z")
_HOURS: Final = """
insert into usage_hourly (tenant_id, feature_id, hour_at, service_id, entity_id, plan_id, quantity, events)
select %s, %s, hour_at, 'bench', 'entity-' || entity, 'pro', extract(hour from hour_at)::int * entity + 1, 3
from generate_series(%s::timestamptz, %s::timestamptz - interval '1 hour', interval '1 hour') hour_at,
  generate_series(1, %s) entity
"""
_DAYS: Final = """
insert into usage_daily (tenant_id, feature_id, day, service_id, entity_id, plan_id, quantity, events)
select tenant_id, feature_id, (hour_at at time zone 'UTC')::date, service_id, entity_id, plan_id,
  sum(quantity), sum(events)
from usage_hourly group by 1, 2, 3, 4, 5, 6
"""
_BARE: Final = {
    "month": "select entity_id, date_trunc('month', day), sum(quantity)::text, sum(events)",
    "day": "select entity_id, day, sum(quantity)::text, sum(events)",
}
_FROM: Final = " from usage_daily where tenant_id = %s and feature_id = %s group by 1, 2 order by 1, 2"


def figures(settings: Settings) -> list[Figure]:
    """A year by month and by day, each entity a series: ours over HTTP, from one process without a cache."""
    with sides.api() as api:
        settings.say(f"Making a year of {ENTITIES} entities …")
        load(api.database_url)
        found = []
        for step in _BARE:
            name = "year" if step == "month" else f"year-by-{step}"
            before = reported.processor_s(api.pid)
            found.append(
                figure.measure(
                    name,
                    unit="ms a report; less is better",
                    ours=partial(_median_ms, partial(_report, api, step)),
                    reference=partial(_median_ms, partial(_bare, api.database_url, step)),
                    settings=settings,
                )
            )
            used = (reported.processor_s(api.pid) - before) / (settings.runs * ASKED)
            settings.say(f"  of it the API used {1_000 * used:.0f} ms of its processor")
        return found


def load(url: str) -> None:
    """A year of sums of one tenant's entities, by hour and day."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_HOURS, (samples.TENANT, samples.FEATURE, *YEAR, ENTITIES))
        connection.execute(_DAYS)
        connection.execute("vacuum (analyze) usage_hourly, usage_daily")


def _median_ms(ask: partial[None]) -> float:
    taken = []
    for _ in range(ASKED):
        began = clock.monotonic_s()
        ask()
        taken.append(1_000 * (clock.monotonic_s() - began))
    return statistics.median(taken)


def _report(api: sides.Api, step: str) -> None:
    start, end = YEAR
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=sides.START_S)
    with contextlib.closing(connection):
        path = (
            f"/v1/reports/usage?tenantId={samples.TENANT}&featureId={samples.FEATURE}&from={start}&to={end}"
        )
        headers = {"Authorization": f"Bearer {api.key}"}
        connection.request("GET", f"{path}&step={step}&groupBy=entity", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != http.client.OK or body.count(b'"key"') != ENTITIES:
        raise LoadError(f"The report answers {answer.status}: {body[:500].decode(errors='replace')}")


def _bare(url: str, step: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(_BARE[step] + _FROM, (samples.TENANT, samples.FEATURE)).fetchall()
