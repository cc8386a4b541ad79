"""How is a guard file made up? Policies, each with its annotations, its effect, its scope and its conditions.

Only the frame is read here. What the conditions may speak of is for `guard_check`, whether they fit together
for Cedar (`guard_cedar`). A policy with a broken frame is left out with a finding; the others are read on.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Literal

import msgspec

from policies import limits
from policies.compiler import guard_tokens
from policies.compiler.findings import Findings, Slug, quoted
from policies.compiler.guard_tokens import CLOSES, CLOSING, OPENING, Token

_EFFECTS: Final = ("forbid", "permit")
_CONDITIONS: Final = ("when", "unless")


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """`@name("value")`."""

    name: Token
    value: Token | None
    """None where there are no brackets."""


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """`when { … }` or `unless { … }`."""

    kind: Literal["when", "unless"]
    body: tuple[Token, ...]
    """Without its braces."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One policy as it is written."""

    tokens: tuple[Token, ...]
    """From the first annotation or the effect to the semicolon."""
    text: str
    annotations: tuple[Annotation, ...]
    effect: Token
    principal: tuple[Token, ...]
    """A part of the scope, from its first word on."""
    action: tuple[Token, ...]
    resource: tuple[Token, ...]
    conditions: tuple[Condition, ...]


def read(path: str, text: str, findings: Findings) -> tuple[Policy, ...]:
    """The policies of a file whose frame is sound; each within GUARD_TOKENS and GUARD_DEPTH."""
    text = text.removeprefix("\ufeff")
    tokens = guard_tokens.read(path, text, findings)
    found = []
    for part in _parts(tokens or ()):
        try:
            _bounded(part)
            found.append(_Reader(part, text).policy())
        except _BrokenError as broken:
            findings.error(broken.at.at, broken.slug, broken.message, broken.hint)
    return tuple(found)


class _BrokenError(Exception):
    """Where and why the frame of a policy cannot be read."""

    def __init__(self, at: Token, message: str, hint: str = "", slug: Slug = "syntax") -> None:
        super().__init__(message)
        self.at = at
        self.slug = slug
        self.message = message
        self.hint = hint


def _parts(tokens: Sequence[Token]) -> Iterator[tuple[Token, ...]]:
    """What stands before each semicolon, with it: Cedar has none inside a policy."""
    begin = 0
    for place, token in enumerate(tokens):
        if token.text == ";":
            yield tuple(tokens[begin : place + 1])
            begin = place + 1
    if begin < len(tokens):
        yield tuple(tokens[begin:])


def _bounded(part: tuple[Token, ...]) -> None:
    """Size, depth and brackets; everything after may count on them."""
    if len(part) > limits.GUARD_TOKENS:
        message = f"a guard has at most {limits.GUARD_TOKENS} words and signs"
        raise _BrokenError(part[limits.GUARD_TOKENS], message, "make two guards of it", "too-large")
    opened: list[Token] = []
    for token in part:
        if token.text in OPENING:
            opened.append(token)
            if len(opened) > limits.GUARD_DEPTH:
                message = f"more than {limits.GUARD_DEPTH} brackets inside each other"
                raise _BrokenError(token, message, slug="too-deep")
        elif token.text in CLOSING:
            if not opened:
                raise _BrokenError(token, f"{token} closes nothing")
            if CLOSES[opened[-1].text] != token.text:
                raise _BrokenError(token, f"{token} does not close {opened[-1]}: that is still open")
            opened.pop()
    if opened:
        raise _BrokenError(opened[-1], f"{opened[-1]} is never closed")


class _Reader:
    """Goes through the tokens of one policy, whose brackets match."""

    def __init__(self, tokens: tuple[Token, ...], text: str) -> None:
        self._tokens = tokens
        self._text = text
        self._place = 0

    def policy(self) -> Policy:
        annotations = tuple(self._annotations())
        effect = self._word(_EFFECTS, "a policy begins with forbid")
        self._sign("(", 'the scope follows: (principal, action, resource == Feature::"…")')
        parts = self._scope()
        conditions = tuple(self._conditions())
        self._sign(";", "a policy ends with ;")
        return Policy(
            tokens=self._tokens,
            text=self._text[self._tokens[0].start : self._tokens[-1].end],
            annotations=annotations,
            effect=effect,
            principal=parts[0],
            action=parts[1],
            resource=parts[2],
            conditions=conditions,
        )

    def _annotations(self) -> Iterator[Annotation]:
        while self._next("@"):
            name = self._take()
            if name.kind != "word":
                raise _BrokenError(name, "the name of an annotation is a word", 'such as @id("region")')
            value = None
            if self._next("("):
                value = self._take()
                if value.kind != "text":
                    raise _BrokenError(value, "an annotation holds a text in quotes", f'@{name.text}("…")')
                self._sign(")", "an annotation holds one text")
            yield Annotation(name=name, value=value)

    def _scope(self) -> list[tuple[Token, ...]]:
        """The three parts, up to the closing bracket."""
        parts: list[list[Token]] = [[]]
        depth = 0
        while depth or self._peek().text != ")":
            token = self._take()
            depth += (token.text in OPENING) - (token.text in CLOSING)
            if token.text == "," and not depth:
                parts.append([])
            else:
                parts[-1].append(token)
        closing = self._take()
        if not parts[-1] and len(parts) > 1:
            parts.pop()  # Cedar takes a comma after the last part
        for part, name in zip(parts, ("principal", "action", "resource"), strict=False):
            if not part or part[0].text != name:
                at = part[0] if part else closing
                raise _BrokenError(at, f"{name} is missing here", "a scope is (principal, action, resource)")
        if len(parts) != 3:  # noqa: PLR2004 - principal, action, resource
            raise _BrokenError(closing, "a scope has three parts", "(principal, action, resource)")
        return [tuple(part) for part in parts]

    def _conditions(self) -> Iterator[Condition]:
        while self._peek().text != ";":
            token = self._word(_CONDITIONS, "here stands when, unless, or the ; that ends the policy")
            self._sign("{", f"{token.text} is followed by {{ … }}")
            body: list[Token] = []
            depth = 0
            while depth or self._peek().text != "}":
                inner = self._take()
                depth += (inner.text in OPENING) - (inner.text in CLOSING)
                body.append(inner)
            closing = self._take()
            if not body:
                raise _BrokenError(closing, "the condition is empty", "say what must hold, or leave it out")
            yield Condition(kind="when" if token.text == "when" else "unless", body=tuple(body))

    def _peek(self) -> Token:
        if self._place >= len(self._tokens):
            raise _BrokenError(self._tokens[-1], "the policy does not end", "a policy ends with ;")
        return self._tokens[self._place]

    def _take(self) -> Token:
        token = self._peek()
        self._place += 1
        return token

    def _next(self, sign: str) -> bool:
        """Whether the sign comes next; then it is taken."""
        found = self._peek().text == sign
        self._place += found
        return found

    def _sign(self, sign: str, hint: str) -> None:
        token = self._peek()
        if not self._next(sign):
            raise _BrokenError(token, f"{quoted(sign)} is missing before {token}", hint)

    def _word(self, known: Sequence[str], hint: str) -> Token:
        token = self._take()
        if token.text not in known:
            raise _BrokenError(token, f"{token} cannot stand here", hint)
        return token
