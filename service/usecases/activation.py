"""A catalog becomes the active one: under a lock, on the base it was prepared on, with its moves after."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

import msgspec

from policies import errors
from policies.compiler.findings import Finding
from policies.model import Catalog
from service.context import Caller, Context
from service.usecases import difference, moves
from service.usecases.moves import Moved, Progress, When
from store import audit, catalogs, postgres
from store.catalogs import Latest
from store.link import RedisAwayError

NOTHING = ""
"""What a first publish is based on."""
_PREFIX = "sha256:"
_SHORT = 19
"""Characters of a hash that a sentence names it by."""

Keep = Callable[[postgres.Connection, datetime], Awaitable[bool]]
"""Keeps the catalog, inside the transaction; whether it is new."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Why a catalog is to become active, and what is to happen to those subscribed."""

    message: str
    based_on: str | None = None
    """The hash that was active when this was prepared, or NOTHING; None: whatever is active is replaced."""
    moves: Mapping[str, When] = {}
    """By plan or add-on id; all others keep what they have."""
    acknowledge: Sequence[str] = ()
    """Names of invariants that may be broken."""
    most: int | None = None
    """How many tenants are moved at most, about; None: all."""


class Publication(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of it. `new` is False when this very catalog was published before."""

    hash: str
    new: bool
    activated: bool
    findings: list[Finding]
    """Warnings, and errors that were acknowledged; a catalog with others is not published."""
    acknowledged: list[str] = []
    """Invariants that it breaks knowingly."""
    moves: Moved | None = None
    """What became of those subscribed; null: all keep what they have."""


async def activate(
    context: Context, caller: Caller, catalog_hash: str, wish: Wish, *, on_progress: Progress | None = None
) -> Publication:
    """Makes a catalog active that was published before, such as the one before the last.

    Errors: NotFoundError, ConflictError, InvalidError, UnavailableError.
    """
    catalog = await difference.read(context, catalog_hash)

    async def kept(_connection: postgres.Connection, _now: datetime) -> bool:
        return False

    return await make_active(context, caller, catalog, wish, kept, on_progress=on_progress)


async def make_active(
    context: Context,
    caller: Caller,
    catalog: Catalog,
    wish: Wish,
    keep: Keep,
    *,
    acknowledged: Sequence[str] = (),
    on_progress: Progress | None = None,
) -> Publication:
    """Keeps the catalog and makes it active, whole or not at all; then moves who is to be moved.

    Errors: ConflictError, InvalidError, UnavailableError, and what `keep` raises. Nothing has changed then,
    unless it comes from a move: the catalog is active, and the same again carries on.
    """
    wanted = moves.plan(catalog, wish.moves)
    new, activated, gone = await _switch(context, caller, catalog, wish, keep, acknowledged=acknowledged)
    moved = None
    if wanted is not None:
        moved = await moves.carry_out(
            context, caller, wanted, message=wish.message, on_progress=on_progress, most=wish.most
        )
    return Publication(
        hash=catalog.hash,
        new=new,
        activated=activated,
        findings=gone,
        acknowledged=list(acknowledged),
        moves=moved,
    )


async def _switch(
    context: Context,
    caller: Caller,
    catalog: Catalog,
    wish: Wish,
    keep: Keep,
    *,
    acknowledged: Sequence[str],
) -> tuple[bool, bool, list[Finding]]:
    """Whether it is new, whether it was not the active one before, and what it leaves behind."""
    now = context.clock.now()
    async with postgres.transaction(context.pool) as connection:
        await catalogs.lock_activations(connection)
        active = await catalogs.latest(connection)
        _refuse_other_base(active, wish.based_on, catalog.hash)
        gone = await difference.left_behind(connection, active.hash if active else None, catalog, now)
        new = await keep(connection, now)
        activated = active is None or active.hash != catalog.hash
        if activated:
            await catalogs.activate(
                connection,
                catalog.hash,
                by=caller.actor,
                now=now,
                message=wish.message,
                acknowledged=acknowledged,
                moves=wish.moves,
            )
            line = _line(caller, catalog, active, wish, now, new=new, acknowledged=acknowledged)
            await audit.append(connection, line)
    await context.catalogs.refresh()
    with contextlib.suppress(RedisAwayError):  # a job says it again
        await context.counters.set_active_catalog(catalog.hash)
    return new, activated, gone


async def find(context: Context, named: str) -> str:
    """The hash of the one published catalog whose hash begins so, with or without `sha256:`.

    Errors: NotFoundError, ConflictError if there are several.
    """
    prefix = named if named.startswith(_PREFIX) else f"{_PREFIX}{named}"
    async with postgres.transaction(context.pool) as connection:
        found = await catalogs.named(connection, prefix)
    if not found:
        raise errors.NotFoundError(f'No published catalog has a hash that begins with "{named}".')
    if len(found) > 1:
        raise errors.ConflictError(f'More than one published catalog begins with "{named}"; say more of it.')
    return found[0]


def short(catalog_hash: str) -> str:
    """The hash as a sentence names it; enough of it for every command."""
    return catalog_hash[:_SHORT]


def _refuse_other_base(active: Latest | None, based_on: str | None, wanted: str) -> None:
    """Of two who publish at once, the one who has not seen the other's catalog is told of it.

    Who asks for what is active already asks for nothing new.
    """
    present = active.hash if active else NOTHING
    if based_on is None or present in (based_on, wanted):
        return
    if active is None:
        raise errors.ConflictError("No catalog is active, so this cannot be based on one.")
    raise errors.ConflictError(
        f"Another catalog has become active meanwhile: {short(active.hash)}, by {active.author} on "
        f'{active.activated_at:%Y-%m-%d at %H:%M:%S} UTC, "{active.message}". Nothing was published. See '
        "what would change now (`metergate catalog diff`), and publish again."
    )


def _line(
    caller: Caller,
    catalog: Catalog,
    active: Latest | None,
    wish: Wish,
    now: datetime,
    *,
    new: bool,
    acknowledged: Sequence[str],
) -> audit.Line:
    after: dict[str, object] = {
        "hash": catalog.hash,
        "plans": [plan.version for plan in catalog.plans.values()],
    }
    if wish.moves:
        after["moves"] = dict(wish.moves)
    if acknowledged:
        after["acknowledged"] = list(acknowledged)
    return audit.Line(
        at=now,
        actor=caller.actor,
        action="catalog.publish" if new else "catalog.activate",
        subject=catalog.hash,
        before={"hash": active.hash} if active else None,
        after=after,
        reason=wish.message,
        request_id=caller.request_id,
    )
