"""Invoices are collected: once, line by line, by the days of the plan, and not if somebody said otherwise."""

from datetime import timedelta

import pytest

from integrations.payments import Done
from policies.charging import seen
from policies.charging.orders import AddLine
from service.usecases import invoices, reconcile
from tests.conftest import NOW
from tests.store.ledger import ORDER
from tests.stripe_world.account import DECLINED
from tests.stripe_world.charging import (
    Books,
    books,
    by_hand,
    charge_of,
    issue,
    pushed,
    state_of,
    strays,
)  # fmt: skip

LINES = [4900, 1234, -400]
PAID = Books(
    customers=1, invoices=1, status="paid", subtotal=5734, lines={"1": 4900, "2": 1234, "3": -400},
    payments=1, paid=5734,
)  # fmt: skip


async def at(billing, account, when):
    billing.clock.at = when
    await account.clock(when)
    return await pushed(billing)


async def test_an_open_invoice_is_collected_once(acme, account, payments, customer):
    invoice_id = await issue(acme, "acme", LINES)
    assert await pushed(acme) == "1 charges planned, 1 tenants carried on"
    assert await books(payments, "acme", invoice_id) == PAID
    assert await state_of(acme, invoice_id) == "paid"
    charge, (attempt,) = await charge_of(acme, invoice_id)
    assert (charge.state, charge.next_at, attempt.state, attempt.attempt) == ("paid", None, "paid", 1)
    asked = len(await account.requests())
    assert await at(acme, account, NOW + timedelta(days=60)) == "0 charges planned, 1 tenants carried on"
    assert len(await account.requests()) - asked < 8, "of the first invoice, which nobody could pay"
    assert await strays(account) == 0


async def test_dinars_are_collected_though_lines_are_no_whole_steps(acme, account, payments, customer):
    invoice_id = await issue(acme, "acme", [12_345, 1_207, -2], currency="kwd")
    await pushed(acme)
    assert await books(payments, "acme", invoice_id) == Books(
        customers=1, invoices=1, status="paid", subtotal=13_550,
        lines={"1": 12_340, "2": 1_210, "3": 0}, payments=1, paid=13_550,
    )  # fmt: skip
    assert await state_of(acme, invoice_id) == "paid"
    acme.clock.at += timedelta(hours=1)
    await account.clock(acme.clock.at)
    assert (await reconcile.make(acme, "full", acme.clock.now())).totals == ()


async def test_invoices_from_before_there_was_a_provider_are_left_to_people(acme, payments):
    invoice_id = await issue(acme, "acme", LINES)
    acme.clock.at = NOW + timedelta(seconds=1)
    assert await pushed(acme) == ""
    assert (await books(payments, "acme", invoice_id)).invoices == 0


async def test_who_has_no_way_to_pay_is_tried_by_the_days_of_the_plan(acme, account):
    """Pro gives 7 days of grace and 14 of restriction: the attempts end where nobody is served any more."""
    await pushed(acme)
    invoice_id = await issue(acme, "acme", LINES)
    for day in range(30):
        await at(acme, account, NOW + timedelta(days=day))
    charge, attempts = await charge_of(acme, invoice_id)
    assert [one.at and (one.at - NOW).days for one in attempts] == [0, 2, 7, 14], (attempts, charge)
    assert {one.state for one in attempts} == {"declined"}
    assert (charge.state, charge.next_at) == ("exhausted", None)
    assert await state_of(acme, invoice_id) == "open"


async def test_a_declined_card_is_tried_again_under_a_new_key(acme, account, payments, customer):
    await account.card(customer, DECLINED)
    invoice_id = await issue(acme, "acme", LINES)
    await at(acme, account, NOW)
    charge, attempts = await charge_of(acme, invoice_id)
    assert [(one.state, one.code) for one in attempts] == [("declined", "generic_decline"), ("planned", "")]
    assert charge.next_at == NOW + timedelta(days=2)
    await account.card(customer)
    await at(acme, account, NOW + timedelta(days=2))
    assert await books(payments, "acme", invoice_id) == PAID
    assert len({one.key for one in attempts}) == 2


async def test_what_the_customer_pays_by_hand_is_not_paid_again(acme, account, payments, customer):
    await account.card(customer, DECLINED)
    invoice_id = await issue(acme, "acme", LINES)
    await at(acme, account, NOW)
    charge, _ = await charge_of(acme, invoice_id)
    await account.card(customer)
    await account.stripe.invoices.pay_async(charge.invoice_ref)
    await at(acme, account, NOW + timedelta(days=2))
    assert await books(payments, "acme", invoice_id) == PAID
    assert await state_of(acme, invoice_id) == "paid"


@pytest.mark.parametrize(("act", "status"), [("void", ""), ("pay", ""), ("write-off", "uncollectible")])
async def test_what_is_settled_by_hand_is_taken_back_there(  # noqa: PLR0917 - fixtures
    acme, account, payments, customer, act, status
):
    await account.card(customer, DECLINED)
    invoice_id = await issue(acme, "acme", LINES)
    await at(acme, account, NOW)
    await by_hand(acme, invoice_id, act)
    await at(acme, account, NOW + timedelta(seconds=1))
    found = await books(payments, "acme", invoice_id)
    assert (found.invoices, found.status, found.payments) == (1, status, 0)
    charge, _ = await charge_of(acme, invoice_id)
    assert (charge.state, charge.next_at) == ("withdrawn", None)


