"""Tenants a second whose billing period is closed and invoiced, beside a bare COPY of the same rows.

Each has five metered features with overage at a price of its own, as the flush would have left them.
"""

import asyncio
import io
import os
import resource
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import psycopg

from policies.compiler import build
from scripts.benchmarks import figure, sides
from scripts.benchmarks.figure import Figure, Settings
from service import clock, wiring
from service.clock import FixedClock
from service.config import Config
from service.context import Context
from service.usecases import closing
from store import catalogs, keyspace, postgres

SIZES: Final = (2_000, 10_000)
START: Final = datetime(2026, 11, 1, tzinfo=UTC)
NOW: Final = datetime(2026, 12, 1, 2, tzinfo=UTC)
FEATURES: Final = {
    "calls": '{model: perUnit, unitAmount: "0.002"}',
    "storage": '{model: package, size: 100, amount: "0.50"}',
    "tokens": '{model: graduated, tiers: [{upTo: 1000, unitAmount: "0.01"}, {unitAmount: "0.008"}]}',
    "minutes": '{model: volume, tiers: [{upTo: 500, unitAmount: "0.03"}, {unitAmount: "0.02"}]}',
    "seats": '{model: perUnit, unitAmount: "1.50", minimum: "3.00"}',
}
_TABLES: Final = {
    "tenants": "(tenant_id, shard, name, email, created_at, updated_at)",
    "subscriptions": "(tenant_id, subscription_id, anchored_at, created_at)",
    "subscription_phases": "(tenant_id, subscription_id, start_at, plan_id, plan_version)",
    "billing_accounts": "(tenant_id, subscription_id, billed_from, closed_until)",
    "usage_counters": "(tenant_id, time_window, field, used, ends_at)",
}
_COPIED: Final = ("invoices", "invoice_lines")


def figures(settings: Settings) -> list[Figure]:
    """One process, one connection at a time; the processor time of both sides together is told, too."""
    with sides.instance() as made:
        config = Config(
            database_url=made.running.database_url, redis_url=made.running.redis_url, embedded=True
        )
        return [_Closing(config, count, settings).figure() for count in SIZES]


class _Closing:
    """So many tenants in each run."""

    def __init__(self, config: Config, count: int, settings: Settings) -> None:
        self._config, self._count, self._settings = config, count, settings
        self._run = 0
        self._last: list[bytes] = []

    def figure(self) -> Figure:
        """Both sides in turn; the first run is for the reference, which copies what was made last."""
        self._ours()
        return figure.measure(
            f"close-{self._count}",
            unit="tenants/s",
            ours=self._ours,
            reference=self._reference,
            settings=self._settings,
        )

    def _ours(self) -> float:
        self._run += 1
        with psycopg.connect(self._config.database_url) as connection:
            version = _plan(self._config)
            names = [f"close{self._count}-{self._run}-{number}" for number in range(self._count)]
            for table, columns in _TABLES.items():
                with connection.cursor().copy(f"copy {table} {columns} from stdin") as copy:
                    copy.write(_rows(table, names, version))
            connection.execute("update flush_cursors set drained_at = %s", (NOW,))
            connection.commit()
            connection.autocommit = True
            connection.execute("vacuum (analyze) " + ", ".join(_TABLES))
        own, servers = _own_s(), self._servers_s()
        seconds = asyncio.run(_close(self._config, self._count))
        own, servers = _own_s() - own, self._servers_s() - servers
        told = f"{own:.1f} s of our process and {servers:.1f} s of PostgreSQL's"
        self._settings.say(f"  {self._count:,} tenants in {seconds:.1f} s, with {told}")
        self._last = list(self._copied_out(f"close{self._count}-{self._run}-%"))
        return self._count / seconds

    def _servers_s(self) -> float:
        """Processor time of PostgreSQL so far: of what runs, and of what has ended."""
        with psycopg.connect(self._config.database_url) as connection:
            row = connection.execute("show data_directory").fetchone()
        assert row is not None
        leader = int(Path(row[0], "postmaster.pid").read_text().split()[0])
        return sum(_processor_s(pid, leader) for pid in Path("/proc").glob("[0-9]*"))

    def _copied_out(self, prefix: str) -> Iterator[bytes]:
        with psycopg.connect(self._config.database_url) as connection:
            for table in _COPIED:
                query = f"copy (select * from {table} where tenant_id like %s) to stdout"  # noqa: S608 - of _COPIED
                with connection.cursor().copy(query, (prefix,)) as copy:
                    yield b"".join(bytes(part) for part in copy)

    def _reference(self) -> float:
        with psycopg.connect(self._config.database_url, autocommit=True) as connection:
            for table in _COPIED:
                connection.execute(f"create table bare_{table} (like {table} including all)")
            began = clock.monotonic_s()
            for table, rows in zip(_COPIED, self._last, strict=True):
                with connection.cursor().copy(f"copy bare_{table} from stdin") as copy:
                    copy.write(rows)
            seconds = clock.monotonic_s() - began
            for table in _COPIED:
                connection.execute(f"drop table bare_{table}")
        return self._count / seconds


