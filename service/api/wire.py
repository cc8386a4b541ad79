"""The types that the v1 API's Structs are made of: every field of a request has one, and with it its bounds.

A Struct of a request body is `class PutTenant(wire.Body, frozen=True): ...`; it lives beside its route. What
does not fit is answered 422 with the sentence that the type gives here.

A text with a pattern is never an option beside a list or an object: msgspec 0.22 reads such a union's memory
wrongly and ends the process at the next garbage collection. A test walks all bodies and queries.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from policies import errors, limits
from service.api import findings

END: Final = r"(?!\n)"
"""`$` alone also matches before a line feed at the end in Python; the API's description leaves this out."""


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What all request bodies share: unknown fields are refused, names are camelCase on the wire."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What all response bodies share: every field is written, also when it is null."""


def _no_text(value: object) -> str | None:
    if isinstance(value, str):
        return None
    return f"This must be a text, not {findings.kind_of(value)}."


def _id(value: object) -> str:
    length = len(value) if isinstance(value, str) else 0
    if length > limits.ID_LENGTH:
        return f"An id has at most {limits.ID_LENGTH} characters; this has {length:,}."
    return _no_text(value) or (
        "An id is made of letters, digits and . _ : @ + = ~ - and starts with a letter or a digit."
    )


def _catalog_id(value: object) -> str:
    return _no_text(value) or (
        "An id of the catalog is made of small letters, digits and . _ - , starts with a letter or a digit, "
        "and has at most 63 characters."
    )


def _quantity(value: object) -> str:
    if isinstance(value, float):
        return 'A quantity is a whole number, or a decimal in quotes such as "1.5", never a float.'
    if isinstance(value, int) and not isinstance(value, bool):
        return (
            "A quantity is not negative."
            if value < 0
            else f"One quantity is at most {limits.REQUESTED_MAX:,}."
        )
    if isinstance(value, str):
        return f"A quantity as text has 1 to {limits.QUANTITY_TEXT} characters."
    return f"A quantity is a whole number or a decimal in quotes, not {findings.kind_of(value)}."


_NAIVE: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?")


def _instant(value: object) -> str:
    if isinstance(value, str) and _NAIVE.fullmatch(value):
        return f'This instant has no zone; add one: "{value}Z" is UTC.'
    return 'An instant is a text as RFC 3339 has it, with its zone: "2026-11-22T10:00:00Z".'


def _context_key(value: object) -> str:
    if isinstance(value, str) and value.startswith("__"):
        return "Keys that start with two underscores are reserved."
    return "A key is made of letters, digits and . _ - , starts with a letter, and has at most 63 characters."


_PLAIN: Final = r"^[^\x00-\x1f\x7f]*$" + END


def _line(value: object) -> str | None:
    if isinstance(value, str) and not re.search(_PLAIN, value):
        return "This text is one line without control characters."
    return None


_KEPT: Final = r"^[^\x00]*$" + END


def _text(value: object) -> str | None:
    if isinstance(value, str) and "\x00" in value:
        return "This text has the character U+0000 in it, which cannot be kept."
    return None


CallerId = Annotated[
    str, Meta(pattern=limits.ID_PATTERN + END, max_length=limits.ID_LENGTH, extra={"explain": _id})
]
"""An id that callers choose."""
TenantId = CallerId
ServiceId = CallerId
EntityId = CallerId
EventId = CallerId
CatalogId = Annotated[
    str, Meta(pattern=limits.CATALOG_ID_PATTERN + END, max_length=63, extra={"explain": _catalog_id})
]
"""An id that plan files give: a plan, a feature, an add-on. That it exists is for the use case to find."""

Quantity = Annotated[
    Annotated[int, Meta(ge=0, le=limits.REQUESTED_MAX)]
    | Annotated[str, Meta(min_length=1, max_length=limits.QUANTITY_TEXT)],
    Meta(
        extra={"explain": _quantity},
        description="An integer, or a decimal string for features with decimals.",
    ),
]
"""In the feature's unit; policies.quantity.parse makes the scaled integer of it when the feature is known."""

Instant = Annotated[datetime, Meta(tz=True, extra={"explain": _instant})]
"""Aware, in the zone of the sender: `utc` makes it ours."""

ContextKey = Annotated[
    str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$" + END, extra={"explain": _context_key})
]
ContextValue = Annotated[
    str, Meta(max_length=limits.PROPERTY_LENGTH, pattern=_KEPT, extra={"explain": _text})
]
Context = Annotated[dict[ContextKey, ContextValue], Meta(max_length=limits.PROPERTY_COUNT)]
"""What a caller says of the request. Which keys a feature takes is the use case's (R42); never `__` (R48)."""
Properties = Context
"""What a caller says of an event, in the same bounds."""
Metadata = Annotated[
    dict[
        ContextKey,
        Annotated[str, Meta(max_length=limits.METADATA_LENGTH, pattern=_KEPT, extra={"explain": _text})],
    ],
    Meta(max_length=limits.METADATA_COUNT),
]
"""A platform's own notes on a tenant: kept and given back; of decisions only guards may read them."""

Name = Annotated[
    str, Meta(min_length=1, max_length=limits.NAME_LENGTH, pattern=_PLAIN, extra={"explain": _line})
]
"""One line for people."""
Reason = Annotated[
    str, Meta(min_length=1, max_length=limits.REASON_LENGTH, pattern=_KEPT, extra={"explain": _text})
]
"""Why a change was made, for the audit."""
Limit = Annotated[int, Meta(ge=1, le=limits.LIST_LIMIT, description="How many items one page has at most.")]
Cursor = Annotated[
    str,
    Meta(
        min_length=1, max_length=512, description="Where the page starts: `nextCursor` of the one before it."
    ),
]
"""Opaque."""


def utc(at: datetime, pointer: str) -> datetime:
    """The same instant in UTC.

    Errors: InvalidError for the hours at both ends of the calendar that UTC does not have.
    """
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise errors.invalid(pointer, "This instant is outside the calendar.") from error
