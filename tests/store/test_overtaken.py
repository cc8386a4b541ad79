"""A certifier that hung while another did its work: does it ruin what has been in use since?"""

import pytest

from policies import errors
from service.config import Config
from service.context import Context
from store import certify, flush
from store.link import RedisAwayError
from tests import overtaking
from tests.conftest import NOW
from tests.store.ledger import event, flush_all, levels, statuses, stored


async def others(context: Context) -> None:
    """They open the shards, and usage comes and is kept."""
    link = context.counters.link
    assert await certify.certify(context.pool, link, now=NOW)
    assert await statuses(context, event(2, 7)) == ["accepted"]
    await flush.flush_once(context.pool, link, now=NOW)
    assert await statuses(context, event(3, 5)) == ["accepted"]


@pytest.mark.parametrize(
    "point",
    ["certify-locked", "certify-forgotten", "certify-drained", "certify-put-back"],
)
async def test_one_that_was_overtaken_changes_nothing_any_more(
    counting: Context, config: Config, monkeypatch, point: str
):
    assert await statuses(counting, event(1, 30)) == ["accepted"]
    await flush_all(counting)
    link = counting.counters.link
    await link.send([("DEL", *(await link.send([("KEYS", "m:*")])).values[0]), ("DEL", "rewritten")])
    hung: list[str] = []

    def hang(name: str) -> None:
        if name == point and not hung:
            hung.append(name)
            overtaking.meanwhile(config, others)

    monkeypatch.setattr(certify, "crash_point", hang)
    with pytest.raises((errors.UnavailableError, RedisAwayError)):
        await certify.certify(counting.pool, link, now=NOW)
    assert hung == [point]
    # One that hung before it closed the shards has closed them again, until somebody looks.
    closed = await certify.uncertified(link)
    assert point == "certify-locked" or closed == []
    await overtaking.come_round(lambda: certify.certify(counting.pool, link, now=NOW))
    assert await levels(counting) == (42, 0, 0)
    await overtaking.come_round(lambda: flush_all(counting))
    assert await stored(counting) == (3, 42)
