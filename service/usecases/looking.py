"""One look at the books of some tenants: what is kept differently where, and how each side came to it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta

import msgspec

from policies import drift, limits
from policies.buckets import Bucket
from policies.drift import Count, Detail, Drift
from service.context import Context
from service.usecases import balances
from service.usecases.balances import Account
from store import keyspace, postgres, queries, sight, snapshot_source, witness
from store.certify import COUNTER_LIFE
from store.drift import Known
from store.holds import Name
from store.reading import FenceClosedError
from store.sight import Hold, Seen, Sight

sql = queries.Queries("books")


class Found(msgspec.Struct, frozen=True):
    """What a look has found, and of whom nothing can be said and why."""

    drifts: tuple[Drift, ...] = ()
    looked: tuple[str, ...] = ()
    """Tenants whose books were looked at whole."""
    unsure: Mapping[str, str] = {}

    def plus(self, other: "Found") -> "Found":
        """Both."""
        return Found(
            (*self.drifts, *other.drifts), (*self.looked, *other.looked), {**self.unsure, **other.unsure}
        )


class _Batch(msgspec.Struct, frozen=True):
    """What is read at one instant: windows, and the tenants whose reservations and books are."""

    sights: list[Sight] = []
    tenants: list[str] = []


class _Plan(msgspec.Struct, frozen=True):
    """What is to be looked at of tenants of one shard."""

    batches: Sequence[_Batch]
    accounts: Mapping[str, Sequence[Account]]
    rollups: Sequence[Drift]


class Scope(msgspec.Struct, frozen=True):
    """What is looked at beside all that Postgres has counters of."""

    now: datetime
    known: Sequence[Known] = ()
    """What differed the last time."""
    windows: Collection[tuple[str, str]] = ()
    """Of tenants, that Redis has counters of."""
    days: int = limits.BOOKS_DAYS
    """So far back sums are held against events."""


async def look(context: Context, tenant_ids: Collection[str], scope: Scope) -> Found:
    """Looks at all counters, open reservations, sums and books of these tenants.

    Errors: UnavailableError, RedisAwayError.
    """
    found = Found()
    for shard, members in sorted(_by_shard(tenant_ids).items()):
        try:
            plan = await _planned(context, members, scope)
            found = found.plus(await _look_at(context, shard, members, plan, scope.now))
        except FenceClosedError:
            why = f"shard {shard} is closed until a worker has certified it"
            found = found.plus(Found(unsure=dict.fromkeys(members, why)))
    return found


def _by_shard(tenant_ids: Collection[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for tenant_id in sorted(set(tenant_ids)):
        found.setdefault(keyspace.shard_of(tenant_id), []).append(tenant_id)
    return found


class _Window(msgspec.Struct, frozen=True):
    tenant_id: str
    time_window: str
    fields: int


async def _planned(context: Context, members: Sequence[str], scope: Scope) -> _Plan:
    now = scope.now
    async with postgres.standing_still(context.pool) as connection:
        accounts = await _accounts(context, connection, members, now)
        since = now - COUNTER_LIFE + sight.MARGIN
        kept = await postgres.rows(connection, sql.windows, {"tenants": members, "since": since}, _Window)
        sizes = {(one.tenant_id, one.time_window): one.fields for one in kept}
        for place in _others(members, accounts, scope):
            sizes.setdefault(place, 0)
        first_day = min([(now - timedelta(days=scope.days)).date(), *_days_known(members, scope.known)])
        large = [place for place, size in sizes.items() if size > limits.BOOKS_FIELDS]
        parts = [part for place in sorted(large) for part in await _parts(connection, place)]
        return _Plan(
            batches=[*_batches(members, sizes), *(_Batch([part]) for part in parts)],
            accounts=accounts,
            rollups=await witness.altered_rollups(connection, members, first_day=first_day),
        )


def _batches(members: Sequence[str], sizes: Mapping[tuple[str, str], int]) -> Iterator[_Batch]:
    """All windows but large ones; as many tenants together as have limits.BOOKS_FIELDS counters."""
    batch, fields = _Batch(), 0
    for tenant_id in members:
        own = {
            window: size
            for (whose, window), size in sizes.items()
            if whose == tenant_id and size <= limits.BOOKS_FIELDS
        }
        if batch.tenants and fields + sum(own.values()) > limits.BOOKS_FIELDS:
            yield batch
            batch, fields = _Batch(), 0
        batch.tenants.append(tenant_id)
        batch.sights.extend(Sight(tenant_id, window) for window in sorted(own))
        fields += sum(own.values())
    yield batch


async def _accounts(
    context: Context, connection: postgres.Connection, members: Sequence[str], now: datetime
) -> dict[str, list[Account]]:
    """What the tenants have a right to; nothing before the first catalog is active."""
    if context.catalogs.active is None:
        return {}
    snapshots = await snapshot_source.read_all(connection, members, now=now)
    return {one.tenant_id: await balances.accounts_of(context, one, now) for one in snapshots}


def _others(
    members: Sequence[str], accounts: Mapping[str, Sequence[Account]], scope: Scope
) -> Iterator[tuple[str, str]]:
    """Windows to be looked at though Postgres may have no sum of them."""
    for tenant_id, each in accounts.items():
        for account in each:
            for want in account.wants:
                yield from ((tenant_id, window) for window, _ in want.fields)
    yield from (place for place in scope.windows if place[0] in members)
    for one in scope.known:
        if one.tenant_id in members and one.kind in drift.COUNTERS:
            yield one.tenant_id, one.subject.partition(" ")[0]


def _days_known(members: Sequence[str], known: Sequence[Known]) -> Iterator[date]:
    for one in known:
        if one.tenant_id in members and one.kind in drift.ROLLUPS:
            yield date.fromisoformat(one.subject[:10])


async def _parts(connection: postgres.Connection, place: tuple[str, str]) -> list[Sight]:
    """The counters of a large window, page by page."""
    parts, after = [], ""
    params = {"tenant_id": place[0], "time_window": place[1], "limit": limits.BOOKS_FIELDS}
    while fields := await postgres.scalars(connection, sql.fields, params | {"after": after}):
        parts.append(Sight(*place, tuple(fields)))
        after = fields[-1]
    return parts


async def _look_at(context: Context, shard: int, members: Sequence[str], plan: _Plan, now: datetime) -> Found:
    drifts = list(plan.rollups)
    unsure: dict[str, str] = {}
    for batch in plan.batches:
        async with postgres.standing_still(context.pool) as connection:
            seen = await sight.look(
                connection,
                context.counters.link,
                shard=shard,
                sights=batch.sights,
                tenants=batch.tenants,
                now=now,
            )
            if seen.unsure:
                unsure |= dict.fromkeys({one.tenant_id for one in batch.sights}, seen.unsure)
                unsure |= dict.fromkeys(batch.tenants, seen.unsure)
                continue
            lost = await _lost(context, connection, shard, seen, now)
            drifts += [await _told(connection, one, seen, lost) for one in seen.counts if one.differs]
            drifts += [_hold(one, seen) for one in seen.holds if one.expected != one.actual]
            drifts += _open_books(plan, batch.tenants, seen, now)
    looked = tuple(tenant_id for tenant_id in members if tenant_id not in unsure)
    return Found(tuple(one for one in drifts if one.tenant_id not in unsure), looked, unsure)


async def _lost(
    context: Context, connection: postgres.Connection, shard: int, seen: Seen, now: datetime
) -> tuple[str, ...]:
    """Entries that the journal has lost, looked up only where a counter differs."""
    if not any(count.differs for count in seen.counts):
        return ()
    return await witness.lost_entries(connection, context.counters.link, shard, now=now)


async def _told(connection: postgres.Connection, count: Count, seen: Seen, lost: tuple[str, ...]) -> Drift:
    """A counter that differs, with what every witness says of it."""
    drawn = await witness.drawn(connection, count, seen.open_lines)
    evidence: dict[str, Detail] = {
        "rollup": count.rollup,
        "journal": count.journal,
        "owed": count.owed,
        "counter": count.counter,
        "draws": drawn,
        "cursor": seen.cursor,
        "entries": list(count.entries),
        "lostEntries": list(lost),
    }
    return Drift(
        kind=drift.classify(count, drawn=drawn, entry_lost=bool(lost)),
        tenant_id=count.tenant_id,
        feature_id=drift.feature_of(count.window, count.field),
        subject=f"{count.window} {count.field}",
        expected=count.expected,
        actual=count.counter or 0,
        evidence=evidence,
    )


def _hold(hold: Hold, seen: Seen) -> Drift:
    """A reservation that is open on one side alone."""
    lines = {line.event.digest: line for line in seen.open_lines}
    line = lines.get(hold.digest)
    name = str(Name.of(hold.tenant_id, hold.digest))
    return Drift(
        kind="hold_missing" if hold.expected else "hold_foreign",
        tenant_id=hold.tenant_id,
        feature_id=line.event.feature_id if line else "",
        subject=name,
        expected="open" if hold.expected else None,
        actual="open" if hold.actual else None,
        evidence={"cursor": seen.cursor, "held": line.draw.total if line else None},
    )


def _open_books(plan: _Plan, tenants: Collection[str], seen: Seen, now: datetime) -> Iterator[Drift]:
    """Buckets whose books do not close, by the counters as they stand."""
    found = {(one.tenant_id, one.window, one.field): one.counter or 0 for one in seen.counts}
    for tenant_id in tenants:
        for account in plan.accounts.get(tenant_id, ()):
            own, before = (
                tuple(found.get((tenant_id, window, field), 0) for window, field in want.fields)
                for want in account.wants
            )
            for period, books in zip(
                ("", "previous "), balances.books_of(account, own, before, now), strict=True
            ):
                yield from (
                    _not_closed(account, f"{period}{bucket.bucket}", bucket)
                    for bucket in books
                    if not drift.closes(bucket)
                )


def _not_closed(account: Account, name: str, bucket: Bucket) -> Drift:
    parts: dict[str, Detail] = {part: getattr(bucket, part) for part in drift.PARTS}
    return Drift(
        kind="books_open",
        tenant_id=account.right.tenant_id,
        feature_id=account.right.feature_id,
        subject=f"{account.right.feature_id} {name} {bucket.effective_at:%Y-%m-%dT%H:%M:%SZ}",
        expected=bucket.granted,
        actual=drift.parts_of(bucket),
        evidence=parts,
    )
