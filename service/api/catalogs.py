"""Catalogs over HTTP: the active one, what was active before; files checked, compared and published."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency

from policies import errors, limits
from policies.compiler.findings import Finding
from policies.model import Catalog
from service.api import auth, decode, management, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import activation, difference, publish
from service.usecases import preview as previews
from service.usecases.activation import Publication, Wish
from service.usecases.difference import Comparison
from service.usecases.moves import Moved, When
from service.usecases.preview import Preview
from store import catalogs

_DIGITS: Final = 18
"""Of the largest number of an activation."""
Path = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.CATALOG_PATH_LENGTH)]


class FilesBody(wire.Body, frozen=True, kw_only=True):
    """A catalog: path to text, paths relative to its folder, with `/`."""

    files: Annotated[dict[Path, str], msgspec.Meta(min_length=1, max_length=limits.CATALOG_FILES)]


Hash = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(sha256:[0-9a-f]{64})?$" + wire.END,
        extra={"explain": lambda _: "A catalog's hash is `sha256:` and 64 digits; an empty text is none."},
    ),
]
Moves = Annotated[
    dict[wire.CatalogId, When],
    msgspec.Meta(
        max_length=limits.PLANS,
        description="What happens to those subscribed, by plan or add-on id; who is not named keeps theirs.",
    ),
]


class DiffBody(FilesBody, frozen=True, kw_only=True):
    """A catalog to compare: path to text; with the active one, or with the one that `against` names."""

    against: Hash | None = None


class PublishBody(FilesBody, frozen=True, kw_only=True):
    """A catalog to publish: path to text, paths relative to its folder, with `/`; and why."""

    message: wire.Reason
    based_on: Hash | None = None
    """The hash that was active when this was prepared, empty for none: if another is now, 409."""
    moves: Moves = msgspec.field(default_factory=dict)
    acknowledge: Annotated[list[wire.Name], msgspec.Meta(max_length=limits.INVARIANTS)] = msgspec.field(
        default_factory=list
    )
    """Names of invariants that may be broken."""
    dry_run: bool = False
    """Say what would come of it, and do nothing."""


class ActivateBody(wire.Body, frozen=True, kw_only=True):
    """A catalog that was published before, and why it is to be the active one again."""

    hash: Hash
    message: wire.Reason
    based_on: Hash | None = None
    moves: Moves = msgspec.field(default_factory=dict)
    dry_run: bool = False


class HistoryQuery(wire.Body, frozen=True, kw_only=True):
    """How many of the latest, and where to go on."""

    limit: wire.Limit = limits.LIST_LIMIT_DEFAULT
    cursor: wire.Cursor | None = None


class Checked(wire.Answer, frozen=True, kw_only=True):
    """Whether it could be published, and every finding."""

    publishable: bool
    hash: str | None
    findings: list[Finding]


class PublishAnswer(wire.Answer, frozen=True, kw_only=True):
    """What came of it; of a dry run, under `preview`, what would."""

    hash: str
    dry_run: bool
    new: bool
    """False if this very catalog was published before."""
    activated: bool
    """False if it was active already, and in a dry run."""
    findings: list[Finding]
    """Warnings, and broken invariants that were acknowledged."""
    acknowledged: list[str]
    moves: Moved | None
    """What became of those subscribed; null where all keep what they have."""
    preview: Preview | None


class ActivationView(wire.Answer, frozen=True, kw_only=True):
    """One catalog becoming active; who made it so, and why."""

    hash: str
    message: str
    author: str
    published_at: datetime
    activated_at: datetime
    acknowledged: list[str]
    moves: dict[str, str]


class History(wire.Answer, frozen=True, kw_only=True):
    """Activations, newest first: the first is what is active."""

    items: list[ActivationView]
    next_cursor: str | None = None


@get("/v1/catalog", opt=auth.needs("read"))
async def active_catalog(context: NamedDependency[Context]) -> Response[Catalog]:
    """Shows the active catalog, compiled. Quantities are scaled integers of 10^-decimals."""
    return management.shown(await publish.active(context))


@get("/v1/catalogs", opt=auth.needs("read") | openapi.asks(HistoryQuery))
async def list_catalogs(request: AnyRequest, context: NamedDependency[Context]) -> Response[History]:
    """Lists what became active, newest first; a catalog that was activated again stands there again."""
    wanted = decode.query(request, HistoryQuery)
    before = _before(management.after(wanted.cursor))
    found = await publish.history(context, limit=wanted.limit + 1, before=before)
    shown = found[: wanted.limit]
    items = [msgspec.convert(one, ActivationView, from_attributes=True) for one in shown]
    more = str(shown[-1].activation) if len(found) > len(shown) else None
    return management.shown(History(items=items, next_cursor=management.cursor(more)))


@post("/v1/catalogs/check", status_code=200, opt=auth.needs("manage") | openapi.takes(FilesBody))
async def check_catalog(request: AnyRequest) -> Response[Checked]:
    """Tells every finding of these files, without publishing them."""
    body = await decode.body(request, FilesBody, strict_keys=True)
    examined = await publish.examine(bounded(body.files))
    catalog_hash = examined.catalog.hash if examined.catalog else None
    answer = Checked(
        publishable=not publish.refusals(examined), hash=catalog_hash, findings=examined.findings
    )
    return management.shown(answer)


@post("/v1/catalogs/diff", status_code=200, opt=auth.needs("manage") | openapi.takes(DiffBody))
async def diff_catalog(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[Comparison]:
    """Tells in plain words what these files would change, for whom, and whether it is worse for somebody."""
    body = await decode.body(request, DiffBody, strict_keys=True)
    _refuse_bound(caller)
    examined = await publish.examine(bounded(body.files), await publish.known(context))
    after = publish.whole(examined)
    before = await difference.base(context, body.against)
    told = await difference.compare(context, before, after)
    return management.shown(msgspec.structs.replace(told, findings=examined.findings))


@post("/v1/catalogs/publish", status_code=200, opt=auth.needs("manage") | openapi.takes(PublishBody))
async def publish_catalog(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[PublishAnswer]:
    """Publishes and activates these files, and moves those subscribed where that is asked for.

    The same again changes nothing, but carries on with moves that were not done. With `dryRun` it says what
    would come of it.
    """
    body = await decode.body(request, PublishBody, strict_keys=True)
    _refuse_bound(caller)
    files = bounded(body.files)
    if body.dry_run:
        examined = await publish.examine(files, await publish.known(context))
        return management.shown(
            _would(await publish.preview(context, examined, body.moves, body.acknowledge))
        )
    done = await publish.publish(context, caller, files, _wish(body, body.acknowledge))
    return management.shown(_did(done))


@post("/v1/catalogs/activate", status_code=200, opt=auth.needs("manage") | openapi.takes(ActivateBody))
async def activate_catalog(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[PublishAnswer]:
    """Makes a catalog active again that was published before: the way back from one that was a mistake."""
    body = await decode.body(request, ActivateBody, strict_keys=True)
    _refuse_bound(caller)
    if body.dry_run:
        catalog = await difference.read(context, body.hash)
        return management.shown(_would(await previews.preview(context, catalog, body.moves)))
    return management.shown(_did(await activation.activate(context, caller, body.hash, _wish(body))))


def _did(done: Publication) -> PublishAnswer:
    return PublishAnswer(
        hash=done.hash,
        dry_run=False,
        new=done.new,
        activated=done.activated,
        findings=done.findings,
        acknowledged=done.acknowledged,
        moves=done.moves,
        preview=None,
    )


def _would(seen: Preview) -> PublishAnswer:
    return PublishAnswer(
        hash=seen.hash,
        dry_run=True,
        new=False,
        activated=False,
        findings=seen.findings,
        acknowledged=[],
        moves=None,
        preview=seen,
    )


def _before(after: str) -> int:
    """The activation that a page begins behind, which is older than it; of the first page every one is.

    Errors: InvalidError.
    """
    if not after:
        return catalogs.LATER
    if not after.isdigit() or len(after) > _DIGITS:
        raise errors.invalid("?cursor", "A cursor is the `nextCursor` of the page before, as it came.")
    return int(after)


def _wish(body: PublishBody | ActivateBody, acknowledge: Sequence[str] = ()) -> Wish:
    return Wish(
        message=body.message,
        based_on=body.based_on,
        moves=body.moves,
        acknowledge=acknowledge,
        most=limits.MOVES_A_CALL,
    )


def _refuse_bound(caller: Caller) -> None:
    if caller.tenant_id is not None:
        raise errors.ForbiddenError("This key belongs to a tenant; plans are not a tenant's to publish.")


def bounded(files: dict[str, str]) -> dict[str, str]:
    """The files, if they are not too many for a request.

    Errors: TooLargeError.
    """
    if sum(map(len, files.values())) > limits.CATALOG_HTTP_BYTES:
        raise errors.TooLargeError(
            f"Over HTTP a catalog has at most {limits.CATALOG_HTTP_BYTES:,} characters; "
            "publish a larger one with the command line."
        )
    return files


ROUTES: Final = (
    active_catalog,
    list_catalogs,
    check_catalog,
    diff_catalog,
    publish_catalog,
    activate_catalog,
)
