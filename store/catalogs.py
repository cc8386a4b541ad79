"""Catalogs: what was published, which is active, and the versions that subscriptions are pinned to."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from policies import limits, model
from policies.model import AddonVersion, Catalog, Offer, PlanVersion, Versions
from store import postgres, queries

V = TypeVar("V", PlanVersion, AddonVersion)

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


class Catalogs:
    """What this process knows: what the active catalog offers, and the bodies of versions that were needed.

    Bodies are bounded by the terms that they hold, and forgotten when another catalog becomes active, since
    it may have other lines for the same versions.
    """

    def __init__(self, pool: postgres.Pool) -> None:
        self._pool = pool
        self._refreshing = asyncio.Lock()
        self.active: Offer | None = None
        self.meanings: dict[str, Meaning] = {}
        self._plans: dict[str, PlanVersion] = {}
        self._addons: dict[str, AddonVersion] = {}
        self._terms = 0

    async def refresh(self) -> Offer | None:
        """Reads what is offered if another catalog has become active.

        Errors: UnavailableError; what was known stays.
        """
        async with self._refreshing, postgres.transaction(self._pool) as connection:
            active_hash = await read_active_hash(connection)
            if active_hash is not None and (self.active is None or self.active.hash != active_hash):
                offer = await read_offer(connection, active_hash)
                assert offer is not None, "an activation names a catalog that is kept"
                self.meanings = await meanings(connection)
                self.active = offer
                self._forget()
        return self.active

    def known(self, plans: Collection[str], addons: Collection[str] = ()) -> Versions | None:
        """The bodies that this process knows, if all that are named are among them."""
        if all(version in self._plans for version in plans) and all(
            version in self._addons for version in addons
        ):
            return Versions(plans=self._plans, addons=self._addons)
        return None

    async def need(self, plans: Collection[str], addons: Collection[str] = ()) -> Versions:
        """The bodies of these versions, read where this process lacks them.

        Errors: UnavailableError.
        """
        known = self.known(plans, addons)
        if known is not None:
            return known
        active = self.active.hash if self.active else None
        async with postgres.transaction(self._pool) as connection:
            read = await read_versions(connection, plans, addons, lines_of=active)
        read_plans = [self._shared(plan) for plan in read.plans.values()]
        read_addons = [self._shared(addon) for addon in read.addons.values()]
        self._keep(read_plans, read_addons)
        # A refresh may have emptied the memory while we waited, and it has a bound: these are given anyhow.
        return Versions(
            plans={plan.version: plan for plan in read_plans},
            addons={addon.version: addon for addon in read_addons},
        )

    def _keep(self, plans: Sequence[PlanVersion], addons: Sequence[AddonVersion]) -> None:
        more = sum(len(plan.terms) for plan in plans)
        if self._terms + more > limits.TERMS_ALIVE:
            self._forget()
        self._terms += sum(len(plan.terms) for plan in plans if plan.version not in self._plans)
        self._plans = self._plans | {plan.version: plan for plan in plans}
        self._addons = self._addons | {addon.version: addon for addon in addons}

    def _forget(self) -> None:
        self._plans, self._addons, self._terms = {}, {}, 0

    def _shared(self, noun: V) -> V:
        """With the very features of the active catalog where they are equal: a thousand plans share them."""
        offered = self.active.features if self.active else {}
        features = {
            feature_id: offered[feature_id] if offered.get(feature_id) == feature else feature
            for feature_id, feature in noun.features.items()
        }
        return msgspec.structs.replace(noun, features=features)


async def read_versions(
    connection: postgres.Connection, plans: Collection[str], addons: Collection[str], *, lines_of: str | None
) -> Versions:
    """The bodies of versions, those that are kept, with the lines of a catalog where it has them."""
    params = {"versions": list(plans), "active": lines_of or ""}
    bodies = await postgres.scalars(connection, sql.plan_versions, params)
    params["versions"] = list(addons)
    added = await postgres.scalars(connection, sql.addon_versions, params)
    read_plans = [msgspec.json.decode(body, type=PlanVersion) for body in bodies]
    read_addons = [msgspec.json.decode(body, type=AddonVersion) for body in added]
    return Versions(
        plans={plan.version: plan for plan in read_plans},
        addons={addon.version: addon for addon in read_addons},
    )


async def read_active_hash(connection: postgres.Connection) -> str | None:
    """The hash of the active catalog; None before the first activation."""
    found: list[str] = await postgres.scalars(connection, sql.active_hash, {})
    return found[0] if found else None


async def read_offer(connection: postgres.Connection, catalog_hash: str) -> Offer | None:
    """What a published catalog offers."""
    found = await postgres.scalars(connection, sql.offer, {"hash": catalog_hash})
    return msgspec.json.decode(found[0], type=Offer) if found else None


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
        "offer": _json(model.offer(catalog)),
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
