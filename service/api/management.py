"""What management routes share: the headers of a write, those of its answer, and pages of lists."""

import base64
import binascii
import re
from typing import Final, TypeVar, cast

import msgspec
from litestar import Response

from policies import errors, limits
from service.api import decode
from service.api.decode import AnyRequest
from service.context import Caller
from service.usecases.changes import Order, Reply

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

_JSON: Final = "application/json"
_IDEMPOTENCY_KEY: Final = re.compile(rf"[\x20-\x7e]{{1,{limits.IDEMPOTENCY_KEY_LENGTH}}}")
_ID: Final = re.compile(limits.ID_PATTERN)


def order(request: AnyRequest, caller: Caller) -> Order:
    """Who wants the write, with its Idempotency-Key and If-Match.

    Errors: InvalidError for a key that is empty, too long, not plain, or given twice.
    """
    keys = request.headers.getall("idempotency-key", [])
    if len(keys) > 1 or any(_IDEMPOTENCY_KEY.fullmatch(key) is None for key in keys):
        raise errors.invalid(
            "Idempotency-Key",
            f"An Idempotency-Key is one text of 1 to {limits.IDEMPOTENCY_KEY_LENGTH} plain ASCII characters.",
        )
    return Order(
        caller=caller,
        idempotency_key=keys[0] if keys else None,
        if_match=request.headers.get("if-match"),
    )


async def optional_body(request: AnyRequest, kind: type[S]) -> S:
    """The body, where one that says nothing may be left out.

    Errors: as decode.body.
    """
    raw = await decode.read(request.scope, request.receive)
    if not raw:
        return kind()
    decode.json_only(request.scope)
    return decode.document(raw, kind, strict_keys=True)


def replied(reply: Reply, _kind: type[T]) -> Response[T]:
    """The answer of a write: its body is encoded already, and the type is for the API's description."""
    return Response(
        cast("T", reply.body), status_code=reply.status, media_type=_JSON, headers=_etag(reply.etag)
    )


def shown(view: T, etag: str | None = None) -> Response[T]:
    """The answer of a read, with the ETag that a write may ask for."""
    return Response(cast("T", msgspec.json.encode(view)), media_type=_JSON, headers=_etag(etag))


def told(body: bytes, _kind: type[T]) -> Response[T]:
    """An answer that is encoded already; the type is for the API's description."""
    return Response(cast("T", body), media_type=_JSON)


def cursor(after: str | None) -> str | None:
    """The place behind an id, as `nextCursor` gives it: opaque, so that its meaning may change."""
    return None if after is None else base64.urlsafe_b64encode(after.encode()).decode().rstrip("=")


def after(text: str | None) -> str:
    """The id that a page begins behind; empty for the first page.

    Errors: InvalidError for what no list of ours gave.
    """
    if text is None:
        return ""
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        found = ""
    if _ID.fullmatch(found) is None:
        raise errors.invalid("?cursor", "A cursor is the `nextCursor` of the page before, as it came.")
    return found


def _etag(etag: str | None) -> dict[str, str]:
    return {} if etag is None else {"etag": etag}
