"""What may the conditions of a guard speak of? Facts, and what the caller said; never usage or arithmetic.

Each rule is about words in the text, so that each refusal has its exact place. Names that Cedar would not
miss are checked too: `has regoin` is valid Cedar, and a guard that never holds.

With Cedar's strict validation behind it, a guard that passes cannot err when it is evaluated: nothing is
added up, no function can refuse its argument, keys and tags are read only where they are, and the one entity
that is read is the principal. A missing principal is the only error left; every request has one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal, get_args

import msgspec

from policies.compiler.findings import Findings, Slug, quoted
from policies.compiler.guard_source import Condition, Policy
from policies.compiler.guard_tokens import CLOSING, OPENING, Token
from policies.model import BillingStatus, Feature

FACTS: Final = {"plan": "String", "ai": "Bool", "costly": "Bool", "always": "Bool"}
"""`context.facts`: the id of the plan, and what the catalog says of the feature that is asked about."""
PRINCIPAL: Final = {"billingStatus": "BillingStatus", "trial": "Bool"}
"""Attributes of the tenant that a guard sees, beside its tags."""

_USAGE: Final = frozenset({"drawn", "requested", "caps"})
_GRANTED: Final = frozenset({"extra", "extraLimit", "entitled", "unlimited", "unlimitedOverage", "override"})
_NO_USAGE: Final = "a guard may not read usage"
_PERMIT_HINT: Final = "limits are conditions of a plan's permit"

_TAGS: Final = ("hasTag", "getTag")
_METHODS: Final = ("contains", "containsAll", "containsAny", "isEmpty", *_TAGS)
_WORDS: Final = ("true", "false", "if", "then", "else", "in", "is", "like", "has")
_ROOTS: Final = ("principal", "action", "resource", "context")
_TYPES: Final = ("Feature", "BillingStatus", "Action")
_STATUSES: Final[tuple[str, ...]] = get_args(BillingStatus)
_ARITHMETIC: Final = frozenset("+-*")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a key of `context.request`, or of a tag of the tenant: neither is always there."""

    kind: Literal["key", "tag"]
    name: Token
    first: Token
    """Where the expression begins: `context` or `principal`."""
    last: Token
    asks: bool
    """It only asks whether there is one: `has`, `hasTag`."""


def check(policy: Policy, features: Mapping[str, Feature], findings: Findings) -> tuple[Access, ...]:
    """Refuses every word that a condition may not hold; what it reads that may be missing."""
    found: list[Access] = []
    for condition in policy.conditions:
        words = _Words(condition, features, findings)
        words.check()
        found += words.accesses
    return tuple(found)


def known_feature(token: Token, features: Mapping[str, Feature], findings: Findings) -> bool:
    """Whether the id in quotes is a feature of the catalog; a finding if not."""
    return _known(token, features, "unknown feature", findings)


