"""Each server, and both, stopped, paused and slow: what is answered meanwhile, how soon, and what is kept.

The rows are those of docs/operations.md, "When a part is away".
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import httpx
import pytest

from jobs import flush as flush_job
from jobs import inbox as inbox_job
from policies import errors
from policies.compiler import build
from service import wiring
from service.api.app import make_app
from service.clock import SystemClock
from service.config import Config
from service.context import Context
from service.usecases import keys, subscribe, tenants
from service.usecases.changes import Order
from store import catalogs, migrate, postgres
from store.link import RedisAwayError
from tests.conftest import ROOT
from tests.servers import Postgres, Proxy, Valkey
from tests.store import ledger

BOUND_S = 1.0
"""No request takes longer because a server hangs."""
SLOW_S = 0.1
"""By which a slow server's answers come late: it is used as ever."""


class Row(NamedTuple):
    """What is away and how; and what the acts then come to."""

    away: tuple[str, ...]
    how: str
    check: tuple[str, ...]
    """Of a boolean, a metered `lastKnown` and a metered `allow` feature: outcome, and `*` where degraded."""
    consume: str
    """Of the `allow` feature: its outcome, then what is said of `consumed`."""
    usage: int
    stranger: int
    """A check of a tenant that this process does not know."""


FINE = ("allowed", "allowed", "allowed")
BLIND = ("allowed*", "indeterminate*", "indeterminate*")
ROWS = (
    Row(("redis",), "stopped", BLIND, "indeterminate* True", 202, 200),
    Row(("redis",), "paused", BLIND, "indeterminate* True", 202, 200),
    Row(("redis",), "slow", FINE, "allowed True", 202, 200),
    Row(("postgres",), "stopped", FINE, "allowed True", 202, 503),
    Row(("postgres",), "paused", FINE, "allowed True", 202, 503),
    Row(("postgres",), "slow", FINE, "allowed True", 202, 200),
    Row(("redis", "postgres"), "stopped", BLIND, "indeterminate* False", 503, 503),
    Row(("redis", "postgres"), "paused", BLIND, "indeterminate* False", 503, 503),
    Row(("redis", "postgres"), "slow", FINE, "allowed True", 202, 200),
)


class Site:
    """Both servers, and the proxies that an instance reaches them by."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers = {"redis": Valkey(folder, "valkey"), "postgres": Postgres(folder)}
        for server in self.servers.values():
            server.start()
        (folder / "p").mkdir()
        migrate.migrate(self.servers["postgres"].url)

    @asynccontextmanager
    async def proxies(self) -> AsyncIterator[dict[str, Proxy]]:
        name = ".s.PGSQL.5432"
        async with (
            Proxy(self.folder / "p" / name, self.folder / name) as before_postgres,
            Proxy(self.folder / "p" / "valkey.sock", self.servers["redis"].socket) as before_redis,
        ):
            yield {"redis": before_redis, "postgres": before_postgres}

    def config(self) -> Config:
        host = quote(str(self.folder / "p"), safe="")
        return Config(
            database_url=f"postgresql://metergate@/postgres?host={host}",
            redis_url=f"unix://{self.folder}/p/valkey.sock",
        )

    def stop(self) -> None:
        for server in self.servers.values():
            server.kill()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="mgt"))  # short: a socket's path is bounded
    folder.chmod(0o755)
    made = Site(folder)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


class Instance:
    """An API process's context and its face, and what was acknowledged over it."""

    def __init__(self, context: Context, client: httpx.AsyncClient, name: str) -> None:
        self.context, self.client, self.name = context, client, name
        self.number = 0
        self.acknowledged: set[str] = set()
        self.slowest = 0.0

    async def post(self, path: str, **body: object) -> httpx.Response:
        begun = time.perf_counter()
        response = await self.client.post(path, json={"tenantId": self.name} | body)
        self.slowest = max(self.slowest, time.perf_counter() - begun)
        return response

    async def checked(self, feature_id: str) -> str:
        decision = (await self.post("/v1/check", featureId=feature_id)).json()
        return decision["outcome"] + ("*" if decision["degraded"] else "")

    async def used(self) -> int:
        self.number += 1
        event_id = f"u{self.number}"
        answer = await self.post("/v1/usage", id=event_id, serviceId="s", featureId=ledger.TOKENS, quantity=1)
        if answer.status_code == 202:
            self.acknowledged.add(event_id)
        return answer.status_code

    async def consumed(self) -> str:
        self.number += 1
        event_id = f"c{self.number}"
        answer = await self.post("/v1/consume", id=event_id, serviceId="s", featureId="api-calls", quantity=1)
        decision = answer.json()
        if decision["consumed"]:
            self.acknowledged.add(event_id)
        return f"{decision['outcome']}{'*' if decision['degraded'] else ''} {decision['consumed']}"

    async def worked(self) -> None:
        """What a worker does, as soon as it can."""
        job = ledger.worker(self.context)
        await flush_job.run(job, self.context.clock.now())
        await inbox_job.run(job, self.context.clock.now())
        await flush_job.run(job, self.context.clock.now())


