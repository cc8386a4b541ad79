"""A process hangs: the database loses it, others do its work, and then it goes on."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable

import psycopg

from policies import errors
from service import wiring
from service.config import Config
from service.context import Context

BOUND_S = 30.0
CUT = """
select pg_terminate_backend(pid) from pg_stat_activity
where pid <> pg_backend_pid() and datname = current_database()
"""


def meanwhile(config: Config, work: Callable[[Context], Awaitable[None]]) -> None:
    """Cuts all connections to the database; another process works, and this one hangs until that is done."""

    async def others() -> None:
        async with wiring.open_context(config) as context:
            await work(context)

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


async def come_round(work: Callable[[], Awaitable[object]]) -> None:
    """Works again until this process has noticed that the database answers, and let go of what was cut."""
    async with asyncio.timeout(BOUND_S):
        while True:
            with contextlib.suppress(errors.UnavailableError):
                await work()
                return
            await asyncio.sleep(0.01)
