"""Does Postgres answer, and is its schema the one that this code was written for?"""

import psycopg

from policies import errors
from store import migrate, postgres, queries

sql = queries.Queries("probes")


async def answers(pool: postgres.Pool) -> bool:
    """Whether Postgres answers a query."""
    try:
        async with postgres.transaction(pool) as connection:
            await postgres.scalars(connection, sql.one, {})
    except errors.UnavailableError:
        return False
    return True


async def schema_finding(pool: postgres.Pool) -> str | None:
    """What is wrong with the schema, in one sentence.

    Errors: UnavailableError.
    """
    wanted = {migration.version for migration in migrate.migrations()}
    try:
        async with postgres.transaction(pool) as connection:
            done = set(await postgres.scalars(connection, sql.migrations, {}))
    except psycopg.errors.UndefinedTable:
        done = set()
    if missing := sorted(wanted - done):
        return f"The database lacks migration {missing[0]}; run `metergate migrate`."
    if unknown := sorted(done - wanted):
        return f"The database has migration {unknown[-1]}, which this version does not know."
    return None
