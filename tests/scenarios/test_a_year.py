"""A customer's year in a second: months that end on the 31st, an upgrade, a downgrade, an end, a fallback."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs import flush
from jobs.context import JobContext
from tests.conftest import open_counters

ACME = "/v1/tenants/acme"
START = datetime(2027, 1, 31, 9, 30, tzinfo=UTC)


class Story:
    """The tenant's doings, in the words of the story."""

    def __init__(self, api, context, clock) -> None:
        self.api, self.context, self.clock = api, context, clock
        self.reported = 0

    def now_is(self, *at: int) -> None:
        self.clock.at = datetime(*at, tzinfo=UTC)

    async def uses(self, quantity: int) -> None:
        body = {"tenantId": "acme", "serviceId": "s", "featureId": "ai-tokens", "quantity": quantity}
        response = await self.api.post("/v1/usage", json=body)
        assert response.status_code == 202, response.text
        self.reported += quantity

    async def asks(self, quantity: int = 1, feature_id: str = "ai-tokens") -> dict:
        body = {"tenantId": "acme", "featureId": feature_id, "quantity": quantity}
        return (await self.api.post("/v1/check", json=body)).json()

    async def does(self, act: str, **body: str) -> None:
        response = await self.api.post(f"{ACME}/subscription{act}", json=body)
        assert response.is_success, response.text

    async def report(self) -> int:
        worker = JobContext(
            config=self.context.config,
            clock=self.clock,
            pool=self.context.pool,
            link=self.context.counters.link,
            counters=self.context.counters,
            snapshots=self.context.snapshots,
            uses=self.context,
        )
        await flush.run(worker, self.clock.now())
        url = "/v1/reports/usage?tenantId=acme&featureId=ai-tokens&step=month"
        answer = await self.api.get(f"{url}&from=2027-01-01T00:00:00Z&to=2028-01-01T00:00:00Z")
        return answer.json()["total"]


@pytest.fixture
async def story(api, context, clock, catalog):
    clock.at = START
    await open_counters(context)
    await api.put(ACME, json={"name": "Acme"})
    return Story(api, context, clock)


async def test_a_year_of_a_customer(story):
    """Every number that the customer would see, at each turn."""
    await story.does("", planId="starter")
    await story.uses(40_000)
    seen = await story.asks()
    assert (seen["usage"], seen["resetAt"]) == (40_000, "2027-02-28T09:30:00Z")  # the month has no 31st

    story.now_is(2027, 2, 28, 9, 29, 59)
    assert (await story.asks())["usage"] == 40_000
    story.now_is(2027, 2, 28, 9, 30)
    seen = await story.asks()
    assert (seen["usage"], seen["resetAt"]) == (0, "2027-03-31T09:30:00Z")  # and back to the 31st

    await story.uses(90_000)
    story.now_is(2027, 3, 10)
    await story.does("/change", planId="pro", when="now")
    seen = await story.asks()
    assert (seen["planId"], seen["usage"], seen["granted"], seen["remaining"]) == (
        "pro",
        90_000,
        1_000_000,
        910_000,
    )
    assert seen["resetAt"] == "2027-03-31T09:30:00Z"  # anchor and period stay

    for day in range(11, 21):
        story.now_is(2027, 3, day)
        await story.uses(80_000)
    seen = await story.asks()
    assert (seen["usage"], seen["reason"]) == (890_000, "within_limit")
    await story.does("/change", planId="free", when="now")
    seen = await story.asks(0)
    assert (seen["granted"], seen["remaining"], seen["limit"]) == (
        890_000,
        0,
        890_000,
    )  # kept, not taken back
    assert (await story.asks())["reason"] == "limit_reached"

    story.now_is(2027, 3, 31, 9, 30)
    assert (await story.asks())["remaining"] == 10_000
    await story.does("/change", planId="pro", when="renewal")
    assert (await story.asks())["planId"] == "free"
    story.now_is(2027, 4, 30, 9, 30)
    assert (await story.asks())["planId"] == "pro"  # nobody wrote anything
    assert (await story.asks(feature_id="premium-voice-model"))["allowed"] is True

    await story.does("/cancel")
    story.now_is(2027, 5, 31, 9, 29)
    assert (await story.asks(feature_id="premium-voice-model"))["allowed"] is True
    story.now_is(2027, 5, 31, 9, 31)
    ended = await story.asks(feature_id="premium-voice-model")
    assert (ended["allowed"], ended["planId"]) == (False, "free")  # the fallback plan
    await story.uses(10_001)
    assert (await story.asks())["reason"] == "limit_reached"
    assert await story.report() == story.reported


async def test_late_news_of_the_last_month_count_there(story):
    """An event may come 35 days late; it moves the month that it belongs to, and no other."""
    await story.does("", planId="free")
    story.now_is(2027, 3, 5)
    await story.uses(100)
    late = {
        "tenantId": "acme",
        "serviceId": "s",
        "featureId": "ai-tokens",
        "quantity": 7,
        "timestamp": (START + timedelta(hours=1)).isoformat(),
    }
    assert (await story.api.post("/v1/usage", json=late)).status_code == 202
    story.reported += 7
    assert (await story.asks())["usage"] == 100
    assert await story.report() == story.reported
    early = late | {"timestamp": (START - timedelta(days=3)).isoformat()}
    assert (await story.api.post("/v1/usage", json=early)).status_code == 422
