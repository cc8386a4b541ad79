"""Open reservations in Redis: units are held for a use to come, until that is settled, given up, or overdue.

What is open says whether a reservation has ended, so an end needs no mark: it is done once, by whoever is
first.
"""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from itertools import compress
from typing import Final, Literal

import msgspec
from redis import exceptions

from policies import limits, rollover
from policies.rollover import Late
from store import accounts, consuming, gathering, journal, keyspace, script_call, scripts
from store.accounts import Account, Carrying
from store.consuming import Found, Use
from store.conversation import Command
from store.counters import MARK_LIFE_S, Recording
from store.crash_points import crash_point
from store.journal import Draw, Hold, Line
from store.link import RUN_ID, Replies
from store.nodes import Servers
from store.reading import FenceClosedError

EndKind = Literal["settle", "release", "expire"]
EndOutcome = Literal["done", "gone", "early", "overflow"]
_ENDS: Final[tuple[EndOutcome, ...]] = ("done", "gone", "early", "overflow")
_NAME: Final = re.compile(r"rsv_([0-9a-f]{2})([0-9a-f]{32})")


class Name(msgspec.Struct, frozen=True):
    """What a reservation is found by: the digest of tenant, service and id, and the tenant's shard."""

    shard: int
    digest: bytes

    @classmethod
    def of(cls, tenant_id: str, digest: bytes) -> "Name":
        """That of a tenant's reservation."""
        return cls(keyspace.shard_of(tenant_id), digest)

    @classmethod
    def parse(cls, text: str) -> "Name | None":
        """The name as callers have it; None for what is none."""
        found = _NAME.fullmatch(text)
        return cls(int(found[1], 16), bytes.fromhex(found[2])) if found else None

    def __str__(self) -> str:
        return f"rsv_{self.shard:02x}{self.digest.hex()}"


class Reserved(msgspec.Struct, frozen=True):
    """What became of a wish to reserve, and until when it holds (microseconds since 1970; 0: it does not)."""

    found: Found
    expires_at: int


class End(msgspec.Struct, frozen=True):
    """How an open reservation ends. `quantity` is what a settle has used of it, scaled."""

    kind: EndKind
    line: Line
    """Of its reserve."""
    quantity: int = 0
    after: accounts.Link | None = None
    """What the period hands on, if it rolls over and the next one has begun: a settle leaves that alone."""
    late: Late | None = None
    """How late it comes for what rolls over, by the facts of now; None: as the reserve foresaw it."""

    def account(self, now: datetime) -> Account:
        """The account of the reserve, and how late the end comes for what rolls over by now (R19)."""
        hold, account = self.hold, self.hold.account
        foreseen = rollover.lateness_of(hold.period_ends, journal.microseconds(now))
        late = foreseen if self.late is None else self.late
        if account.carrying is None and not late:
            return account
        links = account.carrying.links if account.carrying else ()
        carrying = Carrying(links, hold.period_ends, late, self.after)
        return msgspec.structs.replace(account, carrying=carrying)

    @property
    def hold(self) -> Hold:
        """What the reserve kept for it."""
        hold = self.line.event.hold
        assert hold is not None, "a reserve says what its end needs"
        return hold

    def event(self, now: datetime) -> journal.JournalEvent:
        """The act as the journal has it, of the instant of the reserve (R31)."""
        event, hold, carrying = self.line.event, self.hold, self.account(now).carrying
        used = self.kind == "settle" and self.quantity > 0
        return msgspec.structs.replace(
            event,
            kind=self.kind,
            quantity=self.quantity,
            measured=0 if not used else 10**hold.decimals if hold.counts else self.quantity,
            accepted_at=journal.microseconds(now),
            digest=_digest("end", event.digest),
            fingerprint=fingerprint(self.kind, self.quantity),
            held=self.line.draw,
            decided=None,
            late=carrying.late if carrying else 0,
            hold=None,
            reservation=event.digest,
        )


