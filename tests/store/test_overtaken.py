"""A certifier that hung while another did its work: does it ruin what has been in use since?"""

import asyncio
import contextlib
import threading

import psycopg
import pytest

from policies import errors
from service import wiring
from service.config import Config
from service.context import Context
from store import certify, flush, postgres
from store.link import RedisAwayError
from tests.conftest import NOW
from tests.store.ledger import event, flush_all, levels, statuses, stored

BOUND_S = 30.0
CUT = """
select pg_terminate_backend(pid) from pg_stat_activity
where pid <> pg_backend_pid() and datname = current_database()
"""


def meanwhile(config: Config) -> None:
    """The database has lost the hung one; another process opens the shards, and usage comes and is kept."""

    async def others() -> None:
        async with wiring.open_context(config) as context:
            link = context.counters.link
            assert await certify.certify(context.pool, link, now=NOW)
            assert await statuses(context, event(2, 7)) == ["accepted"]
            await flush.flush_once(context.pool, link, now=NOW)
            assert await statuses(context, event(3, 5)) == ["accepted"]

    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(others())
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test is to see it
            failed.append(error)

    with psycopg.connect(config.database_url) as connection:
        connection.execute(CUT)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert failed == []


async def come_round(context: Context) -> None:
    """Until this process has noticed that the database answers again."""
    async with asyncio.timeout(BOUND_S):
        while True:
            with contextlib.suppress(errors.UnavailableError):
                async with postgres.transaction(context.pool) as connection:
                    await postgres.scalars(connection, b"select 1", {})
                    return
            await asyncio.sleep(0.01)


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
            meanwhile(config)

    monkeypatch.setattr(certify, "crash_point", hang)
    with pytest.raises((errors.UnavailableError, RedisAwayError)):
        await certify.certify(counting.pool, link, now=NOW)
    assert hung == [point]
    await come_round(counting)
    # One that hung before it closed the shards has closed them again, until somebody looks.
    closed = await certify.uncertified(link)
    assert point == "certify-locked" or closed == []
    await certify.certify(counting.pool, link, now=NOW)
    assert await levels(counting) == (42, 0, 0)
    await flush_all(counting)
    assert await stored(counting) == (3, 42)
