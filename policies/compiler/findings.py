"""What is wrong with a catalog: where it stands, in which words, and what was probably meant."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from policies import limits

Severity = Literal["error", "warning"]
Slug = Literal[
    # the file as text
    "unknown-file",
    "missing-file",
    "too-large",
    "empty-file",
    "control-character",
    "tab",
    "syntax",
    "too-deep",
    "yaml-feature",
    "duplicate-key",
    # one field
    "unknown-field",
    "missing-field",
    "misplaced-field",
    "wrong-type",
    "out-of-bounds",
    # across fields and files
    "wrong-terms",
    "unknown-feature",
    "unknown-plan",
    "unknown-addon",
    "duplicate-plan",
    "duplicate-addon",
    "duplicate-name",
    "currency",
    "file-name",
    "overage",
    "tiers",
    "caps",
    "thresholds",
    "attempts",
    "rollover",
    "unused-feature",
    "case",
    # a guard, or a plan as Cedar
    "guard",
    "duplicate-guard",
    "cedar",
    "check-failed",
    # what the catalog itself asks for
    "test-failed",
    "invariant",
    # beside those subscribed
    "removed",
    # this version
    "no-effect-yet",
    "no-effect",
    "too-many",
]
"""The class of a finding: stable, so that scripts can filter by it."""

_EXCERPT_WIDTH = 96
_TEXT_WIDTH = 80
_QUOTED_WIDTH = 40
_COMPARISONS = 50_000
"""Words compared for suggestions in one check, about a second: mistakes times names would be a million."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where something stands in a file: line and column from 1, and its first characters."""

    path: str
    line: int = 1
    column: int = 1
    text: str = ""

    @property
    def source(self) -> str:
        """`plans/pro.yaml:14`, as decisions name it."""
        return f"{self.path}:{self.line}"


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One thing that is wrong, or worth knowing, at one place."""

    path: str
    line: int
    column: int
    severity: Severity
    slug: Slug
    text: str
    """The offending text, at most 80 characters."""
    message: str
    hint: str = ""
    """What was probably meant, or what to write instead."""
    excerpt: str = ""
    """The offending line, or the part of a long line around the place."""
    caret: int = 0
    """Where in `excerpt` the offending text begins, from 0."""
    name: str = ""
    """Of the invariant that is violated, or the test that failed: what it is called in its file."""

    def sentence(self) -> str:
        """The finding on one line, without its place."""
        return f"{self.message}: {self.hint}" if self.hint else self.message

    def render(self) -> str:
        """Place, severity and sentence; under it the offending line and a caret."""
        head = f"{visible(self.path)}:{self.line}:{self.column}: {self.severity}: {self.sentence()}"
        if not self.excerpt:
            return head
        gutter = f"{self.line:5d}"
        room = len(self.excerpt) - self.caret
        marks = "^" + "~" * (max(1, min(len(self.text), room)) - 1)
        blank = " " * len(gutter)
        return f"{head}\n{gutter} | {self.excerpt}\n{blank} | {' ' * self.caret}{marks}"


class Findings:
    """Collects findings over all files: every one is counted, the first CATALOG_FINDINGS are kept."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._lines: dict[str, list[str]] = {}
        self._kept: dict[tuple[Place, str], Finding] = {}
        self._omitted = 0
        self._comparisons = _COMPARISONS
        self.errors = 0
        """Errors so far, kept or not: one is enough to refuse the catalog."""

    def error(self, at: Place, slug: Slug, message: str, hint: str = "", *, name: str = "") -> None:
        """Notes what must be mended before the catalog can be published."""
        self.errors += 1
        self._add(at, "error", slug, message, hint, name=name)

    def warning(self, at: Place, slug: Slug, message: str, hint: str = "", *, name: str = "") -> None:
        """Notes what may stay as it is."""
        self._add(at, "warning", slug, message, hint, name=name)

    def place(self, source: str) -> Place:
        """What stands in a line: `plans/pro.yaml:14`."""
        path, _, number = source.rpartition(":")
        line = self._line(Place(path=path, line=int(number)))
        text = line.strip()
        return Place(path=path, line=int(number), column=len(line) - len(line.lstrip()) + 1, text=text)

    def suggest(self, word: str, known: Iterable[str]) -> str:
        """`did you mean "included"?`, or nothing when no known word is near."""
        if self._comparisons <= 0 or len(self._kept) >= limits.CATALOG_FINDINGS:
            return ""
        names = {name.lower(): name for name in known}
        self._comparisons -= len(names)
        near = difflib.get_close_matches(word[:_TEXT_WIDTH].lower(), names, n=1)
        return f'did you mean "{names[near[0]]}"?' if near else ""

    def sorted(self) -> tuple[Finding, ...]:
        """All that were kept, by path, line and column; a last one says how many were left out."""
        found = sorted(self._kept.values(), key=lambda f: (f.path, f.line, f.column, f.slug, f.message))
        if self._omitted:
            more = f"{self._omitted:,} more findings are not listed: mend these first"
            severity: Severity = "error" if self.errors else "warning"
            found.append(_finding(Place(path=found[-1].path), severity, "too-many", more, ""))
        return tuple(found)

    def _add(
        self, at: Place, severity: Severity, slug: Slug, message: str, hint: str, *, name: str = ""
    ) -> None:
        if (at, message) in self._kept:
            return
        if len(self._kept) >= limits.CATALOG_FINDINGS:
            self._omitted += 1
            return
        found = msgspec.structs.replace(_finding(at, severity, slug, message, hint), name=name)
        if at.text:
            excerpt, caret = _excerpt(self._line(at), at.column - 1)
            found = msgspec.structs.replace(found, excerpt=excerpt, caret=caret)
        self._kept[(at, message)] = found

    def _line(self, at: Place) -> str:
        lines = self._lines.get(at.path)
        if lines is None:
            lines = self._lines[at.path] = self._files.get(at.path, "").removeprefix("\ufeff").split("\n")
        return lines[at.line - 1] if at.line <= len(lines) else ""


def visible(text: str) -> str:
    """The text with everything that a terminal would act on, or not show, made plain: one sign each."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def quoted(text: str) -> str:
    """The text in quotes as a sentence names it, cut to what a reader can take in."""
    first, *more = text.strip().split("\n", 1)
    whole = not more and len(first) <= _QUOTED_WIDTH
    return f'"{visible(first)}"' if whole else f'"{visible(first[:_QUOTED_WIDTH])}…"'


def _finding(at: Place, severity: Severity, slug: Slug, message: str, hint: str) -> Finding:
    return Finding(
        path=visible(at.path),
        line=at.line,
        column=at.column,
        severity=severity,
        slug=slug,
        text=visible(at.text[:_TEXT_WIDTH]),
        message=message,
        hint=hint,
    )


def _excerpt(line: str, caret: int) -> tuple[str, int]:
    """The line, or a window of it that holds the caret; each sign keeps its place."""
    start = 0 if len(line) <= _EXCERPT_WIDTH else max(0, caret - _EXCERPT_WIDTH // 2)
    window = line[start : start + _EXCERPT_WIDTH].replace("\t", " ").removesuffix("\r")
    return visible(window.rstrip(" ")).ljust(caret - start + 1), caret - start
