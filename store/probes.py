"""Does Postgres answer, and is its schema the one that this code was written for?"""

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
    async with postgres.transaction(pool) as connection:
        kept = (await postgres.scalars(connection, sql.migrations_kept, {}))[0]
        done = set(await postgres.scalars(connection, sql.migrations, {})) if kept else set()
    if missing := sorted(wanted - done):
        return f"The database lacks migration {missing[0]}; run `metergate migrate`."
    if unknown := sorted(done - wanted):
        return f"The database has migration {unknown[-1]}, which this version does not know."
    return None
