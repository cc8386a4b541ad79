"""Catalogs: what was published, which is active, and the versions that subscriptions are pinned to."""

import asyncio
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeVar
from weakref import WeakValueDictionary

import msgspec

from policies import limits, model
from policies.model import AddonVersion, Catalog, Feature, Offer, PlanVersion, Versions
from store import postgres, queries

V = TypeVar("V", PlanVersion, AddonVersion)

sql = queries.Queries("catalogs")


LATER = 2**62
"""Comes after the number of every activation."""
BODIES_AT_ONCE = 2_000_000
"""Characters of bodies in one statement: a large catalog has a hundred million."""


class Activation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A catalog that became active, by whose hand and why; a later one may have followed."""

    activation: int
    hash: str
    message: str
    author: str
    published_at: datetime
    activated_at: datetime
    acknowledged: list[str]
    """Invariants that were broken knowingly."""
    moves: dict[str, str]
    """What was asked for those subscribed, by plan or add-on id; all others were kept."""


class Latest(msgspec.Struct, frozen=True, kw_only=True):
    """The activation that holds."""

    activation: int
    hash: str
    activated_at: datetime
    author: str
    message: str
    acknowledged: list[str]
    moves: dict[str, str]


class Meaning(msgspec.Struct, frozen=True):
    """What the stored numbers and values of a feature mean, for life, also when no plan has it any more."""

    feature_id: str
    type: str
    decimals: int
    aggregation: str
    value_type: str | None = None
    """Of a static feature."""
    property: str | None = None
    """Whose values a unique meter counts."""


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
        self._alive: WeakValueDictionary[str, PlanVersion] = WeakValueDictionary()
        """Those, and what rights still hold of others."""
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
        """The bodies of these versions, if this process has all of them."""
        found = {}
        for version in plans:
            plan = self._plans.get(version) or self._alive.get(version)
            if plan is None:
                return None
            found[version] = plan
        for version in addons:
            if version not in self._addons:
                return None
        return Versions(plans=found, addons=self._addons)

    async def need(self, plans: Collection[str], addons: Collection[str] = ()) -> Versions:
        """The bodies of these versions, read where this process lacks them.

        Errors: UnavailableError.
        """
        if (known := self.known(plans, addons)) is not None:
            return known
        at_hand = {version: plan for version in plans if (plan := self._alive.get(version)) is not None}
        active = self.active.hash if self.active else None
        async with postgres.transaction(self._pool) as connection:
            lacking = [version for version in plans if version not in at_hand]
            read = await read_versions(connection, lacking, addons, lines_of=active)
        # Others may have read the same meanwhile: all rights stand on one copy, and so on one slice.
        read_plans = [self._alive.get(plan.version) or self._shared(plan) for plan in read.plans.values()]
        read_addons = [self._shared(addon) for addon in read.addons.values()]
        if active == (self.active.hash if self.active else None):
            self._keep(read_plans, read_addons)
        return Versions(
            plans=at_hand | {plan.version: plan for plan in read_plans},
            addons={addon.version: addon for addon in read_addons},
        )

    def _keep(self, plans: Sequence[PlanVersion], addons: Sequence[AddonVersion]) -> None:
        """Holds on to bodies within the bound; one that a right still stands on is not read a second time."""
        more = sum(len(plan.terms) for plan in plans if plan.version not in self._plans)
        if self._terms + more > limits.TERMS_ALIVE:
            self._plans, self._terms = {}, 0
        self._plans |= {plan.version: plan for plan in plans}
        self._terms += more
        self._alive.update({plan.version: plan for plan in plans})
        self._addons = self._addons | {addon.version: addon for addon in addons}

    def _forget(self) -> None:
        self._plans, self._addons, self._terms = {}, {}, 0
        self._alive = WeakValueDictionary()

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
    """A published catalog; all its versions share its features."""
    params = {"hash": catalog_hash}
    found = await postgres.scalars(connection, sql.catalog, params)
    if not found:
        return None
    bare = msgspec.json.decode(found[0], type=Catalog)
    plans = [
        _with_features(msgspec.json.decode(body, type=PlanVersion), bare.features)
        for body in await postgres.scalars(connection, sql.plans_of, params)
    ]
    addons = [
        _with_features(msgspec.json.decode(body, type=AddonVersion), bare.features)
        for body in await postgres.scalars(connection, sql.addons_of, params)
    ]
    return msgspec.structs.replace(
        bare,
        plans={plan.plan_id: plan for plan in plans},
        addons={addon.addon_id: addon for addon in addons},
    )


async def read_compiler(connection: postgres.Connection, catalog_hash: str) -> str:
    """The release that compiled a catalog and found nothing wrong; empty for an unknown one."""
    found = await postgres.scalars(connection, sql.compiler, {"hash": catalog_hash})
    return found[0] if found else ""


async def named(connection: postgres.Connection, prefix: str) -> list[str]:
    """The hashes of published catalogs that begin so, two at most."""
    return await postgres.scalars(connection, sql.named, {"prefix": prefix})


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
    compiler: str = "",
) -> bool:
    """Keeps a compiled catalog; False if the very same one is kept already."""
    bare = msgspec.structs.replace(catalog, plans={}, addons={})
    params = {
        "hash": catalog.hash,
        "files": _json(dict(files)),
        "body": _json(bare),
        "offer": _json(model.offer(catalog)),
        "compiler": compiler,
        "message": message,
        "author": author,
        "published_at": now,
    }
    if await postgres.execute(connection, sql.insert_catalog, params) == 0:
        return False
    features = list(catalog.features.values())
    meant = {
        "ids": [feature.id for feature in features],
        "types": [feature.type for feature in features],
        "decimals": [feature.decimals for feature in features],
        "aggregations": [feature.aggregation for feature in features],
        "value_types": [feature.value_type for feature in features],
        "properties": [feature.property for feature in features],
    }
    await postgres.execute(connection, sql.add_features, meant)
    plans = {plan.plan_id: plan for plan in catalog.plans.values()}
    await _keep_versions(connection, sql.insert_plan_versions, catalog.hash, plans)
    addons = {addon.addon_id: addon for addon in catalog.addons.values()}
    await _keep_versions(connection, sql.insert_addon_versions, catalog.hash, addons)
    return True


async def _keep_versions(
    connection: postgres.Connection, query: bytes, catalog_hash: str, by_id: Mapping[str, V]
) -> None:
    """The rows of a catalog's versions, and those of their bodies that no catalog had before."""
    encoded = {noun_id: _json(noun) for noun_id, noun in by_id.items()}
    digests = {noun_id: hashlib.sha256(body.encode()).digest() for noun_id, body in encoded.items()}
    kept = set(await postgres.scalars(connection, sql.kept_bodies, {"digests": list(digests.values())}))
    new = {digests[noun_id]: body for noun_id, body in encoded.items() if digests[noun_id] not in kept}
    for batch in _batches(new):
        params = {"digests": list(batch), "bodies": list(batch.values())}
        await postgres.execute(connection, sql.insert_bodies, params)
    rows = {
        "catalog": catalog_hash,
        "versions": [noun.version for noun in by_id.values()],
        "ids": list(by_id),
        "digests": [digests[noun_id] for noun_id in by_id],
    }
    await postgres.execute(connection, query, rows)


