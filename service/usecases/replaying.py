"""Logged decisions run against an edited catalog: what flips, for whom, how often?

`here` runs in this process and tells how far it is; `apart` in a child, so that a server goes on to answer.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from policies import errors, limits
from policies.logged import Logged
from policies.model import Catalog
from policies.replay import Replay, Report
from service.context import Context
from service.usecases import examine
from store import decisions, postgres
from store.decisions import Wanted

CHILD: Final = (sys.executable, "-P", "-m", "service.usecases.replaying")
LAST: Final = "7d"
_LASTING: Final = re.compile(r"([1-9][0-9]{0,3})([dh])")
_PAGE: Final = 2_000
_S_PER_DECISION: Final = 0.005
"""A child may take so long for each, and CHILD_S: twenty times what one costs."""
_CHILD_S: Final = 30.0
_BEHIND: Final = "~"
"""An id behind all that are given."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of it, and what it says nothing about."""

    start: datetime = msgspec.field(name="from")
    end: datetime = msgspec.field(name="to")
    report: Report
    left_out: int
    """Logged decisions of that time that were not run: older than the newest that fit."""
    unknown_tenants: int
    """Open tenants that nothing is logged of in that time: what happens to them is not known."""
    unknown_first: list[str]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Which decisions: of the last hours or days (`7d`, `36h`), or between two instants; else of `7d`."""

    start: datetime | None = None
    end: datetime | None = None
    last: str | None = None
    tenant_id: str | None = None


def wanted(span: Span, now: datetime) -> Wanted:
    """The half-open time that is meant; without an end up to now.

    Errors: InvalidError.
    """
    if span.start is not None and span.last is not None:
        raise errors.invalid("/last", "Give either `from` or `last`.")
    end = span.end or now
    start = span.start or end - lasting(span.last or LAST)
    if start >= end:
        raise errors.invalid("/from", "The time begins before it ends.")
    return Wanted(start=start, end=end, tenant_id=span.tenant_id)


def lasting(text: str) -> timedelta:
    """`7d` or `36h`; at most limits.DECISION_LOG_DAYS, since nothing older is kept.

    Errors: InvalidError.
    """
    found = _LASTING.fullmatch(text)
    if found is None:
        raise errors.invalid("/last", "A stretch of time is a number with d (days) or h (hours): `7d`.")
    length = timedelta(**{{"d": "days", "h": "hours"}[found[2]]: int(found[1])})
    if length > timedelta(days=limits.DECISION_LOG_DAYS):
        raise errors.invalid("/last", f"Decisions are kept for {limits.DECISION_LOG_DAYS} days.")
    return length


async def here(
    context: Context, catalog: Catalog, wanted: Wanted, *, tell: Callable[[int, int], None]
) -> Replayed:
    """Runs up to limits.REPLAY_DECISIONS, newest first; `tell` hears how many are done, and of how many.

    Errors: UnavailableError.
    """
    kept = await _count(context, wanted)
    total = min(kept, limits.REPLAY_DECISIONS)
    replay = Replay(catalog)
    read = msgspec.json.Decoder(Logged).decode
    done = 0
    tell(done, total)
    async for page in _pages(context, wanted, limits.REPLAY_DECISIONS):
        for body in page:
            replay.add(read(body))
        done += len(page)
        tell(done, total)
    return await _told(context, wanted, replay.report(), left_out=kept - done)


async def apart(context: Context, catalog: Catalog, wanted: Wanted) -> Replayed:
    """Runs up to limits.REPLAY_HTTP_DECISIONS, newest first, in a process of its own.

    Errors: UnavailableError, also when that process dies or takes too long.
    """
    kept = await _count(context, wanted)
    bodies = [body async for page in _pages(context, wanted, limits.REPLAY_HTTP_DECISIONS) for body in page]
    said = msgspec.msgpack.encode((catalog, bodies))
    child = await asyncio.create_subprocess_exec(
        *CHILD,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=examine.environment(),
    )
    try:
        async with asyncio.timeout(_CHILD_S + _S_PER_DECISION * len(bodies)):
            answer, _ = await child.communicate(said)
        report = msgspec.msgpack.decode(answer, type=Report)
    except (TimeoutError, msgspec.DecodeError) as error:
        raise errors.UnavailableError(
            "The replay died or took too long. Replay less, or use the command line.",
            retry_after_s=60,
        ) from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return await _told(context, wanted, report, left_out=max(0, kept - len(bodies)))


def main() -> None:
    """The child: a catalog and decisions in, the report out."""
    catalog, bodies = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=tuple[Catalog, list[str]])
    replay = Replay(catalog)
    read = msgspec.json.Decoder(Logged).decode
    for body in bodies:
        replay.add(read(body))
    sys.stdout.buffer.write(msgspec.msgpack.encode(replay.report()))


async def _pages(context: Context, wanted: Wanted, most: int) -> AsyncIterator[list[str]]:
    """The bodies of decisions, newest first, a page at a time: no transaction stays open for long."""
    before, left = (wanted.end, _BEHIND), most
    while left:
        async with postgres.transaction(context.pool) as connection:
            page = await decisions.page(connection, wanted, before=before, limit=min(_PAGE, left))
        if not page:
            return
        yield [kept.body for kept in page]
        before, left = (page[-1].as_of, page[-1].decision_id), left - len(page)


async def _count(context: Context, wanted: Wanted) -> int:
    async with postgres.transaction(context.pool) as connection:
        return await decisions.count(connection, wanted)


async def _told(context: Context, wanted: Wanted, report: Report, *, left_out: int) -> Replayed:
    async with postgres.transaction(context.pool) as connection:
        silent = await decisions.silent(connection, wanted, shown=limits.REPLAY_TENANTS)
    return Replayed(
        start=wanted.start,
        end=wanted.end,
        report=report,
        left_out=max(0, left_out),
        unknown_tenants=silent.tenants,
        unknown_first=silent.first,
    )


if __name__ == "__main__":
    main()