class Holds:
    """The scripts and reads of reservations, over the ways to all shards."""

    def __init__(self, link: Servers) -> None:
        self._link = link

    async def reserve(self, use: Use, *, seconds: int, now: datetime) -> Reserved:
        """Holds what a use needs, if all of it fits.

        Errors: FenceClosedError; RedisAwayError, and then nobody knows whether it holds.
        """
        reserving = _reserve_command(use, seconds, now)
        asking = ("GET", keyspace.catalog(keyspace.shard_of(use.account.tenant_id)))
        replies = await self._send([asking, reserving], durable=True)
        crash_point("reserved")
        catalog, stand = replies.values
        code, expires_at, number, *levels = stand
        self._link.tips.note(keyspace.shard_of(use.account.tenant_id), number)
        active = catalog.decode() if isinstance(catalog, bytes) else None
        return Reserved(Found(consuming.OUTCOMES[code], tuple(levels), active), expires_at)

    async def find(self, name: Name) -> Line | None:
        """The reserve of an open reservation; None if it has ended, or never was.

        Errors: FenceClosedError, RedisAwayError.
        """
        replies = await self._send(
            [("GET", keyspace.fence(name.shard)), ("HGET", keyspace.holds(name.shard), name.digest)]
        )
        fence, line = replies.values
        if fence != replies.run_id.encode():
            raise FenceClosedError
        return None if line is None else journal.decode_line(line)

    async def end(self, ends: Sequence[End], *, now: datetime) -> list[EndOutcome]:
        """Ends reservations of one shard: `gone` if someone else did, `early` if one has not expired yet.

        Errors: FenceClosedError; RedisAwayError, and then nobody knows.
        """
        (said,) = (await self._send([_end_command(ends, now)], durable=True)).values
        crash_point("ended")
        *codes, number = said
        self._link.tips.note(keyspace.shard_of(ends[0].line.event.tenant_id), number)
        return [_ENDS[code] for code in codes]

    async def tenants_due(
        self, *, now: datetime, shards: Sequence[int] = range(keyspace.SHARDS)
    ) -> list[str]:
        """Tenants with reservations that have expired, at most limits.RESERVATIONS_SWEPT of each shard.

        Errors: RedisAwayError.
        """
        said = (await self._send([("GET", keyspace.clock(shard)) for shard in shards])).values
        clocks = [_later(now, clock) for clock in said]
        due = [_range(keyspace.due(shard), clock) for shard, clock in zip(shards, clocks, strict=True)]
        found = await self._send(due)
        return [tenant.decode() for tenants in found.values for tenant in tenants]

    async def sweep(self, tenant_id: str, *, now: datetime) -> int:
        """Ends what has expired of a tenant, batch after batch; how many that were.

        Errors: FenceClosedError, RedisAwayError; what was ended stays so.
        """
        shard, ended = keyspace.shard_of(tenant_id), 0
        while True:
            lines = await self._expired(shard, tenant_id, now)
            outcomes = await self.end([End("expire", line) for line in lines], now=now) if lines else []
            ended += outcomes.count("done")
            if len(lines) < limits.RESERVATIONS_SWEPT or "done" not in outcomes:
                return ended

    async def _expired(self, shard: int, tenant_id: str, now: datetime) -> list[Line]:
        (said,) = (await self._send([("GET", keyspace.clock(shard))])).values
        expired = _range(keyspace.expiries(shard, tenant_id), _later(now, said))
        (names,) = (await self._send([expired])).values
        if not names:
            return []
        (lines,) = (await self._send([("HMGET", keyspace.holds(shard), *names)])).values
        return [journal.decode_line(line) for line in lines if line is not None]

    async def _send(self, commands: Sequence[Command], *, durable: bool = False) -> Replies:
        replies = await self._link.send(commands, durable=durable)
        for value in replies.values:
            _raise_error(value)
        return replies


def put_back(lines: Sequence[Line]) -> list[Command]:
    """What opens reservations again that a server has lost; their units stand in the counters."""
    commands: list[Command] = []
    for line in lines:
        event = line.event
        shard, tenant_id = keyspace.shard_of(event.tenant_id), event.tenant_id
        commands += [
            ("HSET", keyspace.holds(shard), event.digest, journal.encode_line(line)),
            ("ZADD", keyspace.expiries(shard, tenant_id), line.expires_at, event.digest),
            ("ZADD", keyspace.due(shard), "LT", line.expires_at, tenant_id),
        ]
    return commands


