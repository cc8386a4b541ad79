"""Lets go of what has served its time: journal entries, rejected events, answers, counters, decisions."""

from datetime import datetime, timedelta

from jobs.context import JobContext
from policies import limits
from store import decisions, flush, partitions, postgres, queries
from store.certify import COUNTER_LIFE

sql = queries.Queries("retention")


async def run(context: JobContext, now: datetime) -> str:
    """Deletes by age; idempotent.

    Errors: UnavailableError, RedisAwayError.
    """
    await flush.trim(context.pool, context.link, now=now)
    ages = (
        (sql.epochs, timedelta(days=limits.DEDUPE_DAYS)),
        (sql.rejected, timedelta(days=limits.REJECTED_DAYS)),
        (sql.idempotency, timedelta(hours=limits.IDEMPOTENCY_HOURS)),
        (sql.counters, COUNTER_LIFE),
        (sql.reservations, timedelta(days=limits.RESERVATION_DAYS)),
        (sql.drift, timedelta(days=limits.DRIFT_DAYS)),
        (sql.reconcile_findings, timedelta(days=limits.DRIFT_DAYS)),
        (sql.reconcile_plans, timedelta(days=limits.DRIFT_DAYS)),
    )
    gone = 0
    for query, age in ages:
        async with postgres.transaction(context.pool) as connection:
            gone += await postgres.execute(connection, query, {"before": now - age})
    async with postgres.transaction(context.pool) as connection:
        days = await decisions.drop_old(connection, now=now)
    async with postgres.transaction(context.pool) as connection:
        months = await partitions.drop_months(connection, "usage_keys", before=partitions.horizon(now.date()))
    told = [f"{gone} rows"] if gone else []
    told += [f"{days} days of decisions"] if days else []
    told += [f"{months} months of ids"] if months else []
    return ", ".join(told)
