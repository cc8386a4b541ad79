"""How far the service's clock was moved: one row for all processes of an instance."""

from datetime import timedelta
from typing import Final

from store import postgres
from store.queries import Queries

sql: Final = Queries("moved_clock")
_MICROSECOND: Final = timedelta(microseconds=1)


async def ahead(connection: postgres.Connection) -> timedelta:
    """How far it is ahead of the machines' clocks."""
    return await _asked(connection, sql.ahead)


async def lock(connection: postgres.Connection) -> timedelta:
    """The same, and nobody else moves it until the transaction ends."""
    return await _asked(connection, sql.lock)


async def move(connection: postgres.Connection, ahead: timedelta) -> None:
    """Sets how far ahead it is."""
    await postgres.execute(connection, sql.move, {"ahead_us": ahead // _MICROSECOND})


async def _asked(connection: postgres.Connection, query: bytes) -> timedelta:
    (microseconds,) = await postgres.scalars(connection, query, {})
    return timedelta(microseconds=microseconds)
