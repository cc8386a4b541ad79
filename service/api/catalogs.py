"""Catalogs over HTTP: the active one, what was published before, checking and publishing files."""

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
from service.usecases import publish
from service.usecases.publish import Publication

Path = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.CATALOG_PATH_LENGTH)]


class FilesBody(wire.Body, frozen=True, kw_only=True):
    """A catalog: path to text, paths relative to its folder, with `/`."""

    files: Annotated[dict[Path, str], msgspec.Meta(min_length=1, max_length=limits.CATALOG_FILES)]


class PublishBody(FilesBody, frozen=True, kw_only=True):
    """A catalog to publish: path to text, paths relative to its folder, with `/`; and why."""

    message: wire.Reason


class HistoryQuery(wire.Body, frozen=True, kw_only=True):
    """How many of the latest."""

    limit: wire.Limit = limits.LIST_LIMIT_DEFAULT


class Checked(wire.Answer, frozen=True, kw_only=True):
    """Whether it could be published, and every finding."""

    publishable: bool
    hash: str | None
    findings: list[Finding]


class PublishedView(wire.Answer, frozen=True, kw_only=True):
    """One published catalog."""

    hash: str
    message: str
    author: str
    published_at: datetime
    activated_at: datetime | None


class History(wire.Answer, frozen=True, kw_only=True):
    """Published catalogs, newest first."""

    items: list[PublishedView]
    next_cursor: str | None = None


@get("/v1/catalog", opt=auth.needs("read"))
async def active_catalog(context: NamedDependency[Context]) -> Response[Catalog]:
    """Shows the active catalog, compiled. Quantities are scaled integers of 10^-decimals."""
    return management.shown(await publish.active(context))


@get("/v1/catalogs", opt=auth.needs("read") | openapi.asks(HistoryQuery))
async def list_catalogs(request: AnyRequest, context: NamedDependency[Context]) -> Response[History]:
    """Lists what was published, newest first."""
    wanted = decode.query(request, HistoryQuery)
    found = await publish.history(context, limit=wanted.limit)
    items = [PublishedView(**msgspec.structs.asdict(one)) for one in found]
    return management.shown(History(items=items))


@post("/v1/catalogs/check", status_code=200, opt=auth.needs("manage") | openapi.takes(FilesBody))
async def check_catalog(request: AnyRequest) -> Response[Checked]:
    """Tells every finding of these files, without publishing them."""
    body = await decode.body(request, FilesBody, strict_keys=True)
    examined = await publish.examine(bounded(body.files))
    catalog_hash = examined.catalog.hash if examined.catalog else None
    answer = Checked(publishable=examined.catalog is not None, hash=catalog_hash, findings=examined.findings)
    return management.shown(answer)


@post("/v1/catalogs/publish", status_code=200, opt=auth.needs("manage") | openapi.takes(PublishBody))
async def publish_catalog(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[Publication]:
    """Publishes and activates these files. The same files again change nothing."""
    body = await decode.body(request, PublishBody, strict_keys=True)
    if caller.tenant_id is not None:
        raise errors.ForbiddenError("This key belongs to a tenant; plans are not a tenant's to publish.")
    reply = await publish.publish(context, caller, bounded(body.files), message=body.message)
    return management.shown(reply)


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


ROUTES: Final = (active_catalog, list_catalogs, check_catalog, publish_catalog)
