"""Injected at the provider, found by two looks, put right or proposed; a second run is silent."""

from datetime import timedelta

import pytest

from integrations.payments import Done
from integrations.stripe_billing import shapes
from jobs import look
from policies.errors import ConflictError
from policies.reconcile.looks import APART
from service.usecases import billing_view, reconcile, reconcile_apply
from store import postgres
from tests.conftest import ROOT
from tests.store import ledger
from tests.stripe_world.account import DECLINED
from tests.stripe_world.charging import charge_of, issue, pushed, state_of, subscribed

DAY = timedelta(days=1)
DRAFTS = (
    "item_missing", "item_duplicate", "item_amount", "item_foreign", "invoice_missing",
    "invoice_finalized_early",
)  # fmt: skip


@pytest.fixture
async def acme(billing, account):
    """A tenant with a paid invoice and an open one that waits for its next attempt."""
    await subscribed(billing, "acme")
    first = await issue(billing, "acme", [100])
    await pushed(billing)
    (customer,) = (await account.stripe.customers.list_async({})).data
    await account.card(customer.id)
    await passes(billing, account, timedelta(days=2))
    assert await state_of(billing, first) == "paid"
    await looked(billing)
    return billing


def line_of(item):
    return shapes.line(item)


async def passes(billing, account, time):
    billing.clock.at += time
    await account.clock(billing.clock.at)
    await pushed(billing)


async def looked(billing) -> None:
    """The job that looks at what is to be looked at."""
    await look.run(ledger.worker(billing), billing.clock.now())


async def plan(billing, account):
    """Two looks, a minute apart."""
    await reconcile.make(billing, "full", billing.clock.now())
    billing.clock.at += APART
    await account.clock(billing.clock.at)
    return await reconcile.make(billing, "full", billing.clock.now())


def told(made):
    return [(one.finding.kind, one.act) for one in made.proposals]


async def apply(billing, made):
    view = await reconcile_apply.apply(billing, ROOT, made.plan_id)
    return sorted((one.state, one.told) for one in view.done)


async def wait(billing, account):
    """Until what was made a moment ago is old enough to be compared."""
    billing.clock.at += timedelta(minutes=20)
    await account.clock(billing.clock.at)


async def test_an_account_that_was_left_alone_gives_no_finding(acme, account):
    await issue(acme, "acme", [4900, -400])
    await passes(acme, account, timedelta(hours=1))
    await looked(acme)
    made = await plan(acme, account)
    assert (told(made), made.totals, made.unread) == ([], (), ())
    assert made.is_clean
    assert made.looked_at > 4


async def test_a_duplicate_that_nobody_paid_is_voided_and_a_draft_deleted(acme, account, payments):
    invoice_id = await issue(acme, "acme", [4900])
    await pushed(acme)
    charge, _ = await charge_of(acme, invoice_id)
    (customer,) = (await account.stripe.customers.list_async({})).data
    mine = (await account.stripe.invoices.retrieve_async(charge.invoice_ref)).metadata.to_dict()
    for final in (True, False):
        second = await account.stripe.invoices.create_async(
            {"customer": customer.id, "auto_advance": False, "metadata": mine, "currency": "usd",
             "pending_invoice_items_behavior": "exclude"}
        )  # fmt: skip
        await account.stripe.invoice_items.create_async(
            {"customer": customer.id, "invoice": second.id, "amount": 4900, "currency": "usd"}
        )
        if final:
            await account.stripe.invoices.finalize_invoice_async(second.id, {"auto_advance": False})
    await looked(acme)
    await wait(acme, account)
    made = await plan(acme, account)
    assert told(made) == [("invoice_duplicate_draft", "discard"), ("invoice_duplicate_unpaid", "void")]
    assert [one.money for one in made.totals] == [{}, {"usd": 4900}]
    assert await apply(acme, made) == [("done", "it was voided"), ("done", "the draft was deleted")]
    again = await apply(acme, made)
    assert len(again) == 2, "what was done is not done twice"
    assert await state_of(acme, invoice_id) == "paid"
    assert (await plan(acme, account)).proposals == ()


