"""Tenants with a month of usage behind them that is still to be invoiced, put straight into Postgres."""

from datetime import UTC, datetime, timedelta

from store import invoices, keyspace, postgres
from tests.conftest import NOW

START = datetime(2026, 11, 1, tzinfo=UTC)
WHEN = datetime(2026, 12, 1, 2, tzinfo=UTC)
FILES = {
    "features.yaml": "features:\n  credits: {type: metered, name: Credits, unit: credit, aggregation: sum}\n",
    "plans/team.yaml": """\
plan: team
name: Team
currency: usd
price: "30.00"
interval: month
features:
  credits: {included: 100, overage: {model: perUnit, unitAmount: "0.10"}}
""",
    "plans/euro.yaml": """\
plan: euro
name: Euro
currency: eur
price: "30.00"
interval: month
features: {}
""",
}


async def tenants(context, publish, clock, count, *, drained_at=WHEN) -> list[str]:
    """So many on `team` since START, tenant n with n credits past what is included."""
    clock.at = NOW
    catalog = await publish(FILES)
    version = catalog.plans["team"].version
    names = [f"tenant-{number}" for number in range(count)]
    async with postgres.transaction(context.pool) as connection:
        for number, name in enumerate(names):
            for statement, values in (
                (b"tenants (tenant_id, shard, name, created_at, updated_at)",
                 (name, keyspace.shard_of(name), name.title(), START, START)),
                (b"subscriptions (tenant_id, subscription_id, anchored_at, created_at)",
                 (name, "sub", START, START)),
                (b"subscription_phases (tenant_id, subscription_id, start_at, plan_id, plan_version)",
                 (name, "sub", START, "team", version)),
                (b"billing_accounts (tenant_id, subscription_id, billed_from, closed_until)",
                 (name, "sub", START, START)),
                (b"usage_counters (tenant_id, time_window, field, used, ends_at)",
                 (name, f"m.{int(START.timestamp())}", "credits:i", 100, WHEN + timedelta(days=40))),
                (b"usage_counters (tenant_id, time_window, field, used, ends_at)",
                 (name, f"m.{int(START.timestamp())}", "credits:o", number, WHEN + timedelta(days=40))),
            ):  # fmt: skip
                marks = b", ".join([b"%s"] * len(values))
                await connection.execute(b"insert into %b values (%b)" % (statement, marks), values)
        await connection.execute(b"update flush_cursors set drained_at = %s", (drained_at,))
    return names


async def issued(context) -> list[invoices.Invoice]:
    """All invoices, by number; each adds up."""
    async with postgres.transaction(context.pool) as connection:
        tenant_ids = await postgres.scalars(connection, b"select tenant_id from tenants order by 1", {})
        found = [
            one for tenant_id in tenant_ids for one in await invoices.page(connection, tenant_id, limit=100)
        ]
        for one in found:
            lines = await invoices.lines(connection, one.tenant_id, one.invoice_id)
            assert sum(line.amount for line in lines) == one.total
            _, _, number = one.tenant_id.partition("-")
            assert one.total == 3_000 + 10 * int(number)
    return sorted(found, key=lambda one: one.number)
