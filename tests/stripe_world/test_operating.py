"""What waits for a person is shown, and goes on when a person says so; a new card is used at once."""

import json
from datetime import timedelta

import pytest

from policies.errors import ConflictError, NotFoundError
from service.api import metrics
from service.telemetry import Telemetry
from service.usecases import charging
from store import postgres
from tests.conftest import NOW
from tests.store.ledger import ORDER
from tests.stripe_world.account import DECLINED
from tests.stripe_world.charging import books, charge_of, issue, pushed, state_of
from tests.stripe_world.test_notices import caught_up
from tests.stripe_world.test_push import LINES, PAID, at, halted, more


@pytest.fixture
async def stopped(acme, account, payments, customer):
    """The charge of an invoice to which somebody has added a line at Stripe; that line."""
    charge = await halted(acme, account)
    strange = await payments.add_line(more(charge, customer, "9", 5), "strange")
    await at(acme, account, NOW + timedelta(minutes=10))
    return charge, strange.value


async def test_a_stopped_charge_goes_on_when_it_was_mended(acme, account, payments, stopped):
    charge, strange = stopped
    (shown,) = await charging.listed(acme, state="stopped", limit=9)
    assert (shown.invoice_id, shown.total, shown.state) == (charge.invoice_id, "57.34", "stopped")
    assert "is not of ours" in shown.reason
    await charging.resume(acme, ORDER, charge.invoice_id, reason="nothing was done")
    await pushed(acme)
    assert (await charge_of(acme, charge.invoice_id))[0].state == "stopped", "it is still there"
    await payments.drop_line(strange, "away")
    reply = await charging.resume(acme, ORDER, charge.invoice_id, reason="the line is off")
    assert json.loads(reply.body)["state"] == "assembling"
    await pushed(acme)
    assert await books(payments, "acme", charge.invoice_id) == PAID
    async with postgres.transaction(acme.pool) as connection:
        told = await postgres.scalars(
            connection, b"select reason from audit where action = 'charge.resume'", {}
        )
    assert told == ["nothing was done", "the line is off"]


async def test_only_what_was_stopped_can_go_on(acme, account, customer):
    invoice_id = await issue(acme, "acme", LINES)
    await pushed(acme)
    with pytest.raises(ConflictError, match="was not stopped: it is paid"):
        await charging.resume(acme, ORDER, invoice_id, reason="x")
    with pytest.raises(NotFoundError):
        await charging.resume(acme, ORDER, "inv_nobody", reason="x")


async def test_an_order_that_was_rejected_is_sent_again_when_somebody_says_so(
    acme, account, payments, customer
):
    invoice_id = await issue(acme, "acme", LINES)
    await account.fault("POST /v1/invoiceitems", 400)
    await pushed(acme)
    charge, _ = await charge_of(acme, invoice_id)
    assert (charge.state, charge.next_at) == ("stopped", None)
    await charging.resume(acme, ORDER, invoice_id, reason="Stripe has mended it")
    await pushed(acme)
    assert await books(payments, "acme", invoice_id) == PAID


async def test_states_are_measured(acme, stopped):
    telemetry = Telemetry()
    await metrics._tell_charges(acme, telemetry)
    text = telemetry.text().decode()
    assert 'metergate_charges{state="stopped"} 1.0' in text
    assert 'metergate_charges{state="waiting"} 0.0' in text


async def test_a_new_card_pays_what_was_given_up(acme, account, payments, customer):
    await account.card(customer, DECLINED)
    invoice_id = await issue(acme, "acme", LINES)
    for day in (0, 2, 7, 14):
        await at(acme, account, NOW + timedelta(days=day))
    assert (await charge_of(acme, invoice_id))[0].state == "exhausted"
    await account.card(customer)
    await caught_up(acme)
    await pushed(acme)
    assert await books(payments, "acme", invoice_id) == PAID
    assert [one.attempt for one in (await charge_of(acme, invoice_id))[1]] == [1, 2, 3, 4, 5]


async def test_a_card_that_comes_while_the_old_one_is_tried_is_not_overlooked(acme, account, customer):
    """The old one is declined for good after the word of the new one has come."""
    stolen = {"code": "card_declined", "decline_code": "stolen_card"}
    await account.fault("POST /v1/invoices/[^/]+/pay", 402, error=stolen)
    invoice_id = await issue(acme, "acme", LINES)
    pay = acme.payments.pay

    async def slow(invoice_ref, key):
        answer = await pay(invoice_ref, key)
        await account.card(customer)
        await caught_up(acme)
        return answer

    acme.payments.pay = slow
    await pushed(acme)
    acme.payments.pay = pay
    charge, _ = await charge_of(acme, invoice_id)
    assert charge.state == "open"
    await pushed(acme)
    assert await state_of(acme, invoice_id) == "paid"
