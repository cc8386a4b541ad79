"""The subscriptions of tenants, with their phases and their billing statuses."""

from datetime import datetime

import msgspec

from policies import limits
from policies.subscription import HeldAddon, Phase, Subscription
from store import billing, postgres
from store.queries import Queries

_SQL = Queries("subscriptions")


class Held(msgspec.Struct, frozen=True):
    """A subscription as it is stored, and how often it has changed."""

    subscription: Subscription
    revision: int


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


async def latest(connection: postgres.Connection, tenant_id: str) -> Held | None:
    """The subscription that the tenant made last, live or ended, with its last limits.PHASES phases."""
    row = await postgres.row(connection, _SQL.latest, {"tenant_id": tenant_id}, _Row)
    if row is None:
        return None
    params = {"tenant_id": tenant_id, "subscription_id": row.subscription_id, "limit": limits.PHASES}
    newest_first = await postgres.rows(connection, _SQL.phases, params, _PhaseRow)
    subscription = Subscription(
        id=row.subscription_id,
        anchored_at=row.anchored_at,
        created_at=row.created_at,
        trial_ends_at=row.trial_ends_at,
        phases=tuple(_phase(one) for one in reversed(newest_first)),
        billing=await billing.facts(connection, tenant_id, row.subscription_id),
    )
    return Held(subscription, row.revision)


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
    await _write_phases(connection, tenant_id, subscription.id, before=(), after=subscription.phases)
    await billing.write(connection, tenant_id, subscription.id, before=(), after=subscription.billing)
    return Held(subscription, 1)


async def replace(
    connection: postgres.Connection, tenant_id: str, before: Subscription, after: Subscription
) -> Held:
    """Writes what differs between two states of a subscription; its revision rises."""
    await _write_phases(connection, tenant_id, before.id, before=before.phases, after=after.phases)
    await billing.write(connection, tenant_id, before.id, before=before.billing, after=after.billing)
    params = {"tenant_id": tenant_id, "subscription_id": before.id}
    (revision,) = await postgres.scalars(connection, _SQL.touch, params)
    return Held(after, revision)


async def _write_phases(
    connection: postgres.Connection,
    tenant_id: str,
    subscription_id: str,
    *,
    before: tuple[Phase, ...],
    after: tuple[Phase, ...],
) -> None:
    whose = {"tenant_id": tenant_id, "subscription_id": subscription_id}
    for phase in before:
        if phase not in after:
            await postgres.execute(connection, _SQL.drop_phase, whose | {"start": phase.start})
    for phase in after:
        if phase not in before:
            addons = {"addons": msgspec.json.encode(phase.addons).decode()}
            await postgres.execute(connection, _SQL.add_phase, whose | msgspec.structs.asdict(phase) | addons)


def _phase(row: _PhaseRow) -> Phase:
    addons = msgspec.convert(row.addons, tuple[HeldAddon, ...])
    return Phase(**msgspec.structs.asdict(row) | {"addons": addons})
