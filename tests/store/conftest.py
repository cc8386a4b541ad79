"""A tenant on each plan that matters to counting, on a server whose shards are open."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from policies.model import Catalog
from service import wiring
from service.clock import FixedClock
from service.config import Config
from service.context import Context
from store import certify
from tests.conftest import NOW, PATIENT, open_counters
from tests.servers import Valkey
from tests.store import ledger


@pytest.fixture
async def counting(context: Context, catalog: Catalog) -> Context:
    """The tenant `acme` on free (10,000 tokens, no overage); every shard is open."""
    await open_counters(context)
    await ledger.subscribed(context, "acme", "free")
    return context


@pytest.fixture
def server() -> Iterator[Valkey]:
    """A Valkey that a test may do anything to."""
    folder = Path(tempfile.mkdtemp(prefix="mgt"))  # short: a socket's path is bounded
    made = Valkey(folder, "valkey", enable_debug_command="yes")
    made.start()
    yield made
    made.kill()
    shutil.rmtree(folder)


@pytest.fixture
async def own(
    server: Valkey,
    counting: Context,
    config: Config,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Context]:
    """The instance of `counting` on that server, certified."""
    monkeypatch.setattr(wiring, "TIPS_S", 3600)  # a test itself looks at what it does each second
    changed = msgspec.structs.replace(config, redis_url=server.url)
    async with wiring.open_context(changed, clock, PATIENT) as context:
        await certify.certify(context.pool, context.counters.link, now=NOW)
        yield context
