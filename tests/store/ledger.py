"""What the store tests look at: events to send, and where they may have arrived."""

from datetime import UTC, datetime

from jobs.context import JobContext
from policies import period
from policies.usage import Usage
from service.context import Caller, Context
from service.usecases import record, subscribe, tenants
from service.usecases.changes import Order
from store import flush, keyspace, postgres
from store.reading import Want
from tests.conftest import NOW

START = datetime(2026, 10, 15, 12, tzinfo=UTC)
TOKENS = "ai-tokens"
ORDER = Order(
    caller=Caller(
        actor="cli:tests", key_id="", scopes=frozenset({"manage"}), tenant_id=None, request_id="tests"
    )
)


def worker(context: Context) -> JobContext:
    """What jobs are given, on the connections of this context."""
    return JobContext(
        config=context.config,
        clock=context.clock,
        pool=context.pool,
        link=context.counters.link,
        counters=context.counters,
        snapshots=context.snapshots,
        uses=context,
    )


async def subscribed(context: Context, tenant_id: str, plan_id: str) -> None:
    """A tenant on a plan since START, where its months begin."""
    await tenants.put(context, ORDER, tenant_id, tenants.Wish(name=tenant_id))
    await subscribe.start(context, ORDER, tenant_id, subscribe.Wish(plan_id=plan_id, start_at=START))


def event(number: int, quantity: int = 10, *, tenant_id: str = "acme", **fields) -> Usage:
    return Usage(
        tenant_id=tenant_id,
        service_id="tests",
        event_id=f"e{number}",
        feature_id=TOKENS,
        quantity=quantity,
        **fields,
    )


def month(at: datetime = NOW) -> str:
    """The time window of the tenants' usage month."""
    span = period.containing(at, interval="month", anchor="subscription", anchored_at=START)
    return keyspace.window("month", span)


async def statuses(context: Context, *events: Usage) -> list[str]:
    results, _ = await record.record(context, events)
    return [result.status for result in results]


async def levels(context: Context, tenant_id: str = "acme", *, at: datetime = NOW) -> tuple[int, ...]:
    """Included, overage and excess as Redis counts them."""
    fields = tuple((month(at), keyspace.bucket_field(TOKENS, bucket)) for bucket in "iox")
    (found,) = await context.counters.read([Want(tenant_id, fields)])
    return found.values


async def stored(context: Context, tenant_id: str = "acme") -> tuple[int, int]:
    """Events and their sum as Postgres keeps them, read from the events; the rollups must agree."""
    async with postgres.transaction(context.pool) as connection:
        found = []
        for table, count in (
            ("usage_events", "count(*)"),
            ("usage_hourly", "sum(events)"),
            ("usage_daily", "sum(events)"),
        ):
            quantity = "measured" if table == "usage_events" else "quantity"
            cursor = await connection.execute(
                f"select coalesce({count}, 0)::bigint, coalesce(sum({quantity}), 0)::bigint "
                f"from {table} where tenant_id = %s".encode(),
                (tenant_id,),
            )
            found.append(await cursor.fetchone())
    events, hourly, daily = found
    assert events == hourly == daily
    return events


async def flush_all(context: Context) -> flush.Flushed:
    return await flush.flush_once(context.pool, context.counters.link, now=NOW)
