"""Snapshots: all that is stored of a tenant, kept in this process as long as Redis knows no newer version."""

import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from datetime import datetime

import msgspec

from policies import errors, limits
from policies.kept import Door
from policies.snapshot import Snapshot
from store import postgres, queries, snapshot_source
from store.counters import Counters
from store.link import RedisAwayError
from store.nodes import Servers
from store.reading import FenceClosedError, Met, Want
from store.snapshot_source import SnapshotSource

sql = queries.Queries("snapshots")
log = logging.getLogger("metergate.snapshots")


class Bump(msgspec.Struct, frozen=True):
    """A tenant's new snapshot version, on its way to Redis."""

    tenant_id: str
    snapshot_version: int


class Snapshots:
    """The cache of one process; a tenant that is not known is remembered as such."""

    def __init__(
        self,
        pool: postgres.Pool,
        link: Servers,
        *,
        now: Callable[[], datetime],
        alive: int = limits.SNAPSHOTS_ALIVE,
    ) -> None:
        self._pool = pool
        self._source = SnapshotSource(pool, link, now=now)
        self._counters = Counters(link)
        self._alive = alive
        self._by_tenant: OrderedDict[str, Snapshot] = OrderedDict()
        self._door = Door(alive)

    def cached(self, tenant_id: str) -> Snapshot | None:
        """The tenant's snapshot if this process has it, however old."""
        snapshot = self._by_tenant.get(tenant_id)
        if snapshot is not None:
            self._by_tenant.move_to_end(tenant_id)
        return snapshot

    async def get(self, tenant_id: str) -> Snapshot:
        """The tenant's snapshot, from this process, from Redis or from Postgres.

        Errors: UnavailableError when it is in neither of the first two and Postgres is away.
        """
        cached = self.cached(tenant_id)
        return cached if cached is not None else (await self.need([tenant_id]))[tenant_id]

    async def need(self, tenant_ids: Collection[str]) -> dict[str, Snapshot]:
        """The snapshots of many tenants, looked up together.

        Errors: UnavailableError, as `get`.
        """
        found = {}
        for tenant_id in tenant_ids:
            snapshot = self.cached(tenant_id)
            if snapshot is not None:
                found[tenant_id] = snapshot
        missing = [tenant_id for tenant_id in tenant_ids if tenant_id not in found]
        if missing:
            came = await self._source.find(missing)
            self._keep(came.values())
            found |= came
        return found

    def take(self, met: Met) -> Snapshot | None:
        """The snapshot that was read with its tenant's counters, if it is one to believe."""
        snapshot = snapshot_source.read_copy(met.copy, met.levels.snapshot_version)
        if snapshot is not None:
            self._keep([snapshot])
        return snapshot

    async def load(self, tenant_id: str) -> Snapshot:
        """The tenant's snapshot as Postgres has it now.

        Errors: UnavailableError.
        """
        snapshot = (await self._source.load([tenant_id]))[tenant_id]
        self._keep([snapshot], surely=True)
        return snapshot

    async def close(self) -> None:
        """Ends what is still under way."""
        await self._source.close()

    def _keep(self, snapshots: Iterable[Snapshot], *, surely: bool = False) -> None:
        """Once all places are taken, those that came before or have a place; `surely` any."""
        kept = self._by_tenant
        for snapshot in snapshots:
            key = snapshot.tenant_id
            if key not in kept and len(kept) >= self._alive and not (surely or self._door.opens(key)):
                continue
            kept[key] = snapshot
            kept.move_to_end(key)
        while len(kept) > self._alive:
            kept.popitem(last=False)

    async def renew(self, tenant_id: str) -> Snapshot:
        """The snapshot as Postgres has it, where Redis knows a newer version than this process.

        After a restore of Postgres to an earlier instant Redis knows one that does not exist any more; then
        it is told what does, or nobody could ever report for this tenant again. So it is of what it has lost.
        Errors: UnavailableError, also when Redis is away.
        """
        snapshot = await self.load(tenant_id)
        try:
            (known,) = await self._counters.read([Want(tenant_id, ())])
            if known.snapshot_version is None:
                await self._counters.raise_versions({tenant_id: snapshot.version})
                return snapshot
            if known.snapshot_version > snapshot.version:
                snapshot = await self.load(tenant_id)  # a change may have come in between
            if known.snapshot_version > snapshot.version:
                log.warning("snapshot of %s: Redis is ahead of Postgres, which was restored", tenant_id)
                await self._counters.set_versions({tenant_id: snapshot.version})
        except (RedisAwayError, FenceClosedError) as error:
            raise errors.UnavailableError("Redis does not answer.", retry_after_s=2) from error
        return snapshot

    async def announce(self, tenant_id: str, version: int) -> None:
        """After the commit of a change: forget it here, and tell Redis, so that every worker re-reads it.

        With Redis away the row in snapshot_bumps stays, and the word is said again by a job.
        """
        await self.announce_all({tenant_id: version})

    async def announce_all(self, versions: dict[str, int]) -> None:
        """The same for many tenants at once."""
        for tenant_id in versions:
            self._by_tenant.pop(tenant_id, None)
        with contextlib.suppress(RedisAwayError):
            await self._counters.raise_versions(versions)

    async def say_again(self) -> int:
        """Tells Redis the versions that it may not have heard of; how many.

        Errors: UnavailableError, RedisAwayError.
        """
        async with postgres.transaction(self._pool) as connection:
            bumps = await postgres.rows(connection, sql.bumps, {}, Bump)
            await self._counters.raise_versions({bump.tenant_id: bump.snapshot_version for bump in bumps})
            for bump in bumps:
                await postgres.execute(connection, sql.delete_bump, msgspec.structs.asdict(bump))
        return len(bumps)
