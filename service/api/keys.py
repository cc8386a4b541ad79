"""API keys over HTTP: make, list, rotate, revoke."""

from typing import Annotated, Final

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from policies import limits
from service.api import auth, decode, management, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import keys
from service.usecases.keys import KeyPage, KeyView, NewKeyView

_PATH: Final = "/v1/keys"


class KeyBody(wire.Body, frozen=True):
    """A new key: what it may do, for one tenant or for all, until when."""

    name: wire.Name
    scopes: Annotated[list[keys.Scope], Meta(min_length=1, max_length=len(keys.SCOPES))]
    tenant_id: wire.TenantId | None = None
    expires_at: wire.Instant | None = None


class RotateBody(wire.Body, frozen=True):
    """For how many hours the old key goes on to work beside the new one."""

    overlap_hours: Annotated[int, Meta(ge=0, le=limits.KEY_OVERLAP_HOURS)] = 24


class RevokeBody(wire.Body, frozen=True):
    """Nothing need be said."""


class KeyQuery(wire.Body, frozen=True):
    """Which part of the list."""

    limit: wire.Limit = limits.LIST_LIMIT_DEFAULT
    cursor: wire.Cursor | None = None


@post(_PATH, opt=auth.needs("manage") | openapi.takes(KeyBody) | openapi.writes(if_match=False))
async def create_key(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[NewKeyView]:
    """Makes a key and shows its secret, this once. A repetition is answered without the secret."""
    body = await decode.body(request, KeyBody, strict_keys=True)
    wish = keys.Wish(
        name=body.name,
        scopes=body.scopes,
        tenant_id=body.tenant_id,
        expires_at=None if body.expires_at is None else wire.utc(body.expires_at, "/expiresAt"),
    )
    reply = await keys.create(context, management.order(request, caller), wish)
    return management.replied(reply, NewKeyView)


@get(_PATH, opt=auth.needs("manage") | openapi.asks(KeyQuery))
async def list_keys(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[KeyPage]:
    """Lists keys, oldest first, without their secrets; a key that is bound to a tenant sees those of it."""
    wanted = decode.query(request, KeyQuery)
    page = await keys.page(
        context,
        tenant_id=caller.tenant_id,
        after=management.after(wanted.cursor),
        limit=wanted.limit,
    )
    return management.shown(KeyPage(items=page.items, next_cursor=management.cursor(page.next_cursor)))


@post(
    _PATH + "/{key_id:str}/rotate",
    opt=auth.needs("manage") | openapi.takes(RotateBody, required=False) | openapi.writes(),
)
async def rotate_key(
    request: AnyRequest,
    key_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[NewKeyView]:
    """Makes a key with the same rights; the old one expires after the overlap.

    A repetition is answered without the secret.
    """
    key_id = decode.path(key_id, wire.CallerId, "keyId")
    body = await management.optional_body(request, RotateBody)
    order = management.order(request, caller)
    reply = await keys.rotate(context, order, key_id, overlap_hours=body.overlap_hours)
    return management.replied(reply, NewKeyView)


@post(
    _PATH + "/{key_id:str}/revoke",
    status_code=200,
    opt=auth.needs("manage") | openapi.takes(RevokeBody, required=False) | openapi.writes(),
)
async def revoke_key(
    request: AnyRequest,
    key_id: FromPath[str],
    context: NamedDependency[Context],
    caller: NamedDependency[Caller],
) -> Response[KeyView]:
    """Ends a key at once."""
    key_id = decode.path(key_id, wire.CallerId, "keyId")
    await management.optional_body(request, RevokeBody)
    reply = await keys.revoke(context, management.order(request, caller), key_id)
    return management.replied(reply, KeyView)


ROUTES: Final = (create_key, list_keys, rotate_key, revoke_key)
