"""Publishing a catalog: checked whole, kept for ever, made active; or refused with all findings."""

import contextlib
from collections.abc import Mapping

import msgspec

from policies import errors
from policies.compiler.findings import Finding
from policies.model import Catalog
from service.context import Caller, Context
from service.usecases.examine import Examined as Examined  # noqa: PLC0414 - the door for callers
from service.usecases.examine import examine as examine  # noqa: PLC0414 - the same
from store import audit, catalogs, postgres
from store.catalogs import Meaning
from store.link import RedisAwayError


class Publication(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of it. `new` is False when this very catalog was published before."""

    hash: str
    new: bool
    activated: bool
    findings: list[Finding]
    """Warnings; a catalog with errors is not published."""


async def publish(context: Context, caller: Caller, files: Mapping[str, str], *, message: str) -> Publication:
    """Publishes and activates. Subscriptions stay on the plan versions that they have.

    Of two who publish at once, one waits for the other, and its catalog is then the active one.
    Errors: CatalogError with every finding, ConflictError when it would change what stored numbers mean,
    UnavailableError. The active catalog stays as it was then.
    """
    examined = await examine(files)
    catalog = publishable(examined)
    now = context.clock.now()
    async with postgres.transaction(context.pool) as connection:
        await catalogs.lock_activations(connection)
        active_hash = await catalogs.read_active_hash(connection)
        refuse_new_meaning(await catalogs.meanings(connection), catalog)
        new = await catalogs.publish(
            connection, catalog, files, message=message, author=caller.actor, now=now
        )
        activated = active_hash != catalog.hash
        if activated:
            await catalogs.activate(connection, catalog.hash, by=caller.actor, now=now)
            line = audit.Line(
                at=now,
                actor=caller.actor,
                action="catalog.publish" if new else "catalog.activate",
                subject=catalog.hash,
                before={"hash": active_hash} if active_hash else None,
                after={"hash": catalog.hash, "plans": [plan.version for plan in catalog.plans.values()]},
                reason=message,
                request_id=caller.request_id,
            )
            await audit.append(connection, line)
    await context.catalogs.refresh()
    with contextlib.suppress(RedisAwayError):  # a job says it again
        await context.counters.set_active_catalog(catalog.hash)
    return Publication(hash=catalog.hash, new=new, activated=activated, findings=examined.findings)


async def active(context: Context) -> Catalog:
    """The active catalog, compiled, whole.

    Errors: UnavailableError, also before the first one is published.
    """
    async with postgres.transaction(context.pool) as connection:
        active_hash = await catalogs.read_active_hash(connection)
        catalog = await catalogs.read(connection, active_hash) if active_hash else None
    if catalog is None:
        raise errors.UnavailableError("No catalog is active yet.", retry_after_s=2)
    return catalog


async def history(context: Context, *, limit: int) -> list[catalogs.Published]:
    """Published catalogs, newest first.

    Errors: UnavailableError.
    """
    async with postgres.transaction(context.pool) as connection:
        return await catalogs.history(connection, limit=limit)


def publishable(examined: Examined) -> Catalog:
    """The catalog that was examined.

    Errors: CatalogError with every finding.
    """
    if examined.catalog is None:
        raise refused(examined.findings)
    return examined.catalog


def refused(findings: list[Finding]) -> errors.CatalogError:
    """All findings as one error; each is named by file, line and column."""
    wrong = [finding for finding in findings if finding.severity == "error"]
    count = f"{len(wrong)} errors" if len(wrong) > 1 else "1 error"
    told = tuple(
        errors.FieldError(f"{finding.path}:{finding.line}:{finding.column}", finding.sentence())
        for finding in findings
    )
    return errors.CatalogError(f"The catalog has {count}; the active one stays.", errors=told)


def refuse_new_meaning(known: Mapping[str, Meaning], catalog: Catalog) -> None:
    """Holds a catalog against every feature that was ever published.

    Stored quantities are integers of 10^-decimals, so a feature's decimals and type are for life (R22).
    Errors: ConflictError.
    """
    for feature in catalog.features.values():
        meaning = known.get(feature.id)
        if meaning is None:
            continue
        for name, before, after in (
            ("decimals", meaning.decimals, feature.decimals),
            ("type", meaning.type, feature.type),
            ("aggregation", meaning.aggregation, feature.aggregation),
        ):
            if before != after:
                raise errors.ConflictError(
                    f"{feature.id} has {name} {before}; a publish cannot make it {after}. Use a new feature."
                )
