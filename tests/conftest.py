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
from hypothesis import HealthCheck, settings

from policies.compiler import build
from policies.model import Catalog
from service import wiring
from service.api.app import Metergate, make_app, measures
from service.clock import FixedClock
from service.config import Config
from service.context import Caller, Context
from service.embedded.servers import EmbeddedServers, Running
from service.usecases import keys
from service.usecases.changes import Order
from store import catalogs, certify, keyspace, link, migrate, postgres
from tests.api.echo import NOWHERE

MakeKey = Callable[..., Awaitable[str]]
# The same examples in every run; a nightly run looks for new ones.
# How long one of them takes says how busy the machine is, and nothing of the code.
_untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("suite", _untimed, derandomize=True)
settings.register_profile("nightly", _untimed, max_examples=20_000)
settings.load_profile(os.environ.get("METERGATE_HYPOTHESIS", "suite"))

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
PATIENCE_S = 30.0
PATIENT = wiring.Patience.of(PATIENCE_S)
"""For answers of servers; tests of those that hang wait as the service does, in a context of their own."""
ROOM_BYTES = 4_000_000_000
"""Far above what the servers of a run write."""
CATALOG = Path(__file__).parents[1] / "policies" / "catalog"

_numbers = count()
_kept: dict[str, dict[bytes, tuple[int, bytes]]] = {}
"""What Redis had after the steps of `instance_after`: of each key how long it lives, and its value."""


@pytest.fixture(scope="session")
def servers() -> Iterator[Running]:
    """The servers of this run, in a folder of their own that goes with them."""
    folder = tempfile.mkdtemp(prefix="mgt", dir=_memory())  # short: a socket's path is bounded
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
        _copy(connection, template, name)
        yield _of(servers, name)
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def redis_url(servers: Running) -> str:
    """Valkey, emptied: what an earlier test left there is not believed."""
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushall()
    return servers.redis_url


@pytest.fixture
def instance_after(
    servers: Running, template: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Callable[[], object]], Config]]:
    """Gives an instance after some steps, named by the environment.

    The steps are done once for a run; each test has a copy of the database and of what Redis had after them.
    """
    copies: list[str] = []

    def named(database: str) -> Config:
        monkeypatch.setenv("METERGATE_DATABASE_URL", _of(servers, database))
        monkeypatch.setenv("METERGATE_REDIS_URL", redis_url)
        return Config(database_url=_of(servers, database), redis_url=redis_url, embedded=True)

    with (
        psycopg.connect(servers.database_url, autocommit=True) as connection,
        redis.Redis.from_url(redis_url) as client,
    ):

        def begun(steps: Callable[[], object]) -> Config:
            made = f"template_of_{steps.__module__}_{steps.__name__}".replace(".", "_")
            if made not in _kept:
                _copy(connection, template, made)
                named(made)
                steps()
                _kept[made] = {
                    key: (max(0, client.pttl(key)), client.dump(key)) for key in client.scan_iter()
                }
                client.flushall()
            copies.append(f"test_{next(_numbers)}")
            _copy(connection, made, copies[-1])
            with client.pipeline(transaction=False) as pipeline:
                for key, (life, value) in _kept[made].items():
                    pipeline.restore(key, life, value)
                pipeline.execute()
            return named(copies[-1])

        yield begun
        for name in copies:
            connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def config(database_url: str, redis_url: str) -> Config:
    return Config(database_url=database_url, redis_url=redis_url, embedded=True)


@pytest.fixture
def clock() -> FixedClock:
    """Stands at NOW until the test moves it."""
    return FixedClock(NOW)


@pytest.fixture
async def context(config: Config, clock: FixedClock) -> AsyncIterator[Context]:
    """The parts of a process, which waits longer for its servers than a machine under load lets it wait."""
    async with wiring.open_context(config, clock, PATIENT) as opened:
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


def _memory() -> Path | None:
    """Where files are kept in memory, if that has room: nothing of these servers outlives the run."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM_BYTES
    return memory if roomy else None


def _copy(connection: psycopg.Connection, template: str, name: str) -> None:
    connection.execute(f"create database {name} template {template} strategy file_copy")


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


async def open_counters(context: Context) -> None:
    """Certifies a server on which nothing was counted: its file, which is new, is not rewritten first."""
    redis_link = context.counters.link
    await redis_link.send([("SET", keyspace.rewritten(certify.ALL[0]), link.RUN_ID)])
    await certify.certify(context.pool, redis_link, now=context.clock.now())


@pytest.fixture
def make_key(context: Context) -> MakeKey:
    """Makes a key with these scopes (all without any), bound to a tenant if one is named; its secret."""

    async def make(*scopes: keys.Scope, tenant_id: str | None = None) -> str:
        wish = keys.Wish(name="of a test", scopes=scopes or keys.SCOPES, tenant_id=tenant_id)
        reply = await keys.create(context, Order(caller=ROOT), wish)
        return msgspec.json.decode(reply.body)["secret"]

    return make


@pytest.fixture(scope="session")
def application() -> Metergate:
    """The application, made once for a run: that takes longer than most tests. `api` puts its parts in."""
    return make_app(NOWHERE)


@pytest.fixture
async def api(
    application: Metergate, context: Context, make_key: MakeKey
) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key of every scope, of an application that has measured nothing yet."""
    application.state.context = context  # as its lifespan does, which must end in the task that began it
    application.state.telemetry = measures()
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {await make_key()}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://metergate", headers=headers) as client:
        yield client


def _of(servers: Running, database: str) -> str:
    return servers.database_url.replace("/metergate?", f"/{database}?")
