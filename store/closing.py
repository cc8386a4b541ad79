"""Closing billing periods: what is due, what is read for it under the shard's lock, and what is written."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from policies.rating.frozen import Frozen
from policies.rating.lines import Line
from store import postgres
from store.queries import Queries
from store.reading import Want

_SQL = Queries("closing")

Name = tuple[str, str]
"""A subscription: its tenant, and its id."""


class Due(msgspec.Struct, frozen=True):
    """A tenant to be looked at."""

    shard: int
    tenant_id: str


class Account(msgspec.Struct, frozen=True):
    """How far a subscription is billed."""

    tenant_id: str
    subscription_id: str
    billed_from: datetime
    closed_until: datetime
    period_no: int

    @property
    def name(self) -> Name:
        """What it is told apart by."""
        return self.tenant_id, self.subscription_id


class Moved(msgspec.Struct, frozen=True):
    """The same afterwards, and when to look at it again; None: never."""

    account: Account
    look_at: datetime | None


class Period(msgspec.Struct, frozen=True):
    """A closed period, and its overage as it is invoiced by now."""

    tenant_id: str
    subscription_id: str
    period_no: int
    start_at: datetime
    end_at: datetime
    closed_at: datetime
    uses: Frozen


class Earlier(msgspec.Struct, frozen=True):
    """A period that was closed before."""

    period_no: int
    start_at: datetime
    end_at: datetime
    uses: Frozen


class Late(msgspec.Struct, frozen=True):
    """An hour of a closed period that usage of a feature came for."""

    tenant_id: str
    subscription_id: str
    feature_id: str
    hour_at: datetime


class Uncounted(msgspec.Struct, frozen=True):
    """What of an instant moved no counter, scaled."""

    tenant_id: str
    feature_id: str
    event_at: datetime
    amount: int


class Payer(msgspec.Struct, frozen=True):
    """A tenant as invoices name it."""

    tenant_id: str
    name: str
    email: str


class _Cursor(msgspec.Struct, frozen=True):
    shard: int
    drained_at: datetime | None


class _Used(msgspec.Struct, frozen=True):
    tenant_id: str
    time_window: str
    field: str
    used: int


class _Charged(msgspec.Struct, frozen=True):
    tenant_id: str
    subscription_id: str
    body: str


class _Earlier(msgspec.Struct, frozen=True):
    period_no: int
    start_at: datetime
    end_at: datetime
    uses: str


async def adopt(connection: postgres.Connection, now: datetime) -> int:
    """Begins to bill subscriptions that are older than invoices; how many."""
    return await postgres.execute(connection, _SQL.adopt, {"now": now})


async def due(connection: postgres.Connection, now: datetime, *, limit: int) -> list[Due]:
    """Tenants whose period may be over, by shard; each for itself may turn out not to be."""
    return await postgres.rows(connection, _SQL.due, {"now": now, "limit": limit}, Due)


async def lock_shards(connection: postgres.Connection, shards: Collection[int]) -> dict[int, datetime | None]:
    """Keeps shards from being flushed; until when everything acknowledged of each is in Postgres."""
    found = await postgres.rows(connection, _SQL.lock_shards, {"shards": sorted(shards)}, _Cursor)
    return {one.shard: one.drained_at for one in found}


async def lock_tenants(connection: postgres.Connection, tenant_ids: Sequence[str]) -> dict[str, Payer]:
    """Lets nobody change these tenants until the transaction ends; whom their invoices are made out to."""
    found = await postgres.rows(connection, _SQL.lock_tenants, {"tenants": list(tenant_ids)}, Payer)
    return {one.tenant_id: one for one in found}


async def lock_accounts(
    connection: postgres.Connection, tenant_ids: Sequence[str], now: datetime
) -> list[Account]:
    """Holds the subscriptions to be looked at; not those whose tenant has usage in the inbox."""
    params = {"tenants": list(tenant_ids), "now": now}
    return await postgres.rows(connection, _SQL.lock_accounts, params, Account)


async def account(connection: postgres.Connection, tenant_id: str, subscription_id: str) -> Account | None:
    """How far a subscription is billed; None before its first look."""
    params = {"tenant_id": tenant_id, "subscription_id": subscription_id}
    return await postgres.row(connection, _SQL.account, params, Account)


async def counters(connection: postgres.Connection, wants: Sequence[Want]) -> list[tuple[int, ...]]:
    """The flushed sums behind counters, for each want in its order."""
    asked = [(want.tenant_id, window, field) for want in wants for window, field in want.fields]
    if not asked:
        return [() for _ in wants]
    tenants, windows, fields = zip(*asked, strict=True)
    names = {"tenants": tenants, "windows": windows, "fields": fields}
    params = {name: "\n".join(each) for name, each in names.items()}
    rows = await postgres.rows(connection, _SQL.counters, params, _Used)
    used = {(row.tenant_id, row.time_window, row.field): row.used for row in rows}
    return [tuple([used.get((want.tenant_id, *field), 0) for field in want.fields]) for want in wants]


async def uncounted(
    connection: postgres.Connection, tenant_ids: Sequence[str], start: datetime, end: datetime
) -> list[Uncounted]:
    """What moved no counter, in order of time."""
    params = {"tenants": list(tenant_ids), "start": start, "end": end}
    return await postgres.rows(connection, _SQL.uncounted, params, Uncounted)


async def charged_prices(
    connection: postgres.Connection, since: Mapping[Name, datetime]
) -> dict[Name, list[Line]]:
    """By which lines earlier invoices charged prices whose period ends after an instant."""
    if not since:
        return {}
    params = _names(since) | {"since": list(since.values())}
    found: dict[Name, list[Line]] = {}
    for row in await postgres.rows(connection, _SQL.charged_prices, params, _Charged):
        line = msgspec.json.decode(row.body, type=Line)
        found.setdefault((row.tenant_id, row.subscription_id), []).append(line)
    return found


async def late(connection: postgres.Connection, names: Sequence[Name]) -> list[Late]:
    """What came for closed periods of these subscriptions."""
    return await postgres.rows(connection, _SQL.late, _names(names), Late)


async def forget_late(connection: postgres.Connection, names: Sequence[Name]) -> None:
    """What was noted of these subscriptions is invoiced, or was on an invoice all the same."""
    await postgres.execute(connection, _SQL.forget_late, _names(names))


async def earlier(connection: postgres.Connection, name: Name, since: datetime) -> list[Earlier]:
    """The closed periods of a subscription that ended after an instant, oldest first."""
    params = {"tenant_id": name[0], "subscription_id": name[1], "since": since}
    rows = await postgres.rows(connection, _SQL.periods_since, params, _Earlier)
    return [
        Earlier(row.period_no, row.start_at, row.end_at, msgspec.json.decode(row.uses, type=Frozen))
        for row in rows
    ]


async def adjust(connection: postgres.Connection, name: Name, period: Earlier) -> None:
    """Keeps the overage of a closed period as it is invoiced by now."""
    params = {
        "tenant_id": name[0],
        "subscription_id": name[1],
        "period_no": period.period_no,
        "uses": _json(period.uses),
    }
    await postgres.execute(connection, _SQL.adjust_period, params)


async def keep_periods(connection: postgres.Connection, periods: Iterable[Period]) -> None:
    """Writes periods that were closed."""
    async with connection.cursor().copy(_SQL.copy_periods) as copy:
        for one in periods:
            *fields, uses = msgspec.structs.astuple(one)
            await copy.write_row([*fields, _json(uses)])


async def move(connection: postgres.Connection, moved: Sequence[Moved]) -> None:
    """Writes how far subscriptions are billed, and when they are looked at again."""
    params = _names([one.account.name for one in moved]) | {
        "closed": [one.account.closed_until for one in moved],
        "numbers": [one.account.period_no for one in moved],
        "look": [one.look_at for one in moved],
    }
    await postgres.execute(connection, _SQL.move_accounts, params)


def _names(names: Iterable[Name]) -> dict[str, object]:
    pairs = list(names)
    return {"tenants": [name[0] for name in pairs], "subscriptions": [name[1] for name in pairs]}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
