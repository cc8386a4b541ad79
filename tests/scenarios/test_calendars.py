"""A year of every calendar in seconds: each interval, on the calendar and on the subscription's day (R41).

One unit of everything is used each noon. Just before each edge a period has all its noons, on the edge it has
none. The edges are written out or counted here; nothing of the product says where they are.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from operator import itemgetter

import pytest

from policies.usage import Usage
from service.clock import FixedClock
from service.context import Context
from service.usecases import check, past, record, subscribe, tenants
from service.usecases.check import Check
from tests.conftest import open_counters
from tests.store.ledger import ORDER

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
SPANS = {"hour": timedelta(hours=1), "day": DAY, "week": 7 * DAY}
FEATURES = [
    f"{interval}-{anchor}"
    for interval in ("hour", "day", "week", "month", "year", "never")
    for anchor in ("calendar", "subscription")
]
FILES = {
    "features.yaml": "features:\n"
    + "".join(
        f"  {one}: {{type: metered, name: {one}, unit: unit, entity: none, whenUnavailable: deny}}\n"
        for one in FEATURES
    ),
    "plans/all.yaml": 'plan: all\nname: All\ncurrency: usd\nprice: "1"\ninterval: month\nfeatures:\n'
    + "".join(
        f"  {one}: {{included: 1000, interval: {one.split('-')[0]}, anchor: {one.split('-')[1]}}}\n"
        for one in FEATURES
    ),
}


def at(said: str) -> datetime:
    return datetime.fromisoformat(said).replace(tzinfo=UTC)


LEAP = {
    "start": "2048-01-31 09:30",
    "month-subscription": [
        "2048-01-31 09:30", "2048-02-29 09:30", "2048-03-31 09:30", "2048-04-30 09:30", "2048-05-31 09:30",
        "2048-06-30 09:30", "2048-07-31 09:30", "2048-08-31 09:30", "2048-09-30 09:30", "2048-10-31 09:30",
        "2048-11-30 09:30", "2048-12-31 09:30", "2049-01-31 09:30", "2049-02-28 09:30",
    ],
    "year-subscription": ["2048-01-31 09:30", "2049-01-31 09:30"],
    "week-calendar": "2048-01-27",  # a Monday
}  # fmt: skip
LEAP_DAY = {
    "start": "2048-02-29 00:00",
    "month-subscription": [
        "2048-02-29", "2048-03-29", "2048-04-29", "2048-05-29", "2048-06-29", "2048-07-29", "2048-08-29",
        "2048-09-29", "2048-10-29", "2048-11-29", "2048-12-29", "2049-01-29", "2049-02-28", "2049-03-29",
    ],
    "year-subscription": ["2048-02-29", "2049-02-28", "2050-02-28"],
    "week-calendar": "2048-02-24",
}  # fmt: skip


def edges(year: dict, feature: str) -> list[datetime]:
    """Where periods begin, from the one that holds the start on; none for `never`."""
    interval, anchor = feature.split("-")
    if feature in ("month-subscription", "year-subscription"):
        return [at(said) for said in year[feature]]
    start = at(year["start"])
    if interval == "month":
        months = range(start.month - 1, start.month + 13)
        return [datetime(start.year + month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in months]
    if interval == "year":
        return [datetime(start.year + later, 1, 1, tzinfo=UTC) for later in range(3)]
    if interval == "never":
        return []
    first = start
    if anchor == "calendar":
        midnight = start.replace(hour=0, minute=0)
        first = {"day": midnight, "week": at(year["week-calendar"]), "hour": start.replace(minute=0)}[
            interval
        ]
    return [first + number * SPANS[interval] for number in range(400 * DAY // SPANS[interval])]


def noons(start: datetime, end: datetime, since: datetime) -> int:
    """How many noons of the subscription's time lie in a span."""
    first = max(start, since)
    noon = first.replace(hour=12, minute=0)
    if noon < first:
        noon += DAY
    return max(0, -((noon - end) // DAY))


def looked_at(year: dict) -> Iterator[tuple[datetime, str, datetime, datetime]]:
    """All edges of days and longer intervals; of hours those around noon of each tenth day."""
    for feature in FEATURES:
        for start, end in pairwise(edges(year, feature)):
            is_hour = feature.startswith("hour")
            if not is_hour or (start.day % 10 == 0 and start.hour in (11, 12)):
                yield end, feature, start, end


class Year:
    """The tenant, its noons and its answers."""

    def __init__(self, context: Context, clock: FixedClock, start: datetime) -> None:
        self.context, self.clock, self.start, self.noon = (
            context,
            clock,
            start,
            start.replace(hour=12, minute=0),
        )

    async def goes_on_to(self, instant: datetime) -> None:
        """With every noon on the way."""
        while self.noon < instant:
            self.clock.at = self.noon
            events = [
                Usage(
                    tenant_id="acme",
                    service_id="s",
                    event_id=f"{self.noon:%j-%Y}-{one}",
                    feature_id=one,
                    quantity=1,
                )
                for one in FEATURES
            ]
            results, _ = await record.record(self.context, events)
            assert {one.status for one in results} == {"accepted"}
            self.noon += DAY
        self.clock.at = instant

    async def sees(self, feature: str) -> tuple[int, datetime | None]:
        (decision,) = await check.check(self.context, [Check(tenant_id="acme", feature_id=feature)])
        return decision.usage, decision.reset_at


@pytest.mark.parametrize("year", [LEAP, LEAP_DAY], ids=["from the 31st", "from 29 February"])
async def test_a_year_edge_by_edge(context, clock, publish, year):
    start = clock.at = at(year["start"])
    await publish(FILES)
    await open_counters(context)
    await tenants.put(context, ORDER, "acme", tenants.Wish(name="Acme"))
    await subscribe.start(context, ORDER, "acme", subscribe.Wish(plan_id="all"))
    told, until = Year(context, clock, start), start + 366 * DAY
    due = sorted(one for one in looked_at(year) if start < one[0] <= until)
    answers = []
    for edge, periods in groupby(due, key=itemgetter(0)):
        ended = list(periods)
        await told.goes_on_to(edge - SECOND)
        for _, feature, begun, ends in ended:
            seen = await told.sees(feature)
            assert seen == (noons(begun, ends, start), ends), (feature, edge)
            answers.append((feature, edge - SECOND, seen[0]))
        await told.goes_on_to(edge)
        for _, feature, _, _ in ended:
            assert (await told.sees(feature))[0] == 0, (feature, edge)
    await told.goes_on_to(until)
    for feature in ("never-calendar", "never-subscription"):
        assert await told.sees(feature) == (noons(start, until, start), None)
    await is_told_again(context, answers)


async def is_told_again(context: Context, answers: list[tuple[str, datetime, int]]) -> None:
    """The past says of some of the edges what was seen then."""
    for feature, instant, usage in answers[:: len(answers) // 20]:
        decision = await past.decided(context, Check(tenant_id="acme", feature_id=feature), instant)
        assert decision.usage == usage, (feature, instant)
