"""Notices come twice, late, in another order or not at all: what we have becomes what Stripe has."""

import asyncio
import contextlib
import os
import random
from datetime import timedelta

import httpx
import msgspec
import psycopg
import pytest

from integrations.payments import Done
from jobs import look, notices
from policies.charging.seen import Thing
from policies.errors import UnavailableError
from service.api.app import make_app
from service.usecases import payment_notices
from store import notices as store
from store import postgres
from tests.conftest import NOW
from tests.store.ledger import worker
from tests.stripe_world.account import DECLINED
from tests.stripe_world.charging import charge_of, issue, pushed, state_of, subscribed
from tests.stripe_world.test_webhook import signed

TRIALS = int(os.environ.get("METERGATE_CHARGING_TRIALS", "100"))
SEED = int(os.environ.get("METERGATE_CHARGING_SEED", "20261201"))


@pytest.fixture
async def customer(billing, account):
    await subscribed(billing, "acme")
    await issue(billing, "acme", [100])
    await pushed(billing)
    (customer,) = (await account.stripe.customers.list_async({})).data
    await account.card(customer.id)
    return customer.id


async def looked(billing) -> None:
    """Until nothing is left to be looked at."""
    while await look.run(worker(billing), billing.clock.now()):
        pass


async def caught_up(billing) -> None:
    """The next question to Stripe, and what it leads to."""
    billing.clock.at += timedelta(seconds=301)
    await notices.run(worker(billing), billing.clock.now())
    await looked(billing)


async def differing(billing) -> list[str]:
    """What of all that we were told of is not as Stripe has it."""
    async with postgres.transaction(billing.pool) as connection:
        rows = await (await connection.execute("select kind, ref from payment_objects")).fetchall()
        known = {(kind, ref): await store.last_seen(connection, ref) for kind, ref in rows}
    found = []
    for (kind, ref), ours in known.items():
        fetched = await billing.payments.fetch(Thing(kind=kind, ref=ref))
        assert isinstance(fetched, Done)
        found += [ref] if fetched.value != ours else []
    return found


class Life:
    """What happens to one invoice at Stripe, by the hands of others: each act is several events."""

    def __init__(self, billing, account, charge):
        self.acts = [
            lambda: account.stripe.invoices.update_async(charge.invoice_ref, {"metadata": {"a": "b"}}),
            lambda: self.refund(billing, account, charge, 100),
            lambda: self.refund(billing, account, charge, 200),
            lambda: account.order("dispute", invoice=charge.invoice_ref, reason="fraudulent"),
        ]

    async def refund(self, billing, account, charge, amount):
        (payment,) = (await billing.payments.payments(charge.invoice_ref)).value
        await account.stripe.refunds.create_async({"charge": payment.ref, "amount": amount})


class Post:
    """Between Stripe and us: letters are lost, copied, kept for a while, and handed out in any order."""

    def __init__(self, billing, rng, lost):
        self.billing, self.rng, self.lost = billing, rng, lost
        self.seen, self.waiting, self.delivered = set(), [], 0

    async def collect(self):
        """What Stripe has sent since the last time."""
        found = (await self.billing.payments.notices(since=NOW - timedelta(days=1))).value
        for notice in found:
            if notice.ref not in self.seen:
                self.seen.add(notice.ref)
                if self.rng.random() >= self.lost:
                    self.waiting += [notice] * (2 if self.rng.random() < 0.3 else 1)

    async def deliver(self, share):
        """Hands out a part of what waits; a worker looks now and then."""
        self.rng.shuffle(self.waiting)
        count = round(len(self.waiting) * share)
        now, self.waiting = self.waiting[:count], self.waiting[count:]
        for notice in now:
            await payment_notices.take(
                self.billing, self.billing.payments, notice, "told", now=self.billing.clock.now()
            )
            self.delivered += 1
            if self.rng.random() < 0.3:
                await looked(self.billing)


async def lived(billing, account, rng, lost) -> Post:
    """One invoice, from its draft to its dispute, with the post in between."""
    post = Post(billing, rng, lost)
    await post.collect()
    post.waiting.clear()  # what was before is another's
    invoice_id = await issue(billing, "acme", [4900, 100])
    await pushed(billing)
    charge, _ = await charge_of(billing, invoice_id)
    for act in Life(billing, account, charge).acts:
        await act()
        await post.collect()
        await post.deliver(rng.random())
    await post.deliver(1)
    await looked(billing)
    return post


@pytest.mark.parametrize("lost", [0, 0.15], ids=["none lost", "15 % lost"])
async def test_whatever_becomes_of_notices_we_end_with_what_stripe_has(billing, account, customer, lost):
    """All events of an account are of one second: its clock stands."""
    rng, delivered = random.Random(SEED + round(lost * 100)), 0
    while delivered < TRIALS / 2:
        post = await lived(billing, account, rng, lost)
        delivered += post.delivered
        if not lost:
            assert await differing(billing) == []
    await caught_up(billing)
    assert await differing(billing) == []
    async with postgres.transaction(billing.pool) as connection:
        kinds = await postgres.scalars(connection, b"select distinct kind from payment_objects", {})
    assert set(kinds) == {"customer", "invoice", "payment", "dispute"}, "the one that stands was looked at"


