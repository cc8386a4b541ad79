"""A folder collects: it is told what is to be paid, and a receipt that is put there pays the invoice."""

import dataclasses
import json
from datetime import timedelta

import pytest

from integrations.file_billing.gateway import FilePayments
from integrations.payments import Declined, Done, Rejected
from jobs import push
from policies.charging import seen
from policies.charging.orders import AddCustomer, AddLine, Credit, Draft
from service.cli import diagnose_payments
from service.config import Config, ConfigError, read
from service.usecases import reconcile
from store import certify
from tests.conftest import NOW
from tests.scenarios.billing import Tenant
from tests.scenarios.test_billed_lives import FILES, START
from tests.stripe_world.charging import charge_of


@pytest.fixture
def folder(tmp_path, clock):
    return FilePayments(tmp_path, now=clock.now)


@pytest.fixture
async def acme(api, context, clock, publish, folder):
    clock.at = START
    await publish(FILES)
    await certify.certify(context.pool, context.counters.link, now=START)
    tenant = Tenant(api, dataclasses.replace(context, payments=folder), clock)
    await tenant.subscribes("team")
    await tenant.reports("credits", 1_200)
    return tenant


async def pushed(acme) -> None:
    for _ in range(3):
        await push.run(acme.worker, acme.clock.now())


async def test_what_is_to_be_collected_is_written_down_and_a_receipt_pays_it(acme, tmp_path):
    await acme.at(2026, 12, 1, 1)
    await pushed(acme)
    told = json.loads((tmp_path / "to-collect" / "INV-000001.json").read_text())
    assert (told["name"], told["email"], told["currency"], told["total"]) == (
        "Acme", "billing@acme.example", "usd", 13_000,
    )  # fmt: skip
    assert [line["amount"] for line in told["lines"]] == [3_000, 10_000]
    (invoice,) = await acme.invoices()
    assert invoice["state"] == "open"
    await acme.settles(invoice["invoiceId"], "credit", amount=1_000)
    (tmp_path / "receipts").mkdir()
    (tmp_path / "receipts" / "INV-000001.json").write_text('{"amount": 12000, "reference": "transfer 4711"}')
    await acme.at(2026, 12, 3, 2)
    await pushed(acme)
    (invoice,) = await acme.invoices()
    assert (invoice["state"], invoice["paid"]) == ("paid", 12_000)
    assert len([*(tmp_path / "invoices").iterdir()]) == len([*(tmp_path / "customers").iterdir()]) == 1


async def test_a_folder_that_was_left_alone_differs_in_nothing(acme, tmp_path):
    """Of what is open, of what was paid, and of what was taken back."""
    await acme.at(2026, 12, 1, 1)
    await pushed(acme)
    (tmp_path / "receipts").mkdir()
    for month in (1, 2):
        number = f"INV-00000{month}"
        total = json.loads((tmp_path / "to-collect" / f"{number}.json").read_text())["total"]
        (tmp_path / "receipts" / f"{number}.json").write_text(json.dumps({"amount": total, "reference": "r"}))
        await acme.at(2027, month, 1, 2)
        await pushed(acme)
    await acme.settles((await acme.invoices())[-1]["invoiceId"], "void")
    acme.clock.at += timedelta(hours=2)
    await pushed(acme)
    made = await reconcile.make(acme.context, "full", acme.clock.now())
    assert (made.totals, made.unread) == ((), ())
    assert made.looked_at >= 6


async def test_who_is_to_pay_by_a_day_is_not_behind_before_it(acme, api, tmp_path):
    """A folder takes no money: that there is no receipt yet is no payment that failed."""

    async def status() -> str:
        return (await api.get("/v1/tenants/acme/billing-status")).json()["status"]

    await acme.at(2026, 12, 1, 1)
    for day in (1, 4, 9):
        acme.clock.at = acme.clock.at.replace(day=day)
        await pushed(acme)
        await acme.jobs()
        assert await status() == "good"
    await acme.at(2026, 12, 10, 3)
    await acme.at(2026, 12, 11, 2)
    assert await status() == "grace", "due ten days after it was issued"
    (tmp_path / "receipts").mkdir()
    (tmp_path / "receipts" / "INV-000001.json").write_text('{"amount": 13000, "reference": "transfer 4711"}')
    for hours in (0, 24, 24 * 4):
        acme.clock.at += timedelta(hours=hours)
        await pushed(acme)
    assert await status() == "good"


async def test_attempts_are_made_by_the_plan_that_the_invoice_charges_for(acme, publish):
    """What is published later, and what the tenant is moved to, bears on nothing that runs already."""
    team = FILES["plans/team.yaml"]
    for days in ("[1, 4]", "[2, 9]"):
        files = FILES | {"plans/team.yaml": team.replace("due:", f"attempts: {{days: {days}}}\ndue:")}
        await publish(files)
        await acme.moves("team")
        if days == "[1, 4]":
            await acme.at(2026, 12, 1, 1)
            await pushed(acme)
    (issued,) = await acme.invoices()
    opened = acme.clock.at
    for day in range(12):
        acme.clock.at = opened + timedelta(days=day)
        await pushed(acme)
    charge, attempts = await charge_of(acme.context, issued["invoiceId"])
    assert [(one.at - opened).days for one in attempts] == [1, 4]
    assert (charge.days, charge.state) == ([1, 4], "exhausted")


