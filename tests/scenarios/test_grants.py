"""A customer with grants: drawn in their order, carried into the next month, expired, voided, upgraded."""

from datetime import UTC, datetime

import pytest

from store import certify, flush, keyspace, postgres
from tests.conftest import open_counters

ACME = "/v1/tenants/acme"
TOKENS = "ai-tokens"
START = datetime(2026, 11, 1, tzinfo=UTC)
CHRISTMAS = "2026-12-24T18:00:00Z"


class Story:
    """What the tenant does and sees, and what stands in Postgres and Redis."""

    def __init__(self, api, context, clock) -> None:
        self.api, self.context, self.clock = api, context, clock

    def now_is(self, *at: int) -> None:
        self.clock.at = datetime(*at, tzinfo=UTC)

    async def uses(self, quantity: int) -> None:
        body = {"tenantId": "acme", "serviceId": "s", "featureId": TOKENS, "quantity": quantity}
        response = await self.api.post("/v1/usage", json=body)
        assert response.status_code == 202, response.text

    async def is_given(self, quantity: int, **fields: object) -> str:
        """The id of the grant, which holds from now on."""
        body = {"featureId": TOKENS, "quantity": quantity, "reason": "sorry"} | fields
        response = await self.api.post(f"{ACME}/grants", json=body)
        assert response.status_code == 201, response.text
        return response.json()["grantId"]

    async def numbers(self) -> tuple[int, int, int, int]:
        """Granted, usage, remaining and limit, as decisions show them."""
        body = {"tenantId": "acme", "featureId": TOKENS, "quantity": 1}
        seen = (await self.api.post("/v1/check", json=body)).json()
        assert seen["allowed"] == (seen["limit"] is None or seen["usage"] < seen["limit"])
        return seen["granted"], seen["usage"], seen["remaining"], seen["limit"]

    async def books(self) -> dict[str, tuple[int, int, int, int]]:
        """Granted, used, expired and remaining of each bucket; all books close."""
        answer = (await self.api.get(f"{ACME}/balances")).json()
        (buckets,) = [one["buckets"] for one in answer["balances"] if one["featureId"] == TOKENS]
        for one in buckets:
            parts = ("used", "reserved", "expired", "carried", "remaining")
            assert one["granted"] == sum(one[part] for part in parts)
        return {
            one["bucket"]: (one["granted"], one["used"], one["expired"], one["remaining"]) for one in buckets
        }

    async def changes_to(self, plan_id: str) -> None:
        body = {"planId": plan_id, "when": "now"}
        response = await self.api.post(f"{ACME}/subscription/change", json=body)
        assert response.is_success, response.text

    async def versions(self) -> list[int]:
        async with postgres.transaction(self.context.pool) as connection:
            return await postgres.scalars(connection, b"select snapshot_version from tenants", {})

    async def is_rebuilt(self) -> None:
        """Redis loses all; what Postgres has kept of draws is what comes back."""
        pool, link = self.context.pool, self.context.counters.link
        while (await flush.flush_once(pool, link, now=self.clock.now())).more:
            pass
        await link.send([("FLUSHALL",)])
        opened = await certify.certify(pool, link, now=self.clock.now())
        assert len(opened) == keyspace.SHARDS


@pytest.fixture
async def story(api, context, clock, catalog):
    clock.at = START
    await open_counters(context)
    await api.put(ACME, json={"name": "Acme"})
    response = await api.post(f"{ACME}/subscription", json={"planId": "free"})
    assert response.is_success, response.text
    return Story(api, context, clock)


