"""What surrounds every request, matched or not: its id, the header that echoes it, the measure of its time.

Litestar's middleware runs on matched routes only, so this wraps the whole application: a 404, a 405 and a 500
have their request id and are counted as well.
"""

import re
from typing import Final

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Send

from service import clock, ids, telemetry

UNMATCHED: Final = "unmatched"
"""The route of a request that no route took; the raw path is never a label."""

_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


def request_id(scope: HTTPScope) -> str:
    """The id of this request: the caller's own `X-Request-ID`, or one that was made."""
    return str(scope["state"]["request_id"])


async def surround(
    app: ASGIApp, scope: HTTPScope, receive: Receive, send: Send, *, measures: telemetry.Telemetry
) -> None:
    """Runs the application for one request."""
    name = chosen(scope)
    scope.setdefault("state", {})["request_id"] = name
    header = (b"x-request-id", name.encode())
    began = clock.monotonic_s()

    async def named(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), header]
            _measure(measures, scope, status=message["status"], seconds=clock.monotonic_s() - began)
        await send(message)

    await app(scope, receive, named)


def chosen(scope: HTTPScope) -> str:
    """The id for a request that begins."""
    for key, value in scope["headers"]:
        if key == b"x-request-id":
            text = value.decode("latin-1")
            if _ID.fullmatch(text):
                return text
            break
    return ids.REQUESTS.new()


def _measure(measures: telemetry.Telemetry, scope: HTTPScope, *, status: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = str(scope.get("path_template") or UNMATCHED)
    measures.request(method, route, status, seconds)
