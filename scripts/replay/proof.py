"""Did every call count exactly once? Asked of the usage report, and of Postgres where it can be reached."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import psycopg

from scripts.replay import calls as trace
from scripts.replay.calls import Call
from scripts.replay.client import AwayError, Client
from scripts.replay.sending import Sent
from scripts.replay.spread import FEATURE

_EVENTS: Final = """
select tenant_id, count(*), sum(quantity)::bigint from usage_events
where tenant_id = any(%s) and service_id = %s and feature_id = %s group by tenant_id
"""
_HOURLY: Final = """
select tenant_id, sum(events)::bigint, sum(quantity)::bigint from usage_hourly
where tenant_id = any(%s) and service_id = %s and feature_id = %s group by tenant_id
"""
TABLES: Final = {"usage_events": _EVENTS, "usage_hourly": _HOURLY}


class Sum(msgspec.Struct, frozen=True):
    """Events and tokens. `events` is None where they cannot be told from those of other services."""

    events: int | None
    tokens: int

    def __str__(self) -> str:
        """For people."""
        events = "" if self.events is None else f"{self.events:,} events, "
        return f"{events}{self.tokens:,} tokens"

    def same(self, wanted: "Sum") -> bool:
        """Whether it is what it must be, as far as it is known."""
        return self.tokens == wanted.tokens and self.events in (None, wanted.events)


class Witness(msgspec.Struct, frozen=True):
    """What one source says, in all and where it differs by tenant."""

    name: str
    total: Sum
    differences: list[str]


class _Series(msgspec.Struct, frozen=True):
    key: str
    points: list[tuple[datetime, int]]


class _Report(msgspec.Struct, frozen=True, rename="camel"):
    series: list[_Series]
    events: int
    flushed_through: datetime | None


def of_calls(calls: Sequence[Call]) -> Sum:
    """What these calls come to."""
    return Sum(len(calls), trace.total(calls))


async def report(client: Client, service_id: str, sent: Sequence[Sent]) -> Witness:
    """What the usage report says, once all that was acknowledged is in it.

    Errors: GaveUpError when the flush does not come so far; RefusedError.
    """
    calls = [call for one in sent for call in one.calls]
    span = {
        "from": _text(_hour(min(call.at for call in calls))),
        "to": _text(_hour(max(call.at for call in calls)) + timedelta(hours=1)),
    }
    found = {}
    for one in sent:
        tenant_id = one.tenant.tenant_id
        # Decided after the last acknowledgement, so nothing acknowledged is later.
        through = max((answer.as_of for answer in (one.before, one.after) if answer), default=None)
        found[tenant_id] = await _report(client, service_id, tenant_id, span, through)
    return _witness("The usage report", found, sent)


async def postgres(url: str, service_id: str, sent: Sequence[Sent]) -> list[Witness]:
    """What the tables say: the single events, and the sums by the hour.

    Errors: psycopg.Error.
    """
    witnesses = []
    tenants = [one.tenant.tenant_id for one in sent]
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for table, query in TABLES.items():
            rows = await (await connection.execute(query, (tenants, service_id, FEATURE))).fetchall()
            found = {tenant_id: Sum(events, tokens) for tenant_id, events, tokens in rows}
            witnesses.append(_witness(f"Postgres, {table}", found, sent))
    return witnesses


async def _report(
    client: Client, service_id: str, tenant_id: str, span: dict[str, str], through: datetime | None
) -> Sum:
    query = span | {"tenantId": tenant_id, "featureId": FEATURE, "step": "hour", "groupBy": "service"}

    async def complete() -> _Report:
        content = await client.once("GET", "/v1/reports/usage", **query)
        answer = client.decoded(content, _Report)
        if through is not None and (answer.flushed_through is None or answer.flushed_through < through):
            raise AwayError("its worker has not brought all usage to Postgres yet.")
        return answer

    # Nothing is away: it is right that the last events take a moment, and nothing to be told of.
    answer = await client.persist(complete, quietly=True)
    tokens = sum(
        quantity for series in answer.series if series.key == service_id for _, quantity in series.points
    )
    alone = all(series.key == service_id for series in answer.series)
    return Sum(answer.events if alone else None, tokens)


def _witness(name: str, found: dict[str, Sum], sent: Sequence[Sent]) -> Witness:
    differences = []
    sums = []
    for one in sent:
        has = found.get(one.tenant.tenant_id, Sum(0, 0))
        wanted = of_calls(one.calls)
        sums.append(has)
        if not has.same(wanted):
            differences.append(f"{one.tenant.tenant_id}: {has}; the file has {wanted}")
    counts = [has.events for has in sums if has.events is not None]
    events = sum(counts) if len(counts) == len(sums) else None
    return Witness(name, Sum(events, sum(has.tokens for has in sums)), differences)


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
