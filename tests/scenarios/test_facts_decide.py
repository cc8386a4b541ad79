"""What is written about a tenant decides from its instant on, and its edges come with no further write."""

from datetime import timedelta

import pytest

from store import postgres
from tests.conftest import NOW, open_counters

ACME = "/v1/tenants/acme"
DAY = timedelta(days=1)
VERSION = b"select snapshot_version from tenants where tenant_id = 'acme'"


class Story:
    """The tenant's doings, in the words of the story."""

    def __init__(self, api, context, clock) -> None:
        self.api, self.context, self.clock = api, context, clock

    def day(self, number: int) -> None:
        self.clock.at = NOW + number * DAY

    async def does(self, method: str, path: str, **body: object) -> dict:
        response = await self.api.request(method, f"{ACME}{path}", json=body)
        assert response.is_success, response.text
        return response.json()

    async def asks(self, quantity: int = 1, feature_id: str = "ai-tokens") -> dict:
        body = {"tenantId": "acme", "featureId": feature_id, "quantity": quantity}
        return (await self.api.post("/v1/check", json=body)).json()

    async def numbers(self, quantity: int = 1) -> tuple[object, ...]:
        seen = await self.asks(quantity)
        return seen["allowed"], seen["reason"], seen["granted"], seen["limit"]

    async def uses(self, quantity: int) -> None:
        body = {"tenantId": "acme", "serviceId": "s", "featureId": "ai-tokens", "quantity": quantity}
        assert (await self.api.post("/v1/usage", json=body)).status_code == 202

    async def version(self) -> int:
        async with postgres.transaction(self.context.pool) as connection:
            (version,) = await postgres.scalars(connection, VERSION, {})
        return version


@pytest.fixture
async def story(api, context, clock, catalog):
    await open_counters(context)
    assert (await api.put(ACME, json={"name": "Acme"})).status_code == 201
    return Story(api, context, clock)


async def test_a_grant_gives_more_from_its_beginning_until_its_end(story):
    await story.does("POST", "/subscription", planId="free")
    assert await story.numbers(10_001) == (False, "limit_reached", 10_000, 10_000)
    await story.does(
        "POST", "/grants", featureId="ai-tokens", quantity=500, reason="sorry",
        effectiveAt=(NOW + DAY).isoformat(), expiresAt=(NOW + 3 * DAY).isoformat(),
    )  # fmt: skip
    version = await story.version()
    told = []
    for day in (0, 1, 2, 3):
        story.day(day)
        told.append(await story.numbers(10_001))
    assert told == [
        (False, "limit_reached", 10_000, 10_000),
        (True, "within_limit", 10_500, 10_500),
        (True, "within_limit", 10_500, 10_500),
        (False, "limit_reached", 10_000, 10_000),
    ]
    assert await story.version() == version


async def test_a_voided_grant_gives_nothing_from_then_on(story):
    await story.does("POST", "/subscription", planId="free")
    given = await story.does("POST", "/grants", featureId="ai-tokens", quantity=500, priority=50, reason="r")
    assert await story.numbers(10_500) == (True, "within_limit", 10_500, 10_500)
    await story.does("POST", f"/grants/{given['grantId']}/void", reason="by mistake")
    assert await story.numbers(10_001) == (False, "limit_reached", 10_000, 10_000)


async def test_an_override_stands_in_the_plans_place_until_its_end(story):
    await story.does("POST", "/subscription", planId="free")
    end = (NOW + 2 * DAY).isoformat()
    assert (await story.numbers(51))[:3] == (True, "within_limit", 10_000)
    await story.does("PUT", "/overrides/ai-tokens", included=50, reason="abuse", endsAt=end)
    await story.does("PUT", "/overrides/premium-voice-model", value=True, reason="beta", endsAt=end)
    version = await story.version()
    assert await story.numbers(51) == (False, "limit_reached", 50, 50)
    assert (await story.asks(1, "premium-voice-model"))["allowed"] is True
    story.day(2)
    assert (await story.numbers(51))[:3] == (True, "within_limit", 10_000)
    assert (await story.asks(1, "premium-voice-model"))["allowed"] is False
    assert await story.version() == version


async def test_a_failed_payment_runs_its_course_and_a_payment_ends_it(story):
    await story.does("POST", "/subscription", planId="starter")
    await story.uses(100_000)
    story.day(1)  # past the cap of the day
    await story.does("PUT", "/billing-status", status="grace", reason="payment failed", schedule=True)
    version = await story.version()
    told = []
    for day in (1, 7, 8, 21, 22):
        story.day(day)
        overage = await story.asks()
        static = [(await story.asks(1, one))["allowed"] for one in ("max-projects", "data-region")]
        told.append((day, overage["allowed"], overage["reason"], *static))
    assert told == [
        (1, True, "in_overage", True, True),
        (7, True, "in_overage", True, True),
        (8, False, "payment_required", True, True),
        (21, False, "payment_required", True, True),
        (22, False, "payment_required", False, True),
    ]
    assert await story.version() == version
    await story.does("PUT", "/billing-status", status="good", reason="paid")
    assert (await story.asks())["reason"] == "in_overage"
    assert (await story.asks(1, "max-projects"))["allowed"] is True


async def test_an_add_on_adds_to_the_plan_once_for_each_unit(story):
    await story.does(
        "POST", "/subscription", planId="starter", addons=[{"addonId": "token-pack", "quantity": 2}]
    )
    assert (await story.asks())["granted"] == 1_100_000
    story.day(1)
    await story.does("POST", "/subscription/change", addons=[], when="renewal")
    version = await story.version()
    assert (await story.asks())["granted"] == 1_100_000
    story.clock.at = NOW.replace(month=12)
    assert (await story.asks())["granted"] == 100_000
    assert await story.version() == version