async def test_what_stripe_sends_again_after_our_faults_is_taken_once(billing, account, customer):
    """The database cuts off whoever speaks to it, now and then, while events come and are looked into."""
    rng = random.Random(SEED)
    await lived(billing, account, rng, lost=1)
    events = [one async for one in (await account.stripe.events.list_async({})).auto_paging_iter()]
    bodies = [msgspec.json.encode(one.to_dict(for_json=True)) for one in events]
    app = make_app(context=billing)
    app.state.context = billing
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    faults = 0
    async with httpx.AsyncClient(transport=transport, base_url="http://metergate") as client:
        for number, raw in enumerate(bodies):
            if number % 6 == 0:
                await cut_off(billing)
            answer = await client.post("/v1/stripe/webhook", content=raw, headers=signed(raw))
            while answer.status_code != 200:  # Stripe sends it until we say yes
                assert answer.status_code == 503
                faults += 1
                await answering(billing)
                answer = await client.post("/v1/stripe/webhook", content=raw, headers=signed(raw))
            if number % 6 == 3:
                await cut_off(billing)
                with contextlib.suppress(UnavailableError):
                    await look.run(worker(billing), billing.clock.now())
                await answering(billing)
    assert faults > 0
    billing.clock.at += timedelta(minutes=2)  # what those held who were cut off is free
    await looked(billing)
    assert await differing(billing) == []
    async with postgres.transaction(billing.pool) as connection:
        told = await postgres.scalars(connection, b"select count(*) from payment_notices", {})
    assert told == [len(bodies)]


async def answering(billing) -> None:
    """Until the instance has found out which of its connections are gone, all of them."""
    good = 0
    for _ in range(400):
        try:
            async with postgres.transaction(billing.pool) as connection:
                await postgres.scalars(connection, b"select 1", {})
            good += 1
        except UnavailableError:
            good = 0
            await asyncio.sleep(0.05)
        if good > billing.pool.max_size:
            return
    raise AssertionError("the database is there, and the instance does not find it")


async def cut_off(billing) -> None:
    """Every connection of the instance to its database ends."""
    async with await psycopg.AsyncConnection.connect(billing.config.database_url, autocommit=True) as one:
        await one.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )


async def test_what_is_paid_there_is_paid_here_by_a_notice_alone(billing, account, customer):
    await account.card(customer, DECLINED)
    invoice_id = await issue(billing, "acme", [4900])
    await pushed(billing)
    charge, _ = await charge_of(billing, invoice_id)
    await account.card(customer)
    await account.stripe.invoices.pay_async(charge.invoice_ref)
    assert await state_of(billing, invoice_id) == "open"
    await caught_up(billing)
    assert await state_of(billing, invoice_id) == "paid"


async def test_a_look_that_began_earlier_never_overwrites_one_that_began_later(billing, account, customer):
    """Two workers: the first fetches, falls asleep, and wakes when the second has seen more."""
    invoice_id = await issue(billing, "acme", [4900])
    await account.card(customer, DECLINED)
    await pushed(billing)
    charge, _ = await charge_of(billing, invoice_id)
    await looked(billing)
    thing = Thing(kind="invoice", ref=charge.invoice_ref)
    context = worker(billing)
    async with postgres.transaction(billing.pool) as connection:
        await store.want(connection, [thing], now=NOW)
        (slow,) = await store.claim(connection, now=NOW, until=NOW, limit=9)
    old = await billing.payments.fetch(thing)
    await account.stripe.invoices.void_invoice_async(charge.invoice_ref)
    async with postgres.transaction(billing.pool) as connection:
        (fast,) = await store.claim(connection, now=NOW, until=NOW, limit=9)
    await look.look(context, billing.payments, fast, NOW)
    assert await look.payment_looks.take(billing, slow, old.value, now=NOW) is False
    assert await differing(billing) == []
    assert await state_of(billing, invoice_id) == "void"


async def test_what_was_asked_for_during_a_look_is_looked_at_again(billing, customer):
    thing = Thing(kind="customer", ref=customer)
    await looked(billing)
    async with postgres.transaction(billing.pool) as connection:
        await store.want(connection, [thing], now=NOW)
        (one,) = await store.claim(connection, now=NOW, until=NOW + timedelta(minutes=1), limit=9)
        await store.want(connection, [thing], now=NOW)
        assert await store.claim(connection, now=NOW, until=NOW, limit=9) == [], "somebody looks"
    await look.look(worker(billing), billing.payments, one, NOW)
    assert await look.run(worker(billing), NOW) == "1 things looked at"
    assert await look.run(worker(billing), NOW) == ""


async def test_a_thing_that_cannot_be_looked_at_is_looked_at_later(billing, account, customer):
    await looked(billing)
    async with postgres.transaction(billing.pool) as connection:
        await store.want(connection, [Thing(kind="customer", ref=customer)], now=NOW)
    await account.fault("GET /v1/customers/", 500)
    assert await look.run(worker(billing), NOW) == "1 things looked at"
    assert await look.run(worker(billing), NOW) == ""
    assert await look.run(worker(billing), NOW + timedelta(minutes=1)) == "1 things looked at"
    assert await differing(billing) == []


async def test_a_new_card_wakes_what_waits_for_the_customer(billing, account, customer):
    """A card that was stolen is not tried again by itself."""
    stolen = {"code": "card_declined", "decline_code": "stolen_card"}
    await account.fault("POST /v1/invoices/[^/]+/pay", 402, error=stolen)
    invoice_id = await issue(billing, "acme", [4900])
    await pushed(billing)
    charge, (attempt, planned) = await charge_of(billing, invoice_id)
    assert (charge.state, charge.next_at, planned.due_at) == ("waiting", None, None)
    assert attempt.code == "stolen_card"
    await account.card(customer)
    await caught_up(billing)
    await pushed(billing)
    assert await state_of(billing, invoice_id) == "paid"
