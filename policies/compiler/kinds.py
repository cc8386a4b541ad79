"""What one field may hold: how it is read, in which words it is refused, and its JSON Schema."""

import re
from datetime import UTC, datetime
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from policies import limits
from policies.compiler.findings import Findings, Place, Slug
from policies.compiler.nodes import Node, Scalar, Unreadable
from policies.compiler.scalars import is_text

Schema = dict[str, Any]
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Kind(Protocol[T_co]):
    """What a field may hold."""

    @property
    def says(self) -> str:
        """What the field holds, so that `included is {says}` is a sentence."""

    @property
    def schema(self) -> Schema:
        """JSON Schema of all that it accepts (and, where JSON has no word for it, of a little more)."""

    def read(self, node: Node, name: str, at: Place, findings: Findings) -> T_co | None:
        """The value, or None when it could not be read; then its finding is written.

        `name` is the field's, `at` the place of its name (of a list's item, its own).
        """


class Refusal(msgspec.Struct, frozen=True):
    """Why a value was not read; without a message it is of another kind than the field's."""

    hint: str = ""
    slug: Slug = "wrong-type"
    message: str = ""
    """Follows the field's name: `is at most 730, not 1000`."""


def mismatch(name: str, says: str, node: Node) -> str:
    """That a field holds one thing, and the file says another."""
    if isinstance(node, Scalar) and node.empty:
        return f"{name} is {says}, and nothing is written here"
    return f"{name} is {says}, not {node}"


class ScalarKind(Generic[T]):
    """A kind that is written as one value: a subclass says how to parse it."""

    says: str
    schema: Schema

    def read(self, node: Node, name: str, at: Place, findings: Findings) -> T | None:  # noqa: ARG002 (the protocol's)
        """As `Kind` says."""
        if isinstance(node, Unreadable):
            return None
        parsed = self._parse(node) if isinstance(node, Scalar) and not node.empty else Refusal()
        if not isinstance(parsed, Refusal):
            return parsed
        message = f"{name} {parsed.message}" if parsed.message else mismatch(name, self.says, node)
        findings.error(node.at, parsed.slug, message, parsed.hint or self._nearest(node, findings))
        return None

    def _parse(self, scalar: Scalar) -> T | Refusal:
        raise NotImplementedError

    def _nearest(self, node: Node, findings: Findings) -> str:  # noqa: ARG002 (for the kinds that can guess)
        return ""


class Text(ScalarKind[str]):
    """A name or a sentence on one line."""

    says = "a text"

    def __init__(self, most: int = limits.NAME_LENGTH) -> None:
        self._most = most
        self.schema = {"type": "string", "minLength": 1, "maxLength": most}

    def _parse(self, scalar: Scalar) -> str | Refusal:
        text = scalar.text.strip()
        if scalar.plain and not is_text(text):
            return Refusal(f'put it in quotes: "{text}"')
        if not text:
            return Refusal(slug="out-of-bounds", message="is empty")
        if len(text) > self._most:
            message = f"has at most {self._most:,} characters, not {len(text):,}"
            return Refusal(slug="out-of-bounds", message=message)
        if "\n" in text or "\t" in text:
            return Refusal(slug="out-of-bounds", message="is a text on one line, without tabs")
        return text


class Pattern(ScalarKind[str]):
    """A short text of one form."""

    def __init__(self, pattern: str, says: str) -> None:
        self._pattern, self.says = re.compile(pattern.removeprefix("^").removesuffix("$")), says
        self.schema = {"type": "string", "pattern": pattern}

    def _parse(self, scalar: Scalar) -> str | Refusal:
        if scalar.plain and not is_text(scalar.text):
            quotes = f'put it in quotes: "{scalar.text}"'
            return Refusal(quotes if self._pattern.fullmatch(scalar.text) else "")
        if self._pattern.fullmatch(scalar.text):
            return scalar.text
        near = re.sub(r"[^a-z0-9._-]+", "-", scalar.text[:63].lower()).strip("-._")
        return Refusal(f'write "{near}"' if self._pattern.fullmatch(near) else "")


def catalog_id() -> Pattern:
    """A name that other files and programs use."""
    return Pattern(limits.CATALOG_ID_PATTERN, 'an id (lower-case letters, digits, ".", "_", "-"; at most 63)')


def key() -> Pattern:
    """A key of an event's properties or of a check's context."""
    return Pattern(
        "^[A-Za-z][A-Za-z0-9_]{0,62}$", 'a word of letters, digits and "_" that begins with a letter'
    )


class Choice(ScalarKind[str]):
    """One word of a few."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self.says = f"{', '.join(words[:-1])} or {words[-1]}"
        self.schema = {"enum": list(words)}

    def _parse(self, scalar: Scalar) -> str | Refusal:
        return scalar.text if scalar.text in self._words else Refusal()

    def _nearest(self, node: Node, findings: Findings) -> str:
        return findings.suggest(node.text, self._words) if isinstance(node, Scalar) else ""


class Instant(ScalarKind[datetime]):
    """A point in time, to the second; kept in UTC."""

    says = "an instant such as 2026-11-22T10:00:00Z"
    _form: Final = re.compile(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([Zz]|[+-][0-9]{2}:[0-9]{2})"
    )

    def __init__(self) -> None:
        self.schema = {"type": "string", "pattern": f"^{self._form.pattern}$"}

    def _parse(self, scalar: Scalar) -> datetime | Refusal:
        if not self._form.fullmatch(scalar.text):
            day = re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", scalar.text)
            return Refusal(f"write {scalar.text}T00:00:00Z" if day else "")
        try:
            return datetime.fromisoformat(scalar.text.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            return Refusal(slug="out-of-bounds", message="is no day or time of the calendar")


class Flag(ScalarKind[bool]):
    """Yes or no, in the words of YAML 1.2."""

    says = "true or false"
    _said: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
    _meant: Final = {
        "yes": "true",
        "on": "true",
        "true": "true",
        "no": "false",
        "off": "false",
        "false": "false",
    }

    def __init__(self) -> None:
        self.schema = {"type": "boolean"}

    def _parse(self, scalar: Scalar) -> bool | Refusal:
        if scalar.plain and scalar.text in self._said:
            return self._said[scalar.text]
        meant = self._meant.get(scalar.text.lower())
        return Refusal(f"write {meant}, without quotes" if meant else "")
