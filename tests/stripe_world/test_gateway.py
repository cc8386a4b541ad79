"""Every verb against the simulator, and every kind of answer as the outcome that it is."""

from datetime import timedelta

import pytest

from integrations.payments import Ambiguous, Declined, Done, Rejected, Retry
from integrations.stripe_billing import outcomes
from policies.charging import seen
from policies.charging.orders import AddCustomer, AddLine, Credit, Draft
from tests.conftest import NOW
from tests.stripe_world.account import DECLINED

ACME = AddCustomer(tenant_id="acme", name="Acme", email="billing@acme.example")


def value(outcome):
    assert isinstance(outcome, Done), outcome
    return outcome.value


def draft_for(customer: seen.Customer, invoice_id: str = "inv_1") -> Draft:
    return Draft(
        tenant_id="acme", invoice_id=invoice_id, customer_ref=customer.ref, currency="usd", number="A-1"
    )


def line_on(invoice: seen.Invoice, line_id: str = "l1", amount: int = 4900) -> AddLine:
    return AddLine(
        line_id=line_id, invoice_ref=invoice.ref, customer_ref=invoice.customer_ref, amount=amount,
        currency="usd", description="Pro, November", starts_at=NOW, ends_at=NOW + timedelta(days=30),
    )  # fmt: skip


@pytest.fixture
async def customer(account, payments):
    made = value(await payments.add_customer(ACME, "k:customer"))
    await account.card(made.ref)
    return made


@pytest.fixture
async def opened(payments, customer):
    """An invoice of two lines that is final and unpaid."""
    draft = value(await payments.draft(draft_for(customer), "k:draft"))
    for line_id, amount in (("l1", 4900), ("l2", -400)):
        value(await payments.add_line(line_on(draft, line_id, amount), f"k:{line_id}"))
    return value(await payments.finalize(draft.ref, "k:finalize"))


async def test_an_invoice_from_draft_to_paid(payments, customer, opened):
    """What was ordered is there, line by line, recognised by our ids, and paid once."""
    assert (opened.status, opened.subtotal, opened.total) == ("open", 4500, 4500)
    assert (opened.invoice_id, opened.tenant_id, opened.live) == ("inv_1", "acme", False)
    lines = value(await payments.lines(opened.ref))
    assert {(line.line_id, line.amount, line.currency) for line in lines} == {
        ("l1", 4900, "usd"),
        ("l2", -400, "usd"),
    }
    paid = value(await payments.pay(opened.ref, "k:pay:1"))
    assert (paid.status, paid.amount_paid, paid.amount_remaining) == ("paid", 4500, 0)
    (payment,) = value(await payments.payments(opened.ref))
    assert (payment.status, payment.amount, payment.invoice_ref) == ("succeeded", 4500, opened.ref)
    assert value(await payments.fetch(seen.Thing(kind="payment", ref=payment.ref))) == payment


async def test_things_are_found_by_our_ids(payments, customer, opened):
    found = value(await payments.find_customers("acme", since=NOW))
    assert [one.ref for one in found] == [customer.ref]
    assert value(await payments.find_customers("other", since=NOW)) == ()
    invoices = value(await payments.find_invoices(customer.ref, "inv_1", since=NOW))
    assert [one.ref for one in invoices] == [opened.ref]
    assert value(await payments.find_invoices(customer.ref, "inv_2", since=NOW)) == ()
    late = NOW + timedelta(days=1)
    assert value(await payments.find_invoices(customer.ref, "inv_1", since=late)) == ()


async def test_an_order_with_the_same_key_is_carried_out_once(payments, customer):
    once = await payments.draft(draft_for(customer), "k:draft")
    again = await payments.draft(draft_for(customer), "k:draft")
    assert isinstance(again, Done)
    assert (once.value.ref, once.repeated, again.repeated) == (again.value.ref, False, True)
    other = await payments.draft(draft_for(customer, "inv_2"), "k:draft")
    assert isinstance(other, Rejected)
    assert other.code == outcomes.REUSED_KEY


async def test_a_key_that_was_forgotten_protects_nothing(account, payments, customer):
    """Why everything is looked up as well."""
    once = value(await payments.draft(draft_for(customer), "k:draft"))
    await account.forget_keys()
    assert value(await payments.draft(draft_for(customer), "k:draft")).ref != once.ref


async def test_lines_and_drafts_go_and_going_twice_is_no_error(payments, customer):
    draft = value(await payments.draft(draft_for(customer), "k:draft"))
    line = value(await payments.add_line(line_on(draft), "k:l1"))
    for _ in range(2):
        assert await payments.drop_line(line, "k:drop") == Done(None)
    assert value(await payments.lines(draft.ref)) == ()
    for _ in range(2):
        assert await payments.discard(draft.ref, "k:discard") == Done(None)
    assert value(await payments.fetch(seen.Thing(kind="invoice", ref=draft.ref))) is None


