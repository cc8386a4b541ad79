"""What is written above a guard: `@id`, `@reason`, and `@scope("all")` where it names no feature."""

import re
from typing import Final

import msgspec

from policies import limits
from policies.compiler.findings import Findings, Place
from policies.compiler.guard_source import Annotation, Policy
from policies.compiler.guard_tokens import Token

_NAMES: Final = ("id", "reason", "scope")
_ID: Final = re.compile(limits.CATALOG_ID_PATTERN)
_ESCAPE: Final = re.compile(r"\\(.)")


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """The annotations of a guard; a text that cannot be used is empty, and has its finding."""

    id: str
    reason: str
    everywhere: Token | None
    """The `"all"` of `@scope("all")`."""


def read(policy: Policy, ids: dict[str, Place], findings: Findings) -> Said:
    """Reads them; `ids` holds where each id of the catalog stands, and learns this one."""
    values: dict[str, Token] = {}
    for annotation in policy.annotations:
        _take(annotation, values, findings)
    scope = values.get("scope")
    if scope is not None and scope.content != "all":
        findings.error(
            scope.at, "guard", f"a scope is all, not {scope}", 'a feature: resource == Feature::"…"'
        )
    return Said(
        id=_id(policy, values.get("id"), ids, findings),
        reason=_reason(policy, values.get("reason"), findings),
        everywhere=scope,
    )


def _take(annotation: Annotation, values: dict[str, Token], findings: Findings) -> None:
    name, value = annotation.name, annotation.value
    if name.text not in _NAMES:
        hint = findings.suggest(name.text, _NAMES) or 'a guard has @id, @reason and @scope("all")'
        findings.error(name.at, "guard", f"unknown annotation {name}", hint)
    elif name.text in values:
        findings.error(name.at, "duplicate-key", f"a second @{name.text}", "a guard has one")
    elif value is None:
        findings.error(name.at, "guard", f"@{name.text} says nothing", f'@{name.text}("…")')
        values[name.text] = name
    else:
        values[name.text] = value


def _id(policy: Policy, said: Token | None, ids: dict[str, Place], findings: Findings) -> str:
    if said is None:
        findings.error(policy.effect.at, "guard", "the guard has no id", 'write @id("…") above it')
    elif said.kind != "text":
        return ""
    elif not _ID.fullmatch(said.content):
        hint = "small letters, digits and . _ - up to 63, beginning with a letter or digit"
        findings.error(said.at, "guard", f"{said} is no id", hint)
    elif said.content in ids:
        message = f"{said} is the id of the guard at {ids[said.content].source}"
        findings.error(said.at, "duplicate-guard", message, "each guard has an id of its own")
    else:
        ids[said.content] = said.at
        return said.content
    return ""


def _reason(policy: Policy, said: Token | None, findings: Findings) -> str:
    if said is None:
        hint = 'write @reason("…") above it: who is refused is told this sentence'
        findings.error(policy.effect.at, "guard", "the guard has no reason", hint)
        return ""
    if said.kind != "text":
        return ""
    escapes = set(_ESCAPE.findall(said.content))
    reason = _ESCAPE.sub(r"\1", said.content)
    if escapes - {'"', "\\"} or not reason.isprintable():
        findings.error(said.at, "guard", "a reason is one line of plain text", r"only \" and \\ are escaped")
    elif not reason.strip():
        findings.error(said.at, "guard", "the reason is empty", "who is refused is told this sentence")
    elif len(reason) > limits.GUARD_REASON_LENGTH:
        message = f"a reason has at most {limits.GUARD_REASON_LENGTH} signs, not {len(reason)}"
        findings.error(said.at, "out-of-bounds", message)
    else:
        return reason
    return ""
