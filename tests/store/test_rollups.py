"""Do the sums by the hour and by the day say what the events say, whatever became of them?"""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from policies.usage import Usage
from service.context import Context
from service.usecases import report
from service.usecases.report import Question, Report
from store import postgres
from store.usage import Span
from tests.conftest import NOW
from tests.store.ledger import TOKENS, flush_all, statuses
from tests.store.test_revise import amend

FIRST = datetime(2026, 11, 12, tzinfo=UTC)


def reported(number: int, at: datetime, quantity: int, *, entity: str = "", service: str = "tests") -> Usage:
    return Usage(
        tenant_id="acme",
        service_id=service,
        event_id=f"e{number}",
        feature_id=TOKENS,
        quantity=quantity,
        timestamp=at,
        entity_id=entity or None,
    )


@pytest.fixture
async def busy(counting: Context) -> Context:
    """Ten days of use by two services and three entities; some of it amended or voided; flushed in parts."""
    chance = random.Random(5)
    for part in range(3):
        events = [
            reported(
                100 * part + number,
                FIRST + timedelta(minutes=chance.randrange(10 * 24 * 60)),
                chance.randrange(1, 500),
                entity=chance.choice(("", "ada", "bob")),
                service=chance.choice(("tests", "batch")),
            )
            for number in range(20)
        ]
        assert set(await statuses(counting, *events)) == {"accepted"}
        await flush_all(counting)
        for event in events[::3]:
            if event.service_id == "tests":
                number = int(event.event_id.removeprefix("e"))
                await amend(counting, number, chance.choice((None, 1, 1_000)))
        await flush_all(counting)
    return counting


async def by_events(context: Context, question: Question) -> dict[tuple[str, datetime], int]:
    """The same report, event by event."""
    query = (
        b"select event_at, entity_id, service_id, measured from usage_events "
        b"where tenant_id = 'acme' and event_at >= %(start)s and event_at < %(end)s"
    )
    async with postgres.transaction(context.pool) as connection:
        cursor = await connection.execute(query, {"start": question.start, "end": question.end})
        found = await cursor.fetchall()
    sums: Counter[tuple[str, datetime]] = Counter()
    for at, entity, service, measured in found:
        key = {"entity": entity, "service": service, "feature": TOKENS}[question.group_by or "feature"]
        cut = {"month": {"day": 1, "hour": 0}, "day": {"hour": 0}, "hour": {}}[question.step]
        sums[key, at.replace(minute=0, second=0, microsecond=0, **cut)] += measured
    return {place: amount for place, amount in sums.items() if amount}


def points(answer: Report) -> dict[tuple[str, datetime], int]:
    """What is not nothing; the first step of a span may begin before it does."""
    return {
        (series.key, at): int(amount) for series in answer.series for at, amount in series.points if amount
    }


async def test_days_and_hours_report_what_the_events_say(busy: Context):
    await _every_day_is_the_sum_of_its_hours(busy)
    chance = random.Random(6)
    for step in ("day", "month", "hour"):
        for _ in range(12):
            start = FIRST + timedelta(hours=chance.randrange(9 * 24))
            end = start + timedelta(hours=chance.choice((1, 5, 23, 24, 25, 47, 100, 240)))
            question = Question(
                tenant_id="acme",
                feature_id=TOKENS,
                start=start,
                end=end,
                step=step,
                group_by=chance.choice(("entity", "service", "feature")),
            )
            answer = await report.usage(busy, question)
            assert points(answer) == await by_events(busy, question), question


async def _every_day_is_the_sum_of_its_hours(busy: Context) -> None:
    query = b"""
    with days as (
      select tenant_id, feature_id, (hour_at at time zone 'UTC')::date as day, service_id, entity_id, plan_id,
        sum(quantity) as quantity, sum(events) as events
      from usage_hourly group by 1, 2, 3, 4, 5, 6
    )
    select count(*), count(*) filter (where (h.quantity, h.events) is distinct from (d.quantity, d.events))
    from days h full join usage_daily d using (tenant_id, feature_id, day, service_id, entity_id, plan_id)
    """
    async with postgres.transaction(busy.pool) as connection:
        cursor = await connection.execute(query)
        days, different = await cursor.fetchone()
    assert days > 20
    assert different == 0


async def test_a_day_ends_at_midnight_of_utc(counting: Context):
    late = datetime(2026, 11, 20, 23, 59, 59, 999_999, tzinfo=UTC)
    await statuses(counting, reported(1, late, 3), reported(2, late + timedelta(microseconds=1), 4))
    await flush_all(counting)
    async with postgres.transaction(counting.pool) as connection:
        cursor = await connection.execute(b"select day, quantity::int from usage_daily order by day")
        assert await cursor.fetchall() == [(date(2026, 11, 20), 3), (date(2026, 11, 21), 4)]


@pytest.mark.parametrize(
    ("hours", "step", "days"),
    [
        ((0, 24), "day", 1),
        ((0, 23), "day", 0),
        ((1, 48), "day", 1),
        ((1, 47), "month", 0),
        ((0, 240), "month", 10),
        ((0, 240), "hour", 0),
    ],
)
def test_whole_days_of_a_span_are_read_as_days(hours, step, days):
    start, end = (FIRST + timedelta(hours=hour) for hour in hours)
    span = Span(start=start, end=end, step=step, group_by="feature", tenant_id=None, feature_id=None)
    first, after = span.days
    assert after - first == timedelta(days=days)
    assert NOW > after >= first >= start
