"""What a tenant would owe, over HTTP and on the command line, on real servers."""

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner

from policies.period import Period
from service.cli.program import metergate
from store import keyspace
from tests.conftest import NOW, open_counters

URL = "/v1/tenants/acme/invoices/preview"
DAY = timedelta(days=1)


@pytest.fixture
async def shop(api, context, catalog):
    """The example plans are on sale; acme is known."""
    await open_counters(context)
    await good(api, "PUT", "", {"name": "Acme"})
    return api


async def good(api, method, path, body, tenant_id="acme"):
    response = await api.request(method, f"/v1/tenants/{tenant_id}{path}", json=body)
    assert response.is_success, response.text
    return response.json()


async def reports(api, feature_id, quantity, tenant_id="acme"):
    event = {"tenantId": tenant_id, "serviceId": "s", "featureId": feature_id, "quantity": quantity}
    response = await api.post("/v1/usage", json=event)
    assert response.json()["accepted"] == 1, response.text


async def previewed(api, tenant_id="acme"):
    response = await api.get(f"/v1/tenants/{tenant_id}/invoices/preview")
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["total"] == sum(line["amount"] for line in answer["lines"])
    return answer


def told(answer):
    return [(line["kind"], line["description"], line["amount"]) for line in answer["lines"]]


async def test_a_plan_with_add_ons_and_overage_line_by_line(shop):
    addons = [{"addonId": "token-pack", "quantity": 2}]
    await good(shop, "POST", "/subscription", {"planId": "pro", "addons": addons})
    await reports(shop, "ai-tokens", 3_250_000)  # 2,000,000 are included
    answer = await previewed(shop)
    assert (answer["tenantId"], answer["planId"], answer["currency"], answer["digits"]) == (
        "acme",
        "pro",
        "usd",
        2,
    )
    assert answer["period"] == {"start": "2026-11-22T10:00:00Z", "end": "2026-12-22T10:00:00Z"}
    assert (answer["usagePeriod"], answer["asOf"]) == (answer["period"], "2026-11-22T10:00:00Z")
    assert told(answer) == [
        ("plan", "Pro", 4_900),
        ("addon", "2 of Token pack", 1_800),
        ("overage", "AI tokens, past what is included: up to 1,000,000", 1_000),
        ("overage", "AI tokens, past what is included: above 1,000,000, and 5.00 once", 700),
    ]
    assert answer["total"] == 8_400
    assert answer["lines"][3].pop("source").startswith("plans/pro.yaml:")
    assert answer["lines"][3] == {
        "kind": "overage",
        "description": "AI tokens, past what is included: above 1,000,000, and 5.00 once",
        "version": answer["planVersion"],
        "featureId": "ai-tokens",
        "period": answer["period"],
        "periods": 1,
        "quantity": 250_000,
        "days": None,
        "ofDays": None,
        "packages": None,
        "packageSize": None,
        "tier": 2,
        "tierAbove": 1_000_000,
        "tierUpTo": None,
        "unitAmount": "0.000008",
        "flatAmount": "5",
        "flats": 1,
        "amount": 700,
        "adjustment": False,
        "billed": None,
    }


async def test_packages_that_were_begun(shop, publish):
    sold = 'overage: {model: package, size: 10, amount: "0.50"}'
    await publish(
        {"features.yaml": FEATURES, "plans/wire.yaml": WIRE.partition("    overage")[0] + f"    {sold}"}
    )
    await good(shop, "POST", "/subscription", {"planId": "wire"})
    await reports(shop, "seconds", "20.001")
    line = (await previewed(shop))["lines"][1]
    told = [line[name] for name in ("quantity", "packages", "packageSize", "unitAmount", "amount")]
    assert told == ["20.001", 3, "10", "0.5", 1_500]


async def test_a_change_in_mid_period_is_charged_by_the_day(shop, clock):
    await good(shop, "POST", "/subscription", {"planId": "starter"})
    clock.at = NOW + 10 * DAY
    await good(shop, "POST", "/subscription/change", {"planId": "pro", "when": "now"})
    assert told(await previewed(shop)) == [
        ("plan", "Starter, 10 of 30 days", 500),
        ("plan", "Pro, 20 of 30 days", 3_267),
    ]


