"""`metergate` with something changed: hasty for a run, or broken so that a run must find it (a control).

`python -m scripts.crashing.variant NAME api|worker …` changes our code in memory and goes on as `metergate`.
No configuration of what we ship leads here.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from jobs import schedule, worker
from policies import limits
from store import consuming, flush, keyspace, postgres, scripts
from store.consuming import Ceilings, Found, Use
from store.conversation import Command
from store.readings import Reading

TRIM_DELAY_S: Final = 2
_WRITTEN_FIRST: Final = (
    "  redis.call('XADD', journal, '*', 'n', #payloads, 'b', blob, 'x', redis.sha1hex(blob), "
    "'s', whole(number))\n"
)
_COUNTED: Final = "  write_counters()\n"
_MARKED: Final = """  for _, mark in ipairs(marks) do
    redis.call('HSET', mark.key, mark.digest, mark.fingerprint)
    redis.call('EXPIRE', mark.key, life)
  end
"""
_STRAIGHT_WRITTEN: Final = (
    "    call('XADD', KEYS[2], '*', 'n', #lines, 'b', blob, 'x', redis.sha1hex(blob), "
    "'s', format('%.0f', last))\n"
)
_STRAIGHT_MARKED: Final = """    for _, mark in ipairs(marks) do
      call('HSET', mark[1], mark[2], mark[3])
      call('EXPIRE', mark[1], ARGV[2])
    end
"""


def hasty() -> None:
    """Nothing is broken: journals are trimmed after seconds, so that a run sees it happen."""
    limits.TRIM_DELAY_S = TRIM_DELAY_S  # type: ignore[misc]  # a run is shorter than that
    jobs = [msgspec.structs.replace(job, every_s=min(job.every_s, 1.0)) for job in schedule.JOBS]
    worker.JOBS = tuple(jobs)  # type: ignore[assignment,attr-defined]  # as above


def cursor_outside() -> None:
    """The cursor moves in a transaction of its own, before the events are there."""
    whole = flush._bring_over  # noqa: SLF001 - what is to be broken

    async def torn(pool: postgres.Pool, full: Sequence[Reading], now: Any) -> flush.Flushed:
        async with pool.connection() as connection, connection.transaction():
            await flush._advance(connection, await flush._lock(connection, full), now)  # noqa: SLF001 - as above
        moved = [_moved(reading) for reading in full]
        return await whole(pool, moved, now)

    flush._bring_over = torn  # noqa: SLF001 - as above


def _moved(reading: Reading) -> Reading:
    """The reading as of a cursor that has been moved already."""
    cursor = msgspec.structs.replace(reading.cursor, last_id=reading.last_id)
    return Reading(cursor, reading.entries, reading.drained)


def mark_first() -> None:
    """Scripts mark an act before the journal has it."""
    right = _WRITTEN_FIRST + _COUNTED + _MARKED
    assert right in scripts.RECORD.text, "there is something to break"
    for script in scripts.ALL:
        text = _straight_mark_first(script.text.replace(right, _MARKED + _COUNTED + _WRITTEN_FIRST))
        setattr(scripts, script.name.upper(), scripts.of(script.name, text))
    scripts.ALL = tuple(getattr(scripts, script.name.upper()) for script in scripts.ALL)


def _straight_mark_first(text: str) -> str:
    """The same of the short way that some of them have: the entry last."""
    before, written, rest = text.partition(_STRAIGHT_WRITTEN)
    if not written:
        return text
    counted, marked, after = rest.partition(_STRAIGHT_MARKED)
    assert marked, "there is something to break"
    return before + marked + counted + written + after


def read_then_add() -> None:
    """A use is compared with its ceilings before it is sent, and then counted whatever there is by now."""
    sent = consuming.Consumer.consume

    async def looked(self: consuming.Consumer, use: Use, *, now: Any) -> Found:
        account, shard = use.account, keyspace.shard_of(use.account.tenant_id)
        places = [(room.window, room.field) for room in account.finite]
        commands: list[Command] = [
            ("HGET", keyspace.counters(shard, account.tenant_id, window), field) for window, field in places
        ]
        replies = await self._link.send(commands)
        drawn = sum(int(level or 0) for level in replies.values)
        if use.ceilings.drawn is not None and drawn + use.measured > use.ceilings.drawn:
            return await sent(self, use, now=now)
        free = Ceilings(None, None, tuple(None for _ in use.ceilings.caps))
        return await sent(self, msgspec.structs.replace(use, ceilings=free), now=now)

    consuming.Consumer.consume = looked  # type: ignore[method-assign,assignment]  # a control


VARIANTS: Final[dict[str, Callable[[], None]]] = {
    "hasty": hasty,
    "cursor-outside": cursor_outside,
    "mark-first": mark_first,
    "read-then-add": read_then_add,
}


def main() -> None:
    """Run as a program."""
    VARIANTS[sys.argv.pop(1)]()
    from service.__main__ import main as metergate  # noqa: PLC0415 - what it loads is to be changed before

    metergate()


if __name__ == "__main__":
    main()
