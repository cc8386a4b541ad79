"""Whole lives of tenants as invoices: what is charged when, what comes late, and that it all adds up."""

import asyncio
import contextlib
import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest

from integrations.file_billing.gateway import FilePayments
from integrations.stripe_billing import amounts
from jobs import flush, housekeep, push
from policies import limits
from policies.errors import InvalidError
from policies.rating.settle import Payable
from service.usecases import invoices
from store import certify, postgres
from store.link import RedisAwayError
from tests.scenarios.billing import Tenant, told
from tests.store.ledger import ORDER

START = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FILES = {
    "features.yaml": """\
features:
  credits: {type: metered, name: Credits, unit: credit, aggregation: sum}
  calls: {type: metered, name: Calls, unit: call, aggregation: count}
""",
    "plans/solo.yaml": """\
plan: solo
name: Solo
currency: usd
price: "15.00"
interval: month
trial: {days: 14}
features:
  credits: {included: 100, overage: {model: perUnit, unitAmount: "0.015"}}
""",
    "plans/team.yaml": """\
plan: team
name: Team
currency: usd
price: "30.00"
interval: month
trial: {days: 5}
due: {days: 10}
grace: {days: 7}
restricted: {days: 14}
features:
  credits:
    included: 200
    overage:
      model: graduated
      tiers: [{upTo: 1000, unitAmount: "0.10"}, {unitAmount: "0.08", flatAmount: "5"}]
  calls: {included: 10, interval: day, overage: {model: perUnit, unitAmount: "0.02"}}
""",
    "plans/annual.yaml": """\
plan: annual
name: Annual
currency: usd
price: "365.00"
interval: year
features:
  credits: {included: 100, interval: month, overage: {model: perUnit, unitAmount: "0.10"}}
""",
    "plans/euro.yaml": """\
plan: euro
name: Euro
currency: eur
price: "20.00"
interval: month
features:
  credits: {included: 100, overage: {model: perUnit, unitAmount: "0.10"}}
""",
    "plans/tiny.yaml": """\
plan: tiny
name: Tiny
currency: usd
price: "0.30"
interval: month
features:
  credits: {included: 100}
""",
    "addons/seat.yaml": """\
addon: seat
name: Seat
currency: usd
price: "1.00"
interval: year
for: [annual]
features: {}
""",
    "plans/free.yaml": """\
plan: free
name: Free
currency: usd
price: "0"
interval: month
features:
  credits: {included: 100}
""",
}


@pytest.fixture
async def acme(api, context, clock, publish):
    clock.at = START
    await publish(FILES)
    await certify.certify(context.pool, context.counters.link, now=START)
    return Tenant(api, context, clock)


