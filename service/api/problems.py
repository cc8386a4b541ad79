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
from litestar.types import ExceptionHandlersMap

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


def _ours(request: Request[Any, Any, Any], error: errors.ProblemError) -> Response[bytes]:
    if isinstance(error, errors.UnavailableError):
        _LOG.warning("%s %s (%r)", exchange.request_id(request.scope), error.detail, error.__cause__)
    return _told(request, error)


def _told(request: Request[Any, Any, Any], error: errors.ProblemError) -> Response[bytes]:
    telemetry: Telemetry = request.app.state.telemetry
    telemetry.count("metergate_problems_total", error.slug)
    return Response(
        msgspec.json.encode(problem(error, exchange.request_id(request.scope))),
        status_code=error.status,
        media_type=MEDIA_TYPE,
        headers=headers(error),
    )


def _theirs(request: Request[Any, Any, Any], exception: HTTPException) -> Response[bytes]:
    response = _told(request, from_http(exception))
    if allowed := (exception.headers or {}).get("allow"):
        response.set_header("allow", allowed)
    return response


def _unforeseen(request: Request[Any, Any, Any], exception: Exception) -> Response[bytes]:
    _LOG.error(
        "%s %s %s failed",
        exchange.request_id(request.scope),
        request.method,
        request.scope.get("path_template", exchange.UNMATCHED),
        exc_info=exception,
    )
    return _told(request, _internal())


HANDLERS: Final[ExceptionHandlersMap] = {
    errors.ProblemError: _ours,
    HTTPException: _theirs,
    Exception: _unforeseen,
}
"""The table."""
