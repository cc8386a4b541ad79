"""Publishing a catalog: checked whole, kept for ever, made active; or refused with all findings."""

from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec

from policies import errors
from policies.compiler.findings import Finding
from policies.compiler.known import Known
from policies.model import Catalog
from service import release
from service.context import Caller, Context
from service.usecases import activation
from service.usecases import preview as previews
from service.usecases.activation import Publication, Wish
from service.usecases.examine import PROMISE
from service.usecases.examine import Examined as Examined  # noqa: PLC0414 - the door for callers
from service.usecases.examine import examine as examine  # noqa: PLC0414 - the same
from service.usecases.moves import Progress, When
from service.usecases.preview import Preview
from store import catalogs, postgres
from store.catalogs import Activation, Meaning


async def publish(
    context: Context,
    caller: Caller,
    files: Mapping[str, str],
    wish: Wish,
    *,
    examined: Examined | None = None,
    on_progress: Progress | None = None,
) -> Publication:
    """Publishes and activates; then moves those already subscribed, where that is wished.

    Of two who publish at once, one waits for the other: its catalog is then the active one, or, if it says
    what it is based on, it is told. The same again changes nothing, and carries on with moves. `examined` is
    what these very files came to.
    Errors: CatalogError with every finding, ConflictError when another catalog has become active or when it
    would change what stored numbers mean, InvalidError, UnavailableError. The active catalog stays then.
    """
    examined = examined or await examine(files, await known(context))
    catalog = publishable(examined, wish.acknowledge)
    acknowledged = [name for name in broken(examined) if name in wish.acknowledge]

    async def keep(connection: postgres.Connection, now: datetime) -> bool:
        refuse_new_meaning(await catalogs.meanings(connection), catalog)
        return await catalogs.publish(
            connection,
            catalog,
            files,
            message=wish.message,
            author=caller.actor,
            now=now,
            compiler=release.compiler(),
        )

    done = await activation.make_active(
        context, caller, catalog, wish, keep, acknowledged=acknowledged, on_progress=on_progress
    )
    return msgspec.structs.replace(done, findings=[*examined.findings, *done.findings])


async def preview(
    context: Context, examined: Examined, wish: Mapping[str, When], acknowledge: Collection[str] = ()
) -> Preview:
    """What a publish would come to, for those subscribed too. Nothing is done.

    Errors: as of publish.
    """
    catalog = publishable(examined, acknowledge)
    async with postgres.transaction(context.pool) as connection:
        refuse_new_meaning(await catalogs.meanings(connection), catalog)
    return await previews.preview(context, catalog, wish, examined.findings)


async def known(context: Context) -> Known | None:
    """The active catalog, so that what it says in the same words need not be read again.

    None before the first, where another release compiled it, and where it was published in spite of promises
    that it breaks: they are told again.
    Errors: UnavailableError.
    """
    async with postgres.transaction(context.pool) as connection:
        active = await catalogs.read_active_hash(connection)
        if active is None or await catalogs.read_compiler(connection, active) != release.compiler():
            return None
        files = await catalogs.read_files(connection, active)
        catalog = await catalogs.read(connection, active)
    assert files is not None, "an activation names a catalog that is kept"
    assert catalog is not None
    return Known(files, catalog)


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


async def history(context: Context, *, limit: int, before: int = catalogs.LATER) -> list[Activation]:
    """Activations, newest first.

    Errors: UnavailableError.
    """
    async with postgres.transaction(context.pool) as connection:
        return await catalogs.history(connection, limit=limit, before=before)


async def files_of(context: Context, catalog_hash: str) -> dict[str, str]:
    """The files of a published catalog, by path.

    Errors: NotFoundError, UnavailableError.
    """
    async with postgres.transaction(context.pool) as connection:
        files = await catalogs.read_files(connection, catalog_hash)
    if files is None:
        raise errors.NotFoundError(f"There is no published catalog {catalog_hash}.")
    return files


def publishable(examined: Examined, acknowledge: Collection[str] = ()) -> Catalog:
    """The catalog that was examined; promises that it breaks must be acknowledged by their names.

    Errors: CatalogError with every finding, InvalidError for a name that no promise of it has.
    """
    catalog = whole(examined)
    if refusals(examined, acknowledge):
        raise refused(examined.findings)
    promised = [invariant.name for invariant in catalog.invariants]
    unknown = tuple(
        errors.FieldError(f"/acknowledge/{place}", f'The catalog has no invariant "{name}".')
        for place, name in enumerate(acknowledge)
        if name not in promised
    )
    if unknown:
        raise errors.InvalidError(unknown[0].message, errors=unknown)
    return catalog


def whole(examined: Examined) -> Catalog:
    """The catalog that was examined, be it that it breaks its promises.

    Errors: CatalogError with every finding.
    """
    if examined.catalog is None:
        raise refused(examined.findings)
    return examined.catalog


def refusals(examined: Examined, acknowledge: Collection[str] = ()) -> list[Finding]:
    """The errors that stand in the way of a publish."""
    return [
        finding
        for finding in examined.findings
        if finding.severity == "error" and not (_is_promise(finding) and finding.name in acknowledge)
    ]


def broken(examined: Examined) -> list[str]:
    """The names of the promises that it breaks, each once."""
    return list(dict.fromkeys(one.name for one in refusals(examined) if _is_promise(one)))


def _is_promise(finding: Finding) -> bool:
    return finding.slug == PROMISE


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

    Stored quantities are integers of 10^-decimals (R22), and what overrides a value was read as the type of
    its time, so what they mean is for life.
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
            ("valueType", meaning.value_type, feature.value_type),
            ("property", meaning.property, feature.property),
        ):
            if before != after:
                raise errors.ConflictError(
                    f"{feature.id} has {name} {before}; a publish cannot make it {after}. Use a new feature."
                )