async def test_a_trial_owes_nothing(shop, clock):
    await good(shop, "POST", "/subscription", {"planId": "pro", "trial": True})
    await reports(shop, "ai-tokens", 2_000_000)
    answer = await previewed(shop)
    assert told(answer) == [("plan", "Pro, 16 of 30 days", 2_613)]
    clock.at = NOW + 13 * DAY
    await good(shop, "POST", "/subscription/cancel", {"when": "periodEnd"})  # which is that of the trial
    assert (await previewed(shop))["lines"] == []


async def test_an_ended_subscription_shows_its_last_period_while_its_counters_are_kept(shop, clock):
    await good(shop, "POST", "/subscription", {"planId": "pro"})
    await reports(shop, "ai-tokens", 1_500_000)
    clock.at = NOW + 10 * DAY - timedelta(hours=1)
    await good(shop, "POST", "/subscription/cancel", {"when": "now"})
    clock.at = NOW + 40 * DAY - timedelta(seconds=1)
    answer = await previewed(shop)
    assert [amount for *_, amount in told(answer)] == [1_633, 500]
    assert answer["period"]["start"] == "2026-11-22T10:00:00Z"
    clock.at = NOW + 40 * DAY
    forgotten = await shop.get(URL)
    assert forgotten.status_code == 409
    assert "2026-12-22" in forgotten.json()["detail"]


async def test_a_scheduled_end_is_known(shop):
    await good(shop, "POST", "/subscription", {"planId": "pro"})
    await good(shop, "POST", "/subscription/cancel", {"when": "periodEnd"})
    assert told(await previewed(shop)) == [("plan", "Pro", 4_900)]


async def test_what_is_scheduled_to_begin_shows_its_first_period(shop):
    await good(shop, "POST", "/subscription", {"planId": "pro", "startAt": "2027-01-01T00:00:00Z"})
    answer = await previewed(shop)
    assert (answer["period"]["start"], answer["total"]) == ("2027-01-01T00:00:00Z", 4_900)


async def test_the_bill_has_the_overage_of_the_balances(shop):
    await good(shop, "POST", "/subscription", {"planId": "starter"})
    await reports(shop, "ai-tokens", 130_000)
    await good(shop, "POST", "/subscription/change", {"planId": "pro", "when": "now"})
    await reports(shop, "ai-tokens", 1_000_000)
    balances = (await shop.get("/v1/tenants/acme/balances")).json()["balances"]
    (tokens,) = [one for one in balances if one["featureId"] == "ai-tokens"]
    (books,) = [one["used"] for one in tokens["buckets"] if one["bucket"] == "overage"]
    lines = [line for line in (await previewed(shop))["lines"] if line["kind"] == "overage"]
    assert sum(line["quantity"] for line in lines) == books == 130_000


async def test_what_a_reservation_holds_of_overage_is_not_owed(shop, context):
    await good(shop, "POST", "/subscription", {"planId": "pro"})
    await reports(shop, "ai-tokens", 1_500_000)
    before = (await previewed(shop))["total"]
    month = Period(NOW, NOW + 30 * DAY)
    field = keyspace.bucket_field("ai-tokens", "o")
    key = keyspace.counters(keyspace.shard_of("acme"), "acme", keyspace.window("month", month))
    holds = [("HINCRBY", key, name, 200_000) for name in (field, keyspace.reserved_field(field))]
    await context.counters.link.send(holds[:1])
    assert (await previewed(shop))["total"] > before
    await context.counters.link.send(holds[1:])
    assert (await previewed(shop))["total"] == before


async def test_a_look_changes_nothing(shop, context):
    await good(shop, "POST", "/subscription", {"planId": "pro"})
    await reports(shop, "ai-tokens", 1_500_000)
    before = await previewed(shop)
    for _ in range(3):
        assert await previewed(shop) == before