async def test_what_was_paid_there_and_missed_here_is_looked_at_and_decides(acme, account):
    (customer,) = (await account.stripe.customers.list_async({})).data
    await account.card(customer.id, DECLINED)
    invoice_id = await issue(acme, "acme", [4900])
    await pushed(acme)
    await looked(acme)
    view, _ = await billing_view.show(acme, "acme")
    assert view.status == "grace"
    await account.card(customer.id)
    charge, _ = await charge_of(acme, invoice_id)
    await account.stripe.invoices.pay_async(charge.invoice_ref)  # the customer, by hand
    await wait(acme, account)
    made = await plan(acme, account)
    assert told(made) == [("invoice_paid_missed", "look")]
    assert await apply(acme, made) == [("done", "it is looked at again")]
    await looked(acme)
    assert await state_of(acme, invoice_id) == "paid"
    view, _ = await billing_view.show(acme, "acme")
    assert view.status == "good"
    assert (await plan(acme, account)).is_clean


async def test_what_needs_a_person_is_proposed_and_left_alone(acme, account):
    (customer,) = (await account.stripe.customers.list_async({})).data
    await account.stripe.customers.update_async(customer.id, {"metadata": {shapes.TENANT: ""}})
    foreign = await account.stripe.invoices.create_async(
        {"customer": customer.id, "auto_advance": False, "pending_invoice_items_behavior": "exclude"}
    )
    await looked(acme)
    await wait(acme, account)
    made = await plan(acme, account)
    assert told(made) == [("customer_metadata_lost", None), ("invoice_foreign", None)]
    assert made.actions == ()
    assert await apply(acme, made) == []
    assert (await account.stripe.invoices.retrieve_async(foreign.id)).status == "draft"


async def test_a_look_that_could_not_read_all_says_so_and_ends_nothing(acme, account):
    await account.fault("GET /v1/disputes", 500, times=9)
    made = await reconcile.make(acme, "full", acme.clock.now())
    assert made.unread
    assert not made.is_clean


async def test_a_status_that_is_not_what_facts_say_is_laid_anew(acme, account):
    await wait(acme, account)
    async with postgres.transaction(acme.pool) as connection:
        await postgres.execute(
            connection,
            b"insert into billing_statuses (tenant_id, subscription_id, since, status, reason)"
            b" select tenant_id, subscription_id, %(now)s, 'suspended', 'by mistake'"
            b" from subscriptions where tenant_id = 'acme'",
            {"now": acme.clock.now()},
        )
    made = await plan(acme, account)
    assert told(made) == [("status_stale", "lay")]
    assert await apply(acme, made) == [("done", "the billing status was laid anew")]
    view, _ = await billing_view.show(acme, "acme")
    assert view.status == "good"
    assert (await plan(acme, account)).is_clean


async def test_a_bad_day_is_told_class_by_class_mended_as_far_as_may_be_and_then_silent(acme, account):
    """Notices were lost all day: nobody looked at what happened at the provider."""
    stripe = account.stripe
    (customer,) = (await stripe.customers.list_async({})).data
    paid = [await issue(acme, "acme", [1_000 * number]) for number in (1, 2)]
    await pushed(acme)
    refunded, disputed = [(await charge_of(acme, one))[0].invoice_ref for one in paid]
    await account.card(customer.id, DECLINED)
    unpaid = [await issue(acme, "acme", [100 * number]) for number in (3, 4, 5)]
    await pushed(acme)
    by_hand, voided, given_up = [(await charge_of(acme, one))[0].invoice_ref for one in unpaid]
    await looked(acme)
    await account.card(customer.id)
    await stripe.invoices.pay_async(by_hand)
    await stripe.invoices.void_invoice_async(voided)
    await stripe.invoices.mark_uncollectible_async(given_up)
    (payment,) = (await acme.payments.payments(refunded)).value
    await stripe.refunds.create_async({"charge": payment.ref, "amount": 400})
    await account.order("dispute", invoice=disputed, reason="fraudulent")
    await stripe.customers.create_async({"metadata": {shapes.TENANT: "acme"}})
    await wait(acme, account)
    made = await plan(acme, account)
    assert told(made) == [
        ("customer_duplicate", None),
        ("dispute_unrecorded", "look"),
        ("invoice_paid_missed", "look"),
        ("invoice_settled_missed", "look"),
        ("invoice_settled_missed", "look"),
        ("refund_unrecorded", "look"),
    ]
    assert {one.kind: one.money for one in made.totals} == {
        "customer_duplicate": {}, "dispute_unrecorded": {"usd": 2_000}, "invoice_paid_missed": {"usd": 300},
        "invoice_settled_missed": {"usd": 900}, "refund_unrecorded": {"usd": 400},
    }  # fmt: skip
    assert {state for state, _ in await apply(acme, made)} == {"done"}
    await looked(acme)
    assert [await state_of(acme, one) for one in unpaid] == ["paid", "void", "uncollectible"]
    assert told(await plan(acme, account)) == [("customer_duplicate", None)]


