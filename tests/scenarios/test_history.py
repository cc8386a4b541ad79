"""A tenant's November, asked for again: what was decided then, with what came late, and nothing of later."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from service import wiring
from service.usecases import past
from service.usecases.check import Check
from store import flush, keyspace, postgres
from tests.conftest import NOW, open_counters

ACME = "/v1/tenants/acme"
FILES = {
    "features.yaml": """
features:
  ai-tokens: {type: metered, name: AI tokens, unit: token, entity: optional, whenUnavailable: deny}
  voice: {type: boolean, name: Voice}
""",
    "plans/free.yaml": """
plan: free
name: Free
currency: usd
price: "0"
interval: month
features:
  ai-tokens: {included: 1000}
""",
    "plans/pro.yaml": """
plan: pro
name: Pro
currency: usd
price: "49.00"
interval: month
features:
  voice: true
  ai-tokens:
    included: 5000
    caps:
      - {limit: 3000, interval: day}
      - {limit: 2000, interval: day, per: entity}
""",
    "guards/frozen.cedar": """
@id("frozen")
@reason("The platform has frozen this tenant.")
forbid (principal, action, resource == Feature::"voice")
when { principal.hasTag("frozen") };
""",
}


class Story:
    """What the tenant does, and every answer that it got."""

    def __init__(self, api, context, clock) -> None:
        self.api, self.context, self.clock = api, context, clock
        self.answers: dict[str, dict] = {}

    def now_is(self, day: int, hour: int) -> None:
        self.clock.at = datetime(2026, 11, day, hour, tzinfo=UTC)

    async def does(self, method: str, path: str, **body) -> dict:
        response = await self.api.request(method, path, json=body)
        assert response.is_success, response.text
        return response.json() if response.content else {}

    async def uses(self, quantity: int, **fields) -> None:
        event = {"tenantId": "acme", "serviceId": "s", "featureId": "ai-tokens", "quantity": quantity}
        await self.does("POST", "/v1/usage", **event, **fields)

    async def asks(self, **fields) -> dict:
        said = {"tenantId": "acme", "featureId": "ai-tokens"} | fields
        response = await self.api.post("/v1/check", json=said)
        assert response.status_code == 200, response.text
        return response.json()

    async def noon(self, day: int, **fields) -> dict:
        """The answer at noon of a day, remembered."""
        self.now_is(day, 12)
        answer = await self.asks(**fields)
        self.answers[answer["decisionId"]] = fields | {"answer": answer}
        return answer

    async def again(self, day: int, **fields) -> dict:
        return await self.asks(at=f"2026-11-{day:02}T12:00:00Z", **fields)


@pytest.fixture
async def story(api, context, clock):
    context.decisions._sample = 1
    told = Story(api, context, clock)
    told.now_is(1, 0)
    await open_counters(context)
    await told.does("POST", "/v1/catalogs/publish", files=FILES, message="first")
    return told


def numbers(answer: dict) -> tuple[int, int, str]:
    return answer["granted"], answer["usage"], answer["reason"]


async def november(story) -> None:
    """Every turn of the month, with an answer at noon of its day."""
    story.now_is(1, 9)
    await story.does("PUT", ACME, name="Acme")
    await story.does("POST", f"{ACME}/subscription", planId="free")
    story.now_is(2, 10)
    await story.uses(400)
    await story.noon(2)
    story.now_is(4, 10)
    grant = await story.does("POST", f"{ACME}/grants", featureId="ai-tokens", quantity=600, reason="sorry")
    await story.noon(4)
    story.now_is(5, 10)
    await story.uses(100, timestamp="2026-11-03T10:00:00Z")
    await story.noon(5)
    story.now_is(6, 10)
    await story.uses(900)
    await story.noon(6)
    await story.noon(7, featureId="voice")
    story.now_is(8, 10)
    await story.does("POST", f"{ACME}/subscription/change", planId="pro", when="now")
    await story.noon(8)
    await story.noon(8, featureId="voice")
    story.now_is(10, 10)
    await story.uses(1_000)
    await story.uses(1_500, entityId="u1")
    await story.noon(10, quantity=600)
    await story.noon(10, quantity=400, entityId="u1")
    await story.noon(10, quantity=600, entityId="u1")
    story.now_is(12, 10)
    await story.does("PUT", f"{ACME}/overrides/ai-tokens", included=3_000, reason="agreed")
    await story.noon(12)
    story.now_is(13, 10)
    await story.does("PUT", ACME, name="Acme", metadata={"frozen": "yes"})
    await story.noon(13, featureId="voice")
    story.now_is(14, 10)
    await story.does("DELETE", f"{ACME}/overrides/ai-tokens", reason="over")
    await story.does("PUT", ACME, name="Acme", metadata={})
    await story.noon(14)
    await story.noon(14, featureId="voice")
    story.now_is(16, 10)
    await story.does("PUT", f"{ACME}/billing-status", status="suspended", reason="unpaid")
    await story.noon(16)
    story.now_is(18, 10)
    await story.does("PUT", f"{ACME}/billing-status", status="good", reason="paid")
    await story.noon(18)
    story.now_is(20, 10)
    await story.does("POST", f"{ACME}/grants/{grant['grantId']}/void", reason="used up")
    await story.noon(20)
    story.now_is(21, 10)
    smaller = FILES["plans/pro.yaml"].replace("  voice: true\n", "").replace("5000", "100")
    await story.does(
        "POST", "/v1/catalogs/publish", files=FILES | {"plans/pro.yaml": smaller}, message="second"
    )


async def test_a_november_is_told_again(story):
    """By hand: usage is 400, with the late 100 it is 500; 900 more draw 500 included and 400 of the grant."""
    await november(story)
    story.now_is(25, 10)
    assert numbers(await story.again(2)) == (1_000, 400, "within_limit")
    assert numbers(await story.again(4)) == (1_600, 500, "within_limit")  # the late event is known today
    assert numbers(await story.again(5)) == (1_600, 500, "within_limit")
    assert numbers(await story.again(6)) == (1_600, 1_400, "within_limit")
    assert (await story.again(7, featureId="voice"))["reason"] == "feature_not_in_plan"
    assert numbers(await story.again(8)) == (5_600, 1_400, "within_limit")
    assert numbers(await story.again(10, quantity=600)) == (5_600, 3_900, "cap_reached")
    entity = await story.again(10, quantity=400, entityId="u1")
    assert [cap["used"] for cap in entity["caps"]] == [2_500, 1_500]
    morning = await story.asks(at="2026-11-10T09:00:00Z")
    assert (numbers(morning), morning["caps"][0]["used"]) == ((5_600, 1_400, "within_limit"), 0)
    assert numbers(await story.again(12)) == (4_100, 3_900, "within_limit")
    assert (await story.again(13, featureId="voice"))["reason"] == "guard"
    assert numbers(await story.again(14)) == (5_600, 3_900, "within_limit")
    assert (await story.again(14, featureId="voice"))["allowed"] is True
    assert (await story.again(16))["reason"] == "payment_required"
    assert numbers(await story.again(18)) == (5_600, 3_900, "within_limit")
    assert numbers(await story.again(20)) == (5_000, 3_500, "within_limit")


async def test_what_no_late_event_changed_is_what_was_answered_and_logged(story):
    await november(story)
    await story.context.decisions.flush()
    story.now_is(25, 10)
    changed = []
    for decision_id, asked in story.answers.items():
        then = asked.pop("answer")
        logged = await story.does("GET", f"/v1/decisions/{decision_id}")
        assert (logged["asOf"], logged["reason"]) == (then["asOf"], then["reason"])
        again = await story.asks(at=then["asOf"], **asked)
        if again | {"decisionId": decision_id} != then:
            changed.append((then["asOf"], then["usage"], again["usage"]))
        assert (await story.does("POST", f"/v1/decisions/{decision_id}/rerun"))["same"] is True
    assert len(story.answers) == 17
    assert changed == [("2026-11-04T12:00:00Z", 400, 500)]


async def test_now_is_the_plain_answer_without_what_was_counted_ahead(story):
    await november(story)
    story.now_is(21, 12)
    await story.uses(7)
    at = story.clock.at.isoformat()
    plain = await story.asks()
    same = await story.asks(at=at)
    assert same | {"decisionId": ""} == plain | {"decisionId": ""}
    ahead = (story.clock.at + timedelta(minutes=3)).isoformat()
    await story.uses(5, timestamp=ahead)
    assert (await story.asks())["usage"] == same["usage"] + 5
    assert (await story.asks(at=at))["usage"] == same["usage"]
    assert (await story.asks(at=ahead))["usage"] == same["usage"] + 5


@pytest.mark.parametrize("seed", range(3))
async def test_at_any_turn_now_is_the_plain_answer(story, seed):
    """Whatever was used and changed before, in whatever order: events, plans, grants, terms."""
    chance = random.Random(seed)
    await story.does("PUT", ACME, name="Acme")
    await story.does("POST", f"{ACME}/subscription", planId="free")
    given, refused = [], 0
    for _ in range(25):
        story.clock.at += timedelta(hours=chance.randint(1, 12))
        turn = chance.choice(["use", "use", "use", "late", "entity", "plan", "give", "void", "term", "drop"])
        if turn == "use":
            await story.uses(chance.randint(1, 900))
        elif turn == "late":
            late = max(
                story.clock.at - timedelta(hours=chance.randint(1, 72)), datetime(2026, 11, 1, tzinfo=UTC)
            )
            await story.uses(chance.randint(1, 300), timestamp=late.isoformat())
        elif turn == "entity":
            await story.uses(chance.randint(1, 900), entityId=chance.choice(["u1", "u2"]))
        elif turn == "plan":
            await story.does(
                "POST", f"{ACME}/subscription/change", planId=chance.choice(["free", "pro"]), when="now"
            )
        elif turn == "give":
            grant = {"featureId": "ai-tokens", "quantity": chance.randint(100, 900), "reason": "sorry"}
            given.append(
                await story.does("POST", f"{ACME}/grants", priority=chance.choice([50, 100, 150]), **grant)
            )
        elif turn == "void" and given:
            grant = given.pop(chance.randrange(len(given)))
            await story.does("POST", f"{ACME}/grants/{grant['grantId']}/void", reason="over")
        elif turn == "term":
            terms = {"included": chance.randint(100, 2_000)}
            await story.does("PUT", f"{ACME}/overrides/ai-tokens", reason="agreed", **terms)
        for fields in ({"quantity": chance.randint(1, 2_000)}, {"entityId": "u1"}):
            plain = await story.asks(**fields)
            same = await story.asks(at=story.clock.at.isoformat(), **fields)
            assert same | {"decisionId": ""} == plain | {"decisionId": ""}, turn
            refused += not plain["allowed"]
    assert refused, "limits were reached, too"


async def test_a_cap_counts_from_the_plan_that_has_it(story):
    """As the counters do: usage of the same day on a plan without the cap is none of it."""
    story.now_is(2, 0)
    await story.does("PUT", ACME, name="Acme")
    await story.does("POST", f"{ACME}/subscription", planId="free")
    story.now_is(2, 8)
    await story.uses(700)
    story.now_is(2, 10)
    await story.does("POST", f"{ACME}/subscription/change", planId="pro", when="now")
    await story.uses(40)
    story.now_is(2, 12)
    plain = await story.asks()
    assert [plain["usage"], plain["caps"][0]["used"]] == [740, 40]
    assert (await story.again(2))["caps"] == plain["caps"]


async def test_explained_it_says_what_it_stands_on(story):
    await november(story)
    told = await story.again(12, explain=True)
    kinds = {source["kind"] for source in told["derivation"]["sources"]}
    assert kinds == {"plan", "grant", "override"}
    assert told["clauses"]


async def test_instants_out_of_reach_are_refused(story):
    await november(story)
    for at in ("2026-11-21T10:05:01Z", "2025-10-01T00:00:00Z", "2026-10-31T23:59:59Z"):
        said = {"tenantId": "acme", "featureId": "ai-tokens", "at": at}
        response = await story.api.post("/v1/check", json=said)
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/at"), at
    before = await story.asks(at="2026-11-01T08:00:00Z")
    assert before["reason"] == "unknown_tenant"


async def test_the_past_needs_a_scope_of_its_own_and_goes_alone(story, make_key):
    said = {"tenantId": "acme", "featureId": "ai-tokens", "at": "2026-11-01T00:00:00Z"}
    weak = {"authorization": f"Bearer {await make_key('check')}"}
    both = {"authorization": f"Bearer {await make_key('check', 'read')}"}
    answer = await story.api.post("/v1/check", json=said, headers=weak)
    assert (answer.status_code, "`read`" in answer.json()["detail"]) == (403, True)
    assert (await story.api.post("/v1/check", json=said, headers=both)).status_code == 200
    batch = await story.api.post("/v1/check/batch", json={"checks": [said]})
    assert (batch.status_code, batch.json()["errors"][0]["pointer"]) == (422, "/checks/0/at")


async def test_without_redis_the_past_is_told_from_postgres(story, config):
    await november(story)
    await story.again(20)
    nowhere = wiring.Config(database_url=config.database_url, redis_url="redis://127.0.0.1:1")
    async with wiring.open_context(nowhere, story.clock) as cut_off:
        question = Check(tenant_id="acme", feature_id="ai-tokens")
        told = await past.decided(cut_off, question, datetime(2026, 11, 20, 12, tzinfo=UTC))
    assert (told.usage, told.degraded) == (3_500, True)


async def test_a_flusher_that_holds_the_shard_is_waited_for(story, monkeypatch):
    await story.does("PUT", ACME, name="Acme")
    await story.does("POST", f"{ACME}/subscription", planId="free")
    await story.uses(10)
    monkeypatch.setattr(flush, "DRAIN_PAUSE_S", 0)
    monkeypatch.setattr(flush, "DRAIN_TRIES", 3)
    shard, link = keyspace.shard_of("acme"), story.context.counters.link
    async with postgres.transaction(story.context.pool) as holding:
        await postgres.execute(holding, flush.sql.lock_cursors, {"shards": [shard]})
        assert await flush.drain(story.context.pool, link, shard=shard, now=NOW) is False
        told = await story.asks(at=story.clock.at.isoformat())
        assert (told["usage"], told["degraded"]) == (0, True)
    assert await flush.drain(story.context.pool, link, shard=shard, now=NOW) is True
    told = await story.asks(at=story.clock.at.isoformat())
    assert (told["usage"], told["degraded"]) == (10, False)


async def test_a_tenant_that_is_closed_stood_on_its_plan_until_then(story):
    """A fallback plan is not for it. And a subscription may begin before its tenant was known."""
    story.now_is(1, 1)
    fallback = {"features.yaml": FILES["features.yaml"] + "fallbackPlan: free\n"}
    await story.does("POST", "/v1/catalogs/publish", files=FILES | fallback, message="with a fallback")
    story.now_is(5, 10)
    await story.does("PUT", ACME, name="Acme")
    await story.does("POST", f"{ACME}/subscription", planId="free", startAt="2026-11-02T00:00:00Z")
    story.now_is(8, 10)
    await story.does("DELETE", ACME)
    story.now_is(25, 10)
    assert (await story.asks(at="2026-11-01T12:00:00Z"))["reason"] == "unknown_tenant"
    assert (await story.again(4))["reason"] == "within_limit"
    assert (await story.again(6))["reason"] == "within_limit"
    assert (await story.again(9))["reason"] == "subscription_ended"