async def test_trial_paid_upgrade_downgrade_cancel(acme):
    await acme.subscribes("solo", trial=True)
    await acme.reports("credits", 500)  # past what is included in a trial: excess, free
    await acme.at(2026, 11, 20)
    await acme.reports("credits", 40)
    assert await acme.at(2026, 12, 1, 0, 59) == "", "the grace of an hour is not over"
    assert await acme.invoices() == []
    assert await acme.at(2026, 12, 1, 1, 1) == "1 periods, 1 invoices"
    (first,) = await acme.invoices()
    assert told(first) == [("Solo, 16 of 30 days", 800), ("Credits, past what is included", 60)]
    assert (first["number"], first["state"], first["total"]) == ("INV-000001", "open", 860)
    assert first["period"] == {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"}
    assert first["lines"][1]["source"].startswith("plans/solo.yaml:8")
    assert first["billedTo"] == {"name": "Acme", "email": "billing@acme.example"}

    await acme.at(2026, 12, 10, 12)
    await acme.reports("credits", 250)
    await acme.moves("team")
    await acme.reports("credits", 1_000)
    await acme.at(2027, 1, 1, 1)
    second = (await acme.invoices())[1]
    assert told(second) == [
        ("Solo, 9 of 31 days", 435),
        ("Team, 22 of 31 days", 2_129),
        ("Credits, past what is included: up to 1,000", 10_000),
        ("Credits, past what is included: above 1,000, and 5.00 once", 900),
    ]
    await acme.at(2027, 1, 20)
    await acme.moves("solo", when="renewal")
    await acme.at(2027, 2, 1, 1)
    assert told((await acme.invoices())[2]) == [("Team", 3_000)]
    await acme.at(2027, 2, 10, 6)
    await acme.reports("credits", 101)
    await acme.does("POST", "/subscription/cancel", when="now")
    await acme.at(2027, 2, 10, 7)
    assert told((await acme.invoices())[3]) == [
        ("Solo, 10 of 28 days", 536),
        ("Credits, past what is included", 2),
    ]
    assert await acme.at(2027, 3, 1, 2) == ""
    assert await acme.at(2027, 3, 17, 6, 59) == ""
    assert await acme.at(2027, 3, 17, 7) == "1 periods, 0 invoices", "nothing came late"
    assert await acme.at(2027, 9, 1) == ""
    assert [one["number"] for one in await acme.invoices()] == [f"INV-00000{n}" for n in (1, 2, 3, 4)]


async def test_what_comes_late_is_on_the_next_invoice(acme):
    await acme.subscribes("team")
    await acme.reports("credits", 1_190)
    spurious = await acme.reports("credits", 10)
    for day in range(3):
        await acme.at(2026, 11, 2 + day)
        await acme.reports("calls", 1)
    await acme.at(2026, 12, 1, 1)
    (first,) = await acme.invoices()
    assert told(first) == [("Team", 3_000), ("Credits, past what is included: up to 1,000", 10_000)]
    late = datetime(2026, 11, 28, 12, 17, tzinfo=UTC)
    await acme.at(2026, 12, 3)
    await acme.reports("credits", 20, at=late)
    assert told(await acme.preview())[0] == ("Team", 3_000)
    await acme.jobs()
    above = "Credits, past what is included: above 1,000, and 5.00 once"
    assert told(await acme.preview())[1:] == [(f"{above}; 20 instead of 0, less 0.00 billed before", 660)]
    await acme.revises(spurious, "void")
    await acme.at(2027, 1, 1, 1)
    second = (await acme.invoices())[1]
    assert told(second) == [
        ("Team", 3_000),
        (f"{above}; 10 instead of 0, less 0.00 billed before", 580),
    ]
    assert second["lines"][1]["adjustment"] is True
    await acme.at(2027, 1, 5)
    await acme.revises("e1", "amend", quantity=100)
    await acme.at(2027, 2, 1, 1)
    third = (await acme.invoices())[2]
    assert third["total"] == 0
    assert third["state"] == "paid"
    assert told(third)[-1] == ("Carried over to the next invoice", 10_580 - 3_000)


async def test_events_that_move_no_counter_are_charged_all_the_same(acme):
    """Days are long over when they come, and counters of days do not move any more (R20)."""
    await acme.subscribes("team")
    await acme.at(2026, 11, 10)
    await acme.reports("calls", 1, at=datetime(2026, 11, 2, 5, tzinfo=UTC))
    for number in range(12):
        await acme.reports("calls", 1, at=datetime(2026, 11, 3, 5, number, tzinfo=UTC))
    await acme.at(2026, 12, 1, 1)
    (first,) = await acme.invoices()
    assert told(first)[1:] == [("Calls, past what is included", 4)]
    for number in range(3):
        await acme.reports("calls", 1, at=datetime(2026, 11, 3, 6, number, tzinfo=UTC))
    await acme.at(2026, 12, 2)
    await acme.revises("e3", "void")
    await acme.at(2027, 1, 1, 1)
    assert told((await acme.invoices())[1])[1:] == [
        ("Calls, past what is included; 4 instead of 2, less 0.04 billed before", 4)
    ]


async def test_a_year_is_billed_with_its_first_month_and_what_changes_of_it_later(acme):
    await acme.subscribes("annual")
    await acme.reports("credits", 150)
    await acme.at(2026, 12, 1, 1)
    assert told((await acme.invoices())[0]) == [("Annual", 36_500), ("Credits, past what is included", 500)]
    assert told(await acme.preview()) == []
    await acme.at(2027, 1, 1, 1)
    assert len(await acme.invoices()) == 1, "nothing is owed for December"
    await acme.at(2027, 1, 31)
    await acme.does("POST", "/subscription/cancel", when="now")
    await acme.at(2027, 1, 31, 1)
    (_, last) = await acme.invoices()
    assert told(last) == [
        ("Annual, 91 of 365 days; less 365.00 billed before", -27_400),
        ("Carried over to the next invoice", 27_400),
    ]
    assert (last["total"], last["state"]) == (0, "paid")


async def test_what_came_late_for_a_trial_is_free(acme):
    """Days of the trial and after it, both long over when their events come."""
    await acme.subscribes("team", trial=True)
    await acme.at(2026, 11, 12)
    for day in (3, 8):
        await acme.reports_all("calls", 1, datetime(2026, 11, day, 5, tzinfo=UTC), 14)
    await acme.at(2026, 12, 1, 1)
    (first,) = await acme.invoices()
    assert told(first) == [("Team, 25 of 30 days", 2_500), ("Calls, past what is included", 8)]


async def test_after_a_change_of_currency_each_has_its_own_invoice(acme):
    await acme.subscribes("team")
    await acme.at(2026, 11, 20)
    await acme.moves("euro", when="renewal")
    await acme.at(2026, 12, 1, 1)
    await acme.reports("credits", 250, at=datetime(2026, 11, 30, tzinfo=UTC))
    await acme.at(2027, 1, 1, 1)
    _, euros, dollars = await acme.invoices()
    assert (euros["currency"], told(euros)) == ("eur", [("Euro", 2_000)])
    assert (dollars["currency"], dollars["total"], len(dollars["lines"])) == ("usd", 500, 1)
    assert euros["period"] == dollars["period"]


async def test_a_subscription_that_is_older_than_invoices_is_billed_from_the_first_look_on(acme):
    await acme.subscribes("team")
    async with postgres.transaction(acme.context.pool) as connection:
        await connection.execute(b"update billing_accounts set closed_until = '-infinity'")
    acme.clock.at = datetime(2026, 12, 11, 9, tzinfo=UTC)
    assert await acme.jobs() == ""
    await acme.at(2027, 1, 1, 1)
    assert [told(one) for one in await acme.invoices()] == [[("Team, 21 of 31 days", 2_032)]]


async def test_periods_of_a_worker_that_was_away_for_months_are_closed_one_by_one(acme):
    """Sums of counters wait for it, so nothing that was used is lost."""
    await acme.subscribes("team")
    await acme.reports("credits", 300)
    await flush.run(acme.worker, acme.clock.now())
    acme.clock.at = datetime(2027, 3, 20, tzinfo=UTC)
    await housekeep.run(acme.worker, acme.clock.now())
    assert await acme.jobs() == "4 periods, 4 invoices"
    first, *later = await acme.invoices()
    assert told(first) == [("Team", 3_000), ("Credits, past what is included: up to 1,000", 1_000)]
    assert [told(one) for one in later] == [[("Team", 3_000)]] * 3
    await housekeep.run(acme.worker, acme.clock.now())
    async with postgres.transaction(acme.context.pool) as connection:
        left = await postgres.scalars(connection, b"select count(*) from usage_counters", {})
    assert left == [0], "and no longer"


async def test_what_a_provider_does_not_collect_is_carried_over(acme, tmp_path):
    """Thirty cents are not, and sixty are."""

    class AtLeast(FilePayments):
        def payable(self, currency: str) -> Payable:
            return Payable(least={"usd": 50}[currency])

    provider = AtLeast(tmp_path, now=acme.clock.now)
    acme.context = dataclasses.replace(acme.context, payments=provider)
    await acme.subscribes("tiny")
    await acme.at(2026, 12, 1, 1)
    await acme.at(2027, 1, 1, 1)
    first, second = await acme.invoices()
    assert (told(first), first["total"], first["state"]) == (
        [("Tiny", 30), ("Carried over to the next invoice", -30)], 0, "paid",
    )  # fmt: skip
    assert (told(second), second["total"]) == ([("Tiny", 30), ("Carried over from before", 30)], 60)


async def test_dinars_are_collected_in_the_steps_that_a_provider_can_write(acme, tmp_path, publish):
    """Three digits, the last of which is 0: the rest waits in the ledger, and holds up no charge."""
    dinar = FILES["plans/tiny.yaml"].replace("usd", "kwd").replace('"0.30"', '"4.999"')
    await publish(FILES | {"plans/tiny.yaml": dinar})

    class InSteps(FilePayments):
        def payable(self, currency: str) -> Payable:
            return amounts.payable(currency)

    provider = InSteps(tmp_path, now=acme.clock.now)
    acme.context = dataclasses.replace(acme.context, payments=provider)
    await acme.subscribes("tiny")
    for month in (12, 13, 14):
        await acme.at(2026 + month // 13, (month - 1) % 12 + 1, 1, 1)
        await push.run(acme.worker, acme.clock.now())
    found = await acme.invoices()
    assert [(told(one)[1:], one["total"]) for one in found] == [
        ([("Carried over to the next invoice", -9)], 4_990),
        ([("Carried over from before", 9), ("Carried over to the next invoice", -8)], 5_000),
        ([("Carried over from before", 8), ("Carried over to the next invoice", -7)], 5_000),
    ]
    for one in found:
        kept = json.loads((tmp_path / "to-collect" / f"{one['number']}.json").read_text())
        assert kept["total"] == one["total"]
        assert {line["amount"] % 10 for line in kept["lines"]} == {0}
    wish = invoices.Wish(act="credit", reason="no", amount=1_005)
    with pytest.raises(InvalidError, match="in steps of 10 minor units"):
        await invoices.change(acme.context, ORDER, found[-1]["invoiceId"], wish)


async def test_the_preview_is_the_next_invoice_line_by_line(acme):
    """With a change of plan, late usage of a closed period, and something to its credit."""
    await acme.subscribes("team")
    await acme.reports("credits", 900)
    await acme.at(2026, 12, 1, 1)
    await acme.settles((await acme.invoices())[0]["invoiceId"], "mark-paid")
    await acme.settles((await acme.invoices())[0]["invoiceId"], "credit", amount=700)
    await acme.at(2026, 12, 9, 7)
    await acme.reports("credits", 333, at=datetime(2026, 11, 28, tzinfo=UTC))
    await acme.reports_all("calls", 1, datetime(2026, 12, 5, tzinfo=UTC), 15)
    await acme.moves("solo")
    await acme.reports("credits", 801)
    await acme.at(2026, 12, 31, 23, 59, 59)
    seen = await acme.preview()
    assert seen["period"]["end"] == "2027-01-01T00:00:00Z"
    await acme.at(2027, 1, 1, 1)
    invoice = (await acme.invoices())[1]
    assert invoice["lines"] == seen["lines"]
    assert invoice["total"] == seen["total"]
    assert seen["lines"][-1]["kind"] == "carried"
    assert any(line["adjustment"] for line in seen["lines"])


async def test_what_comes_while_its_period_is_closed_is_charged_once(acme):
    """Reports, flushes and closes at the same time: each event is on the invoice, or adjusted on the next."""
    await acme.subscribes("team")
    acme.clock.at = datetime(2026, 12, 1, 1, tzinfo=UTC)
    at = datetime(2026, 11, 30, 12, tzinfo=UTC)

    async def report() -> None:
        for _ in range(12):
            await acme.reports_all("credits", 10, at, 5)

    async def work() -> None:
        for _ in range(6):
            with contextlib.suppress(RedisAwayError):  # a worker puts it off, and comes again
                await acme.jobs()

    await asyncio.gather(report(), work(), work())
    await acme.at(2027, 1, 1, 1)
    invoices = await acme.invoices()
    usage = [line for one in invoices for line in one["lines"] if line["featureId"] == "credits"]
    assert sum(line["amount"] for line in usage) == (12 * 50 - 200) * 10


async def test_however_often_seats_change_the_year_is_charged_once(acme):
    """More changes than a decision looks at: a bill looks at all of them."""
    await acme.subscribes("annual")
    await acme.at(2026, 12, 1, 1)
    for number in range(limits.PHASES + 8):
        acme.clock.at += timedelta(hours=17)
        await acme.does(
            "POST",
            "/subscription/change",
            addons=[{"addonId": "seat", "quantity": number % 2 + 1}],
            when="now",
        )
    await acme.at(2027, 1, 1, 1)
    first, second = await acme.invoices()
    assert told(first) == [("Annual", 36_500)]
    assert {line["kind"] for line in second["lines"]} == {"addon"}
    assert {line["kind"] for line in (await acme.preview())["lines"]} <= {"addon", "carried"}
