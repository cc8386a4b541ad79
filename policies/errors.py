"""Every domain error: a slug that names its page in docs/problems, a status, and the facts of the case.

A refusal to a tenant is not an error: it is a Decision (policies.decision).
"""

from typing import ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One bad field: where (a JSON pointer, `/checks/17/quantity`) and what is wrong, in one sentence."""

    pointer: str
    message: str


class ProblemError(Exception):
    """What could not be done, told to the caller as problem+json. Nothing has changed when it is raised."""

    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "The request could not be handled"
    status: ClassVar[int] = 500

    def __init__(
        self, detail: str, *, errors: tuple[FieldError, ...] = (), retry_after_s: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.retry_after_s = retry_after_s


class MalformedError(ProblemError):
    """The body is no JSON that we read."""

    slug, title, status = "malformed", "The body cannot be read", 400


class UnauthorizedError(ProblemError):
    """No key, an unknown one, or one that was revoked."""

    slug, title, status = "unauthorized", "A valid key is needed", 401


class SignatureError(ProblemError):
    """What a payment provider is to have signed is not signed by it, or not lately."""

    slug, title, status = "bad-signature", "The signature does not hold", 400


class ForbiddenError(ProblemError):
    """The key lacks the scope, or belongs to another tenant."""

    slug, title, status = "forbidden", "This key may not do that", 403


class NotFoundError(ProblemError):
    """The thing that the path names does not exist."""

    slug, title, status = "not-found", "There is no such thing", 404


class MethodNotAllowedError(ProblemError):
    """The path exists, the method does not."""

    slug, title, status = "method-not-allowed", "This method is not offered here", 405


class ConflictError(ProblemError):
    """The thing is not in a state that allows it."""

    slug, title, status = "conflict", "The present state does not allow this", 409


class PreconditionError(ProblemError):
    """`If-Match` names a version that is no longer the current one."""

    slug, title, status = "stale-version", "It was changed by someone else", 412


class TooLargeError(ProblemError):
    """The body is larger than limits.BODY_BYTES."""

    slug, title, status = "too-large", "The body is too large", 413


class UnsupportedTypeError(ProblemError):
    """The content type is not one that this endpoint reads."""

    slug, title, status = "unsupported-type", "This content type is not read here", 415


class InvalidError(ProblemError):
    """One or more fields are wrong; all that were found are in `errors`."""

    slug, title, status = "invalid", "A field is not valid", 422


class IdempotencyMismatchError(ProblemError):
    """The same key or event id came before with another body."""

    slug, title, status = "idempotency-mismatch", "The same id came with another body", 422


class KeyExpiredError(ProblemError):
    """The id of something that was consumed is used again after its answer was forgotten."""

    slug, title, status = "idempotency-key-expired", "This id was used long ago", 409


class CatalogError(ProblemError):
    """A catalog has findings; the one that is active stays."""

    slug, title, status = "catalog", "The catalog has errors", 422


class UnavailableError(ProblemError):
    """It could not be done now; `retry_after_s` says when to try again."""

    slug, title, status = "unavailable", "It cannot be done at this moment", 503


class JournalFullError(UnavailableError):
    """Usage is turned away before what keeps it is full."""

    slug, title, status = "journal-full", "Usage cannot be taken at this moment", 503


def invalid(pointer: str, message: str) -> InvalidError:
    """One bad field as an error."""
    return InvalidError(message, errors=(FieldError(pointer, message),))
