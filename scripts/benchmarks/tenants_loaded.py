"""Tenants by the hundred thousand, put straight into both servers as their first use would leave them."""

import asyncio
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import psycopg
import redis

from scripts.benchmarks.sides import Urls
from service import clock
from service.embedded import samples
from store import keyspace, postgres, snapshot_source

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_PAGE: Final = 10_000
_TABLES: Final = {
    "tenants": "(tenant_id, shard, snapshot_version, created_at, updated_at)",
    "subscriptions": "(tenant_id, subscription_id, anchored_at, created_at)",
    "subscription_phases": "(tenant_id, subscription_id, start_at, plan_id, plan_version)",
    "billing_statuses": "(tenant_id, subscription_id, since, status, reason)",
}


def load(api: Urls, prefix: str, count: int, *, copies: bool, plans: Sequence[tuple[str, str]] = ()) -> None:
    """Makes `<prefix>0` to `<prefix><count - 1>`, since START, on these plans in turn or the demo tenant's.

    With `copies` Redis also has each snapshot, as after a check of it within a day.
    """
    on = plans or plan_of(api, samples.TENANT)
    with psycopg.connect(api.database_url) as connection:
        for table, columns in _TABLES.items():
            with connection.cursor().copy(f"copy {table} {columns} from stdin") as copy:
                for names in _pages(prefix, count):
                    copy.write(_rows(table, names, on))
        connection.commit()
        connection.autocommit = True
        connection.execute("vacuum (analyze) tenants, subscriptions, subscription_phases, billing_statuses")
    template = asyncio.run(_template(api, f"{prefix}0")) if copies else b""
    with redis.Redis.from_url(api.redis_url) as client:
        for names in _pages(prefix, count):
            _tell(client, names, template, f"{prefix}0".encode())


def _pages(prefix: str, count: int) -> Iterator[Sequence[str]]:
    for begin in range(0, count, _PAGE):
        yield [f"{prefix}{number}" for number in range(begin, min(begin + _PAGE, count))]


def plan_of(api: Urls, tenant_id: str) -> list[tuple[str, str]]:
    """The plan and the version that a demo tenant is on."""
    with psycopg.connect(api.database_url) as connection:
        return connection.execute(
            "select plan_id, plan_version from subscription_phases where tenant_id = %s limit 1",
            (tenant_id,),
        ).fetchall()


def _rows(table: str, names: Sequence[str], plans: Sequence[tuple[str, str]]) -> str:
    text = io.StringIO()
    for place, name in enumerate(names):
        plan_id, plan_version = plans[place % len(plans)]
        rest = {
            "tenants": f"{keyspace.shard_of(name)}\t1\t{START}\t{START}",
            "subscriptions": f"sub\t{START}\t{START}",
            "subscription_phases": f"sub\t{START}\t{plan_id}\t{plan_version}",
            "billing_statuses": f"sub\t{START}\tgood\tloaded",
        }[table]
        text.write(f"{name}\t{rest}\n")
    return text.getvalue()


async def _template(api: Urls, name: str) -> bytes:
    """The copy of one tenant's snapshot: the others differ from it by their name alone."""
    pool = await postgres.open_pool(api.database_url, size=1)
    try:
        async with postgres.transaction(pool) as connection:
            (text,) = await snapshot_source.read_texts(connection, [name], now=clock.SystemClock().now())
    finally:
        await pool.close()
    return snapshot_source.copy_of(text)


def _tell(client: "redis.Redis", names: Sequence[str], template: bytes, name: bytes) -> None:
    pipeline = client.pipeline(transaction=False)
    for each in names:
        shard = keyspace.shard_of(each)
        pipeline.hset(keyspace.versions(shard), each, "1")
        if template:
            copy = template.replace(b'"%s"' % name, b'"%s"' % each.encode())
            pipeline.set(keyspace.snapshot(shard, each), copy, ex=86_400)
    pipeline.execute()
