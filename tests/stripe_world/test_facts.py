"""What happens at Stripe decides: a billing status follows from what is looked at, and only from that."""

from datetime import timedelta

import pytest

from policies import subscription
from store import payment_facts, postgres, subscriptions
from tests.conftest import NOW
from tests.stripe_world.account import DECLINED
from tests.stripe_world.charging import charge_of, issue, pushed, state_of, subscribed
from tests.stripe_world.test_notices import caught_up, looked


@pytest.fixture
async def customer(billing, account):
    await subscribed(billing, "acme")
    await pushed(billing)
    await issue(billing, "acme", [100])
    await pushed(billing)
    (customer,) = (await account.stripe.customers.list_async({})).data
    await account.card(customer.id)
    await pass_to(billing, account, NOW + timedelta(days=2))
    return customer.id


async def pass_to(billing, account, when):
    billing.clock.at = when
    await account.clock(when)
    await pushed(billing)
    await looked(billing)


async def statuses(billing) -> list[tuple[str, int]]:
    """Each status with the day on which it begins."""
    async with postgres.transaction(billing.pool) as connection:
        held = await subscriptions.latest(connection, "acme")
    return [(one.status, (one.since - NOW).days) for one in held.subscription.billing]


async def facts(billing) -> list[tuple[str, str]]:
    async with postgres.transaction(billing.pool) as connection:
        found = await payment_facts.of_tenant(connection, "acme")
    return [(one.kind, one.state) for one in reversed(found)]


async def status(billing) -> str:
    async with postgres.transaction(billing.pool) as connection:
        held = await subscriptions.latest(connection, "acme")
    return subscription.billing_status_at(held.subscription, billing.clock.at)


async def test_a_payment_that_fails_begins_grace_once_and_one_that_does_not_ends_it(
    billing, account, customer
):
    """Pro: 7 days of everything, then 14 of what is included, from the first failure on."""
    assert await status(billing) == "good"
    await account.card(customer, DECLINED)
    invoice_id = await issue(billing, "acme", [4900])
    await pass_to(billing, account, NOW + timedelta(days=2))
    assert await status(billing) == "grace"
    await pass_to(billing, account, NOW + timedelta(days=4))
    assert (await statuses(billing))[-3:] == [("grace", 2), ("restricted", 9), ("suspended", 23)]
    await pass_to(billing, account, NOW + timedelta(days=9))
    assert await status(billing) == "restricted"
    await account.card(customer)
    await pass_to(billing, account, NOW + timedelta(days=16))
    assert (await state_of(billing, invoice_id), await status(billing)) == ("paid", "good")
    assert (await facts(billing))[-1] == ("invoice", "paid")


async def test_when_the_attempts_are_over_the_days_of_the_plan_still_run(billing, account, customer):
    await account.card(customer, DECLINED)
    invoice_id = await issue(billing, "acme", [4900])
    for day in (2, 4, 9, 16):
        await pass_to(billing, account, NOW + timedelta(days=day))
    assert (await charge_of(billing, invoice_id))[0].state == "exhausted"
    assert await status(billing) == "restricted"
    await pass_to(billing, account, NOW + timedelta(days=23))
    assert await status(billing) == "suspended"
    charge, _ = await charge_of(billing, invoice_id)
    await account.card(customer)
    await account.stripe.invoices.pay_async(charge.invoice_ref)
    await caught_up(billing)
    assert await status(billing) == "good", "the customer paid by hand"


async def test_disputes_refunds_and_a_customer_that_is_gone(billing, account, customer):
    invoice_id = await issue(billing, "acme", [4900])
    await pushed(billing)
    charge, _ = await charge_of(billing, invoice_id)
    (payment,) = (await billing.payments.payments(charge.invoice_ref)).value
    await account.stripe.refunds.create_async({"charge": payment.ref, "amount": 100})
    await caught_up(billing)
    assert (await facts(billing))[-1] == ("refund", "partial")
    assert await status(billing) == "good"
    await account.order("dispute", invoice=charge.invoice_ref, reason="fraudulent")
    await caught_up(billing)
    assert ("dispute", "needs_response") in await facts(billing)
    assert await status(billing) == "restricted"
    await account.clock(billing.clock.at)
    await account.stripe.customers.delete_async(customer)
    await caught_up(billing)
    assert (await facts(billing)).count(("customer", "deleted")) == 1
    assert await status(billing) == "ended"


async def test_looking_again_says_nothing_new(billing, account, customer):
    await issue(billing, "acme", [4900])
    await pushed(billing)
    await caught_up(billing)
    before = await facts(billing)
    async with postgres.transaction(billing.pool) as connection:
        await connection.execute(
            "update payment_objects set wanted = wanted + 1, next_at = now() - '1 year'::interval"
        )
    await looked(billing)
    assert await facts(billing) == before
