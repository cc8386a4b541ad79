"""The subscriptions of tenants, with their phases and their billing statuses."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from policies import limits
from policies.subscription import BillingFact, HeldAddon, Phase, Subscription
from store import billing, postgres
from store.queries import Queries

_SQL = Queries("subscriptions")


class Held(msgspec.Struct, frozen=True):
    """A subscription as it is stored, and how often it has changed."""

    subscription: Subscription
    revision: int


class Rewritten(msgspec.Struct, frozen=True):
    """A tenant's subscription as it was, None if it is new, and as it is to be."""

    tenant_id: str
    before: Subscription | None
    after: Subscription


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    subscription_id: str
    anchored_at: datetime
    created_at: datetime
    trial_ends_at: datetime | None
    revision: int


class _PhaseRow(msgspec.Struct, frozen=True, kw_only=True):
    plan_id: str
    plan_version: str
    start: datetime
    end: datetime | None
    addons: list[object]
    """As the driver reads JSON."""


class _RowOf(_Row, frozen=True, kw_only=True):
    tenant_id: str


class _PhaseOf(_PhaseRow, frozen=True, kw_only=True):
    tenant_id: str


async def latest(connection: postgres.Connection, tenant_id: str) -> Held | None:
    """The subscription that the tenant made last, live or ended, with its last limits.PHASES phases."""
    row = await postgres.row(connection, _SQL.latest, {"tenant_id": tenant_id}, _Row)
    if row is None:
        return None
    params = {"tenant_id": tenant_id, "subscription_id": row.subscription_id, "limit": limits.PHASES}
    newest_first = await postgres.rows(connection, _SQL.phases, params, _PhaseRow)
    billed = await billing.facts(connection, tenant_id, row.subscription_id)
    return Held(_subscription(row, newest_first, billed), row.revision)


async def latest_of(connection: postgres.Connection, tenant_ids: Sequence[str]) -> dict[str, Subscription]:
    """The same of many tenants, in three queries; those without a subscription are left out."""
    rows = await postgres.rows(connection, _SQL.latest_of, {"tenants": list(tenant_ids)}, _RowOf)
    named = {
        "tenants": [row.tenant_id for row in rows],
        "subscriptions": [row.subscription_id for row in rows],
    }
    newest_first = dict[str, list[_PhaseRow]]()
    for one in await postgres.rows(connection, _SQL.phases_of, named | {"limit": limits.PHASES}, _PhaseOf):
        newest_first.setdefault(one.tenant_id, []).append(one)
    billed = await billing.facts_of(connection, named["tenants"], named["subscriptions"])
    return {
        row.tenant_id: _subscription(row, newest_first.get(row.tenant_id, ()), billed.get(row.tenant_id, ()))
        for row in rows
    }


def _subscription(
    row: _Row, newest_first: Sequence[_PhaseRow], billed: tuple[BillingFact, ...]
) -> Subscription:
    return Subscription(
        id=row.subscription_id,
        anchored_at=row.anchored_at,
        created_at=row.created_at,
        trial_ends_at=row.trial_ends_at,
        phases=tuple(_phase(one) for one in reversed(newest_first)),
        billing=billed,
    )


async def covered_until(connection: postgres.Connection, tenant_id: str) -> datetime | None:
    """Until when the tenant's subscriptions reach that have an end; None if none has one."""
    (end,) = await postgres.scalars(connection, _SQL.covered_until, {"tenant_id": tenant_id})
    return end if isinstance(end, datetime) else None


async def add(connection: postgres.Connection, tenant_id: str, subscription: Subscription) -> Held:
    """Writes a new subscription."""
    params = {
        "tenant_id": tenant_id,
        "subscription_id": subscription.id,
        "anchored_at": subscription.anchored_at,
        "created_at": subscription.created_at,
        "trial_ends_at": subscription.trial_ends_at,
    }
    await postgres.execute(connection, _SQL.add, params)
    await _write_phases(connection, [Rewritten(tenant_id, None, subscription)])
    if subscription.phases:
        params["start"] = subscription.phases[0].start
        await postgres.execute(connection, _SQL.open_account, params)
    await billing.write(connection, tenant_id, subscription.id, before=(), after=subscription.billing)
    return Held(subscription, 1)


async def replace(
    connection: postgres.Connection, tenant_id: str, before: Subscription, after: Subscription
) -> Held:
    """Writes what differs between two states of a subscription; its revision rises."""
    await _write_phases(connection, [Rewritten(tenant_id, before, after)])
    await billing.write(connection, tenant_id, before.id, before=before.billing, after=after.billing)
    params = {"tenant_id": tenant_id, "subscription_id": before.id}
    (revision,) = await postgres.scalars(connection, _SQL.touch, params)
    return Held(after, revision)


async def replace_all(connection: postgres.Connection, rewritten: Sequence[Rewritten]) -> None:
    """The same for the phases of many tenants' subscriptions at once; their billing stays."""
    await _write_phases(connection, rewritten)
    touched = [{"tenant_id": one.tenant_id, "subscription_id": one.after.id} for one in rewritten]
    await postgres.execute_each(connection, _SQL.touch, touched)


async def _write_phases(connection: postgres.Connection, rewritten: Sequence[Rewritten]) -> None:
    gone, new = list[dict[str, object]](), list[dict[str, object]]()
    for one in rewritten:
        whose = {"tenant_id": one.tenant_id, "subscription_id": one.after.id}
        was = one.before.phases if one.before else ()
        gone += [whose | {"start": phase.start} for phase in was if phase not in one.after.phases]
        new += [whose | _phase_fields(phase) for phase in one.after.phases if phase not in was]
    await postgres.execute_each(connection, _SQL.drop_phase, gone)
    await postgres.execute_each(connection, _SQL.add_phase, new)


def _phase_fields(phase: Phase) -> dict[str, object]:
    return msgspec.structs.asdict(phase) | {"addons": msgspec.json.encode(phase.addons).decode()}


def _phase(row: _PhaseRow) -> Phase:
    return Phase(
        plan_id=row.plan_id,
        plan_version=row.plan_version,
        start=row.start,
        end=row.end,
        addons=msgspec.convert(row.addons, tuple[HeldAddon, ...]),
    )