async def test_what_is_void_here_is_not_collected_there(acme, tmp_path):
    await acme.at(2026, 12, 1, 1)
    await pushed(acme)
    (invoice,) = await acme.invoices()
    await acme.settles(invoice["invoiceId"], "void")
    acme.clock.at += timedelta(days=3)
    await pushed(acme)
    assert not [*(tmp_path / "to-collect").iterdir()]
    (kept,) = (tmp_path / "invoices").iterdir()
    assert json.loads(kept.read_text())["status"] == "void"


async def test_each_order_is_carried_out_once_and_only_while_it_may_be(folder, clock):
    clock.at = NOW
    customer = (await folder.add_customer(AddCustomer(tenant_id="acme"), "k1")).value
    assert (await folder.add_customer(AddCustomer(tenant_id="acme"), "k1")).repeated
    order = Draft(
        tenant_id="acme", invoice_id="inv_1", customer_ref=customer.ref, currency="usd", number="INV-1"
    )
    draft = (await folder.draft(order, "k2")).value
    assert (await folder.draft(order, "k2")).repeated
    line = AddLine(
        line_id="l1",
        invoice_ref=draft.ref,
        customer_ref=customer.ref,
        amount=500,
        currency="usd",
        description="x",
    )
    for _ in range(2):
        added = (await folder.add_line(line, "k3")).value
    spare = (await folder.add_line(line, "k4")).value
    assert [one.line_id for one in (await folder.lines(draft.ref)).value] == ["l1", "l1"]
    await folder.drop_line(spare, "k5")
    assert [one.ref for one in (await folder.lines(draft.ref)).value] == [added.ref]
    assert isinstance(await folder.pay(draft.ref, "k6"), Rejected)
    assert (await folder.finalize(draft.ref, "k7")).value.status == "open"
    assert isinstance(await folder.add_line(line, "k8"), Rejected)
    assert isinstance(await folder.discard(draft.ref, "k9"), Rejected)
    assert isinstance(await folder.pay(draft.ref, "k10"), Declined)
    credit = Credit(invoice_ref=draft.ref, credit_id="cn_1", amount=600)
    assert isinstance(await folder.credit(credit, "k11"), Rejected)
    found = (await folder.find_invoices(customer.ref, "inv_1", since=NOW)).value
    assert [one.ref for one in found] == [draft.ref]
    assert (await folder.find_customers("acme", since=NOW)).value == [customer]
    assert (await folder.fetch(seen.Thing(kind="invoice", ref="inv_none"))).value is None


@pytest.mark.parametrize(
    ("receipt", "status"),
    [
        ('{"amount": 499}', "open"),
        ('{"amount": 500}', "paid"),
        ("{nope", "open"),
        ('{"amount": -500}', "open"),
        ('{"amount": 500, "more": 1}', "open"),
    ],
)
async def test_what_a_receipt_says(folder, clock, tmp_path, receipt, status):
    clock.at = NOW
    order = Draft(tenant_id="acme", invoice_id="inv_1", customer_ref="cus_1", currency="usd", number="INV-1")
    draft = (await folder.draft(order, "k2")).value
    line = AddLine(
        line_id="l1", invoice_ref=draft.ref, customer_ref="cus_1", amount=500, currency="usd", description=""
    )
    await folder.add_line(line, "k3")
    await folder.finalize(draft.ref, "k4")
    (tmp_path / "receipts").mkdir()
    (tmp_path / "receipts" / "INV-1.json").write_text(receipt)
    outcome = await folder.pay(draft.ref, "k5")
    assert isinstance(outcome, Done if status == "paid" else Declined)
    (found,) = (await folder.browse("invoice", since=NOW, until=NOW + timedelta(days=1))).value
    assert found.status == status
    noticed = (await folder.notices(since=NOW - timedelta(days=400))).value
    assert all(one.things == (seen.Thing(kind="invoice", ref=draft.ref),) for one in noticed)
    assert len(noticed) == (1 if "499" in receipt or status == "paid" else 0)


def test_the_doctor_says_whether_the_folder_can_be_used(tmp_path):
    def told(folder):
        config = Config(database_url="postgresql://x", redis_url="redis://x", billing_folder=str(folder))
        return [(each.status, each.detail) for each in diagnose_payments.examine(config)]

    ((status, detail),) = told(tmp_path)
    assert (status, str(tmp_path) in detail) == ("ok", True)
    ((status, _),) = told(tmp_path / "nowhere")
    assert status == "wrong"


def test_two_providers_are_one_too_many():
    environment = {
        "METERGATE_DATABASE_URL": "postgresql://x", "METERGATE_REDIS_URL": "redis://x",
        "METERGATE_BILLING_FOLDER": "/srv/billing", "METERGATE_STRIPE_KEY": "sk_test_1",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="two payment providers"):
        read(environment)