def _batches(bodies: Mapping[bytes, str]) -> Iterator[dict[bytes, str]]:
    batch: dict[bytes, str] = {}
    size = 0
    for digest, body in bodies.items():
        if batch and size + len(body) > BODIES_AT_ONCE:
            yield batch
            batch, size = {}, 0
        batch[digest] = body
        size += len(body)
    if batch:
        yield batch


async def meanings(connection: postgres.Connection) -> dict[str, Meaning]:
    """Every feature that was ever published, by id."""
    found = await postgres.rows(connection, sql.features, {}, Meaning)
    return {meaning.feature_id: meaning for meaning in found}


async def lock_activations(connection: postgres.Connection) -> None:
    """Until the transaction ends, nobody else activates a catalog."""
    await connection.execute(sql.lock_activations)


async def activate(
    connection: postgres.Connection,
    catalog_hash: str,
    *,
    by: str,
    now: datetime,
    message: str = "",
    acknowledged: Sequence[str] = (),
    moves: Mapping[str, str] | None = None,
) -> None:
    """Makes a published catalog the active one."""
    params = {
        "hash": catalog_hash,
        "activated_at": now,
        "activated_by": by,
        "message": message,
        "acknowledged": _json(list(acknowledged)),
        "moves": _json(dict(moves or {})),
    }
    await postgres.execute(connection, sql.activate, params)


async def latest(connection: postgres.Connection) -> Latest | None:
    """The activation that holds; None before the first."""
    return await postgres.row(connection, sql.latest_activation, {}, Latest)


async def history(connection: postgres.Connection, *, limit: int, before: int = LATER) -> list[Activation]:
    """Activations, newest first, before the one of this number."""
    return await postgres.rows(connection, sql.history, {"limit": limit, "before": before}, Activation)


def _with_features(noun: V, features: Mapping[str, Feature]) -> V:
    """All versions of a catalog share its features, so that a thousand plans cost no thousand copies."""
    shared = {feature_id: features[feature_id] for feature_id in noun.features}
    return msgspec.structs.replace(noun, features=shared)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