@asynccontextmanager
async def instance(site: Site, files: dict[str, str], name: str) -> AsyncIterator[Instance]:
    """Knows one tenant on pro, and what that has used."""
    async with wiring.open_context(site.config(), SystemClock()) as context:
        compiled, now = build.compile_catalog(files), context.clock.now()
        assert compiled.catalog is not None
        async with postgres.transaction(context.pool) as connection:
            await catalogs.publish(connection, compiled.catalog, files, message="m", author="a", now=now)
            await catalogs.activate(connection, compiled.catalog.hash, by="a", now=now)
        await context.catalogs.refresh()
        for tenant_id in (name, f"{name}-stranger"):
            await tenants.put(context, Order(caller=ROOT), tenant_id, tenants.Wish(name=tenant_id))
            await subscribe.start(context, Order(caller=ROOT), tenant_id, subscribe.Wish(plan_id="pro"))
        reply = await keys.create(context, Order(caller=ROOT), keys.Wish(name="k", scopes=keys.SCOPES))
        secret = httpx.Response(200, content=reply.body).json()["secret"]
        app = make_app(context=context)
        app.state.context = context
        transport = httpx.ASGITransport(app)
        headers = {"authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://m", headers=headers) as client:
            made = Instance(context, client, name)
            await made.worked()
            assert [
                await made.checked(f) for f in ("premium-voice-model", ledger.TOKENS, "api-calls")
            ] == list(FINE)
            context.pool.heartbeat.start()  # as the app does in a process of its own
            made.slowest = 0.0
            yield made


@asynccontextmanager
async def away(site: Site, row: Row, proxies: dict[str, Proxy]) -> AsyncIterator[None]:
    """While it lasts the servers of the row are as it says; afterwards all is well again."""
    for part in row.away:
        match row.how:
            case "stopped":
                site.servers[part].kill()
            case "paused":
                site.servers[part].pause()
            case _:
                proxies[part].delay_s = SLOW_S
    try:
        yield
    finally:
        for part in row.away:
            match row.how:
                case "stopped":
                    site.servers[part].start()
                case "paused":
                    site.servers[part].resume()
                case _:
                    proxies[part].delay_s = 0.0


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{' and '.join(row.away)} {row.how}")
async def test_what_is_answered_while_a_part_is_away(site: Site, row: Row, example_files: dict[str, str]):
    name = f"t{ROWS.index(row)}"
    async with site.proxies() as proxies, instance(site, example_files, name) as one:
        assert await one.used() == 202
        async with away(site, row, proxies):
            usage = [await one.used()]
            asked = [await one.checked(f) for f in ("premium-voice-model", ledger.TOKENS, "api-calls")]
            consumed = await one.consumed()
            usage += await asyncio.gather(*(one.used() for _ in range(5)))
            stranger = await one.client.post(
                "/v1/check", json={"tenantId": f"{name}-stranger", "featureId": "premium-voice-model"}
            )
            assert (tuple(asked), consumed) == (row.check, row.consume)
            assert (set(usage), stranger.status_code) == ({row.usage}, row.stranger)
            if row.how != "slow":
                with pytest.raises((errors.UnavailableError, RedisAwayError)):
                    await one.worked()  # jobs wait
        assert one.slowest < BOUND_S
        await recovered(one)
        stored = await kept(one)
        assert len(stored) == len(set(stored)) <= one.number  # what was not acknowledged may be there, once
        assert one.acknowledged <= set(stored)


async def recovered(one: Instance) -> None:
    """Nothing of ours is started again; a word or two may still meet a connection that is gone."""
    deadline = time.monotonic() + 30
    while True:
        try:
            await one.worked()
            if await one.checked(ledger.TOKENS) == "allowed" and await one.used() == 202:
                await one.worked()
                return
        except (errors.UnavailableError, RedisAwayError):
            pass
        assert time.monotonic() < deadline, "it does not come back"
        await asyncio.sleep(0.01)


async def kept(one: Instance) -> list[str]:
    """Events of the tenant as Postgres has them."""
    async with postgres.transaction(one.context.pool) as connection:
        return await postgres.scalars(
            connection, b"select event_id from usage_events where tenant_id = %(name)s", {"name": one.name}
        )
