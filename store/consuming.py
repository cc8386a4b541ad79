"""Consuming: uses that are counted only if all of each fits, sent together when they come together."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, TypeAlias

import msgspec

from store import framing, gathering, journal, keyspace, script_call, scripts
from store.accounts import Account, CapMove
from store.conversation import Command, pack
from store.counters import MARK_LIFE_S
from store.gathering import Kind, Waiting
from store.nodes import Servers

Outcome = Literal[
    "counted",
    "repeated",
    "mismatch",
    "stale",
    "overflow",
    "refused",
    "moved",
    "crowded",
    "due",
    "full",
]
OUTCOMES: tuple[Outcome, ...] = (
    "counted",
    "repeated",
    "mismatch",
    "stale",
    "overflow",
    "refused",
    "moved",
    "crowded",
    "due",
    "full",
)


class Ceilings(msgspec.Struct, frozen=True):
    """What Cedar allows at most of all that is counted after a use; None is no ceiling. Scaled."""

    granted: int | None
    """The granted units that they are for; None: they do not depend on it."""
    drawn: int | None
    caps: tuple[int | None, ...]
    """In the order of the use's caps."""


class Use(msgspec.Struct, frozen=True):
    """One use on its way into the script. `payload` is one msgpack value, kept in the journal as it is."""

    account: Account
    measured: int
    digest: bytes
    """16 bytes; the mark keeps 12."""
    fingerprint: int
    payload: bytes
    ceilings: Ceilings
    caps: tuple[CapMove, ...] = ()
    value: str = ""
    """Of a unique meter: the field of the value that is counted."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """What became of a use, and the levels before it; only `counted` changed anything.

    `moved`: something else is granted than the ceilings are for. `crowded`: the period has as many values as
    are kept. `due`: it may fit once reservations that have expired are ended. `full`: the tenant may not
    reserve more at a time.
    """

    outcome: Outcome
    levels: tuple[int, ...]
    """Overage, excess, reserved units of the period, the account's finite buckets, the use's caps.

    Of a unique meter then the number of events that had the value.
    Of an account that something may be carried into or from: also the size of each generation, the latest
    first, and what the next period has of what this one included.
    """
    catalog: str | None
    """The hash of the active catalog, as Redis was told."""


_Waiting: TypeAlias = Waiting[Use, Found]


class Consumer:
    """Sends uses, those that arrive together together."""

    def __init__(self, link: Servers) -> None:
        self._link = link
        self._gatherer = gathering.over(link, _USES)

    def consume(self, use: Use, *, now: datetime) -> asyncio.Future[Found]:
        """Counts a use if it fits.

        Errors: FenceClosedError; RedisAwayError, and then nobody knows whether it was counted: with the same
        id it may come again.
        """
        return self._gatherer.send(use, now)

    async def fingerprint(self, tenant_id: str, digest: bytes, *, now: datetime) -> int | None:
        """What an id was counted with in the last two days; None if nothing was counted under it.

        Errors: RedisAwayError.
        """
        shard, today = keyspace.shard_of(tenant_id), keyspace.day_of(now)
        bucket = keyspace.mark_bucket(digest)
        keys = (keyspace.marks(shard, today - age, bucket) for age in range(3))
        replies = await self._link.send([("HGET", key, digest[:12]) for key in keys])
        marks = [value for value in replies.values if isinstance(value, bytes)]
        return int(marks[0]) if marks else None


def _weight(use: Use) -> int:
    """The number of words that it adds to a trip, or a few more."""
    links = use.account.carrying.links if use.account.carrying else ()
    return 30 + 6 * len(use.account.finite) + 4 * len(use.caps) + 5 * len(links)


_CALL: Final = framing.Call(
    scripts.CONSUME,
    (keyspace.fence, keyspace.journal, keyspace.versions, keyspace.due, keyspace.clock),
    before=3,
    ceilings=True,
)


def _packed(shard: int, batch: Sequence[_Waiting], run_id: str) -> bytes:
    if len(batch) > 1:
        return pack(_command(shard, [(waiting.act, waiting.now) for waiting in batch], run_id))
    use, now = batch[0].act, batch[0].now
    made = framing.frame(_CALL, shard, use.account, use.caps)
    before = framing.of_run(run_id, MARK_LIFE_S) + framing.number(journal.microseconds(now))
    ceilings = use.ceilings
    numbers = (_or_none(ceilings.granted), _or_none(ceilings.drawn), *map(_or_none, ceilings.caps))
    return framing.packed(made, before, use, keyspace.day_of(now), numbers)


def _command(shard: int, batch: Sequence[tuple[Use, datetime]], run_id: str) -> Command:
    keys = script_call.Keys(*[key(shard) for key in _CALL.first])
    now = journal.microseconds(max(now for _, now in batch))
    accounts = script_call.Accounts(shard, keys)
    body: list[script_call.Argument] = []
    for use, at in batch:
        body.append(accounts.place(use.account))
        body += asked(shard, keys, use, keyspace.day_of(at))
    return keys.call(scripts.CONSUME, run_id, MARK_LIFE_S, now, *accounts.arguments(), len(batch), *body)


def asked(shard: int, keys: script_call.Keys, use: Use, today: int) -> list[script_call.Argument]:
    """A use as scripts take it, without its account: quantity, mark, payload, ceilings."""
    ceilings = use.ceilings
    return [
        use.measured,
        *script_call.mark(shard, keys, use.digest, today),
        use.fingerprint,
        use.payload,
        *((use.value,) if use.account.meter == "unique" else ()),
        _or_none(ceilings.granted),
        _or_none(ceilings.drawn),
        *script_call.caps(shard, keys, use.account.tenant_id, use.caps),
        *map(_or_none, ceilings.caps),
    ]


def _or_none(number: int | None) -> int:
    return -1 if number is None else number


def _read(stand: list[int], catalog: str | None) -> Found:
    return Found(OUTCOMES[stand[0]], tuple(stand[1:]), catalog)


_USES: Final = Kind(_packed, _read, _weight, sent="consumed", with_catalog=True)
