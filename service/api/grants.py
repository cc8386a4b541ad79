"""A tenant's grants over HTTP: give, list, void."""

from typing import Annotated, Final

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from policies import limits
from service.api import auth, decode, management, openapi, tenants, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import grants
from service.usecases.grants import GrantPage, GrantView

_PATH: Final = "/v1/tenants/{tenant_id:str}/grants"


class GrantBody(wire.Body, frozen=True):
    """Extra quantity of a metered feature: from `effectiveAt` (now) until `expiresAt` (never)."""

    feature_id: wire.CatalogId
    quantity: wire.Quantity
    reason: wire.Reason
    priority: Annotated[
        int,
        Meta(ge=0, le=limits.PRIORITY_MAX, description="Lower draws first; what the plan includes has 100."),
    ] = 100
    effective_at: wire.Instant | None = None
    expires_at: wire.Instant | None = None


class VoidBody(wire.Body, frozen=True):
    """Why the grant ends."""

    reason: wire.Reason


class GrantQuery(wire.Body, frozen=True):
    """Which grants: all of the tenant, or those of one feature."""

    feature_id: Annotated[wire.CatalogId | None, Meta(description="Only those of this feature.")] = None
    limit: wire.Limit = limits.LIST_LIMIT_DEFAULT
    cursor: wire.Cursor | None = None


@post(_PATH, opt=auth.needs("manage") | openapi.takes(GrantBody) | openapi.writes(if_match=False))
async def create_grant(
    request: AnyRequest,
    tenant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[GrantView]:
    """Gives a tenant extra quantity, which is drawn by its priority while it holds.

    It may take effect up to 35 days ago, since no event that is older comes any more. What was drawn before
    it was made stays as it was drawn. A grant never changes; to correct one, void it and give another.
    """
    tenant_id = tenants.own(caller, tenant_id)
    body = await decode.body(request, GrantBody, strict_keys=True)
    wish = grants.Wish(
        feature_id=body.feature_id,
        quantity=body.quantity,
        priority=body.priority,
        effective_at=None if body.effective_at is None else wire.utc(body.effective_at, "/effectiveAt"),
        expires_at=None if body.expires_at is None else wire.utc(body.expires_at, "/expiresAt"),
        reason=body.reason,
    )
    reply = await grants.issue(context, management.order(request, caller), tenant_id, wish)
    return management.replied(reply, GrantView)


@get(_PATH, opt=auth.needs("manage") | openapi.asks(GrantQuery))
async def list_grants(
    request: AnyRequest,
    tenant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[GrantPage]:
    """Lists a tenant's grants, oldest first, with those that have ended."""
    tenant_id = tenants.own(caller, tenant_id)
    wanted = decode.query(request, GrantQuery)
    page = await grants.page(
        context,
        tenant_id,
        feature_id=wanted.feature_id,
        after=management.after(wanted.cursor),
        limit=wanted.limit,
    )
    return management.shown(GrantPage(items=page.items, next_cursor=management.cursor(page.next_cursor)))


@post(
    _PATH + "/{grant_id:str}/void",
    status_code=200,
    opt=auth.needs("manage") | openapi.takes(VoidBody) | openapi.writes(),
)
async def void_grant(
    request: AnyRequest,
    tenant_id: FromPath[str],
    grant_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[GrantView]:
    """Ends a grant now. What was drawn from it stays drawn."""
    tenant_id = tenants.own(caller, tenant_id)
    grant_id = decode.path(grant_id, wire.CallerId, "grantId")
    body = await decode.body(request, VoidBody, strict_keys=True)
    order = management.order(request, caller)
    reply = await grants.void(context, order, tenant_id, grant_id, reason=body.reason)
    return management.replied(reply, GrantView)


ROUTES: Final = (create_grant, list_grants, void_grant)
