"""What does Cedar say of one guard, and where in the text?

Cedar gives no places. A syntax error is found by the shortest beginning of the guard that Cedar will not go
on from; any other objection by the shortest run of conditions that Cedar makes it of, and inside the last of
those by the name that it quotes. Only guards within the bounds of `guard_source` come here.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final, get_args

import cedarpy
import msgspec

from policies.compiler.cedar import quoted
from policies.compiler.findings import Findings
from policies.compiler.guard_check import FACTS, PRINCIPAL, Access
from policies.compiler.guard_source import Policy
from policies.compiler.guard_tokens import CLOSING, OPENING, Token
from policies.model import BillingStatus, Feature, Guard

_SYNTAX: Final = "Policy parse error: "
_UNFINISHED: Final = "unexpected end of input"
_ABOUT: Final = re.compile(r"^for policy `policy\d+`[,:] ")
_OPTIONAL: Final = re.compile(r"safety of access to optional attribute `request\.(?P<key>[^`]+)`")
_TAG: Final = re.compile(r'safety of access to tag `"(?P<tag>[^"]*)"`')
_KINDS: Final = {"key": "request key", "tag": "tag"}
_QUOTED: Final = re.compile(r"`([^`]+)`")
_INTERNAL: Final = re.compile(r"__cedar::internal::(?:Any(?=Entity))?")
_IN_TEXTS: Final = re.compile(r"AnyEntity>?,? .*but saw (?:Set<)?String")
_A_TEXT: Final = "context.facts.plan"
"""Any text that is always there; Cedar cannot tell what it says."""


def guard_schema(features: Iterable[Feature]) -> str:
    """The words that a guard over these features may use: facts and what a caller said, no usage."""
    listed = sorted(features, key=lambda feature: feature.id)
    keys = sorted({key for feature in listed for key in feature.context})
    ids = f" enum [{_listed(feature.id for feature in listed)}]" if listed else ""
    request = ", ".join(f"{quoted(key)}?: String" for key in keys)
    return f"""entity Tenant = {{ {_fields(PRINCIPAL)} }} tags String;
entity BillingStatus enum [{_listed(get_args(BillingStatus))}];
entity Feature{ids};

type Facts = {{ {_fields(FACTS)} }};
type Request = {{ {request} }};

