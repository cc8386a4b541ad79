"""A tenant on each plan that matters to counting, on a server whose shards are open."""

import pytest

from policies.model import Catalog
from service.context import Context
from store import certify
from tests.conftest import NOW
from tests.store import ledger


@pytest.fixture
async def counting(context: Context, catalog: Catalog) -> Context:
    """The tenant `acme` on free (10,000 tokens, no overage); every shard is open."""
    await certify.certify(context.pool, context.counters.link, now=NOW)
    await ledger.subscribed(context, "acme", "free")
    return context
