"""For which features does a guard hold?

Said in its scope, `resource == Feature::"ai-tokens"`; for several, in a condition of its own,
`when { resource in [Feature::"a", Feature::"b"] }`, since Cedar's scope takes one; for all, `@scope("all")`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from policies.compiler import guard_check
from policies.compiler.findings import Findings
from policies.compiler.guard_source import Policy
from policies.compiler.guard_tokens import Token
from policies.model import Feature

_PRINCIPAL: Final = (["principal"], ["principal", "is", "Tenant"])
_ACTION: Final = (["action"], ["action", "==", "Action", "::", '"use"'])
_NAMED: Final = ["resource", "==", "Feature", "::"]
_LIST: Final = re.compile(r'resource in \[ Feature :: ""(?: , Feature :: "")*(?: ,)? \]')
_HOW: Final = 'resource == Feature::"…"'


def read(
    policy: Policy, everywhere: Token | None, features: Mapping[str, Feature], findings: Findings
) -> tuple[str, ...] | None:
    """The ids of its features, sorted; None if it holds for all. Findings for every other scope."""
    _part(policy.principal, _PRINCIPAL, "write principal, and read a tag in a condition", findings)
    _part(policy.action, _ACTION, 'write action, or action == Action::"use"', findings)
    named = _named(policy, features, findings)
    if named and everywhere is not None:
        message = 'the guard names features, so @scope("all") is wrong'
        findings.error(everywhere.at, "guard", message, "take one of the two out")
    if not named and everywhere is None:
        hint = f'name them, {_HOW}, or say @scope("all")'
        findings.error(
            policy.resource[0].at, "guard", "the guard does not say for which features it holds", hint
        )
    return tuple(sorted(named)) if named else None


def _part(part: Sequence[Token], forms: Sequence[Sequence[str]], hint: str, findings: Findings) -> None:
    if [token.text for token in part] in forms:
        return
    at = part[1] if len(part) > 1 else part[0]
    message = "a guard names no tenant" if part[0].text == "principal" else "a guard knows one action"
    findings.error(at.at, "guard", message, hint)


def _named(policy: Policy, features: Mapping[str, Feature], findings: Findings) -> set[str]:
    scope = policy.resource
    texts = [token.text for token in scope]
    if texts[:4] == _NAMED and len(scope) == len(_NAMED) + 1 and scope[4].kind == "text":
        guard_check.known_feature(scope[4], features, findings)
        return {scope[4].content}
    if len(scope) > 1:
        slot = next((token for token in scope if token.kind == "slot"), None)
        message = "a guard has no slots" if slot else "a scope names one feature"
        hint = f'{_HOW}; for several: when {{ resource in [Feature::"…", Feature::"…"] }}'
        findings.error((slot or scope[1]).at, "guard", message, hint)
        return {"?"}
    lists = [_listed(condition.body) for condition in policy.conditions if condition.kind == "when"]
    return next((ids for ids in lists if ids), set())


def _listed(body: Sequence[Token]) -> set[str]:
    """The ids of a condition that is nothing but `resource in [Feature::"…", …]`; else none."""
    shape = " ".join('""' if token.kind == "text" else token.text for token in body)
    return {token.content for token in body if token.kind == "text"} if _LIST.fullmatch(shape) else set()
