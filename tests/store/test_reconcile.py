"""Plans are kept as they were made, acts are done once, whoever dies or comes second."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from jobs import housekeep
from jobs import reconcile as job
from policies.errors import NotFoundError
from policies.payment.fact import PaymentFact, Rule
from policies.reconcile import looks, plan
from policies.reconcile.finding import Finding
from policies.reconcile.looks import Kept
from service.usecases import payment_facts, reconcile, reconcile_apply, subscribe, tenants
from store import payment_facts as facts_store
from store import postgres, subscriptions
from store import reconcile as store
from tests.conftest import NOW, ROOT
from tests.store import ledger

APART = timedelta(seconds=60)
LINES = b"select action from audit where action like 'reconcile.%%' order by seq"


@pytest.fixture
async def acme(context, catalog):
    """A tenant who paid, and whose billing status is not what that says."""
    await ledger.subscribed(context, "acme", "pro")
    paid = PaymentFact(kind="invoice", subject="inv_1", state="paid", seen_at=NOW, since=NOW)
    await payment_facts.note(context, ledger.ORDER, "acme", [paid])
    await wrong(context)
    return context


async def wrong(context) -> None:
    async with postgres.transaction(context.pool) as connection:
        await postgres.execute(
            connection,
            b"insert into billing_statuses (tenant_id, subscription_id, since, status, reason)"
            b" select tenant_id, subscription_id, %(now)s, 'suspended', 'by mistake' from subscriptions",
            {"now": context.clock.now()},
        )


async def twice(context):
    await reconcile.make(context, "full", context.clock.now())
    context.clock.at += APART
    return await reconcile.make(context, "full", context.clock.now())


async def test_a_first_look_only_suspects_and_a_second_one_proposes(acme):
    first = await reconcile.make(acme, "full", acme.clock.now())
    assert ([one.suspected for one in first.totals], first.proposals) == ([1], ())
    acme.clock.at += APART
    second = await reconcile.make(acme, "full", acme.clock.now())
    assert [one.finding.kind for one in second.proposals] == ["status_stale"]
    assert (await reconcile.get(acme, second.plan_id)).plan == second
    assert (await reconcile.get(acme, "")).plan == second
    page = await reconcile.page(acme, before="", limit=1)
    assert page.items == [second]
    assert (await reconcile.page(acme, before=page.next_cursor, limit=1)).items == [first]


async def test_what_is_applied_by_two_at_once_is_done_once(acme):
    made = await twice(acme)
    views = await asyncio.gather(*(reconcile_apply.apply(acme, ROOT, made.plan_id) for _ in range(4)))
    assert {one.state for view in views for one in view.done} == {"done"}
    assert len(await billing(acme)) == 2
    assert (await twice(acme)).is_clean


async def billing(context):
    async with postgres.transaction(context.pool) as connection:
        return await postgres.scalars(connection, b"select status from billing_statuses order by since", {})


async def test_what_does_not_stand_any_more_is_not_done(acme):
    made = await twice(acme)
    async with postgres.transaction(acme.pool) as connection:
        await connection.execute(b"delete from billing_statuses where reason = 'by mistake'")
    acme.clock.at += APART
    assert (await reconcile.make(acme, "full", acme.clock.now())).is_clean
    view = await reconcile_apply.apply(acme, ROOT, made.plan_id)
    assert [one.state for one in view.done] == ["past"]


async def test_an_act_and_its_line_stand_together_and_a_plan_goes_on_where_it_stopped(acme):
    made = await twice(acme)
    async with postgres.transaction(acme.pool) as connection:
        await connection.execute(
            b"alter table audit add constraint full_up check (action <> 'reconcile.lay')"
        )
    with pytest.raises(Exception, match=r"full_up|Postgres"):
        await reconcile_apply.apply(acme, ROOT, made.plan_id)
    assert (await reconcile.get(acme, made.plan_id)).done == []
    assert (await billing(acme))[-1] == "suspended"
    async with postgres.transaction(acme.pool) as connection:
        await connection.execute(b"alter table audit drop constraint full_up")
    view = await reconcile_apply.apply(acme, ROOT, made.plan_id)
    assert [one.told for one in view.done] == ["the billing status was laid anew"]
    async with postgres.transaction(acme.pool) as connection:
        assert await postgres.scalars(connection, LINES, {}) == ["reconcile.lay"]


async def test_the_job_looks_when_it_is_due_twice_and_changes_nothing(acme):
    worker = ledger.worker(acme)
    told = []
    for seconds in (0, 10, 60, 60, 3_600):
        acme.clock.at += timedelta(seconds=seconds)
        told.append(await job.run(worker, acme.clock.now()))
    assert [len(text.split("; ")) if text else 0 for text in told] == [2, 0, 2, 0, 1]
    assert "something may differ" in told[0]
    assert "1 status_stale" in told[2]
    assert (await billing(acme))[-1] == "suspended"


async def test_differences_of_the_books_stand_in_the_plan_for_a_person(acme):
    async with postgres.transaction(acme.pool) as connection:
        await connection.execute(
            b"insert into drift (tenant_id, drift_id, class, feature_id, subject, expected, actual, evidence,"
            b" action, why_safe, state, looks, first_seen_at, last_seen_at) values ('acme', 'drf_1',"
            b" 'counter_altered', 'ai-tokens', 'm i', '7', '9', '{}', 'put it back', 'derived', 'open', 2,"
            b" now(), now())"
        )
    made = await twice(acme)
    (line,) = made.books
    assert (line.kind, line.expected, line.actual, line.action) == (
        "counter_altered",
        "7",
        "9",
        "put it back",
    )
    await reconcile_apply.apply(acme, ROOT, made.plan_id)
    assert len((await twice(acme)).books) == 1


async def test_a_plan_that_is_not_there(context, catalog):
    for plan_id in ("", "pln_x"):
        with pytest.raises(NotFoundError):
            await reconcile.get(context, plan_id)
    made = await reconcile.make(context, "open", NOW)
    assert made.is_clean
    assert msgspec.json.encode(made)


async def test_old_plans_go_unless_something_was_done_by_them(acme):
    made = await twice(acme)
    await reconcile_apply.apply(acme, ROOT, made.plan_id)
    await twice(acme)
    await housekeep.run(ledger.worker(acme), acme.clock.now() + timedelta(days=91))
    assert [one.plan_id for one in (await reconcile.page(acme, before="", limit=9)).items] == [made.plan_id]
    async with postgres.transaction(acme.pool) as connection:
        assert await postgres.scalars(connection, b"select class from reconcile_findings", {}) == []


def refund(subject: str, state: looks.State = "open") -> Kept:
    finding = Finding(
        kind="refund_unrecorded", tenant_id="acme", subject=subject, expected="nothing", actual="full"
    )
    return Kept(finding=finding, state=state, looks=2, first_seen_at=NOW, last_seen_at=NOW)


async def test_a_look_is_asked_for_once_and_not_for_what_is_over(context, catalog):
    """However often a plan is applied, and by how many at once; whoever asks twice would look twice."""
    found = [refund("pi_1"), refund("pi_2")]
    made = plan.made("pln_1", found, scope="full", looked_at=2, unread=(), now=NOW)
    async with postgres.transaction(context.pool) as connection:
        await store.keep(connection, [found[0], refund("pi_2", "gone")])
        await store.add_plan(connection, made)
    for _ in range(2):
        await asyncio.gather(*(reconcile_apply.apply(context, ROOT, "pln_1") for _ in range(3)))
        view = await reconcile.get(context, "pln_1")
        assert sorted(one.state for one in view.done) == ["done", "past"]
    async with postgres.transaction(context.pool) as connection:
        asked = await postgres.scalars(
            connection, b"select ref || ' ' || kind || ' ' || wanted from payment_objects", {}
        )
        assert await postgres.scalars(connection, LINES, {}) == ["reconcile.look"] * 2
    assert asked == ["pi_1 payment 1"]


async def test_a_worker_that_may_does_what_is_safe_by_itself(acme):
    """Of what two looks have found, as a job that stands in the audit; whoever looks then finds nothing."""
    allowed = replace(acme, config=msgspec.structs.replace(acme.config, reconcile_apply="safe"))
    worker = ledger.worker(allowed)
    first = await job.run(worker, acme.clock.now())
    assert ("done" in first, (await billing(acme))[-1]) == (False, "suspended"), "one look is not enough"
    acme.clock.at += APART
    assert "1 done" in await job.run(worker, acme.clock.now())
    assert (await billing(acme))[-1] == "good"
    acme.clock.at += timedelta(hours=1)
    assert await job.run(worker, acme.clock.now()) == ""
    async with postgres.transaction(acme.pool) as connection:
        actors = b"select actor from audit where action = 'reconcile.lay'"
        assert await postgres.scalars(connection, actors, {}) == ["job:reconcile"]


async def test_a_plan_that_the_breaker_has_stopped_is_not_done_by_a_worker_either(acme):
    found = [refund(f"pi_{number}") for number in range(7)]
    made = plan.made("pln_1", found, scope="full", looked_at=7, unread=(), now=NOW)
    assert made.broken
    context = replace(acme, config=msgspec.structs.replace(acme.config, reconcile_apply="safe"))
    assert await job._apply(ledger.worker(context), made) == ""
    unread = plan.made("pln_2", found[:1], scope="full", looked_at=7, unread=("disputes",), now=NOW)
    assert unread.actions
    assert await job._apply(ledger.worker(context), unread) == ""


async def test_many_billing_statuses_are_read_as_one_is(context, catalog):
    """Those of many tenants in one go, with subscriptions that follow each other, and without any."""
    names = [f"t{number}" for number in range(5)]
    for number, name in enumerate(names):
        await ledger.subscribed(context, name, "pro")
        for look in range(number):
            seen_at = NOW + timedelta(hours=look)
            fact = PaymentFact(
                kind="invoice", subject=f"inv_{look}", state="failed", seen_at=seen_at, since=seen_at,
                rule=Rule(grace_days=look),
            )  # fmt: skip
            await payment_facts.note(context, ledger.ORDER, name, [fact])
    for name, plan_id in (("t1", "starter"), ("t4", "free"), ("t4", "enterprise")):
        context.clock.at += timedelta(hours=1)
        await subscribe.change(context, ledger.ORDER, name, subscribe.Move(plan_id=plan_id, when="now"))
    await tenants.put(context, ledger.ORDER, "bare", tenants.Wish(name="bare"))
    async with postgres.transaction(context.pool) as connection:
        found = await subscriptions.latest_of(connection, [*names, "bare", "nobody"])
        facts = await facts_store.of_tenants(connection, [*names, "bare"])
        assert [phase.plan_id for phase in found["t4"].phases] == ["pro", "free", "enterprise"]
        for name in names:
            held = await subscriptions.latest(connection, name)
            assert found.pop(name) == held.subscription
            assert facts.pop(name, []) == await facts_store.of_tenant(connection, name)
    assert (found, facts) == ({}, {})
