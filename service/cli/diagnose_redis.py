"""Is Redis (or Valkey) there, does it keep what it acknowledges, and has a worker certified it?"""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from redis import exceptions

from service import config as configuration
from service.cli import diagnosis
from service.cli.diagnosis import PATIENCE_S, Diagnosis, ok, warning, wrong
from service.clock import Clock
from service.config import Config
from store import certify, fitness
from store.link import Link, RedisAwayError, UnfitServerError
from store.nodes import Membership
from store.tips import Tips

PART: Final = "redis"
_COVERAGE: Final = "cluster-require-full-coverage"


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """What the server told."""

    info: dict[str, str]
    settings: dict[str, str] | None
    """None: it does not let them be read."""
    time: datetime
    heard_at: datetime
    """When we heard it, by our own clock."""
    replicas: int
    """How many follow it now."""
    closed: int
    """Shards that no worker has certified on this run of the server."""


def examine(config: Config, clock: Clock) -> Iterator[Diagnosis]:
    """Line by line; the first one that is wrong may be the last."""
    yield from examine_server(config.redis_url, config, clock, shards=certify.ALL)


def examine_server(url: str, config: Config, clock: Clock, *, shards: Sequence[int]) -> Iterator[Diagnosis]:
    """The same of one server, which has these shards."""
    where = configuration.masked(url)
    try:
        said = asyncio.run(_ask(url, config, clock, shards))
    except UnfitServerError as error:
        yield wrong(PART, f"The server at {where} is not fit: {error}.")
        return
    except (RedisAwayError, exceptions.RedisError) as error:
        yield wrong(PART, f"It does not answer at {where}: {str(error).rstrip('.')}. Is it running?")
        return
    name = "Valkey" if "valkey_version" in said.info else "Redis"
    version = said.info.get("valkey_version") or said.info.get("redis_version")
    yield ok(PART, f"{name} {version} answers at {where}.")
    yield from _fitness(said, config)
    yield from _replicas(said.replicas, config)
    yield diagnosis.clock(PART, theirs=said.time, ours=said.heard_at)
    yield _fences(said.closed, len(shards))
    if config.redis_cluster and (said.settings or {}).get(_COVERAGE) == "yes":
        yield warning(
            PART,
            "When one node of the cluster is lost, all of it stops: set `cluster-require-full-coverage no`, "
            "so that the tenants of the other nodes are served meanwhile.",
        )


async def _ask(url: str, config: Config, clock: Clock, shards: Sequence[int]) -> _Said:
    membership = Membership(Tips(), lambda _: None) if config.redis_cluster else None
    link = Link(url, timeout_s=PATIENCE_S, verify=False, membership=membership)
    try:
        config_get = ("CONFIG", "GET", *fitness.SETTINGS, _COVERAGE)
        replies = await link.send([("INFO", "server"), ("INFO", "replication"), config_get, ("TIME",)])
        heard_at = clock.now()
        info, replication, settings, (seconds, micros) = replies.values
        said = fitness.parse_info(replication.decode())
        return _Said(
            info=fitness.parse_info(info.decode()),
            settings=_pairs(settings),
            time=datetime.fromtimestamp(int(seconds) + int(micros) / 1e6, UTC),
            heard_at=heard_at,
            replicas=int(said.get("connected_slaves", "0")),
            closed=len(await certify.uncertified(link, shards)),
        )
    finally:
        await link.close()


def _pairs(reply: Any) -> dict[str, str] | None:
    if isinstance(reply, exceptions.ResponseError):
        return None
    flat = [item.decode() for item in reply]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _fitness(said: _Said, config: Config) -> Iterator[Diagnosis]:
    forbidden, lossy = config.redis_config_forbidden, config.durability == "lossy"
    needed = ", ".join(f"{name} {value}" for name, value in fitness.SETTINGS.items())
    if said.settings is None and forbidden:
        yield warning(PART, f"Its settings cannot be read. See yourself that they are: {needed}.")
    elif said.settings is None:
        yield wrong(
            PART,
            "It does not let its settings be read, so the service will not use it. If it is a managed "
            f"server, see yourself that they are: {needed}; then set METERGATE_REDIS_CONFIG_FORBIDDEN=1.",
        )
    elif found := fitness.findings(said.info, said.settings, lossy=lossy, cluster=config.redis_cluster):
        yield from (wrong(PART, f"{each}. Set it in the server's configuration.") for each in found)
    elif lossy:
        yield warning(PART, "Durability is lossy: usage that was acknowledged may be lost. Never bill by it.")
    else:
        yield ok(PART, f"Its settings keep what it acknowledges: {needed}.")


def _replicas(count: int, config: Config) -> Iterator[Diagnosis]:
    """Whether what is acknowledged waits for those that a failover could promote."""
    if config.durability != "standard":
        return
    if count < config.redis_replicas:
        yield wrong(
            PART,
            f"{count} of its replicas follow it, and METERGATE_REDIS_REPLICAS is {config.redis_replicas}: no "
            "script acknowledges anything. Let more follow it, or lower the number.",
        )
    elif count and not config.redis_replicas:
        yield warning(
            PART,
            "It has a replica, and nobody waits for it: a failover would lose what was acknowledged a moment "
            "before. Set METERGATE_REDIS_REPLICAS=1.",
        )


def _fences(closed: int, all_of_them: int) -> Diagnosis:
    part = "worker"
    if not closed:
        return ok(part, f"A worker has certified the server: {all_of_them} of {all_of_them} shards are open.")
    opened = f"{all_of_them - closed} of {all_of_them} shards are open"
    return wrong(
        part,
        f"{opened}; the others wait for a worker to certify the server, and until then their tenants' usage "
        "is not counted. Start `metergate worker`, or look into its log if it runs.",
    )