async def test_whatever_somebody_does_to_drafts_and_around_them_is_found_mended_or_proposed(acme, account):
    """One thing of each class that an account can show beside the bad day above."""
    stripe = account.stripe
    (customer,) = (await stripe.customers.list_async({})).data
    await account.fault("POST /v1/invoiceitems", 500)
    stuck = await issue(acme, "acme", [700])
    await pushed(acme)
    await account.fault("GET /v1/invoiceitems", 500, times=len(DRAFTS))
    ids = {name: await issue(acme, "acme", [4900, -400]) for name in DRAFTS}
    await pushed(acme)
    refs = {name: (await charge_of(acme, one))[0].invoice_ref for name, one in ids.items()}
    items = {
        name: (await stripe.invoice_items.list_async({"invoice": ref})).data for name, ref in refs.items()
    }
    ours = {"customer": customer.id, "currency": "usd"}
    first = {name: found[-1] for name, found in items.items()}
    assert await acme.payments.drop_line(line_of(first["item_missing"]), "k") == Done(None)
    again = first["item_duplicate"]
    twice = {"amount": again.amount, "metadata": again.metadata.to_dict(), "invoice": refs["item_duplicate"]}
    await stripe.invoice_items.create_async(ours | twice)
    await stripe.invoice_items.update_async(first["item_amount"].id, {"amount": 4800})
    await stripe.invoice_items.create_async(ours | {"amount": 5, "invoice": refs["item_foreign"]})
    await stripe.invoices.delete_async(refs["invoice_missing"])
    await stripe.invoices.finalize_invoice_async(refs["invoice_finalized_early"], {"auto_advance": False})
    await stripe.invoice_items.create_async(ours | {"amount": 300})
    lost = {shapes.TENANT: "acme", shapes.INVOICE: "inv_lost"}
    await stripe.invoices.create_async(ours | {"auto_advance": False, "metadata": lost,
                                               "pending_invoice_items_behavior": "exclude"})  # fmt: skip
    product = await stripe.products.create_async({"name": "Pro"})
    price = {"product": product.id, "unit_amount": 3900, "currency": "usd", "lookup_key": "pro"}
    await stripe.prices.create_async(price)
    await account.order("endpoint", api_version="2025-03-31.basil")
    for _ in range(3):
        await wait(acme, account)
    made = await plan(acme, account)
    assert told(made) == [
        ("endpoint_version", None), ("invoice_finalized_early", "resume"), ("invoice_missing", "resume"),
        ("invoice_unknown", None), ("item_amount", None), ("item_duplicate", "resume"),
        ("item_foreign", None), ("item_missing", "resume"), ("item_pending", None),
        ("operation_stuck", "resume"), ("price_differs", None),
    ]  # fmt: skip
    assert made.at_risk == {"usd": 4500 + 4500 + 100 + 4900 + 5 + 4900 + 300}
    done = await apply(acme, made)
    assert {state for state, _ in done} == {"done"}, done
    await pushed(acme)
    for name in ("item_missing", "item_duplicate", "invoice_missing", "invoice_finalized_early"):
        assert await state_of(acme, ids[name]) == "paid", name
    assert await state_of(acme, stuck) == "paid"
    await account.order("endpoint", status="disabled")
    await looked(acme)
    left = await plan(acme, account)
    assert told(left) == [
        ("endpoint_off", None), ("invoice_unknown", None), ("item_amount", None), ("item_foreign", None),
        ("item_pending", None), ("price_differs", None),
    ]  # fmt: skip
    assert left.actions == ()


async def test_too_much_of_one_class_stops_everything(acme, account):
    (customer,) = (await account.stripe.customers.list_async({})).data
    for _ in range(7):
        await account.stripe.invoices.create_async(
            {"customer": customer.id, "auto_advance": False, "pending_invoice_items_behavior": "exclude"}
        )
    await looked(acme)
    await wait(acme, account)
    made = await plan(acme, account)
    assert made.broken == ("invoice_foreign",)
    with pytest.raises(ConflictError, match="something else is wrong"):
        await apply(acme, made)
