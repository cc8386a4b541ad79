"""Recording events that come one by one: those that arrive together are sent together."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeAlias

from store import counters, framing, gathering, keyspace, scripts
from store.conversation import pack
from store.counters import MARK_LIFE_S, Recording, RecordStatus
from store.gathering import Kind, Waiting
from store.link import RedisAwayError
from store.nodes import Servers
from store.reading import FenceClosedError

_Waiting: TypeAlias = Waiting[Recording, RecordStatus]


class Recorder:
    """Sends single events."""

    def __init__(self, link: Servers) -> None:
        self._gatherer = gathering.over(link, _EVENTS)

    async def record(self, event: Recording, *, now: datetime) -> RecordStatus:
        """What becomes of an event, as store.counters.Counters.record has it: `retry` if nobody knows."""
        try:
            return await self._gatherer.send(event, now)
        except (RedisAwayError, FenceClosedError):
            return "retry"


_CALL: Final = framing.Call(
    scripts.RECORD, (keyspace.fence, keyspace.journal, keyspace.versions), before=2, ceilings=False
)


def _packed(shard: int, batch: Sequence[_Waiting], run_id: str) -> bytes:
    event, now = batch[0].act, batch[0].now
    if len(batch) > 1:
        latest = max(waiting.now for waiting in batch)
        return pack(counters.record_command(shard, [waiting.act for waiting in batch], latest, run_id=run_id))
    made = framing.frame(_CALL, shard, event.account, event.caps)
    return framing.packed(made, framing.of_run(run_id, MARK_LIFE_S), event, keyspace.day_of(now))


def _read(code: int, catalog: str | None) -> RecordStatus:
    del catalog
    return counters.STATUSES[code]


def _weight(event: Recording) -> int:
    """The number of words that it adds to a trip, or a few more."""
    links = event.account.carrying.links if event.account.carrying else ()
    return 28 + 6 * len(event.account.finite) + 4 * len(event.caps) + 5 * len(links)


_EVENTS: Final = Kind(_packed, _read, _weight, sent="recorded", with_catalog=False)
