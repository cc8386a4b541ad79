"""Which words does a guard file hold, and where? Bounded, before Cedar's parser sees any of it.

Cedar's parser works by recursion and dies on text that is nested deep enough, so size is settled here. Where
Cedar and this module could differ on what a sign means (other line ends, other blanks, texts over several
lines), the file is refused: what people review is then what the engine reads.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Final, Literal, cast

import msgspec

from policies import limits
from policies.compiler import paths
from policies.compiler.findings import Findings, Place, quoted
from policies.compiler.scalars import INVISIBLE

Kind = Literal["word", "text", "number", "slot", "sign"]

CLOSES: Final = {"(": ")", "[": "]", "{": "}"}
OPENING: Final = frozenset(CLOSES)
CLOSING: Final = frozenset(CLOSES.values())

_TOKEN: Final = re.compile(
    r"""
      (?P<blank> [ \t\r\n]+ | //[^\n]* )
    | (?P<word> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<number> [0-9][0-9A-Za-z_]* )
    | (?P<text> " (?: [^"\\\n] | \\[^\n] )* " )
    | (?P<slot> \?[A-Za-z_]* )
    | (?P<sign> :: | == | != | <= | >= | && | \|\| | [@(){}\[\],;.<>!+*:-] )
    """,
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(r"""\\(?:["'\\nrt0*]|x[0-7][0-9A-Fa-f]|u\{[0-9A-Fa-f]{1,6}\}|(?P<wrong>.))""")
_INSTEAD: Final = {
    "=": "== compares",
    "&": "&& means and",
    "|": "|| means or",
    "'": 'texts stand in double quotes (")',
    "/": "a comment begins with //",
    '"': "a text ends on the line that it begins on",
}
_NUMBER_DIGITS: Final = 18
"""All of which fit into the 64 bits in which Cedar counts."""
_PLACES: Final = 100
"""Wrong signs that are told of one file; the rest is of the same kind."""


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A word, a text in quotes, a number or a sign."""

    kind: Kind
    text: str
    """As it is written, quotes included."""
    start: int
    """Where it begins in the file, from 0."""
    at: Place

    @property
    def end(self) -> int:
        """Where in the file it ends."""
        return self.start + len(self.text)

    @property
    def content(self) -> str:
        """What stands between the quotes of a text, escapes as they are written; of all else the text."""
        return self.text[1:-1] if self.kind == "text" else self.text

    def __str__(self) -> str:
        return quoted(self.content)


def read(path: str, text: str, findings: Findings) -> tuple[Token, ...] | None:
    """The tokens of a file without its comments, or None with at least one finding."""
    if not paths.is_within(path, text, limits.GUARD_FILE_BYTES, findings):
        return None
    before = findings.errors
    lines = _Lines(path, text)
    _invisible(text, lines, findings)
    found = tuple(_tokens(text, lines, findings))
    return found if findings.errors == before else None


class _Lines:
    """Where the lines of a file begin."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def place(self, start: int, said: str) -> Place:
        line = bisect_right(self._starts, start)
        return Place(path=self._path, line=line, column=start - self._starts[line - 1] + 1, text=said)


def _invisible(text: str, lines: _Lines, findings: Findings) -> None:
    """What a reviewer cannot see, comments included: to Cedar a lone carriage return ends a comment."""
    for match in islice(INVISIBLE.finditer(text), _PLACES):
        sign = match.group()
        foreign = "\ud800" <= sign <= "\udfff"
        what = "bytes that are no UTF-8" if foreign else f"an invisible sign (U+{ord(sign):04X})"
        hint = "save the file as UTF-8" if foreign else "delete it"
        findings.error(lines.place(match.start(), sign), "control-character", what, hint)


def _tokens(text: str, lines: _Lines, findings: Findings) -> Iterator[Token]:
    start, wrong = 0, 0
    while start < len(text) and wrong < _PLACES:
        match = _TOKEN.match(text, start)
        if match is None:
            wrong += 1
            start = _foreign(text, start, lines, findings)
            continue
        start = match.end()
        if match.lastgroup != "blank":
            kind = cast("Kind", match.lastgroup)
            token = Token(
                kind=kind, text=match.group(), start=match.start(), at=lines.place(match.start(), match[0])
            )
            _check(token, lines, findings)
            yield token


def _foreign(text: str, start: int, lines: _Lines, findings: Findings) -> int:
    """Tells of a sign that Cedar does not have; where to read on."""
    sign = text[start]
    hint = _INSTEAD.get(sign, "outside texts and comments Cedar has letters, digits and a few signs")
    message = "this text has no end" if sign == '"' else f"{quoted(sign)} is no sign of Cedar"
    if INVISIBLE.match(sign) is None:
        rest = text[start : start + limits.ID_LENGTH].split("\n", 1)[0] if sign == '"' else sign
        findings.error(lines.place(start, rest), "syntax", message, hint)
    if sign != '"':
        return start + 1
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _check(token: Token, lines: _Lines, findings: Findings) -> None:
    if token.kind == "text":
        for escape in _ESCAPE.finditer(token.text):
            if escape["wrong"]:
                at = lines.place(token.start + escape.start(), escape.group())
                hint = r"write \\ for a backslash"
                findings.error(at, "syntax", f"Cedar has no escape {quoted(escape.group())}", hint)
    elif token.kind == "number" and not token.text.isdigit():
        findings.error(token.at, "syntax", f"{token} is no number", "a number is digits alone")
    elif token.kind == "number" and len(token.text) > _NUMBER_DIGITS:
        findings.error(token.at, "out-of-bounds", f"a number has at most {_NUMBER_DIGITS} digits")