def late(end: End, now: datetime) -> Recording:
    """What was used of a reservation that has expired, as a record: nothing is held of it any more.

    It has a digest of its own, since the expiry has that of an end; and no later facts than those of its
    reserve bear on it, so no version of them is too old.
    """
    event, hold = end.event(now), end.hold
    current = [cap.ends == 0 or cap.ends > now.timestamp() for cap in event.caps]
    event = msgspec.structs.replace(
        event,
        digest=_digest("late", event.reservation),
        held=None,
        caps=tuple(compress(event.caps, current)),
    )
    return Recording(
        account=msgspec.structs.replace(end.account(now), snapshot_version=limits.REQUESTED_MAX),
        measured=event.measured,
        digest=event.digest,
        fingerprint=event.fingerprint,
        payload=journal.encode(event),
        caps=tuple(compress(hold.caps, current)),
    )


def fingerprint(kind: EndKind, quantity: int) -> int:
    """31 bits of how a reservation ended."""
    return int.from_bytes(hashlib.sha256(f"{kind} {quantity}".encode()).digest()[:4]) >> 1


def _digest(what: str, reservation: bytes) -> bytes:
    return hashlib.sha256(f"reservation {what} ".encode() + reservation).digest()[:16]


def _reserve_command(use: Use, seconds: int, now: datetime) -> Command:
    tenant_id = use.account.tenant_id
    shard = keyspace.shard_of(tenant_id)
    keys = script_call.Keys(
        keyspace.fence(shard),
        keyspace.journal(shard),
        keyspace.versions(shard),
        keyspace.holds(shard),
        keyspace.expiries(shard, tenant_id),
        keyspace.due(shard),
        keyspace.clock(shard),
    )
    return keys.call(
        scripts.RESERVE,
        RUN_ID,
        MARK_LIFE_S,
        journal.microseconds(now),
        seconds * 1_000_000,
        limits.RESERVATIONS_OPEN,
        use.digest,
        *script_call.account_of(shard, keys, use.account),
        *consuming.asked(shard, keys, use, keyspace.day_of(now)),
    )


def _end_command(ends: Sequence[End], now: datetime) -> Command:
    shard = keyspace.shard_of(ends[0].line.event.tenant_id)
    keys = script_call.Keys(
        keyspace.fence(shard),
        keyspace.journal(shard),
        keyspace.holds(shard),
        keyspace.due(shard),
        keyspace.clock(shard),
        keyspace.versions(shard),
    )
    body: list[script_call.Argument] = []
    for end in ends:
        event, held, account = end.event(now), end.line.draw, end.account(now)
        body += (event.reservation, int(end.kind == "expire"))
        body.append(keys.place(keyspace.expiries(shard, event.tenant_id)))
        body += script_call.account_of(shard, keys, account)
        body += (*_by_bucket(account, held), held.overage, held.excess)
        body += (event.measured, journal.encode(event))
        body += script_call.caps(shard, keys, event.tenant_id, end.hold.caps)
    return keys.call(scripts.SETTLE, RUN_ID, journal.microseconds(now), len(ends), *body)


def _by_bucket(account: Account, held: Draw) -> list[int]:
    """What is held of each finite bucket, in their order."""
    grants = {grant.grant_id: amount for grant, amount in held.grants}
    generations = dict(held.rollover)
    amounts = []
    for room in account.finite:
        if room.generation:
            amounts.append(generations.get(room.generation, 0))
        else:
            amounts.append(held.included if room.grant is None else grants.get(room.grant.grant_id, 0))
    return amounts


def _range(key: str, clock: int) -> Command:
    """What has expired by the clock, first expiry first."""
    return ("ZRANGEBYSCORE", key, "-inf", clock, "LIMIT", 0, limits.RESERVATIONS_SWEPT)


def _later(now: datetime, clock: bytes | None) -> int:
    """The shard's clock never runs back, whatever this process takes for now."""
    return max(journal.microseconds(now), int(clock or 0))


def _raise_error(value: object) -> None:
    if isinstance(value, exceptions.ResponseError):
        raise gathering.error_of(value)
