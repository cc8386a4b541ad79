"""Moves of many tenants at once: who is to move, and what is written for a batch in one transaction."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from policies.moving import Targets
from policies.snapshot import Snapshot
from store import audit, postgres, snapshot_source, subscriptions
from store.queries import Queries
from store.subscriptions import Rewritten

_SQL = Queries("moves")


class _Version(msgspec.Struct, frozen=True):
    tenant_id: str
    snapshot_version: int


async def count(connection: postgres.Connection, targets: Targets, at: datetime) -> int:
    """How many tenants have, or will have, something that moves in another version."""
    (found,) = await postgres.scalars(connection, _SQL.count, _wanted(targets, at))
    return int(found)


async def candidates(
    connection: postgres.Connection, targets: Targets, at: datetime, *, after: str, limit: int
) -> list[str]:
    """Their ids, behind one."""
    params = _wanted(targets, at) | {"after": after, "limit": limit}
    return await postgres.scalars(connection, _SQL.candidates, params)


async def read(
    connection: postgres.Connection, tenant_ids: Sequence[str], now: datetime
) -> dict[str, Snapshot]:
    """What is stored of those tenants that exist."""
    texts = await snapshot_source.read_texts(connection, tenant_ids, now=now)
    found = [msgspec.json.decode(text, type=Snapshot) for text in texts]
    return {snapshot.tenant_id: snapshot for snapshot in found}


async def lock(connection: postgres.Connection, tenant_ids: Sequence[str]) -> list[str]:
    """Holds the tenants until the transaction ends; those that are open."""
    return await postgres.scalars(connection, _SQL.lock, {"tenants": list(tenant_ids)})


async def write(
    connection: postgres.Connection, rewritten: Sequence[Rewritten], lines: Sequence[audit.Line]
) -> dict[str, int]:
    """Writes subscriptions and their audit lines; the tenants' new snapshot versions."""
    await subscriptions.replace_all(connection, rewritten)
    await audit.append_all(connection, lines)
    params = {"tenants": [one.tenant_id for one in rewritten]}
    raised = await postgres.rows(connection, _SQL.raise_versions, params, _Version)
    return {one.tenant_id: one.snapshot_version for one in raised}


def _wanted(targets: Targets, at: datetime) -> dict[str, object]:
    return {
        "at": at,
        "plans": list(targets.plans),
        "plan_versions": [plan.version for plan in targets.plans.values()],
        "addons": list(targets.addons),
        "addon_versions": [addon.version for addon in targets.addons.values()],
    }
