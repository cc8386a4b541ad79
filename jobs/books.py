"""Goes through the books: counters, sums and events must say the same. What differs is told, never mended."""

from datetime import datetime

from jobs.context import JobContext
from policies import limits
from service.usecases import books


async def run(context: JobContext, now: datetime) -> str:
    """Looks again at what was suspected, then at some tenants more; says what it has found to differ.

    Errors: UnavailableError, RedisAwayError; it is right to run it again.
    """
    await context.uses.catalogs.refresh()
    opened = list((await books.look_again(context.uses, now=now)).opened)
    looked = 0
    for _ in range(limits.BOOKS_PARTS):
        page = await books.go_on(context.uses, now=now)
        if page is None:
            break
        looked += page[0]
        opened += page[1].opened
        if looked >= limits.BOOKS_TENANTS:
            break
    return f"drift: {', '.join(one.drift_id for one in opened)}" if opened else ""
