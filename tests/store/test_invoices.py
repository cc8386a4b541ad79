"""What Postgres holds of invoices by itself: that they never change, and that their numbers have no gap."""

import asyncio

import psycopg
import pytest

from policies import limits
from service.usecases import closing
from store import invoices, keyspace, postgres
from tests.conftest import NOW
from tests.store.billed import WHEN, issued, tenants

KEPT = ("invoices", "invoice_lines", "credit_notes", "billing_ledger")


@pytest.mark.parametrize("table", KEPT)
@pytest.mark.parametrize("change", ["update {} set tenant_id = 'x'", "delete from {}", "truncate {} cascade"])
async def test_what_was_issued_is_never_changed(context, table, change):
    """Not even where nothing would match: whoever says so has made a mistake."""
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match=f"of {table} is refused"):
        async with postgres.transaction(context.pool) as connection:
            await connection.execute(change.format(table).encode())


async def test_numbers_follow_each_other_whoever_fails(context):
    """Of twenty at once that each take some, and of whom every third is rolled back."""

    async def take(number: int) -> list[int]:
        async with postgres.transaction(context.pool) as connection:
            first = await invoices.take_numbers(connection, "invoice", number % 4 + 1)
            if number % 3 == 0:
                raise ZeroDivisionError
            return [*range(first, first + number % 4 + 1)]

    found = await asyncio.gather(*(take(number) for number in range(20)), return_exceptions=True)
    taken = sorted(each for one in found if isinstance(one, list) for each in one)
    assert taken == [*range(1, len(taken) + 1)]
    assert len([one for one in found if isinstance(one, ZeroDivisionError)]) == 7


async def test_of_several_at_once_each_period_is_closed_by_one(context, clock, publish, monkeypatch):
    monkeypatch.setattr(limits, "CLOSE_BATCH", 3)
    names = await tenants(context, publish, clock, 17)
    clock.at = WHEN
    done = await asyncio.gather(*(closing.close_due(context, WHEN) for _ in range(3)))
    assert sum(one.periods for one in done) == sum(one.invoices for one in done) == 17
    found = await issued(context)
    assert sorted(one.tenant_id for one in found) == sorted(names)
    assert [one.number for one in found] == [*range(1, 18)]


async def test_usage_that_is_not_in_postgres_yet_holds_its_tenants_alone(context, clock, publish):
    names = await tenants(context, publish, clock, 6, drained_at=WHEN)
    async with postgres.transaction(context.pool) as connection:
        await connection.execute(
            b"update flush_cursors set drained_at = %s where shard = %s", (NOW, keyspace.shard_of(names[0]))
        )
        await connection.execute(
            b"insert into usage_inbox values (%s, gen_random_uuid(), 0, %s, '{}')", (names[1], NOW)
        )
    done = await closing.close_due(context, WHEN)
    assert (done.periods, done.waiting) == (4, 2)
    assert {one.tenant_id for one in await issued(context)} == set(names[2:])


async def test_a_tenant_that_cannot_be_billed_holds_no_other(context, clock, publish, caplog):
    names = await tenants(context, publish, clock, 3)
    async with postgres.transaction(context.pool) as connection:
        await connection.execute(  # a second plan in another currency, which no change would allow
            b"update subscription_phases set end_at = %s where tenant_id = %s", (NOW, names[1])
        )
        await connection.execute(
            b"""insert into subscription_phases (tenant_id, subscription_id, start_at, plan_id, plan_version)
            select p.tenant_id, p.subscription_id, p.end_at, 'euro', v.plan_version
            from subscription_phases p, plan_versions v where p.tenant_id = %s and v.plan_id = 'euro'""",
            (names[1],),
        )
    done = await closing.close_due(context, WHEN)
    assert (done.periods, done.failed, done.waiting) == (2, 1, 0)
    assert "a bill has one currency" in caplog.text
    assert {one.tenant_id for one in await issued(context)} == {names[0], names[2]}
    again = await closing.close_due(context, WHEN)
    assert (again.periods, again.failed) == (0, 0), "it is tried again an hour later"


async def test_a_change_of_a_tenant_and_its_close_do_not_wait_in_a_ring(context, clock, publish):
    """Both want the tenant and its account; whoever comes second waits, and nobody is turned away."""
    names = await tenants(context, publish, clock, 8)
    clock.at = WHEN

    async def changes(tenant_id: str) -> None:
        async with postgres.transaction(context.pool) as connection:
            await connection.execute(b"select from tenants where tenant_id = %s for update", (tenant_id,))
            await asyncio.sleep(0)
            await connection.execute(
                b"update billing_accounts set look_at = '-infinity' where tenant_id = %s", (tenant_id,)
            )

    await asyncio.gather(closing.close_due(context, WHEN), *(changes(each) for each in names[::2]))
    await closing.close_due(context, WHEN)
    assert len(await issued(context)) == 8


async def test_a_close_waits_for_a_flush_that_is_under_way(context, clock, publish):
    """What that commits is on the invoice: nobody reads sums of a shard while they are being added to."""
    (name,) = await tenants(context, publish, clock, 1)
    async with postgres.transaction(context.pool) as flushing:
        await flushing.execute(
            b"select from flush_cursors where shard = %s for update", (keyspace.shard_of(name),)
        )
        await flushing.execute(b"update usage_counters set used = used + 7 where field = 'credits:o'")
        close = asyncio.create_task(closing.close_due(context, WHEN))
        done, _ = await asyncio.wait({close}, timeout=0.5)
        assert not done
    assert (await close).invoices == 1
    async with postgres.transaction(context.pool) as connection:
        (found,) = await invoices.page(connection, name, limit=1)
    assert found.total == 3_070
