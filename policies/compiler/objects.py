"""A static feature's object: any tree of names, texts, whole numbers and flags, kept as canonical JSON."""

from typing import Final

import msgspec

from policies import limits
from policies.compiler.findings import Findings
from policies.compiler.nodes import Mapping, Node, Scalar, Sequence, Unreadable
from policies.compiler.numbers import Whole
from policies.compiler.scalars import is_text

_NUMBER: Final = Whole(0, limits.REQUESTED_MAX)


def read(node: Node, name: str, findings: Findings) -> str | None:
    """Canonical JSON: names in order, no space; the same for every way to write the same object."""
    if not isinstance(node, Mapping):
        if not isinstance(node, Unreadable):
            findings.error(node.at, "wrong-type", f"{name} is a group of fields, not {node}")
        return None
    before = findings.errors
    tree = _plain(node, findings)
    text = msgspec.json.encode(tree, order="sorted").decode()
    if len(text) > limits.STATIC_VALUE_LENGTH:
        message = f"{name} has at most {limits.STATIC_VALUE_LENGTH:,} characters as JSON, not {len(text):,}"
        findings.error(node.at, "out-of-bounds", message)
    return text if findings.errors == before else None


def _plain(node: Node, findings: Findings) -> object:
    """Nested values; recursion is safe, since a file is at most CATALOG_DEPTH deep."""
    if isinstance(node, Mapping):
        return {entry.name: _plain(entry.value, findings) for entry in node.entries}
    if isinstance(node, Sequence):
        return [_plain(item, findings) for item in node.items]
    if isinstance(node, Scalar) and not node.empty:
        return _scalar(node, findings)
    return None


def _scalar(node: Scalar, findings: Findings) -> object:
    """Decimals are refused unless they are texts: JSON readers would round them."""
    if not node.plain:
        return node.text
    if node.text.lower() in {"true", "false"}:
        return node.text.lower() == "true"
    if is_text(node.text):
        return node.text
    if "." not in node.text:
        return _NUMBER.read(node, "a number in an object", node.at, findings)
    message = f"a number in an object is a whole number, not {node}"
    findings.error(node.at, "wrong-type", message, f'put it in quotes: "{node.text[:40]}"')
    return None
