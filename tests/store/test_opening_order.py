"""Which shards come back first after a server was lost, and how many at a time?"""

import pytest

from service.context import Context
from store import certify, keyspace
from store.certify import _groups, _Size
from tests.conftest import NOW
from tests.store import ledger
from tests.store.ledger import event, flush_all, levels, statuses


async def test_the_busiest_shards_are_opened_first_and_the_rest_after_them(
    counting: Context, monkeypatch: pytest.MonkeyPatch
):
    """In transactions of their own, so that they are in use while the others wait."""
    monkeypatch.setattr(certify, "GROUP_TENANTS", 1)
    opened: list[int] = []
    events = {"quiet": 1, "busy": 5, "some": 3}
    for name, count in events.items():
        await ledger.subscribed(counting, name, "free")
        await statuses(counting, *(event(number, tenant_id=name) for number in range(count)))
    await flush_all(counting)
    await counting.counters.link.send([("FLUSHALL",)])
    opened = await certify.certify(counting.pool, counting.counters.link, now=NOW)
    assert sorted(opened) == list(certify.ALL)
    assert opened[:3] == [keyspace.shard_of(name) for name in ("busy", "some", "quiet")]
    for name, count in events.items():
        assert await levels(counting, name) == (10 * count, 0, 0)


def test_a_group_is_as_many_shards_as_are_worth_a_transaction(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(certify, "GROUP_TENANTS", 10)
    tenants = (25, 4, 4, 4, 0, 9, 1, 0, 0)
    sizes = [_Size(shard, count) for shard, count in enumerate(tenants)]
    assert _groups(sizes) == [[0], [1, 2, 3], [4, 5, 6], [7, 8]]
    assert _groups([]) == []
