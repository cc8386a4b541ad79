"""What surrounds every request, matched or not: its id, the header that echoes it, the measure of its time.

Litestar's middleware runs on matched routes only, so this wraps the whole application: a 404, a 405 and a 500
have their request id and are counted as well.
"""

import re
from collections.abc import Mapping
from typing import Final

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Send

from service import clock, ids, telemetry

UNMATCHED: Final = "unmatched"
"""The route of a request that no route took; the raw path is never a label."""

WHOLE: Final = "metergate.whole"
"""An extension of ASGI that our server offers: takes an answer's head and body as the bytes that go out."""
BODY: Final = "metergate.body"
"""Another: gives the body of a request that is here already, as most are; else None, and it is received."""

_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


def request_id(scope: HTTPScope) -> str:
    """The id of this request: the caller's own `X-Request-ID`, or one that was made."""
    return str(scope["state"]["request_id"])


def head(scope: HTTPScope) -> Mapping[bytes, bytes]:
    """The headers by name; of one that stands twice, the first."""
    found: Mapping[bytes, bytes] = scope["state"]["head"]
    return found


def each_once(scope: HTTPScope) -> bool:
    """Whether no header stands twice, so that `head` has all of them."""
    return bool(scope["state"]["once"])


def enter(scope: HTTPScope) -> str:
    """Begins a request: what the functions above tell is known from here on. Gives its id."""
    headers = list(scope["headers"])
    found = dict(reversed(headers))
    sent = found.get(b"x-request-id")
    name = None if sent is None else sent.decode("latin-1")
    if name is None or not _ID.fullmatch(name):
        name = ids.REQUESTS.new()
    state = scope.setdefault("state", {})
    state["head"], state["request_id"], state["once"] = found, name, len(found) == len(headers)
    return name


async def surround(
    app: ASGIApp, scope: HTTPScope, receive: Receive, send: Send, *, measures: telemetry.Telemetry
) -> None:
    """Runs the application for one request."""
    began = clock.monotonic_s()
    header = (b"x-request-id", enter(scope).encode())

    async def named(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), header]
            _measure(measures, scope, status=message["status"], seconds=clock.monotonic_s() - began)
        await send(message)

    await app(scope, receive, named)


def _measure(measures: telemetry.Telemetry, scope: HTTPScope, *, status: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = str(scope.get("path_template") or UNMATCHED)
    measures.request(method, route, status, seconds)