async def test_what_is_left_of_a_grant_carries_into_the_next_month_and_expires_with_no_write(story):
    """10,000 included each month, and once 100 until Christmas."""
    given = await story.is_given(100, expiresAt=CHRISTMAS)
    assert await story.numbers() == (10_100, 0, 10_100, 10_100)
    await story.uses(10_040)  # the month ends before the grant does, so its quantity is drawn first
    assert await story.numbers() == (10_100, 10_040, 60, 10_100)
    assert await story.books() == {
        "included": (10_000, 10_000, 0, 0),
        given: (100, 40, 0, 60),
        "overage": (0, 0, 0, 0),
        "excess": (0, 0, 0, 0),
    }

    written = await story.versions()
    story.now_is(2026, 12, 1)
    assert await story.numbers() == (10_100, 40, 10_060, 10_100)
    await story.uses(10)  # now the grant ends first
    assert (await story.books())[given] == (100, 50, 0, 50)
    assert await story.numbers() == (10_100, 50, 10_050, 10_100)

    story.now_is(2026, 12, 24, 17, 59, 59)
    assert await story.numbers() == (10_100, 50, 10_050, 10_100)
    story.now_is(2026, 12, 24, 18)
    assert await story.numbers() == (10_000, 0, 10_000, 10_000)
    assert (await story.books())[given] == (100, 50, 50, 0)
    await story.uses(10_003)
    assert (await story.books())["excess"] == (3, 3, 0, 0)
    assert await story.versions() == written

    before = await story.books()
    await story.is_rebuilt()
    assert await story.books() == before
    story.now_is(2027, 1, 1)
    assert await story.numbers() == (10_000, 0, 10_000, 10_000)


async def test_a_grant_that_ends_before_the_month_or_comes_first_by_priority_is_drawn_before_the_plan(story):
    sooner = await story.is_given(100, expiresAt="2026-11-20T00:00:00Z")
    first = await story.is_given(30, priority=10)
    await story.uses(70)
    found = await story.books()
    assert list(found) == [first, sooner, "included", "overage", "excess"]
    assert found[first] == (30, 30, 0, 0)
    assert found[sooner] == (100, 40, 0, 60)
    assert found["included"] == (10_000, 0, 0, 10_000)
    assert await story.numbers() == (10_130, 70, 10_060, 10_130)


async def test_a_voided_grant_stops_at_once_and_keeps_what_was_drawn(story):
    given = await story.is_given(100, priority=10)
    await story.uses(40)
    story.now_is(2026, 11, 10)
    response = await story.api.post(f"{ACME}/grants/{given}/void", json={"reason": "by mistake"})
    assert response.is_success, response.text
    assert await story.numbers() == (10_000, 0, 10_000, 10_000)
    assert (await story.books())[given] == (40, 40, 0, 0)
    await story.uses(10_005)
    found = await story.books()
    assert (found[given], found["included"], found["excess"]) == (
        (40, 40, 0, 0),
        (10_000, 10_000, 0, 0),
        (5, 5, 0, 0),
    )
    await story.is_rebuilt()
    assert await story.books() == found


async def test_an_upgrade_leaves_grants_as_they_are_and_counts_what_the_plan_gave_before(story):
    """R15: the plan's own bucket grows; what the grant gave stays given, and its rest is drawn last."""
    given = await story.is_given(500)
    await story.uses(10_200)
    assert await story.numbers() == (10_500, 10_200, 300, 10_500)
    story.now_is(2026, 11, 10)
    await story.changes_to("starter")  # 100,000 and 400,000 of overage
    assert await story.numbers() == (100_500, 10_200, 90_300, 500_500)
    for day in (11, 12, 13):
        story.now_is(2026, 11, day)
        await story.uses(30_000)
    assert await story.numbers() == (100_500, 100_200, 300, 500_500)
    assert (await story.books())["included"] == (100_000, 100_000, 0, 0)
    await story.uses(1_000)
    found = await story.books()
    assert found[given] == (500, 500, 0, 0)
    assert found["overage"] == (700, 700, 0, 0)
    assert await story.numbers() == (100_500, 101_200, 0, 500_500)
    await story.changes_to("free")
    assert await story.numbers() == (100_500, 101_200, 0, 100_500)  # what was drawn stays granted
    await story.is_rebuilt()
    assert (await story.books())[given] == (500, 500, 0, 0)
    story.now_is(2026, 12, 1)
    assert await story.numbers() == (10_500, 500, 10_000, 10_500)