async def test_a_credit_note_lowers_what_is_collected(acme, account, payments, customer):
    """Given while the invoice is open: it is there at once, once, and the next attempt stays where it was."""
    await account.card(customer, DECLINED)
    invoice_id = await issue(acme, "acme", LINES)
    await at(acme, account, NOW)
    wish = invoices.Wish(act="credit", reason="an outage", amount=900)
    await invoices.change(acme, ORDER, invoice_id, wish)
    await at(acme, account, NOW + timedelta(hours=1))
    charge, _ = await charge_of(acme, invoice_id)
    assert (charge.credited, charge.next_at) == (900, NOW + timedelta(days=2))
    (there,) = (await payments.find_invoices(customer, invoice_id, since=NOW)).value
    assert there.amount_remaining == 4834
    await at(acme, account, NOW + timedelta(hours=2))
    (again,) = (await payments.find_invoices(customer, invoice_id, since=NOW)).value
    assert again == there  # what a payment then takes, the simulator has wrong: all of it


async def test_a_draft_is_deleted_where_its_invoice_is_void(acme, account, payments, customer):
    invoice_id = await issue(acme, "acme", LINES)
    await account.fault("POST /v1/invoiceitems", 500)
    await pushed(acme)
    await by_hand(acme, invoice_id, "void")
    await at(acme, account, NOW + timedelta(hours=1))
    assert (await books(payments, "acme", invoice_id)).invoices == 0


async def test_what_was_voided_there_is_void_here(acme, account, customer):
    await account.card(customer, DECLINED)
    invoice_id = await issue(acme, "acme", LINES)
    await at(acme, account, NOW)
    charge, _ = await charge_of(acme, invoice_id)
    await account.stripe.invoices.void_invoice_async(charge.invoice_ref)
    await at(acme, account, NOW + timedelta(days=2))
    assert await state_of(acme, invoice_id) == "void"
    charge, _ = await charge_of(acme, invoice_id)
    assert charge.state == "withdrawn"


@pytest.mark.parametrize("status", [429, 409, 500])
async def test_what_goes_wrong_on_the_way_is_put_off_and_carried_on(
    acme, account, payments, customer, status
):
    invoice_id = await issue(acme, "acme", LINES)
    await account.fault("POST /v1/invoiceitems", status, after=status == 500)
    await pushed(acme)
    charge, _ = await charge_of(acme, invoice_id)
    assert charge.state == "assembling"
    assert charge.next_at > NOW
    assert charge.tries == 1
    await at(acme, account, NOW + timedelta(minutes=10))
    assert await books(payments, "acme", invoice_id) == PAID


async def test_a_fault_that_is_kept_under_its_key_needs_a_new_one(acme, account, payments, customer):
    invoice_id = await issue(acme, "acme", LINES)
    kept = {"idempotent-replayed": "true"}
    await account.fault("POST /v1/invoices$", 500, headers=kept)
    await pushed(acme)
    await at(acme, account, NOW + timedelta(minutes=10))
    assert await books(payments, "acme", invoice_id) == PAID


async def test_a_draft_that_was_deleted_elsewhere_is_made_anew(acme, account, payments, customer):
    invoice_id = await issue(acme, "acme", LINES)
    await account.fault("POST /v1/invoices/[^/]+/finalize", 500)
    await pushed(acme)
    charge, _ = await charge_of(acme, invoice_id)
    await account.stripe.invoices.delete_async(charge.invoice_ref)
    await at(acme, account, NOW + timedelta(minutes=10))
    assert await books(payments, "acme", invoice_id) == PAID


async def halted(acme, account):
    """An invoice that is whole but for the last step; its charge."""
    invoice_id = await issue(acme, "acme", LINES)
    await account.fault("POST /v1/invoices/[^/]+/finalize", 500)
    await pushed(acme)
    return (await charge_of(acme, invoice_id))[0]


def more(charge, customer, line_id, amount):
    return AddLine(
        line_id=line_id, invoice_ref=charge.invoice_ref, customer_ref=customer, amount=amount,
        currency="usd", description="x",
    )  # fmt: skip


async def test_the_barrier_drops_a_line_that_is_there_twice(acme, account, payments, customer):
    charge = await halted(acme, account)
    assert isinstance(await payments.add_line(more(charge, customer, "2", 1234), "late"), Done)
    await at(acme, account, NOW + timedelta(minutes=10))
    assert await books(payments, "acme", charge.invoice_id) == PAID


async def test_the_barrier_has_a_missing_line_sent_again(acme, account, payments, customer):
    charge = await halted(acme, account)
    (line, *_) = (await payments.lines(charge.invoice_ref)).value
    assert await payments.drop_line(line, "away") == Done(None)
    await at(acme, account, NOW + timedelta(minutes=10))
    assert await books(payments, "acme", charge.invoice_id) == PAID


@pytest.mark.parametrize(
    ("line_id", "amount", "reason"), [("9", 5, "is not of ours"), ("2", 1233, "the line 2 is 1233 usd")]
)
async def test_a_line_that_is_not_as_it_was_sent_stops_the_charge(  # noqa: PLR0917 - fixtures
    acme, account, payments, customer, line_id, amount, reason
):
    charge = await halted(acme, account)
    assert isinstance(await payments.add_line(more(charge, customer, line_id, amount), "strange"), Done)
    await at(acme, account, NOW + timedelta(minutes=10))
    stopped, attempts = await charge_of(acme, charge.invoice_id)
    assert (stopped.state, stopped.next_at, attempts) == ("stopped", None, [])
    assert reason in stopped.reason
    found = (await payments.fetch(seen.Thing(kind="invoice", ref=charge.invoice_ref))).value
    assert found.status == "draft"


async def test_more_lines_than_stripe_takes_are_added_up(acme, account, payments, customer):
    payments.lines_max = 2
    invoice_id = await issue(acme, "acme", LINES)
    await pushed(acme)
    found = await books(payments, "acme", invoice_id)
    assert (found.status, found.subtotal, found.paid, len(found.lines)) == ("paid", 5734, 5734, 1)
