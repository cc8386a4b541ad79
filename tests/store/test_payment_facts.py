"""What becomes known of payments is written once, with what follows from it and the lines that tell of it."""

import asyncio
from datetime import timedelta

import msgspec
import psycopg
import pytest

from policies import subscription
from policies.errors import UnavailableError
from policies.payment import fact
from policies.payment.fact import PaymentFact, Rule
from service.usecases import billing, subscribe, tenants
from service.usecases import payment_facts as learning
from store import payment_facts, postgres, snapshot_source
from tests.conftest import NOW
from tests.store import ledger

DAY = timedelta(days=1)
RULE = Rule(grace_days=7, restricted_days=14)
LINES = b"select action || ' ' || subject from audit where tenant_id = 'acme' order by seq"


def invoice(state: str, *, at=NOW, subject="inv_1", **rest) -> PaymentFact:
    return PaymentFact(kind="invoice", subject=subject, state=state, seen_at=at, since=at, rule=RULE, **rest)


@pytest.fixture
async def acme(context, catalog):
    await ledger.subscribed(context, "acme", "pro")
    return context


async def read(context, query, tenant_id="acme"):
    async with postgres.transaction(context.pool) as connection:
        return await postgres.scalars(connection, query, {"tenant_id": tenant_id})


async def snapshot(context, *, now=NOW):
    async with postgres.transaction(context.pool) as connection:
        return await snapshot_source.read(connection, "acme", now=now)


async def course(context):
    (held,) = (await snapshot(context)).subscriptions
    return [(one.status, (one.since - NOW) / DAY) for one in held.billing]


async def learn(context, *facts):
    return await learning.note(context, ledger.ORDER, "acme", facts)


async def test_a_failure_lays_the_whole_course_in_one_write(acme):
    before, told = await snapshot(acme), len(await read(acme, LINES))
    assert await learn(acme, invoice("failed", reason="card declined", at=NOW - DAY))
    after = await snapshot(acme)
    assert after.version == before.version + 1
    assert await course(acme) == [("grace", 0), ("restricted", 6), ("suspended", 20)]
    (held,) = after.subscriptions
    assert {one.happened_at for one in held.billing} == {NOW - DAY}
    lines = (await read(acme, LINES))[told:]
    assert [line.split()[0] for line in lines] == ["payment.learn", "billing.set"]


async def test_what_is_known_already_is_not_written_again(acme):
    await learn(acme, invoice("failed"))
    before, told = await snapshot(acme), await read(acme, LINES)
    later = msgspec.structs.replace(invoice("failed"), seen_at=NOW + DAY)
    assert not await learn(acme, later, later)
    assert await snapshot(acme) == before
    assert await read(acme, LINES) == told


async def test_a_fact_that_changes_no_status_is_written_and_bumps_nothing(acme):
    before = await snapshot(acme)
    assert await learn(acme, invoice("open"))
    assert (await snapshot(acme)).version == before.version
    assert (await read(acme, b"select state from payment_facts where tenant_id = %(tenant_id)s")) == ["open"]


async def test_facts_that_come_at_once_from_many_sides_end_as_one(acme):
    """A webhook, a poller and a reconcile run learn the same and more, all at the same time."""
    facts = [invoice("failed"), invoice("paid", at=NOW + DAY), invoice("failed", at=NOW + DAY / 2)]
    await asyncio.gather(*(learn(acme, one) for one in facts * 4))
    (held,) = (await snapshot(acme)).subscriptions
    assert subscription.billing_status_at(held, NOW + 99 * DAY) == "good"
    states = await read(acme, b"select state from payment_facts where tenant_id = %(tenant_id)s order by 1")
    assert states == ["failed", "failed", "paid"]


async def test_nothing_of_it_stands_if_its_line_cannot_be_written(acme, monkeypatch):
    before = await snapshot(acme)
    async with postgres.transaction(acme.pool) as connection:
        await connection.execute(b"alter table audit add constraint full_up check (action <> 'billing.set')")
    with pytest.raises((psycopg.Error, UnavailableError)):
        await learn(acme, invoice("failed"))
    assert await snapshot(acme) == before
    assert await read(acme, b"select 1 from payment_facts where tenant_id = %(tenant_id)s") == []


async def test_no_fact_is_ever_changed_or_deleted(acme):
    await learn(acme, invoice("failed"))
    for query in (
        "update payment_facts set state = 'paid'",
        "delete from payment_facts",
        "truncate payment_facts",
    ):
        with pytest.raises((psycopg.Error, UnavailableError), match=r"refused|Postgres"):
            async with postgres.transaction(acme.pool) as connection:
                await connection.execute(query.encode())
    assert await course(acme) == [("grace", 0), ("restricted", 7), ("suspended", 21)]


async def test_who_owes_does_not_get_away_by_a_new_subscription(acme, clock):
    await learn(acme, invoice("failed"))
    await subscribe.cancel(acme, ledger.ORDER, "acme", when="now")
    clock.at = NOW + 8 * DAY
    await subscribe.start(acme, ledger.ORDER, "acme", subscribe.Wish(plan_id="pro"))
    held = (await snapshot(acme, now=clock.at)).subscriptions[-1]
    assert [(one.status, (one.since - NOW) / DAY) for one in held.billing] == [
        ("restricted", 8), ("suspended", 21),
    ]  # fmt: skip
    await learn(acme, invoice("paid", at=clock.at + DAY))


async def test_what_ended_with_the_old_subscription_is_not_the_new_ones(acme, clock):
    (old,) = (await snapshot(acme)).subscriptions
    gone = PaymentFact(
        kind="subscription", subject="sub_x", state="canceled", seen_at=NOW, since=NOW, subscription_id=old.id
    )
    await learn(acme, gone)
    assert await course(acme) == [("ended", 0)]
    await subscribe.cancel(acme, ledger.ORDER, "acme", when="now")
    clock.at = NOW + DAY
    await subscribe.start(acme, ledger.ORDER, "acme", subscribe.Wish(plan_id="pro"))
    assert (await snapshot(acme, now=clock.at)).subscriptions[-1].billing == ()


async def test_a_tenant_that_is_not_there_or_closed_learns_nothing(acme):
    assert not await learning.note(acme, ledger.ORDER, "nobody", [invoice("failed")])
    await tenants.close(acme, ledger.ORDER, "acme")
    assert not await learn(acme, invoice("failed"))


async def test_a_word_by_hand_is_a_fact_among_the_others(acme):
    wish = billing.Wish(status="good", reason="paid by wire", until=NOW + 9 * DAY)
    await learn(acme, invoice("failed"))
    await billing.put(acme, ledger.ORDER, "acme", wish)
    await billing.put(acme, ledger.ORDER, "acme", wish)
    async with postgres.transaction(acme.pool) as connection:
        (word, failure) = await payment_facts.page(connection, "acme", limit=9)
    assert (word.fact.kind, word.fact.state, word.fact.ends_at) == ("hand", "good", NOW + 9 * DAY)
    assert failure.fact == invoice("failed")
    assert fact.word_at([word.fact], word.fact.subscription_id, NOW) == word.fact
    assert await course(acme) == [("good", 0), ("restricted", 9), ("suspended", 21)]