action "use" appliesTo {{
  principal: [Tenant],
  resource: [Feature],
  context: {{ facts: Facts, request: Request }}
}};
"""


def check(policy: Policy, accesses: Iterable[Access], schema: cedarpy.Schema, findings: Findings) -> None:
    """Adds what Cedar has against the policy: syntax, types, keys and tags that may be missing."""
    asked = _Asked(policy, schema)
    told: set[int] = set()
    for sentence in asked.objections(policy.text):
        unsafe = asked.unsafe(sentence, _meant(sentence, accesses))
        for access in unsafe:
            message = f"the {_KINDS[access.kind]} {access.name} is not always there"
            findings.error(access.name.at, "cedar", message, f"ask for it first: {_ask(access)} && …")
        if not unsafe:
            _tell(asked, sentence, told, findings)


def agrees(guard: Guard) -> bool:
    """Whether Cedar finds in the text what we did: one forbid, of this id, for these features."""
    read = msgspec.json.decode(cedarpy.policies_to_json_str(guard.text))
    forbids = list(read["staticPolicies"].values())
    if len(forbids) != 1 or read["templates"]:
        return False
    scope = forbids[0]["resource"].get("entity", {}).get("id")
    return (
        forbids[0]["effect"] == "forbid"
        and forbids[0]["annotations"]["id"] == guard.id
        and forbids[0]["annotations"]["reason"] == guard.reason
        and (scope is None or guard.features == (scope,))
    )


def _meant(sentence: str, accesses: Iterable[Access]) -> list[Access]:
    """The readings that Cedar may speak of when it misses a key or a tag; none of any other sentence."""
    missed = _OPTIONAL.search(sentence) or _TAG.search(sentence)
    return [one for one in accesses if missed and not one.asks and one.name.content == missed[1]]


def _ask(access: Access) -> str:
    name = access.name.text
    return f"context.request has {name}" if access.kind == "key" else f"principal.hasTag({name})"


def _tell(asked: "_Asked", sentence: str, told: set[int], findings: Findings) -> None:
    """One objection for each place: Cedar often has two of one mistake."""
    syntax = sentence.startswith(_SYNTAX)
    at = (asked.stop() if syntax else None) or asked.named(sentence)
    if at.start in told:
        return
    told.add(at.start)
    said = _INTERNAL.sub("", _ABOUT.sub("", sentence.removeprefix(_SYNTAX))).replace("`", '"')
    hint = 'a text is looked for with ["…", "…"].contains(…)' if _IN_TEXTS.search(sentence) else ""
    findings.error(at.at, "syntax" if syntax else "cedar", f"Cedar: {said}", hint)


class _Asked:
    """Questions to Cedar about one policy and parts of it."""

    def __init__(self, policy: Policy, schema: cedarpy.Schema) -> None:
        self._policy = policy
        self._schema = schema
        self._base = policy.tokens[0].start

    def objections(self, text: str) -> tuple[str, ...]:
        """What strict validation says, each once; Cedar gives its sentences in any order."""
        said = cedarpy.validate_policies(text, self._schema).errors
        return tuple(sorted({found.error for found in said}, key=lambda sentence: (len(sentence), sentence)))

    def stop(self) -> Token | None:
        """The token that Cedar's parser stops at; None if it reads to the end and objects then."""
        tokens = self._policy.tokens

        def stopped(count: int) -> bool:
            said = self.objections(self._upto(tokens[count - 1]))
            return said != (_SYNTAX + _UNFINISHED,)

        count = bisect_left(range(1, len(tokens)), True, key=stopped) + 1
        return tokens[count - 1] if count < len(tokens) else None

    def named(self, sentence: str) -> Token:
        """In the first part that Cedar says this of: the word that the sentence quotes, or the beginning."""
        part = next((part for part, said in self._parts if sentence in said), self._policy.tokens)
        names = {name.strip('"').rpartition(".")[2] for name in _QUOTED.findall(_ABOUT.sub("", sentence))}
        return next((token for token in part if token.content in names), part[0])

    def unsafe(self, sentence: str, readings: Sequence[Access]) -> Sequence[Access]:
        """Those that Cedar means: without the others it still says so. All, should that be none."""
        meant = [
            one
            for one in readings
            if sentence in self.objections(self._without([other for other in readings if other is not one]))
        ]
        return meant or readings

    @cached_property
    def _parts(self) -> tuple[tuple[tuple[Token, ...], tuple[str, ...]], ...]:
        """The scope, then each term of each condition, with what Cedar says of the policy up to its end."""
        tokens = self._policy.tokens
        first = next((place for place, one in enumerate(tokens) if one.text in {"when", "unless"}), -1)
        scope = tokens[:first]
        found = [(scope, self.objections(self._upto(scope[-1]) + ";"))]
        for condition in self._policy.conditions:
            found += [(term, self.objections(self._upto(term[-1]) + "};")) for term in _terms(condition.body)]
        return tuple(found)

    def _upto(self, token: Token) -> str:
        return self._policy.text[: token.end - self._base]

    def _without(self, accesses: Iterable[Access]) -> str:
        """The text with these readings replaced by one that is always there."""
        text = self._policy.text
        for one in sorted(accesses, key=lambda one: one.first.start, reverse=True):
            text = text[: one.first.start - self._base] + _A_TEXT + text[one.last.end - self._base :]
        return text


def _terms(body: Sequence[Token]) -> Iterator[tuple[Token, ...]]:
    """What `&&` joins outside of brackets."""
    begin = depth = 0
    for place, token in enumerate(body):
        depth += (token.text in OPENING) - (token.text in CLOSING)
        if token.text == "&&" and not depth and place > begin:
            yield tuple(body[begin:place])
            begin = place + 1
    if begin < len(body):
        yield tuple(body[begin:])


def _fields(types: dict[str, str]) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in types.items())


def _listed(names: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in names)