FEATURES = """
features:
  seconds: {type: metered, name: Seconds, unit: second, decimals: 3, aggregation: sum}
"""
WIRE = """
plan: wire
name: Wire
currency: kwd
price: "1.500"
interval: month
features:
  seconds:
    included: 0
    interval: day
    overage:
      {model: volume, minimum: "0.010", tiers: [{upTo: 10, unitAmount: "0.001"}, {unitAmount: "0.0005"}]}
"""


async def test_days_of_a_month_in_another_currency_with_decimals(shop, publish, clock):
    await publish({"features.yaml": FEATURES, "plans/wire.yaml": WIRE})
    await good(shop, "POST", "/subscription", {"planId": "wire"})
    for quantity in ("2.5", "20.001", "10"):
        await reports(shop, "seconds", quantity)
        clock.at += DAY
    answer = await previewed(shop)
    assert (answer["currency"], answer["digits"]) == ("kwd", 3)
    assert [
        (line["kind"], line["tier"], line["quantity"], line["periods"], line["amount"])
        for line in answer["lines"]
    ] == [
        ("plan", None, 1, 1, 1_500),
        ("overage", 1, "12.5", 2, 12),  # 12.5 fils: half to even
        ("overage", 2, "20.001", 1, 10),
        ("minimum", None, 1, 1, 8),  # 7.5 were missing on the first day
    ]
    assert answer["lines"][1]["period"] == {"start": "2026-11-22T10:00:00Z", "end": "2026-11-25T10:00:00Z"}


METERS = """
features:
  seats: {type: metered, name: Seats, unit: seat, aggregation: max}
  credits: {type: metered, name: Credits, unit: credit, aggregation: sum}
"""
PEAK = """
plan: peak
name: Peak
currency: usd
price: "0"
interval: month
features:
  seats: {included: 5, overage: {model: perUnit, unitAmount: "4.00"}}
  credits:
    included: 100
    interval: day
    rollover: {max: 100}
    overage: {model: perUnit, unitAmount: "0.01"}
"""


async def test_of_a_highest_quantity_what_goes_past_the_included_is_owed(shop, publish):
    await publish({"features.yaml": METERS, "plans/peak.yaml": PEAK})
    await good(shop, "POST", "/subscription", {"planId": "peak"})
    for seats in (4, 8, 7):
        await reports(shop, "seats", seats)
    assert told(await previewed(shop))[1:] == [("overage", "Seats, past what is included", 1_200)]


async def test_what_was_carried_on_is_not_there_for_late_use(shop, publish, clock):
    """40 of the first day went on into the second; 50 that come after its seal are overage, all of them."""
    await publish({"features.yaml": METERS, "plans/peak.yaml": PEAK})
    await good(shop, "POST", "/subscription", {"planId": "peak"})
    await reports(shop, "credits", 60)
    clock.at = NOW + DAY + timedelta(hours=2)
    late = {"tenantId": "acme", "serviceId": "s", "featureId": "credits", "quantity": 50}
    late["timestamp"] = (NOW + timedelta(hours=1)).isoformat()
    assert (await shop.post("/v1/usage", json=late)).json()["accepted"] == 1
    assert told(await previewed(shop))[1:] == [("overage", "Credits, past what is included", 50)]


async def test_what_is_voided_is_not_owed(shop, publish, context):
    await publish({"features.yaml": METERS, "plans/peak.yaml": PEAK})
    await good(shop, "POST", "/subscription", {"planId": "peak"})
    event = {"tenantId": "acme", "serviceId": "s", "featureId": "credits", "quantity": 300, "id": "e-1"}
    assert (await shop.post("/v1/usage", json=event)).json()["accepted"] == 1
    assert (await previewed(shop))["total"] == 200
    body = {"tenantId": "acme", "reason": "sent twice"}
    voided = await shop.post("/v1/usage/s/e-1/void", json=body)
    assert voided.status_code == 200, voided.text
    assert (await previewed(shop))["total"] == 0


YEARLY = """
plan: team
name: Team
currency: usd
price: "365.00"
interval: year
features:
  seconds: {included: 0, interval: month, overage: {model: perUnit, unitAmount: "0.10"}}
"""