class _Words:
    """The words of one condition, looked at in their order."""

    def __init__(self, condition: Condition, features: Mapping[str, Feature], findings: Findings) -> None:
        self._body = condition.body
        self._features = features
        self._findings = findings
        self._settled: set[int] = set()
        """Places that a rule has dealt with already."""
        self.accesses: list[Access] = []

    def check(self) -> None:
        for place, token in enumerate(self._body):
            if place in self._settled:
                continue
            if token.kind == "word":
                self._word(place, token)
            elif token.kind == "slot":
                self._refuse(token, "a guard has no slots", "name the feature")
            elif token.text in _ARITHMETIC:
                self._refuse(token, f"a guard does not count: {token} is arithmetic", _PERMIT_HINT)
            elif token.text == "{":
                self._refuse(token, "a guard has no records", "compare one value at a time")
                self._settled |= set(range(place, self._closing(place)))

    def _word(self, place: int, token: Token) -> None:
        before, after = self._text(place - 1), self._text(place + 1)
        if before == ".":
            if after == "(":
                self._method(place, token)
        elif after == "::" or before == "::":
            self._entity(place, token)
        elif token.text == "has":
            self._refuse(token, "has asks context.request for a key", "context.request has region")
        elif token.text in _ROOTS:
            self._root(place, token)
        elif token.text in _WORDS or before == "is":
            return
        elif after == "(":
            message = f"a guard calls no functions: {token}"
            self._refuse(token, message, "texts are compared with == and like, sets with contains")
        else:
            self._refuse(token, f"unknown word {token}", self._findings.suggest(token.text, _ROOTS + _WORDS))

    def _method(self, place: int, token: Token) -> None:
        if token.text not in _METHODS:
            hint = self._findings.suggest(token.text, _METHODS) or f"there are {', '.join(_METHODS)}"
            self._refuse(token, f"unknown method {token}", hint)
        elif token.text in _TAGS:
            argument = self._at(place + 2)
            if self._text(place - 2) != "principal":
                self._refuse(token, "only the tenant has tags", 'principal.hasTag("…")')
            elif argument is None or argument.kind != "text" or self._text(place + 3) != ")":
                self._refuse(argument or token, "the name of a tag is a text in quotes", 'hasTag("…")')
            elif _plain(argument, "the name of a tag", self._findings):
                tag = Access(
                    kind="tag",
                    name=argument,
                    first=self._body[place - 2],
                    last=self._body[place + 3],
                    asks=token.text == "hasTag",
                )
                self.accesses.append(tag)

    def _entity(self, place: int, token: Token) -> None:
        """`Feature::"ai-tokens"`: names of what is known, so that reading it can never miss."""
        named = self._at(place + 2)
        if self._text(place - 1) == "::":
            return
        if token.text == "Tenant":
            self._refuse(token, "a guard names no tenant", "give it metadata, and read a tag")
        elif token.text not in _TYPES or named is None or named.kind != "text":
            hint = self._findings.suggest(token.text, _TYPES) if token.text not in _TYPES else ""
            self._refuse(token, f"unknown type {token}", hint or f"there are {', '.join(_TYPES)}")
        elif token.text == "Feature":
            known_feature(named, self._features, self._findings)
        elif token.text == "BillingStatus":
            _known(named, _STATUSES, "unknown billing status", self._findings)
        else:
            _known(named, ("use",), "unknown action", self._findings)

    def _root(self, place: int, token: Token) -> None:
        path = self._path(place)
        if path is None:
            return
        if token.text == "context":
            self._context(place, token, path)
        elif token.text == "principal":
            self._principal(place, token, path)
        elif path and path[0].content not in _TAGS:
            self._refuse(path[0], f"{token} has nothing to read", "context.facts says what a feature is")

    def _context(self, place: int, token: Token, path: Sequence[Token]) -> None:
        parts = [step.content for step in path]
        if not path:
            hint = "context.facts.NAME, or context.request.KEY"
            self._refuse(token, "a guard names what it reads of the context", hint)
        elif parts[0] in _USAGE:
            self._refuse(path[0], _NO_USAGE, _PERMIT_HINT)
        elif parts[0] not in {"facts", "request"}:
            _known(path[0], ("facts", "request"), "unknown name", self._findings)
        elif len(path) == 1:
            hint = f"context.{parts[0]}.{'NAME' if parts[0] == 'facts' else 'KEY'}"
            self._refuse(path[0], f"a guard names what it reads of context.{parts[0]}", hint)
        elif parts[0] == "facts":
            _known(path[1], FACTS, "unknown fact", self._findings)
        elif _plain(path[1], "a key", self._findings):
            end = self._body.index(path[1])
            asks = any(step.text == "has" for step in self._body[place:end])
            last = self._body[end + 1] if self._text(end - 1) == "[" else path[1]
            self.accesses.append(Access(kind="key", name=path[1], first=token, last=last, asks=asks))

    def _principal(self, place: int, token: Token, path: Sequence[Token]) -> None:
        after = self._text(place + 1)
        if not path and after != "is":
            hint = 'principal.billingStatus, principal.trial, principal.getTag("…")'
            self._refuse(token, "a guard names what it reads of the tenant", hint)
        elif path and path[0].content in _GRANTED:
            self._refuse(path[0], "a guard may not read what a tenant was granted", _PERMIT_HINT)
        elif path and not (after == "." and path[0].content in _TAGS):
            _known(path[0], PRINCIPAL, "unknown attribute", self._findings)

    def _path(self, place: int) -> list[Token] | None:
        """The names that follow a root: `.name`, `["name"]`, `has name.name`; None after a finding."""
        path: list[Token] = []
        place += 1
        while (sign := self._text(place)) in {".", "[", "has"}:
            name = self._at(place + 1)
            if name is None or not _names(name, sign, self._text(place + 2)):
                hint = "a name is a word, or a text in quotes"
                self._refuse(name or self._body[place], "what a guard reads has a name of its own", hint)
                self._settled |= {place, place + 1}
                return None
            path.append(name)
            if self._text(place + 2) != "(":
                self._settled |= {place, place + 1}
            place += 3 if sign == "[" else 2
        return path

    def _closing(self, place: int) -> int:
        """Where the bracket at a place is closed; brackets match."""
        depth = 0
        for after in range(place, len(self._body)):
            depth += (self._text(after) in OPENING) - (self._text(after) in CLOSING)
            if not depth:
                return after
        return len(self._body)

    def _at(self, place: int) -> Token | None:
        return self._body[place] if 0 <= place < len(self._body) else None

    def _text(self, place: int) -> str:
        token = self._at(place)
        return token.text if token else ""

    def _refuse(self, at: Token, message: str, hint: str = "") -> None:
        self._findings.error(at.at, "guard", message, hint)


def _names(name: Token, sign: str, after: str) -> bool:
    """Whether a token is a name where it stands."""
    if sign == "[":
        return name.kind == "text" and after == "]"
    return name.kind == "word" or (sign == "has" and name.kind == "text")


def _known(token: Token, names: Collection[str], what: str, findings: Findings) -> bool:
    if token.content in names:
        return True
    hint = findings.suggest(token.content, names) or _listed(names)
    slug: Slug = "unknown-feature" if what == "unknown feature" else "guard"
    findings.error(token.at, slug, f"{what} {token}", hint)
    return False


def _listed(names: Iterable[str]) -> str:
    """The names, if they are few."""
    some = tuple(names)
    return f"there is {', '.join(some)}" if len(some) <= 8 else ""  # noqa: PLR2004 - what a line can hold


def _plain(token: Token, what: str, findings: Findings) -> bool:
    """A name that stands in quotes is what stands there: nothing is escaped, and something is said."""
    if token.content and "\\" not in token.content:
        return True
    findings.error(token.at, "guard", f"{what} is plain text, not {quoted(token.text)}", "it has no escapes")
    return False