def _own_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _processor_s(process: Path, leader: int) -> float:
    """Of the leader with what has ended below it, or of a process that it began; else 0."""
    try:
        _, _, rest = (process / "stat").read_text().rpartition(")")
    except OSError:
        return 0.0
    fields = rest.split()
    used = [int(each) for each in fields[11:15]]  # own and ended children's, in user and kernel mode
    if int(process.name) == leader:
        return sum(used) / os.sysconf("SC_CLK_TCK")
    return sum(used[:2]) / os.sysconf("SC_CLK_TCK") if int(fields[1]) == leader else 0.0


async def _close(config: Config, count: int) -> float:
    async with wiring.open_context(config, FixedClock(NOW)) as context:
        began = clock.monotonic_s()
        done = await closing.close_due(context, NOW)
        seconds = clock.monotonic_s() - began
    assert (done.periods, done.invoices) == (count, count), done
    return seconds


def _plan(config: Config) -> str:
    """Publishes the plan of the figure, if it is not there; its version."""
    metered = "".join(
        f"  {name}: {{type: metered, name: {name.title()}, unit: unit, aggregation: sum}}\n"
        for name in FEATURES
    )
    sold = "".join(f"  {name}: {{included: 100, overage: {price}}}\n" for name, price in FEATURES.items())
    files = {
        "features.yaml": f"features:\n{metered}",
        "plans/five.yaml": 'plan: five\nname: Five\ncurrency: usd\nprice: "49.00"\n'
        f"interval: month\nfeatures:\n{sold}",
    }
    catalog = build.compile_catalog(files).catalog
    assert catalog is not None

    async def publish() -> None:
        async with wiring.open_context(config, FixedClock(START)) as context:
            await _activate(context)

    async def _activate(context: Context) -> None:
        async with postgres.transaction(context.pool) as connection:
            new = await catalogs.publish(
                connection, catalog, files, message="figure", author="bench", now=START
            )
            if new:
                await catalogs.activate(connection, catalog.hash, by="bench", now=START)

    asyncio.run(publish())
    return catalog.plans["five"].version


def _rows(table: str, names: Sequence[str], version: str) -> str:
    text = io.StringIO()
    for place, name in enumerate(names):
        if table == "usage_counters":
            window, ends = f"m.{int(START.timestamp())}", START + timedelta(days=40)
            for feature in FEATURES:
                text.write(f"{name}\t{window}\t{feature}:i\t100\t{ends}\n")
                text.write(f"{name}\t{window}\t{feature}:o\t{place * 37 % 2_500 + 1}\t{ends}\n")
            continue
        rest = {
            "tenants": f"{keyspace.shard_of(name)}\tTenant {place}\tbilling@{name}.example\t{START}\t{START}",
            "subscriptions": f"sub\t{START}\t{START}",
            "subscription_phases": f"sub\t{START}\tfive\t{version}",
            "billing_accounts": f"sub\t{START}\t{START}",
        }[table]
        text.write(f"{name}\t{rest}\n")
    return text.getvalue()