async def test_of_a_year_the_usage_of_the_month(shop, publish, clock):
    await publish({"features.yaml": FEATURES, "plans/team.yaml": YEARLY})
    await good(shop, "POST", "/subscription", {"planId": "team"})
    await reports(shop, "seconds", 100)
    clock.at = NOW + 40 * DAY
    await reports(shop, "seconds", 7)
    answer = await previewed(shop)
    assert told(answer) == [("plan", "Team", 36_500), ("overage", "Seconds, past what is included", 70)]
    assert answer["usagePeriod"] == {"start": "2026-12-22T10:00:00Z", "end": "2027-01-22T10:00:00Z"}
    assert answer["period"]["end"] == "2027-11-22T10:00:00Z"


# --- who may not, and what cannot be -------------------------------------------------------------


async def test_without_a_subscription_or_a_tenant_there_is_nothing_to_owe(shop):
    for tenant_id in ("acme", "nobody"):
        response = await shop.get(f"/v1/tenants/{tenant_id}/invoices/preview")
        assert (response.status_code, response.json()["title"]) == (404, "There is no such thing")


async def test_a_key_needs_the_scope_and_its_own_tenant(shop, make_key):
    await good(shop, "POST", "/subscription", {"planId": "pro"})
    await good(shop, "PUT", "", {"name": "Other"}, tenant_id="other")
    for key, status in (
        (await make_key("read"), 200),
        (await make_key("read", tenant_id="acme"), 200),
        (await make_key("read", tenant_id="other"), 403),
        (await make_key("manage", "check", "report"), 403),
    ):
        response = await shop.get(URL, headers={"authorization": f"Bearer {key}"})
        assert response.status_code == status


async def test_without_counters_that_can_be_believed_the_answer_is_to_come_again(shop, context):
    await good(shop, "POST", "/subscription", {"planId": "pro"})
    await context.counters.link.send([("DEL", keyspace.fence(keyspace.shard_of("acme")))])
    response = await shop.get(URL)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")


async def test_another_currency_comes_at_renewal(shop, publish, clock):
    euros = YEARLY.replace("year", "month").replace("usd", "eur")
    plans = {"plans/team.yaml": euros, "plans/wire.yaml": WIRE}
    await publish({"features.yaml": FEATURES} | plans)
    await good(shop, "POST", "/subscription", {"planId": "wire"})
    clock.at += DAY
    change = {"planId": "team", "when": "now"}
    refused = await shop.post("/v1/tenants/acme/subscription/change", json=change)
    assert refused.status_code == 409
    assert "billed in KWD and team in EUR" in refused.json()["detail"]
    await good(shop, "POST", "/subscription/change", change | {"when": "renewal"})
    assert (await previewed(shop))["currency"] == "kwd"
    clock.at += 30 * DAY
    assert (await previewed(shop))["currency"] == "eur"


# --- the command line ----------------------------------------------------------------------------


def test_a_person_reads_it_on_the_command_line(config, monkeypatch):
    from tests.conftest import CATALOG  # noqa: PLC0415

    monkeypatch.setenv("METERGATE_DATABASE_URL", config.database_url)
    monkeypatch.setenv("METERGATE_REDIS_URL", config.redis_url)

    def run(*words):
        done = CliRunner().invoke(metergate, [str(word) for word in words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    run("catalog", "publish", CATALOG, "--message", "example")
    run("job", "run", "flush")
    run("tenant", "put", "acme", "--name", "Acme")
    run("tenant", "subscribe", "acme", "pro", "--addon", "token-pack=3")
    printed = run("tenant", "preview", "acme").splitlines()
    assert printed[0] == "What acme would owe: 76.00 USD"
    assert "usage up to" in printed[3]
    assert printed[5].split() == ["FOR", "QUANTITY", "AT", "AMOUNT", "SOURCE"]
    assert printed[6].split() == ["Pro", "1", "49.00", "49.00", "USD", "plans/pro.yaml:2"]
    assert printed[7].split() == [
        "3",
        "of",
        "Token",
        "pack",
        "3",
        "9.00",
        "27.00",
        "USD",
        "addons/token-pack.yaml:2",
    ]
    assert json.loads(run("tenant", "preview", "acme", "--json"))["total"] == 7_600
