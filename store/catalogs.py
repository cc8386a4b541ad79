"""Catalogs: what was published, which is active, and the versions that subscriptions are pinned to."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from policies.model import AddonVersion, Catalog, PlanVersion
from store import postgres, queries

sql = queries.Queries("catalogs")


class Published(msgspec.Struct, frozen=True, rename="camel"):
    """One published catalog, as history lists it. `activated_at` None: it never was active."""

    hash: str
    message: str
    author: str
    published_at: datetime
    activated_at: datetime | None


class Meaning(msgspec.Struct, frozen=True):
    """What the stored numbers of a feature mean, for life, also when no plan has it any more."""

    feature_id: str
    type: str
    decimals: int
    aggregation: str


class Versions(msgspec.Struct, frozen=True):
    """What subscriptions are pinned to, by version."""

    plans: Mapping[str, PlanVersion]
    addons: Mapping[str, AddonVersion]


class Catalogs:
    """What this process knows: the active catalog, refreshed once a second, and versions once read."""

    def __init__(self, pool: postgres.Pool) -> None:
        self._pool = pool
        self._refreshing = asyncio.Lock()
        self.active: Catalog | None = None
        self.versions: dict[str, PlanVersion] = {}
        self.addon_versions: dict[str, AddonVersion] = {}
        self.meanings: dict[str, Meaning] = {}

    async def refresh(self) -> Catalog | None:
        """Reads the active catalog if another one has become active.

        Errors: UnavailableError; what was known stays.
        """
        async with self._refreshing, postgres.transaction(self._pool) as connection:
            active_hash = await read_active_hash(connection)
            if active_hash is not None and (self.active is None or self.active.hash != active_hash):
                catalog = await read(connection, active_hash)
                assert catalog is not None, "an activation names a catalog that is kept"
                self.active = catalog
                self.meanings = await meanings(connection)
                self.versions = {plan.version: plan for plan in catalog.plans.values()}
                self.addon_versions = {addon.version: addon for addon in catalog.addons.values()}
        return self.active

    async def need(self, plans: Iterable[str], addons: Iterable[str] = ()) -> Versions:
        """The versions that this process knows, after reading those named that it lacks.

        Errors: UnavailableError.
        """
        lacking_plans = [version for version in plans if version not in self.versions]
        lacking_addons = [version for version in addons if version not in self.addon_versions]
        known = Versions(self.versions, self.addon_versions)  # a refresh may replace them while we wait
        if not lacking_plans and not lacking_addons:
            return known
        active = self.active.hash if self.active else ""
        async with postgres.transaction(self._pool) as connection:
            bodies = await postgres.scalars(
                connection, sql.plan_versions, {"versions": lacking_plans, "active": active}
            )
            addon_bodies = await postgres.scalars(
                connection, sql.addon_versions, {"versions": lacking_addons, "active": active}
            )
        read_plans = [msgspec.json.decode(body, type=PlanVersion) for body in bodies]
        read_addons = [msgspec.json.decode(body, type=AddonVersion) for body in addon_bodies]
        self.versions.update((plan.version, plan) for plan in read_plans)
        self.addon_versions.update((addon.version, addon) for addon in read_addons)
        return Versions(
            {**known.plans, **{plan.version: plan for plan in read_plans}},
            {**known.addons, **{addon.version: addon for addon in read_addons}},
        )


async def read_active_hash(connection: postgres.Connection) -> str | None:
    """The hash of the active catalog; None before the first activation."""
    found: list[str] = await postgres.scalars(connection, sql.active_hash, {})
    return found[0] if found else None


async def read(connection: postgres.Connection, catalog_hash: str) -> Catalog | None:
    """A published catalog."""
    found = await postgres.scalars(connection, sql.catalog, {"hash": catalog_hash})
    return msgspec.json.decode(found[0], type=Catalog) if found else None


async def read_files(connection: postgres.Connection, catalog_hash: str) -> dict[str, str] | None:
    """The files of a published catalog, by path."""
    found = await postgres.scalars(connection, sql.files, {"hash": catalog_hash})
    return msgspec.json.decode(found[0], type=dict[str, str]) if found else None


async def publish(
    connection: postgres.Connection,
    catalog: Catalog,
    files: Mapping[str, str],
    *,
    message: str,
    author: str,
    now: datetime,
) -> bool:
    """Keeps a compiled catalog; False if the very same one is kept already."""
    params = {
        "hash": catalog.hash,
        "files": _json(dict(files)),
        "body": _json(catalog),
        "message": message,
        "author": author,
        "published_at": now,
    }
    new = await postgres.execute(connection, sql.insert_catalog, params) == 1
    for feature in catalog.features.values():
        fields = {
            "feature_id": feature.id,
            "type": feature.type,
            "decimals": feature.decimals,
            "aggregation": feature.aggregation,
        }
        await postgres.execute(connection, sql.add_feature, fields)
    for plan in catalog.plans.values():
        row = {
            "plan_version": plan.version,
            "catalog": catalog.hash,
            "plan_id": plan.plan_id,
            "body": _json(plan),
        }
        await postgres.execute(connection, sql.insert_plan_version, row)
    for addon in catalog.addons.values():
        row = {
            "addon_version": addon.version,
            "catalog": catalog.hash,
            "addon_id": addon.addon_id,
            "body": _json(addon),
        }
        await postgres.execute(connection, sql.insert_addon_version, row)
    return new


async def meanings(connection: postgres.Connection) -> dict[str, Meaning]:
    """Every feature that was ever published, by id."""
    found = await postgres.rows(connection, sql.features, {}, Meaning)
    return {meaning.feature_id: meaning for meaning in found}


async def lock_activations(connection: postgres.Connection) -> None:
    """Until the transaction ends, nobody else activates a catalog."""
    await connection.execute(sql.lock_activations)


async def activate(connection: postgres.Connection, catalog_hash: str, *, by: str, now: datetime) -> None:
    """Makes a published catalog the active one."""
    params = {"hash": catalog_hash, "activated_at": now, "activated_by": by}
    await postgres.execute(connection, sql.activate, params)


async def history(connection: postgres.Connection, *, limit: int) -> list[Published]:
    """Published catalogs, newest first."""
    return await postgres.rows(connection, sql.history, {"limit": limit}, Published)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
