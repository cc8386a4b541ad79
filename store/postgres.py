"""Postgres: the pool, the transaction, and the one place where the driver's errors become ours."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
import psycopg_pool
from psycopg.rows import class_row, scalar_row

from policies import errors, limits
from store.heartbeat import Heartbeat, Trip

Connection = psycopg.AsyncConnection[Any]
Params = Mapping[str, object]
Row = TypeVar("Row")

RETRY_AFTER_S = 2
RECONNECT_S = 1.0
"""After which the pool gives up a connection that cannot be made; the next who needs one tries anew."""


class Pool(psycopg_pool.AsyncConnectionPool[Connection]):
    """A pool, and the pulse of its server."""

    heartbeat: Heartbeat

    async def close(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - the driver's signature
        """As the driver has it."""
        await self.heartbeat.close()
        await super().close(timeout)


async def _configure(connection: Connection) -> None:
    """Instants come back in UTC, whatever the server's own zone is."""
    await connection.execute("set time zone 'UTC'")
    await connection.commit()


async def open_pool(
    url: str,
    *,
    size: int = 8,
    application: str = "metergate",
    statement_s: float = limits.POSTGRES_STATEMENT_S,
    answer_s: float = limits.POSTGRES_ANSWER_S,
    connection_s: float = limits.POSTGRES_TIMEOUT_S,
) -> Pool:
    """A pool whose connections are made when first needed, so that a start does not wait for Postgres.

    `connection_s` is how long one of them is waited for.
    """
    pool = Pool(
        url,
        min_size=1,
        max_size=size,
        open=False,
        timeout=connection_s,
        reconnect_timeout=RECONNECT_S,
        configure=_configure,
        kwargs={
            "application_name": application,
            "connect_timeout": 2,
            "options": f"-c statement_timeout={int(statement_s * 1000)}",
            # Of a connection that nobody uses, over a network that swallows.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )
    pool.heartbeat = Heartbeat(url, answer_s=answer_s, returned=pool.check)
    await pool.open(wait=False)
    return pool


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """One transaction: committed when the block ends, rolled back when it raises.

    Errors: UnavailableError when Postgres is away, or has not the schema that the statement speaks of;
    nothing is changed then, or the commit's outcome is unknown and the caller retries with the same
    idempotency key.
    """
    if pool.heartbeat.away:
        raise _unavailable()
    trip, answered = pool.heartbeat.begin(), False
    try:
        connection = await _acquire(pool, trip)
        try:
            async with connection.transaction():
                yield connection
            answered = True
        finally:
            await pool.putconn(connection)
    except (psycopg.OperationalError, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed) as error:
        raise _unavailable() from error
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise errors.UnavailableError(
            "The database has not the schema of this version; run `metergate migrate`.",
            retry_after_s=RETRY_AFTER_S,
        ) from error
    finally:
        pool.heartbeat.end(trip, answered=answered)


async def _acquire(pool: Pool, trip: Trip) -> Connection:
    try:
        async with trip.acquiring:
            trip.connection = await pool.getconn()
    except TimeoutError as error:
        raise psycopg.OperationalError("the server hangs") from error
    return trip.connection


def _unavailable() -> errors.UnavailableError:
    return errors.UnavailableError("The database does not answer; try again.", retry_after_s=RETRY_AFTER_S)


@asynccontextmanager
async def standing_still(pool: Pool) -> AsyncIterator[Connection]:
    """A transaction that changes nothing and sees all at one instant, that of its first query.

    Errors: UnavailableError.
    """
    async with transaction(pool) as connection:
        await connection.execute("set transaction isolation level repeatable read, read only")
        yield connection


async def rows(connection: Connection, query: bytes, params: Params, into: type[Row]) -> list[Row]:
    """All rows as Structs; the columns are the Struct's fields."""
    async with connection.cursor(row_factory=class_row(into)) as cursor:
        await cursor.execute(query, params)
        return await cursor.fetchall()


async def row(connection: Connection, query: bytes, params: Params, into: type[Row]) -> Row | None:
    """The first row, or None."""
    async with connection.cursor(row_factory=class_row(into)) as cursor:
        await cursor.execute(query, params)
        return await cursor.fetchone()


async def scalars(connection: Connection, query: bytes, params: Params) -> list[Any]:
    """The first column of all rows."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(query, params)
        return await cursor.fetchall()


async def execute(connection: Connection, query: bytes, params: Params) -> int:
    """Runs a statement and tells how many rows it touched."""
    cursor = await connection.execute(query, params)
    return cursor.rowcount


async def execute_each(connection: Connection, query: bytes, each: Sequence[Params]) -> None:
    """Runs a statement once for each, sent together: thousands cost a few round trips."""
    if each:
        async with connection.cursor() as cursor:
            await cursor.executemany(query, each)
