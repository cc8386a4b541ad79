"""How what went wrong is told: one table from exceptions to `application/problem+json` (RFC 9457).

A route raises a `policies.errors.ProblemError` and is done. Whatever else escapes is a fault of ours: 500,
with nothing of its text in the answer, and all of it in the log beside the request's id.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap, HTTPScope

from policies import errors
from policies.errors import FieldError
from service.api import exchange, findings
from service.telemetry import Telemetry

BASE: Final = "https://metergate.dev/problems/"
"""`type` of a problem is this and its slug, for ever; the page lies in docs/problems/<slug>.md."""
MEDIA_TYPE: Final = "application/problem+json"

_MISSING: Final = re.compile(r"Missing required (\w+) parameter '([^']+)'")
_LOG: Final = logging.getLogger("metergate.api")


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The body of every error answer."""

    type: str
    """A stable URI with a page that says what to do."""
    title: str
    """The class of problem; the same for all of one type."""
    status: int
    detail: str
    """The case at hand."""
    request_id: str
    errors: tuple[FieldError, ...] = ()
    """Fields that are wrong, by JSON pointer into the body, `?name` in the query, `{name}` in the path."""


def problem(error: errors.ProblemError, request_id: str) -> Problem:
    """What is told of an error."""
    return Problem(
        type=BASE + error.slug,
        title=error.title,
        status=error.status,
        detail=error.detail,
        request_id=request_id,
        errors=error.errors,
    )


def headers(error: errors.ProblemError) -> dict[str, str]:
    """The headers that belong to it."""
    found = {}
    if error.retry_after_s is not None:
        found["retry-after"] = str(error.retry_after_s)
    if isinstance(error, errors.UnauthorizedError):
        found["www-authenticate"] = 'Bearer realm="metergate"'
    return found


def from_http(exception: HTTPException) -> errors.ProblemError:
    """Our error for one that the framework raised: routing, parameters, sizes."""
    if exception.status_code == errors.NotFoundError.status:
        return errors.NotFoundError("There is nothing at this path.")
    if exception.status_code == errors.MethodNotAllowedError.status:
        allowed = (exception.headers or {}).get("allow", "")
        return errors.MethodNotAllowedError(f"This path takes: {allowed}.")
    if exception.status_code == errors.TooLargeError.status:
        return errors.TooLargeError("The body is too large.")
    if isinstance(exception, ValidationException):
        return _invalid(exception)
    if 400 <= exception.status_code < 500:  # noqa: PLR2004  # the caller's side of HTTP
        return errors.MalformedError(exception.detail)
    return _internal()


def _invalid(exception: ValidationException) -> errors.InvalidError:
    """The framework's own findings about parameters; one that is missing it tells in a sentence only."""
    found = [
        FieldError(_sign(each.get("source"), str(each.get("key", ""))), f"{each.get('message')}.")
        for each in exception.extra or ()
        if isinstance(each, Mapping)
    ]
    if missing := _MISSING.search(exception.detail):
        found.append(FieldError(_sign(missing[1], missing[2]), "This parameter is needed."))
    return findings.invalid(found) if found else errors.InvalidError(f"{exception.detail}.")


def _sign(source: object, name: str) -> str:
    """Where a parameter stands, as `errors` points to it."""
    signs = {"query": f"?{name}", "path": f"{{{name}}}"}
    return signs.get(str(getattr(source, "value", source)), name)


def _internal() -> errors.ProblemError:
    return errors.ProblemError("Something went wrong on our side; the request id finds it in our log.")


class Told(msgspec.Struct, frozen=True):
    """An error as it is answered."""

    status: int
    headers: dict[str, str]
    body: bytes


def tell(scope: HTTPScope, error: Exception, telemetry: Telemetry) -> Told:
    """What is answered to whatever escaped; it is counted, and logged where it is ours to mend."""
    allowed = None
    if isinstance(error, errors.ProblemError):
        found = error
        if isinstance(error, errors.UnavailableError):
            _LOG.warning("%s %s (%r)", exchange.request_id(scope), error.detail, error.__cause__)
    elif isinstance(error, HTTPException):
        found = from_http(error)
        allowed = (error.headers or {}).get("allow")
    else:
        found = _internal()
        route = scope.get("path_template", exchange.UNMATCHED)
        _LOG.error("%s %s %s failed", exchange.request_id(scope), scope["method"], route, exc_info=error)
    telemetry.count("metergate_problems_total", found.slug)
    told = headers(found)
    if allowed:
        told["allow"] = allowed
    return Told(found.status, told, msgspec.json.encode(problem(found, exchange.request_id(scope))))


def _answered(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    told = tell(request.scope, error, request.app.state.telemetry)
    return Response(told.body, status_code=told.status, media_type=MEDIA_TYPE, headers=told.headers)


HANDLERS: Final[ExceptionHandlersMap] = {
    errors.ProblemError: _answered,
    HTTPException: _answered,
    Exception: _answered,
}
"""The table."""
