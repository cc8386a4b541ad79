"""Real private servers for the tests that need them: one of each for a run, a database for each test."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import count
from pathlib import Path

import httpx
import msgspec
import psycopg
import pytest
import redis
from hypothesis import settings

from policies.compiler import build
from policies.model import Catalog
from service import wiring
from service.api.app import make_app
from service.clock import FixedClock
from service.config import Config
from service.context import Caller, Context
from service.embedded.servers import EmbeddedServers, Running
from service.usecases import keys
from service.usecases.changes import Order
from store import catalogs, migrate, postgres

MakeKey = Callable[..., Awaitable[str]]
# The same examples in every run; a nightly run looks for new ones.
settings.register_profile("suite", derandomize=True)
settings.register_profile("nightly", max_examples=20_000, deadline=None)
settings.load_profile(os.environ.get("METERGATE_HYPOTHESIS", "suite"))

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
CATALOG = Path(__file__).parents[1] / "policies" / "catalog"

_numbers = count()


@pytest.fixture(scope="session")
def servers() -> Iterator[Running]:
    """The servers of this run, in a folder of their own that goes with them."""
    folder = tempfile.mkdtemp(prefix="mgt")  # short: a socket's path is bounded
    running = EmbeddedServers(Path(folder, "data"))
    try:
        Path(folder).chmod(0o755)
        started = running.start()
        _hurry(started)
        yield started
    finally:
        running.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def template(servers: Running) -> str:
    """The name of a migrated database that is copied for each test."""
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("create database template_of_tests")
    migrate.migrate(_of(servers, "template_of_tests"))
    return "template_of_tests"


@pytest.fixture
def database_url(servers: Running, template: str) -> Iterator[str]:
    """A database of the test's own, at the present schema."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
        yield _of(servers, name)
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def redis_url(servers: Running) -> str:
    """Valkey, emptied: what an earlier test left there is not believed."""
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushall()
    return servers.redis_url


@pytest.fixture
def config(database_url: str, redis_url: str) -> Config:
    return Config(database_url=database_url, redis_url=redis_url, embedded=True)


@pytest.fixture
def clock() -> FixedClock:
    """Stands at NOW until the test moves it."""
    return FixedClock(NOW)


@pytest.fixture
async def context(config: Config, clock: FixedClock) -> AsyncIterator[Context]:
    async with wiring.open_context(config, clock) as opened:
        yield opened


@pytest.fixture(scope="session")
def example_files() -> dict[str, str]:
    """The bundled catalog's files, by path; without its table tests, since tests sell something else."""
    found = (path for path in CATALOG.rglob("*.*") if path.suffix in {".yaml", ".cedar"})
    files = {path.relative_to(CATALOG).as_posix(): path.read_text() for path in found}
    return {path: text for path, text in files.items() if not path.startswith("tests/")}


@pytest.fixture
def publish(context: Context) -> Callable[[dict[str, str]], Awaitable[Catalog]]:
    """Publishes a catalog from its files and makes it the active one."""

    async def made_active(files: dict[str, str]) -> Catalog:
        compiled = _compiled(tuple(sorted(files.items())))
        assert compiled.catalog is not None, [finding.render() for finding in compiled.findings]
        catalog = compiled.catalog
        async with postgres.transaction(context.pool) as connection:
            await catalogs.publish(connection, catalog, files, message="test", author="tests", now=NOW)
            await catalogs.activate(connection, catalog.hash, by="tests", now=NOW)
        await context.catalogs.refresh()
        return catalog

    return made_active


@pytest.fixture
async def catalog(
    publish: Callable[[dict[str, str]], Awaitable[Catalog]], example_files: dict[str, str]
) -> Catalog:
    """The bundled catalog, published and active."""
    return await publish(example_files)


def _hurry(servers: Running) -> None:
    """No test of these servers cuts their power, and each drops a database, which would wait for the disk."""
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("alter system set fsync = off")
        connection.execute("select pg_reload_conf()")


@cache
def _compiled(files: tuple[tuple[str, str], ...]) -> build.Compiled:
    return build.compile_catalog(dict(files))


ROOT = Caller(
    actor="cli:tests", key_id="", scopes=frozenset(keys.SCOPES), tenant_id=None, request_id="req_tests"
)
"""Who may everything."""


@pytest.fixture
def make_key(context: Context) -> MakeKey:
    """Makes a key with these scopes (all without any), bound to a tenant if one is named; its secret."""

    async def make(*scopes: keys.Scope, tenant_id: str | None = None) -> str:
        wish = keys.Wish(name="of a test", scopes=scopes or keys.SCOPES, tenant_id=tenant_id)
        reply = await keys.create(context, Order(caller=ROOT), wish)
        return msgspec.json.decode(reply.body)["secret"]

    return make


@pytest.fixture
async def api(context: Context, make_key: MakeKey) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key of every scope."""
    app = make_app(context=context)
    app.state.context = context  # as its lifespan does, which must end in the task that began it
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {await make_key()}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://metergate", headers=headers) as client:
        yield client


def _of(servers: Running, database: str) -> str:
    return servers.database_url.replace("/metergate?", f"/{database}?")
