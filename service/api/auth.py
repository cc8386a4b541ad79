"""Who asks, and may they: a key from the request's headers, its scopes, its tenant.

Every route says what it needs, or the application does not start::

    @put("/v1/tenants/{tenant_id:str}", opt=auth.needs("manage"))
    async def put_tenant(caller: NamedDependency[Caller], ...): ...

The guard runs before anything else of the route, so a body is never read for a caller without a key.
"""

from collections.abc import Hashable, Iterable
from collections.abc import Set as AbstractSet
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import HTTPScope

from policies import errors, limits
from service.api import exchange
from service.context import Caller, Context
from service.usecases import keys

_NEEDS: Final = "needs"
_CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key"})
PUBLIC: Final[dict[str, object]] = {_NEEDS: frozenset()}
"""For a route that asks for no key: health, metrics, the description of the API."""


def needs(*scopes: keys.Scope) -> dict[str, object]:
    """For the `opt` of a route: the caller's key has all of these scopes."""
    assert scopes, "a route without a key is PUBLIC, in so many words"
    return {_NEEDS: frozenset(scopes)}


def declared(handler: BaseRouteHandler) -> bool:
    """Whether a route says what it needs."""
    return _NEEDS in handler.opt


def needed(handler: BaseRouteHandler) -> frozenset[str]:
    """The scopes that a route needs."""
    scopes: frozenset[str] = handler.opt[_NEEDS]
    return scopes


def is_open(handler: BaseRouteHandler) -> bool:
    """Whether a route asks for no key."""
    return not handler.opt.get(_NEEDS)


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Lets only those pass who may; what a route does not declare is closed.

    Errors: UnauthorizedError, ForbiddenError, UnavailableError.
    """
    scope: Any = connection.scope
    if scope["method"] == "OPTIONS":  # made by the framework for every path: it only lists the methods
        return
    if scopes := needed(handler):
        context = connection.app.state.context
        scope["state"]["caller"] = recognize(scope, context, scopes) or await authorize(
            scope, context, scopes
        )


async def authorize(scope: HTTPScope, context: Context, scopes: frozenset[str]) -> Caller:
    """The caller behind a request, who has these scopes.

    Errors: UnauthorizedError for no key or one that does not hold; ForbiddenError names the scope that lacks.
    """
    name = exchange.request_id(scope)
    carried = secret([header for header in scope["headers"] if header[0] in _CREDENTIALS])
    caller = await keys.authenticate(context, carried, shown=_shown(scope), request_id=name)
    require(caller, scopes)
    return caller


def recognize(scope: HTTPScope, context: Context, scopes: frozenset[str]) -> Caller | None:
    """As `authorize`, where the same headers passed so lately that nothing has to be looked up; else None.

    Errors: ForbiddenError.
    """
    caller = keys.recognize(context, _shown(scope), request_id=exchange.request_id(scope))
    if caller is not None:
        require(caller, scopes)
    return caller


def _shown(scope: HTTPScope) -> Hashable:
    """The credentials of a request, as they came."""
    if exchange.each_once(scope):
        head = exchange.head(scope)
        return head.get(b"authorization"), head.get(b"x-api-key")
    return tuple([header for header in scope["headers"] if header[0] in _CREDENTIALS])


def require(caller: Caller, scopes: AbstractSet[str]) -> None:
    """Refuses a caller who lacks one of these scopes.

    Errors: ForbiddenError names the scope that lacks.
    """
    if not scopes <= caller.scopes:
        names = " and ".join(f"`{each}`" for each in sorted(scopes - caller.scopes))
        raise errors.ForbiddenError(f"This key lacks the scope {names}.")


def secret(shown: Iterable[tuple[bytes, bytes]]) -> str:
    """The key that these headers carry.

    Errors: UnauthorizedError when there is none, more than one, or what cannot be a key.
    """
    found = {_value(name, value) for name, value in shown}
    if not found:
        raise errors.UnauthorizedError("Send a key: `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
    if len(found) > 1:
        raise errors.UnauthorizedError("Two different keys were sent; send one.")
    return found.pop()


def _value(name: bytes, value: bytes) -> str:
    text = value.decode("latin-1")
    if name == b"authorization":
        scheme, _, text = text.partition(" ")
        if scheme.lower() != "bearer":
            raise errors.UnauthorizedError("The scheme of the Authorization header must be Bearer.")
    text = text.strip()
    if not 1 <= len(text) <= limits.KEY_LENGTH or not text.isascii() or not text.isprintable():
        raise errors.UnauthorizedError("This is not a key of ours.")
    return text


def own_tenant(caller: Caller, tenant_id: str) -> None:
    """Refuses another tenant's id to a key that is bound to one.

    Errors: ForbiddenError.
    """
    if caller.tenant_id is not None and caller.tenant_id != tenant_id:
        raise errors.ForbiddenError("This key belongs to another tenant.")
