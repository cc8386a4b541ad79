"""Tenants by the hundred thousand, put straight into both servers as their first use would leave them."""

import asyncio
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg
import redis

from scripts.benchmarks.sides import Urls
from service import clock
from service.embedded import samples
from store import keyspace, postgres, snapshot_source

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_STARTS: Final = 300 * 24 * 60
"""Minutes after it over which subscriptions begin, so that the periods of hardly two tenants are the same."""
_STEP: Final = 7_919
_PAGE: Final = 10_000
_TABLES: Final = {
    "tenants": "(tenant_id, shard, snapshot_version, created_at, updated_at)",
    "subscriptions": "(tenant_id, subscription_id, anchored_at, created_at)",
    "subscription_phases": "(tenant_id, subscription_id, start_at, plan_id, plan_version)",
    "billing_statuses": "(tenant_id, subscription_id, since, status, reason)",
}


def load(api: Urls, prefix: str, count: int, *, copies: bool, plans: Sequence[tuple[str, str]] = ()) -> None:
    """Makes `<prefix>0` to `<prefix><count - 1>`, on these plans in turn or the demo tenant's.

    Their subscriptions began at different times of the 300 days from START on.

    With `copies` Redis also has each snapshot, as after a check of it within a day.
    """
    on = plans or plan_of(api, samples.TENANT)
    with psycopg.connect(api.database_url) as connection:
        for table, columns in _TABLES.items():
            with connection.cursor().copy(f"copy {table} {columns} from stdin") as copy:
                for numbers in _pages(count):
                    copy.write(_rows(table, prefix, numbers, on))
        connection.commit()
        connection.autocommit = True
        connection.execute("vacuum (analyze) tenants, subscriptions, subscription_phases, billing_statuses")
    template = asyncio.run(_template(api, f"{prefix}0")) if copies else b""
    with redis.Redis.from_url(api.redis_url) as client:
        for numbers in _pages(count):
            _tell(client, prefix, numbers, template)


def _pages(count: int) -> Iterator[Sequence[int]]:
    for begin in range(0, count, _PAGE):
        yield range(begin, min(begin + _PAGE, count))


def _began(number: int) -> datetime:
    return START + timedelta(minutes=number * _STEP % _STARTS)


def plan_of(api: Urls, tenant_id: str) -> list[tuple[str, str]]:
    """The plan and the version that a demo tenant is on."""
    with psycopg.connect(api.database_url) as connection:
        return connection.execute(
            "select plan_id, plan_version from subscription_phases where tenant_id = %s limit 1",
            (tenant_id,),
        ).fetchall()


def _rows(table: str, prefix: str, numbers: Sequence[int], plans: Sequence[tuple[str, str]]) -> str:
    text = io.StringIO()
    for number in numbers:
        name, began = f"{prefix}{number}", _began(number)
        plan_id, plan_version = plans[number % len(plans)]
        rest = {
            "tenants": f"{keyspace.shard_of(name)}\t1\t{began}\t{began}",
            "subscriptions": f"sub\t{began}\t{began}",
            "subscription_phases": f"sub\t{began}\t{plan_id}\t{plan_version}",
            "billing_statuses": f"sub\t{began}\tgood\tloaded",
        }[table]
        text.write(f"{name}\t{rest}\n")
    return text.getvalue()


async def _template(api: Urls, name: str) -> bytes:
    """The copy of one tenant's snapshot: the others differ from it by their name and its START alone."""
    pool = await postgres.open_pool(api.database_url, size=1)
    try:
        async with postgres.transaction(pool) as connection:
            (text,) = await snapshot_source.read_texts(connection, [name], now=clock.SystemClock().now())
    finally:
        await pool.close()
    return snapshot_source.copy_of(text)


def _tell(client: "redis.Redis", prefix: str, numbers: Sequence[int], template: bytes) -> None:
    pipeline = client.pipeline(transaction=False)
    of, start = f'"{prefix}0"'.encode(), START.isoformat().encode()
    for number in numbers:
        each = f"{prefix}{number}"
        shard = keyspace.shard_of(each)
        pipeline.hset(keyspace.versions(shard), each, "1")
        if template:
            copy = template.replace(of, f'"{each}"'.encode())
            copy = copy.replace(start, _began(number).isoformat().encode())
            pipeline.set(keyspace.snapshot(shard, each), copy, ex=86_400)
    pipeline.execute()
