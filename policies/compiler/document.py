"""One file's text read as the part of YAML 1.2 that a catalog needs; all else is refused at its place."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from policies import limits
from policies.compiler import paths
from policies.compiler.composer import Composer, RefusedError
from policies.compiler.findings import Findings, Place
from policies.compiler.nodes import Mapping, Scalar, Unreadable
from policies.compiler.scalars import INVISIBLE

_TAB_INDENT: Final = re.compile(r"^ *\t[ \t]*(?=\S)", re.MULTILINE)
_DIRECTIVE: Final = re.compile(r"^%", re.MULTILINE)
_PLACES: Final = 100
"""Places of one kind that are looked up in a text; the rest is of the same kind."""


def read(path: str, text: str, findings: Findings) -> Mapping | None:
    """The file as a tree, or None with at least one finding; the tree is at most CATALOG_DEPTH deep."""
    text = text.removeprefix("\ufeff")
    if not _is_plain_text(path, text, findings):
        return None
    try:
        root = Composer(path, text, findings).document()
    except RefusedError as refused:
        findings.error(refused.at, refused.slug, refused.message, refused.hint)
        return None
    if isinstance(root, Mapping):
        return root
    if root is None or (isinstance(root, Scalar) and root.empty):
        findings.error(Place(path=path), "empty-file", "the file says nothing")
    elif not isinstance(root, Unreadable):
        message = f"a catalog file is a group of fields (name: value), not {root}"
        findings.error(root.at, "wrong-type", message)
    return None


def _is_plain_text(path: str, text: str, findings: Findings) -> bool:
    """Size, signs and indentation: what needs no parser."""
    if not paths.is_within(path, text, limits.CATALOG_FILE_BYTES, findings):
        return False
    before = findings.errors
    for at in _places(path, text, INVISIBLE):
        foreign = "\ud800" <= at.text <= "\udfff"
        what = "bytes that are no UTF-8" if foreign else f"an invisible sign (U+{ord(at.text):04X})"
        findings.error(at, "control-character", what, "save the file as UTF-8" if foreign else "delete it")
    for at in _places(path, text, _TAB_INDENT):
        findings.error(at, "tab", "a tab in the indentation", "indent with spaces")
    for at in _places(path, text, _DIRECTIVE):
        findings.error(at, "yaml-feature", "a directive (%)", "delete the line")
    return findings.errors == before


def _places(path: str, text: str, pattern: re.Pattern[str]) -> Iterator[Place]:
    """The first places that the pattern matches, in order."""
    line, start = 1, 0
    for match in islice(pattern.finditer(text), _PLACES):
        line += text.count("\n", start, match.start())
        start = text.rfind("\n", 0, match.start()) + 1
        yield Place(path=path, line=line, column=match.start() - start + 1, text=match.group())
