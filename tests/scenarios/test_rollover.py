"""A customer's winter with a rollover: what months leave each other, what comes late, what is asked then."""

from datetime import UTC, datetime, timedelta

import pytest

from store import certify, flush, keyspace
from store.reading import Want
from tests.conftest import open_counters

ACME = "/v1/tenants/acme"
TOKENS = "ai-tokens"
START = datetime(2027, 12, 1, tzinfo=UTC)
PARTS = ("used", "reserved", "expired", "carried", "remaining")


class Story:
    """What the tenant does and sees; every look at the books closes them."""

    def __init__(self, api, context, clock) -> None:
        self.api, self.context, self.clock = api, context, clock
        self.events = 0

    def now_is(self, *at: int) -> None:
        self.clock.at = datetime(*at, tzinfo=UTC)

    async def uses(self, quantity: int, at: datetime | None = None, name: str | None = None) -> None:
        event = {"tenantId": "acme", "serviceId": "s", "featureId": TOKENS, "quantity": quantity}
        if name is not None:
            event["id"] = name
        if at is not None:
            event["timestamp"] = at.isoformat()
        response = await self.api.post("/v1/usage", json=event)
        assert response.status_code == 202, response.text

    async def changes(self, name: str, quantity: int | None = None) -> None:
        """Amends an event, or without a quantity voids it."""
        body = {"tenantId": "acme", "reason": "miscounted"}
        if quantity is not None:
            body["quantity"] = quantity
        act = "void" if quantity is None else "amend"
        response = await self.api.post(f"/v1/usage/s/{name}/{act}", json=body)
        assert response.is_success, response.text

    async def consumes(self, quantity: int, at: datetime | None = None) -> dict:
        self.events += 1
        body = {
            "id": f"use-{self.events}", "tenantId": "acme", "serviceId": "s", "featureId": TOKENS,
            "quantity": quantity,
        }  # fmt: skip
        if at is not None:
            body["timestamp"] = at.isoformat()
        response = await self.api.post("/v1/consume", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    async def asks(self, quantity: int = 1, **more: object) -> dict:
        body = {"tenantId": "acme", "featureId": TOKENS, "quantity": quantity} | more
        response = await self.api.post("/v1/check", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    async def numbers(self, **more: object) -> tuple[int, int, int]:
        """Granted, used, remaining."""
        seen = await self.asks(**more)
        return seen["granted"], seen["usage"], seen["remaining"]

    async def books(self, which: str = "buckets") -> dict[str, tuple[int, ...]]:
        """Granted, used, expired, carried, remaining of each bucket that was anything."""
        answer = (await self.api.get(f"{ACME}/balances")).json()
        (found,) = [one[which] for one in answer["balances"] if one["featureId"] == TOKENS]
        for one in found:
            assert one["granted"] == sum(one[part] for part in PARTS)
            assert min(one[part] for part in PARTS) >= 0
        return {
            one["bucket"]: tuple(one[part] for part in ("granted", *PARTS) if part != "reserved")
            for one in found
            if one["granted"]
        }

    async def does(self, act: str, **body: str) -> None:
        response = await self.api.post(f"{ACME}/subscription{act}", json=body)
        assert response.is_success, response.text

    async def lives_until(self) -> datetime:
        """When the counters of the first month go."""
        key = keyspace.counters(keyspace.shard_of("acme"), "acme", f"m.{int(START.timestamp())}")
        (found,) = (await self.context.counters.link.send([("EXPIRETIME", key)])).values
        return datetime.fromtimestamp(found, UTC)

    async def counted(self, *buckets: str) -> tuple[int, ...]:
        """The counters of the first month."""
        window = f"m.{int(START.timestamp())}"
        fields = tuple((window, keyspace.bucket_field(TOKENS, bucket)) for bucket in buckets)
        (found,) = await self.context.counters.read([Want("acme", fields)])
        return found.values

    async def is_rebuilt(self) -> None:
        """Redis loses all; what Postgres has kept of draws is what comes back."""
        pool, link = self.context.pool, self.context.counters.link
        while (await flush.flush_once(pool, link, now=self.clock.now())).more:
            pass
        await link.send([("FLUSHALL",)])
        assert len(await certify.certify(pool, link, now=self.clock.now())) == keyspace.SHARDS


@pytest.fixture
async def story(api, context, clock, publish, example_files):
    """On a plan with 1,000 a month, of which at most 300 roll over for two months."""
    clock.at = START
    files = dict(example_files)
    files["plans/starter.yaml"] = STARTER
    files = {path: text for path, text in files.items() if not path.startswith("tests/")}
    await publish(files)
    await open_counters(context)
    await api.put(ACME, json={"name": "Acme"})
    response = await api.post(f"{ACME}/subscription", json={"planId": "starter"})
    assert response.is_success, response.text
    return Story(api, context, clock)


STARTER = """plan: starter
name: Starter
currency: usd
price: "19.00"
interval: month
features:
  max-projects: 5
  data-region: us
  ai-tokens:
    included: 1_000
    overage: {upTo: 500, model: perUnit, unitAmount: "0.01"}
    rollover: {max: 300, intervals: 2}
  api-calls: {included: 10, rollover: {max: 5, intervals: 12}}
"""


async def test_a_winter_with_a_leap_february(story):
    """Every number that the customer would see, at each turn."""
    await story.uses(900)
    assert await story.books() == {"included": (1_000, 900, 0, 0, 100)}

    story.now_is(2028, 1, 1)
    assert await story.numbers() == (1_100, 0, 1_100)
    assert await story.books() == {
        "rollover": (100, 0, 0, 0, 100),
        "included": (1_000, 0, 0, 0, 1_000),
    }
    assert await story.books("previous") == {"included": (1_000, 900, 0, 100, 0)}
    await story.uses(250)
    assert await story.books() == {
        "rollover": (100, 100, 0, 0, 0),
        "included": (1_000, 150, 0, 0, 850),
    }
    assert await story.numbers() == (1_100, 250, 850)

    story.now_is(2028, 2, 10)
    assert await story.numbers() == (1_300, 0, 1_300)
    await story.uses(50)
    story.now_is(2028, 2, 29, 23, 59, 59)  # the last second of a month of 29 days
    assert await story.books() == {
        "rollover": (300, 50, 0, 0, 250),
        "included": (1_000, 0, 0, 0, 1_000),
    }
    story.now_is(2028, 3, 1)
    # What was left of February is carried first: it expires later than what was left of January.
    assert await story.books() == {
        "rollover": (300, 0, 0, 0, 300),
        "included": (1_000, 0, 0, 0, 1_000),
    }
    assert await story.books("previous") == {
        "rollover": (300, 50, 250, 0, 0),
        "included": (1_000, 0, 700, 300, 0),
    }
    await story.is_rebuilt()
    assert await story.numbers() == (1_300, 0, 1_300)


async def test_what_comes_late_and_what_was_known_then(story):
    """Before the seal it lessens what is carried; after it, it takes what expired, then overage."""
    december = START + timedelta(days=3)
    await story.uses(600)
    story.now_is(2028, 1, 1, 0, 30)
    assert await story.numbers() == (1_300, 0, 1_300)
    await story.uses(150, december)  # 250 are left of December now
    assert await story.numbers() == (1_250, 0, 1_250)
    await story.uses(200)  # of what is carried
    await story.uses(100, december)  # 50 of them would take what has been used
    assert await story.numbers() == (1_200, 200, 1_000)
    assert await story.books("previous") == {
        "included": (1_000, 800, 0, 200, 0),
        "overage": (50, 50, 0, 0, 0),
    }
    story.now_is(2028, 1, 1, 1)
    await story.uses(40, december)
    assert await story.numbers() == (1_200, 200, 1_000)
    assert (await story.books("previous"))["overage"] == (90, 90, 0, 0, 0)
    await story.is_rebuilt()
    assert await story.numbers() == (1_200, 200, 1_000)
    assert await story.numbers(at="2028-01-01T00:59:00Z") == (1_200, 200, 1_000)


async def test_after_the_seal_late_events_take_what_expired(story):
    await story.uses(500)
    story.now_is(2028, 1, 1, 1)
    await story.uses(150, START + timedelta(days=3))
    assert await story.numbers() == (1_300, 0, 1_300)
    assert await story.books("previous") == {"included": (1_000, 650, 50, 300, 0)}
    await story.uses(90, START + timedelta(days=3))
    ended = {"included": (1_000, 700, 0, 300, 0), "overage": (40, 40, 0, 0, 0)}
    assert await story.books("previous") == ended
    await story.is_rebuilt()
    assert await story.books("previous") == ended
    assert await story.numbers(at="2028-01-01T01:00:00Z") == (1_300, 0, 1_300)


async def test_overage_of_late_events_takes_nothing_of_what_is_carried(story):
    await story.uses(800)
    story.now_is(2028, 1, 1, 1)
    await story.uses(40, START + timedelta(days=3))
    for _ in range(2):
        assert await story.numbers() == (1_200, 0, 1_200)
        assert await story.numbers(at="2028-01-01T01:00:00Z") == (1_200, 0, 1_200)
        assert await story.books("previous") == {
            "included": (1_000, 800, 0, 200, 0),
            "overage": (40, 40, 0, 0, 0),
        }
        await story.is_rebuilt()


async def test_consume_takes_what_is_carried_to_the_last_unit(story):
    await story.uses(800)
    story.now_is(2028, 1, 5)
    first = await story.consumes(1_700)
    assert (first["allowed"], first["granted"], first["limit"]) == (True, 1_200, 1_700)
    refused = await story.consumes(1)
    assert (refused["allowed"], refused["reason"], refused["usage"]) == (False, "limit_reached", 1_700)
    assert await story.books() == {
        "rollover": (200, 200, 0, 0, 0),
        "included": (1_000, 1_000, 0, 0, 0),
        "overage": (500, 500, 0, 0, 0),
    }
    story.events = 0
    again = await story.consumes(1_700)
    assert {**again, "replayed": None} == {**first, "replayed": None}


async def test_a_use_of_a_moment_ago_leaves_alone_what_the_new_month_has_used(story):
    story.now_is(2028, 1, 1, 0, 1)
    await story.uses(300)
    before = START.replace(year=2028, month=1) - timedelta(minutes=1)
    late = await story.consumes(700, before)
    assert (late["allowed"], late["granted"], late["remaining"]) == (True, 700, 700)
    refused = await story.consumes(501, before)
    assert (refused["allowed"], refused["limit"]) == (False, 1_200)
    assert await story.books("previous") == {"included": (1_000, 700, 0, 300, 0)}


async def test_nothing_is_carried_into_a_month_that_is_still_to_begin(story):
    story.now_is(2027, 12, 31, 23, 57)
    await story.uses(10, START.replace(year=2028, month=1))
    story.now_is(2028, 1, 1)
    assert await story.books() == {
        "rollover": (300, 0, 0, 0, 300),
        "included": (1_000, 10, 0, 0, 990),
    }


async def test_an_answer_says_what_is_carried_and_by_which_line(story):
    story.now_is(2028, 1, 5)
    seen = await story.asks(2_000, explain=True)
    (line,) = [one for one in seen["derivation"]["sources"] if one["kind"] == "rollover"]
    assert line == {
        "kind": "rollover",
        "id": "rollover",
        "term": "included",
        "value": 300,
        "source": "plans/starter.yaml:12",
        "reason": "left over from the period that began on 2027-12-01T00:00:00Z",
        "startsAt": "2028-01-01T00:00:00Z",
        "endsAt": "2028-03-01T00:00:00Z",
    }
    assert seen["message"].startswith("Limit reached: 2,000 asked, 1,800 of 1,800 tokens left")
    kinds = {change["kind"]: change for change in seen["wouldAllow"]["changes"]}
    assert kinds["quantity"]["quantity"] == 1_800


async def test_the_month_that_comes_is_known_with_what_this_one_leaves(story):
    """Waiting is told with what would be carried: 1,000 and 300 of this month, and 500 of overage."""
    await story.uses(1_200)
    seen = await story.asks(1_500, explain=True)
    kinds = {change["kind"] for change in seen["wouldAllow"]["changes"]}
    assert "wait" in kinds
    story.now_is(2028, 1, 5)
    await story.uses(100)
    seen = await story.asks(1_501, explain=True)
    wait = [change for change in seen["wouldAllow"]["changes"] if change["kind"] == "wait"]
    assert [change["at"] for change in wait] == ["2028-02-01T00:00:00Z"]
    seen = await story.asks(1_801, explain=True)
    assert not [change for change in seen["wouldAllow"]["changes"] if change["kind"] == "wait"]


async def test_an_upgrade_a_downgrade_and_an_end(story):
    await story.uses(400)
    story.now_is(2028, 1, 10)
    await story.does("/change", planId="free", when="now")  # 10,000 a month, nothing rolls over
    assert await story.numbers() == (10_300, 0, 10_300)
    story.now_is(2028, 2, 10)
    assert await story.numbers() == (10_000, 0, 10_000)
    await story.does("/change", planId="starter", when="now")
    story.now_is(2028, 3, 10)
    assert await story.numbers() == (1_300, 0, 1_300)
    await story.does("/cancel", when="now")
    assert (await story.asks())["granted"] == 10_000  # the fallback plan's alone


async def test_an_override_of_its_time_counts_however_long_ago_it_ended(story):
    body = {"included": 5_000, "reason": "a trial of more", "endsAt": "2028-01-01T00:00:00Z"}
    response = await story.api.put(f"{ACME}/overrides/{TOKENS}", json=body)
    assert response.is_success, response.text
    await story.uses(4_800)
    story.now_is(2028, 1, 31)
    assert await story.numbers() == (1_200, 0, 1_200)
    await story.does("/change", planId="pro", when="now")
    story.now_is(2028, 3, 30)
    body = {"upTo": 700, "reason": "more"}
    response = await story.api.put(f"{ACME}/overrides/{TOKENS}", json=body)
    response = await story.api.delete(f"{ACME}/overrides/{TOKENS}", params={"reason": "no more"})
    story.now_is(2028, 8, 1)
    snapshot = await story.context.snapshots.load("acme")
    assert [one.included for one in snapshot.overrides] == [5_000]


@pytest.mark.parametrize("order", [(TOKENS, "api-calls"), ("api-calls", TOKENS)])
async def test_the_window_of_a_month_lives_as_long_as_its_rest_whoever_writes_first(
    story, monkeypatch, order
):
    """Features share a window: one that does not roll over must not let it go."""
    monkeypatch.setattr(certify, "PAGE", 1)
    for feature_id in order:
        body = {"tenantId": "acme", "serviceId": "s", "featureId": feature_id, "quantity": 1}
        assert (await story.api.post("/v1/usage", json=body)).status_code == 202
    a_year_later = START + timedelta(days=31) + 12 * timedelta(days=31) + certify.COUNTER_LIFE
    for _ in range(2):
        assert await story.lives_until() == a_year_later
        await story.is_rebuilt()
    story.now_is(2027, 12, 1, 1)
    await story.does("/change", planId="free", when="now")
    await story.uses(5)
    assert await story.lives_until() == a_year_later


async def test_terms_that_come_in_later_lengthen_the_life_of_a_window(story):
    await story.does("/change", planId="free", when="now")
    await story.uses(5)
    before = await story.lives_until()
    await story.does("/change", planId="starter", when="now")
    await story.uses(5)
    assert await story.lives_until() >= before + timedelta(days=62)


async def test_a_decision_on_what_is_carried_comes_out_the_same_again(story):
    await story.uses(900)
    story.now_is(2028, 1, 5)
    refused = await story.asks(2_000)
    await story.context.decisions.flush()
    response = await story.api.post(f"/v1/decisions/{refused['decisionId']}/rerun")
    assert response.status_code == 200, response.text
    assert response.json()["differences"] == []
    assert response.json()["decision"]["granted"] == 1_100


async def test_what_comes_back_goes_on_before_the_seal_and_expires_after_it(story):
    await story.uses(500, name="early")
    await story.uses(400, name="late")
    await story.uses(50, name="last")
    story.now_is(2028, 1, 1, 0, 59)
    assert await story.numbers() == (1_050, 0, 1_050)
    await story.changes("last")
    assert await story.numbers() == (1_100, 0, 1_100)
    story.now_is(2028, 1, 1, 1)
    await story.changes("late")
    await story.changes("early", 300)
    for _ in range(2):
        assert await story.numbers() == (1_100, 0, 1_100)
        assert await story.numbers(at="2028-01-01T01:00:00Z") == (1_100, 0, 1_100)
        assert await story.books("previous") == {"included": (1_000, 300, 600, 100, 0)}
        await story.is_rebuilt()


async def test_what_comes_back_to_a_generation_after_the_seal_goes_no_further(story):
    await story.uses(700, name="december")
    story.now_is(2028, 1, 10)
    await story.uses(250, name="january")  # of the 300 that December left
    await story.uses(950)
    story.now_is(2028, 2, 1, 1)
    assert (await story.books())["rollover"] == (100, 0, 0, 0, 100)
    await story.changes("january")
    for _ in range(2):
        assert await story.numbers() == (1_100, 0, 1_100)
        assert await story.numbers(at="2028-02-01T01:00:00Z") == (1_100, 0, 1_100)
        await story.is_rebuilt()


async def test_an_amendment_of_long_ago_leaves_alone_what_went_on_from_there(story):
    await story.uses(500, name="december")
    story.now_is(2028, 1, 20)
    await story.uses(300)
    story.now_is(2028, 2, 5)
    await story.changes("december", 900)
    fields = tuple((f"m.{int(START.timestamp())}", f"{TOKENS}:{bucket}") for bucket in "io")
    (found,) = await story.context.counters.read([Want("acme", fields)])
    assert found.values == (700, 200)  # 300 of December's 1,000 went on, and were used in January


@pytest.mark.parametrize(("minute", "carried"), [(59, 300), (60, 100)])
async def test_what_is_held_goes_on_if_it_comes_back_before_the_seal(story, minute, carried):
    await story.uses(500)
    body = {"id": "hold", "tenantId": "acme", "serviceId": "s", "featureId": TOKENS, "quantity": 400}
    story.now_is(2027, 12, 31, 23, 30)
    response = await story.api.post("/v1/reservations", json=body | {"ttlSeconds": 7_200})
    assert response.is_success, response.text
    held = response.json()["reservationId"]
    story.now_is(2028, 1, 1, 0, 10)
    assert await story.numbers() == (1_100, 0, 1_100)  # what is held may still be used in December
    story.clock.at += timedelta(minutes=minute - 10)
    response = await story.api.post(f"/v1/reservations/{held}/settle", json={"quantity": 50})
    assert response.is_success, response.text
    for _ in range(2):
        assert await story.numbers() == (1_000 + carried, 0, 1_000 + carried)
        ended = (1_000, 550, 450 - carried, carried, 0)
        assert await story.books("previous") == {"included": ended}
        await story.is_rebuilt()


@pytest.mark.parametrize("expired", [False, True])
async def test_what_is_used_beyond_a_hold_leaves_alone_what_went_on(story, expired):
    """500 used and 400 held leave 100 to January; what December used beyond is overage then."""
    await story.uses(500)
    body = {"id": "hold", "tenantId": "acme", "serviceId": "s", "featureId": TOKENS, "quantity": 400}
    story.now_is(2027, 12, 31, 23, 30)
    response = await story.api.post("/v1/reservations", json=body | {"ttlSeconds": 7_200})
    held = response.json()["reservationId"]
    story.now_is(2028, 1, 1, 1, 20)
    assert await story.numbers() == (1_100, 0, 1_100)
    if expired:
        story.now_is(2028, 1, 1, 1, 40)
        await story.context.holds.sweep("acme", now=story.clock.at)
    response = await story.api.post(f"/v1/reservations/{held}/settle", json={"quantity": 600})
    assert response.is_success, response.text
    for _ in range(2):
        assert await story.numbers() == (1_100, 0, 1_100)
        ended = (1_000, 900, 0, 100, 0)
        assert await story.books("previous") == {"included": ended, "overage": (200, 200, 0, 0, 0)}
        assert await story.counted("i", "o") == (900, 200)
        await story.is_rebuilt()
