"""May this text be decoded as JSON: is it not empty, not nested too deep, no key repeated?"""

import json
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import msgspec

from policies import errors, limits

_STRUCTURE: Final = b'[]{}"'
_OTHERS: Final = bytes(byte for byte in range(256) if byte not in _STRUCTURE)
_ALIKE: Final = bytes.maketrans(b"{}", b"[]")

_Json: TypeAlias = "_Object | list[_Json] | str | int | float | bool | None"


class _Object(msgspec.Struct, frozen=True):
    pairs: list[tuple[str, _Json]]


def check(raw: bytes) -> None:
    """Refuses what must not reach a decoder.

    Errors: MalformedError; TooLargeError for more arrays and objects than limits.BODY_CONTAINERS.
    """
    if not raw:
        raise errors.MalformedError("The body is empty; JSON was expected.")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise errors.MalformedError("The body starts with a byte order mark; send UTF-8 without one.")
    if raw.count(b"[") + raw.count(b"{") <= limits.NESTING_DEPTH:
        return
    brackets = _brackets(raw)
    if brackets.count(b"[") > limits.BODY_CONTAINERS:
        raise errors.TooLargeError(f"One body has at most {limits.BODY_CONTAINERS:,} arrays and objects.")
    if _too_deep(brackets, limits.NESTING_DEPTH):
        raise errors.MalformedError(
            f"Arrays and objects are nested more than {limits.NESTING_DEPTH} deep, which is not read."
        )


def _too_deep(brackets: bytes, depth: int) -> bool:
    """Whether these are nested deeper; of broken JSON it may be said wrongly, of valid JSON never.

    A few passes in C over the text, not a loop over its characters: a body of a megabyte takes milliseconds.
    Each round takes away the innermost brackets, so the number of rounds is the depth.
    """
    for round_ in range(depth):
        inner = brackets.replace(b"[]", b"")
        if len(inner) == len(brackets):  # nothing closes: what is still open may all be nested
            return round_ + brackets.count(b"[") > depth
        brackets = inner
    return b"[" in brackets


def _brackets(raw: bytes) -> bytes:
    """The brackets outside strings, round and square alike.

    A string ends at a quote that no backslash escapes, so escaped backslashes and quotes go first. Then a
    pair of neighbouring quotes can go wherever it stands: the others keep their parity, which says what is
    inside.
    """
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    structure = raw.translate(_ALIKE, _OTHERS).replace(b'""', b"")
    return b"".join(structure.split(b'"')[::2])


def malformed(error: Exception, raw: bytes) -> errors.MalformedError:
    """The decoder's complaint with the place where it stands, as line and column from 1."""
    if isinstance(error, UnicodeDecodeError):
        return errors.MalformedError("The body is not UTF-8.")
    if isinstance(error, RecursionError):
        return errors.MalformedError("The body is nested too deep.")
    text = str(error).removeprefix("JSON is malformed: ")
    what, found, position = text.removesuffix(")").partition(" (byte ")
    if not found or not position.isdigit():
        return errors.MalformedError(f"The body is no valid JSON: {text[:1].lower()}{text[1:]}.")
    before = raw[: int(position)]
    line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
    return errors.MalformedError(f"The body is no valid JSON: {what} at line {line}, column {column}.")


def loose(raw: bytes) -> object:
    """The document as plain values, for telling what is wrong with it.

    Errors: MalformedError.
    """
    try:
        return msgspec.json.decode(raw)
    except msgspec.ValidationError:  # an integer beyond 64 bits
        return _read(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error, raw) from error


def _read(raw: bytes, **hooks: Any) -> Any:
    """The document as the standard library reads it: slowly, but with integers of any size and all pairs."""
    try:
        return json.loads(raw, parse_int=_integer, **hooks)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise errors.MalformedError(f"The body is no valid JSON: {error.msg.lower()} at {place}.") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise malformed(error, raw) from error


def _integer(digits: str) -> int:
    """The integer, but never one whose conversion takes long."""
    return int(digits[:40])


def duplicates(raw: bytes) -> Iterator[errors.FieldError]:
    """Keys that an object has twice (R46), in a document that was decoded before."""
    yield from _duplicates(_read(raw, object_pairs_hook=_Object), "")


def _duplicates(value: _Json, pointer: str) -> Iterator[errors.FieldError]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _duplicates(item, f"{pointer}/{index}")
    elif isinstance(value, _Object):
        seen: set[str] = set()
        for key, item in value.pairs:
            here = pointer + step(key)
            if key in seen:
                yield errors.FieldError(
                    here, "This key stands twice in its object; which one holds is unclear."
                )
            seen.add(key)
            yield from _duplicates(item, here)


def step(key: str) -> str:
    """One step of a JSON pointer (RFC 6901); a key of absurd length is cut."""
    shown = key if len(key) <= limits.PROPERTY_LENGTH else f"{key[: limits.PROPERTY_LENGTH]}…"
    return "/" + shown.replace("~", "~0").replace("/", "~1")