async def test_a_card_that_is_declined_stays_declined_under_its_key(account, payments, customer, opened):
    await account.card(customer.ref, DECLINED)
    declined = await payments.pay(opened.ref, "k:pay:1")
    assert isinstance(declined, Declined)
    assert declined.code == "generic_decline"
    await account.card(customer.ref)
    assert isinstance(await payments.pay(opened.ref, "k:pay:1"), Declined)
    assert value(await payments.pay(opened.ref, "k:pay:2")).status == "paid"


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"status": 429, "headers": {"retry-after": "7"}}, Retry("ordered by the test", 7.0)),
        ({"status": 409}, Retry("ordered by the test", None)),
        ({"status": 500}, Ambiguous("ordered by the test", kept=False)),
        (
            {"status": 500, "headers": {"idempotent-replayed": "true"}},
            Ambiguous("ordered by the test", kept=True),
        ),
        ({"status": 400}, Rejected("", "ordered by the test")),
    ],
    ids=["429", "409", "500", "500 that is kept", "400"],
)
async def test_what_an_answer_means(account, payments, customer, fault, outcome):
    await account.fault("POST /v1/invoices", **fault)
    found = await payments.draft(draft_for(customer), "k:draft")
    assert type(found) is type(outcome)
    assert outcome.reason in found.reason
    assert getattr(found, "after_s", None) == getattr(outcome, "after_s", None)
    assert getattr(found, "kept", None) == getattr(outcome, "kept", None)
    assert payments._limiter.refusals == ([("invoices.create", 7.0)] if fault["status"] == 429 else [])
    assert len([one for one in await account.requests() if one == "POST /v1/invoices"]) == 1


async def test_an_answer_that_comes_too_late_says_nothing(account, payments, customer, monkeypatch):
    monkeypatch.setattr(outcomes.limits, "PAYMENT_TIMEOUT_S", 0.3)
    await account.fault("POST /v1/invoices", 500, after=True, delay=0.6)
    assert isinstance(await payments.draft(draft_for(customer), "k:draft"), Ambiguous)
    found = value(await payments.find_invoices(customer.ref, "inv_1", since=NOW))
    assert len(found) == 1


async def test_an_unpaid_invoice_is_voided_or_written_off(payments, customer, opened):
    assert value(await payments.void(opened.ref, "k:void")).status == "void"
    draft = value(await payments.draft(draft_for(customer, "inv_2"), "k:draft:2"))
    value(await payments.add_line(line_on(draft), "k:l1:2"))
    value(await payments.finalize(draft.ref, "k:finalize:2"))
    assert value(await payments.write_off(draft.ref, "k:off")).status == "uncollectible"


async def test_a_credit_note_lowers_a_final_invoice(payments, opened):
    credit = Credit(invoice_ref=opened.ref, credit_id="cr_1", amount=500, reason="An outage")
    note = value(await payments.credit(credit, "k:credit"))
    assert (note.amount, note.invoice_ref, note.status) == (500, opened.ref, "issued")
    assert value(await payments.fetch(seen.Thing(kind="credit_note", ref=note.ref))) == note
    invoice = value(await payments.fetch(seen.Thing(kind="invoice", ref=opened.ref)))
    assert invoice.amount_remaining == 4000


async def test_refunds_and_disputes_are_seen_with_their_invoice(account, payments, customer, opened):
    value(await payments.pay(opened.ref, "k:pay:1"))
    (payment,) = value(await payments.payments(opened.ref))
    await account.stripe.refunds.create_async({"charge": payment.ref, "amount": 1000})
    refunded = value(await payments.fetch(seen.Thing(kind="payment", ref=payment.ref)))
    assert (refunded.amount_refunded, refunded.invoice_ref) == (1000, opened.ref)
    disputed = await account.order("dispute", invoice=opened.ref, reason="fraudulent")
    dispute = value(await payments.fetch(seen.Thing(kind="dispute", ref=disputed["id"])))
    assert (dispute.status, dispute.invoice_ref, dispute.customer_ref) == (
        "needs_response",
        opened.ref,
        customer.ref,
    )


async def test_all_of_a_kind_can_be_browsed(account, payments, customer, opened):
    value(await payments.pay(opened.ref, "k:pay:1"))
    await account.order("dispute", invoice=opened.ref, reason="fraudulent")
    kinds = ("customer", "invoice", "payment", "dispute", "credit_note", "subscription")
    counts = []
    for kind in kinds:
        found = value(await payments.browse(kind, since=NOW, until=NOW + timedelta(days=1)))
        counts.append(len(found))
        for one in found:
            assert value(await payments.fetch(seen.Thing(kind=kind, ref=one.ref))) == one
    assert counts == [1, 1, 1, 1, 0, 0]
    assert value(await payments.browse("invoice", since=NOW + timedelta(1), until=NOW + timedelta(2))) == ()


async def test_what_happened_can_be_asked_for(payments, customer, opened):
    notices = value(await payments.notices(since=NOW))
    types = [one.type for one in notices]
    assert types.index("customer.created") < types.index("invoice.finalized")
    (finalized,) = [one for one in notices if one.type == "invoice.finalized"]
    assert finalized.things == (seen.Thing(kind="invoice", ref=opened.ref),)
    assert finalized.caused_by == "k:finalize"


async def test_what_is_not_there_is_none(payments):
    for kind, ref in (("customer", "cus_x"), ("invoice", "in_x"), ("payment", "ch_x"), ("dispute", "dp_x")):
        assert value(await payments.fetch(seen.Thing(kind=kind, ref=ref))) is None
