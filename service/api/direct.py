"""Routes whose answer does not wait for the framework: the ones that are asked before anything else is done.

Litestar's routing, dependency injection and response cost several times what a decision costs. A route that
declares an act here is served by it before Litestar sees the request, with the same rules: the key before the
body, the same bounds, the same problems, the same ids and measures. The framework still describes the route,
and answers what is no plain request of it: another method, another spelling of the path. ::

    @post("/v1/check", status_code=200, opt=auth.needs("check") | openapi.takes(Body) | direct.served(act))
    async def check_one(...): ...
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.types import HTTPScope, Receive, Send

from service import clock
from service.api import auth, decode, exchange, problems
from service.context import Caller, Context
from service.telemetry import Telemetry

Head = Mapping[bytes, bytes]
"""The headers of a request by name, the first of each."""
Act = Callable[[Context, Caller, bytes, Head, Telemetry], Awaitable[bytes | None]]
"""Answers the JSON text of a body with one; what it raises becomes a problem. None: the framework answers."""

_ACT: Final = "act"
_ACKNOWLEDGES: Final = "acknowledges"
_IN_PART: Final = "in part"
_TYPE: Final = (b"content-type", b"application/json")
_HEAD: Final = (
    b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
)
_DURABILITY: Final = b"metergate-durability"
_NONE: Final[dict[str, object]] = {}
_PROBLEM: Final = (b"content-type", problems.MEDIA_TYPE.encode())


class Route(msgspec.Struct, frozen=True):
    """One of them."""

    method: str
    path: str
    needed: frozenset[str]
    act: Act
    status: int
    phrase: bytes
    """The status in words."""
    acknowledges: bool
    """Its answer says how durable what it did is."""
    in_part: bool
    """It takes plain JSON, and of that what its act answers; the framework takes the rest."""


def served(act: Act, *, acknowledges: bool = False, in_part: bool = False) -> dict[str, object]:
    """For the `opt` of a route of one path and one method that takes a JSON body: this act answers it.

    `in_part`: only what says that it is plain JSON, and of that what the act has an answer to.
    """
    return {_ACT: act, _ACKNOWLEDGES: acknowledges, _IN_PART: in_part}


def table(handlers: Sequence[HTTPRouteHandler]) -> Mapping[str, Route]:
    """The routes that are served here, by path."""
    found = {}
    for handler in handlers:
        if (act := handler.opt.get(_ACT)) is not None:
            (path,), (method,) = handler.paths, handler.http_methods
            found[path] = Route(
                method=str(method),
                path=path,
                needed=auth.needed(handler),
                act=act,
                status=handler.status_code,
                phrase=HTTPStatus(handler.status_code).phrase.encode(),
                acknowledges=handler.opt[_ACKNOWLEDGES],
                in_part=handler.opt[_IN_PART],
            )
    return found


async def serve(
    route: Route, context: Context, scope: HTTPScope, receive: Receive, send: Send, *, measures: Telemetry
) -> Receive | None:
    """One request, from head to answer; or, if the framework must answer it, what that is to read."""
    began = clock.monotonic_s()
    name = exchange.enter(scope).encode()
    try:
        caller = auth.recognize(scope, context, route.needed)
        if caller is None:
            caller = await auth.authorize(scope, context, route.needed)
        raw = decode.at_hand(scope)
        if raw is None:
            if route.in_part and not decode.is_plain(scope):
                return receive
            raw = await decode.json_text(scope, receive)
        body = await route.act(context, caller, raw, exchange.head(scope), measures)
        if body is None:
            return _again(raw, receive)
    except Exception as error:  # noqa: BLE001 - the table of problems sorts all of them
        scope["path_template"] = route.path
        told = problems.tell(scope, error, measures)
        headers = [_PROBLEM, _length(told.body), (b"x-request-id", name)]
        headers += [(key.encode(), text.encode()) for key, text in told.headers.items()]
        measures.request(route.method, route.path, told.status, clock.monotonic_s() - began)
        await _send(send, told.status, headers, told.body)
        return None
    measures.request(route.method, route.path, route.status, clock.monotonic_s() - began)
    extensions: Any = scope.get("extensions", _NONE)
    whole = extensions.get(exchange.WHOLE)
    head = _HEAD % (route.status, route.phrase, len(body), name)
    if route.acknowledges:
        head += b"%s: %s\r\n" % (_DURABILITY, context.config.durability.encode())
    if whole is None or not whole(head, body):
        headers = [_TYPE, _length(body), (b"x-request-id", name)]
        if route.acknowledges:
            headers.append((_DURABILITY, context.config.durability.encode()))
        await _send(send, route.status, headers, body)
    return None


def _again(raw: bytes, receive: Receive) -> Receive:
    """Gives a body that was read once more, and then what comes."""
    whole: Any = {"type": "http.request", "body": raw, "more_body": False}
    given = iter((whole,))

    async def received() -> Any:
        return next(given, None) or await receive()

    return received


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    start: Any = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    rest: Any = {"type": "http.response.body", "body": body}
    await send(rest)


def _length(body: bytes) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % len(body))
