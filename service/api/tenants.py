"""Tenants over HTTP: write, read, find, close."""

from typing import Annotated, Final

from litestar import Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from policies import limits
from service.api import auth, decode, management, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import tenants
from service.usecases.tenants import TenantPage, TenantView

_PATH: Final = "/v1/tenants/{tenant_id:str}"


def _email(_value: object) -> str:
    return f'An e-mail address is one word with an @, of at most {limits.EMAIL_LENGTH} characters; or "".'


Email = Annotated[
    str,
    Meta(
        pattern=r"^([^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+)?\Z",
        max_length=limits.EMAIL_LENGTH,
        extra={"explain": _email},
    ),
]


class TenantBody(wire.Body, frozen=True):
    """All that is written about a tenant. A PUT replaces it: what is left out is emptied."""

    name: wire.Name | None = None
    email: Email | None = None
    metadata: wire.Metadata | None = None


class TenantQuery(wire.Body, frozen=True):
    """Which tenants are listed: all, or those whose id, name or email contains a text."""

    query: Annotated[
        wire.Name | None, Meta(description="Only those whose id, name or e-mail address contains this.")
    ] = None
    limit: wire.Limit = limits.LIST_LIMIT_DEFAULT
    cursor: wire.Cursor | None = None


@put(_PATH, opt=auth.needs("manage") | openapi.takes(TenantBody) | openapi.writes() | openapi.answers(201))
async def put_tenant(
    request: AnyRequest,
    tenant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[TenantView]:
    """Makes a tenant (201) or replaces what is written about it (200)."""
    tenant_id = own(caller, tenant_id)
    body = await decode.body(request, TenantBody, strict_keys=True)
    wish = tenants.Wish(name=body.name or "", email=body.email or "", metadata=body.metadata or {})
    reply = await tenants.put(context, management.order(request, caller), tenant_id, wish)
    return management.replied(reply, TenantView)


@get(_PATH, opt=auth.needs("manage") | openapi.answers(headers=["ETag"]))
async def get_tenant(
    tenant_id: FromPath[str], context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[TenantView]:
    """Shows one tenant."""
    view, etag = await tenants.get(context, own(caller, tenant_id))
    return management.shown(view, etag)


@delete(_PATH, status_code=200, opt=auth.needs("manage") | openapi.writes())
async def close_tenant(
    request: AnyRequest,
    tenant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[TenantView]:
    """Closes a tenant: its subscription ends now and nothing more changes. Nothing is erased."""
    reply = await tenants.close(context, management.order(request, caller), own(caller, tenant_id))
    return management.replied(reply, TenantView)


@get("/v1/tenants", opt=auth.needs("manage") | openapi.asks(TenantQuery))
async def list_tenants(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[TenantPage]:
    """Lists tenants by id. A key that is bound to one sees that one."""
    wanted = decode.query(request, TenantQuery)
    page = await tenants.search(
        context,
        query=wanted.query or "",
        after=management.after(wanted.cursor),
        limit=wanted.limit,
        only=caller.tenant_id,
    )
    return management.shown(TenantPage(items=page.items, next_cursor=management.cursor(page.next_cursor)))


def own(caller: Caller, tenant_id: str) -> str:
    """The id of the path, when it can be one and the caller may touch that tenant.

    Errors: InvalidError, ForbiddenError.
    """
    tenant_id = decode.path(tenant_id, wire.TenantId, "tenantId")
    auth.own_tenant(caller, tenant_id)
    return tenant_id


ROUTES: Final = (put_tenant, get_tenant, close_tenant, list_tenants)
