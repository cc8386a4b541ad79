"""Events of the YAML parser made into nodes; what a catalog does not use is refused at its place."""

import re
from collections.abc import Iterator
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml import events as yaml
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scanner import Scanner, ScannerError

from policies import limits
from policies.compiler import syntax
from policies.compiler.findings import Findings, Place, Slug, quoted
from policies.compiler.nodes import Entry, Mapping, Node, Scalar, Sequence, Unreadable
from policies.compiler.scalars import INVISIBLE, is_text

_TEXT_WIDTH: Final = 80
_THREE_DIGITS: Final = re.compile(r"[0-9]{3}")


class RefusedError(Exception):
    """The rest of the file is not read."""

    def __init__(self, at: Place, slug: Slug, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.at, self.slug, self.message, self.hint = at, slug, message, hint


class _TooDeepError(Exception):
    def __init__(self, mark: Any) -> None:
        super().__init__()
        self.mark = mark


class _BoundedScanner(Scanner):
    """ruamel's scanner, which else reads far ahead in `[[[[…`, and stumbles over escapes beyond Unicode."""

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:  # noqa: N803 (ruamel's name)
        if len(self.flow_context) >= limits.CATALOG_DEPTH:
            raise _TooDeepError(self.reader.get_mark())
        super().fetch_flow_collection_start(TokenClass, to_push)

    def scan_flow_scalar_non_spaces(self, double: Any, start_mark: Any) -> Any:
        try:
            return super().scan_flow_scalar_non_spaces(double, start_mark)
        except (ValueError, OverflowError) as error:
            at = self.reader.get_mark()
            raise ScannerError(None, None, "found unknown escape", at) from error


class Composer:
    """Reads one text once. Nothing is expanded, and no recursion is deeper than CATALOG_DEPTH."""

    def __init__(self, path: str, text: str, findings: Findings) -> None:
        self._path, self._findings = path, findings
        self._lines = text.split("\n")
        self._events = self._parsed(text)
        self._depth = 0

    def document(self) -> Node | None:
        """The root of the only document; None when the file says nothing.

        Raises:
            RefusedError: where the text stops being YAML, or goes too deep.
        """
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    hint = "move the rest into a file of its own"
                    raise RefusedError(
                        self._place(event), "yaml-feature", "a second document starts here", hint
                    )
                root = self._node(next(self._events), None)
        return root

    def _parsed(self, text: str) -> Iterator[Any]:
        loader = YAML(typ="safe", pure=True)
        loader.Scanner = _BoundedScanner
        try:
            yield from loader.parse(text)
        except _TooDeepError as deep:
            raise self._too_deep(self._place_of(deep.mark)) from None
        except MarkedYAMLError as error:
            mark, sentence, hint = syntax.explain(error)
            raise RefusedError(self._place_of(mark), "syntax", sentence, hint) from error
        except YAMLError as error:
            raise RefusedError(Place(path=self._path), "syntax", "this is not YAML") from error

    def _node(self, event: Any, key: Place | None) -> Node:
        """The node that starts with this event; `key` is the place of its name, if it has one."""
        at = self._place(event)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(at, f'"*{event.anchor}" repeats a value from elsewhere', "write the value out")
            return Unreadable(at=at)
        if event.anchor is not None:
            self._refuse(
                at, f'"&{event.anchor}" names a value for use elsewhere', "write each value out, without it"
            )
        if event.tag is not None:
            self._refuse(at, "a value with a tag (!)", "write the value alone, in quotes if it starts with !")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, at, key)
        self._depth += 1
        if self._depth > limits.CATALOG_DEPTH:
            raise self._too_deep(at)
        node = self._mapping(at) if isinstance(event, yaml.MappingStartEvent) else self._sequence(at)
        self._depth -= 1
        return node

    def _scalar(self, event: Any, at: Place, key: Place | None) -> Node:
        text = str(event.value)
        if INVISIBLE.search(text):
            self._findings.error(
                at, "control-character", "an invisible sign, written as an escape", "delete it"
            )
            return Unreadable(at=at)
        scalar = Scalar(at=at, text=text, plain=event.style is None)
        return Scalar(at=key, text="", plain=True) if scalar.empty and key is not None else scalar

    def _sequence(self, at: Place) -> Sequence:
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, None))
        return Sequence(at=at, items=tuple(items))

    def _mapping(self, at: Place) -> Mapping:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, None)
            value = self._node(next(self._events), key.at)
            name = self._name(key, value)
            if name is None:
                continue
            if name in entries:
                first = f"the first stands in line {entries[name].at.line}"
                self._findings.error(key.at, "duplicate-key", f"{quoted(name)} stands here twice", first)
                continue
            entries[name] = Entry(name=name, at=key.at, value=value)
        return Mapping(at=at, entries=tuple(entries.values()))

    def _name(self, key: Node, value: Node) -> str | None:
        if isinstance(key, Unreadable):
            return None
        if (
            isinstance(key, Scalar)
            and _THREE_DIGITS.fullmatch(key.text)
            and isinstance(value, Scalar)
            and value.empty
        ):
            message = f'"," ends a value inside brackets, so {key} is read as a name'
            self._findings.error(key.at, "wrong-type", message, "write thousands with _, as in 10_000")
            return None
        if not isinstance(key, Scalar) or (key.plain and not is_text(key.text)):
            hint = f'put it in quotes: "{key.text}"' if isinstance(key, Scalar) and not key.empty else ""
            self._findings.error(key.at, "wrong-type", f"a name is a text, not {key}", hint)
            return None
        if key.plain and key.text == "<<":
            self._refuse(key.at, '"<<" copies fields from elsewhere', "write the fields out")
            return None
        return key.text

    def _refuse(self, at: Place, what: str, hint: str) -> None:
        self._findings.error(at, "yaml-feature", f"{what}, which a catalog does not allow", hint)

    def _too_deep(self, at: Place) -> RefusedError:
        return RefusedError(at, "too-deep", f"this is nested more than {limits.CATALOG_DEPTH} deep")

    def _place(self, event: Any) -> Place:
        start, end = event.start_mark, event.end_mark
        place = self._place_of(start)
        if (
            isinstance(event, yaml.AliasEvent)
            or getattr(event, "anchor", None)
            or getattr(event, "tag", None)
        ):
            text = place.text.split()[0].rstrip(",]}")
            return Place(path=place.path, line=place.line, column=place.column, text=text)
        if isinstance(event, yaml.ScalarEvent) and start.line == end.line:
            text = self._lines[start.line][start.column : end.column][:_TEXT_WIDTH]
            return Place(path=place.path, line=place.line, column=place.column, text=text or place.text)
        return place

    def _place_of(self, mark: Any) -> Place:
        line = self._lines[mark.line] if mark.line < len(self._lines) else ""
        text = line[mark.column : mark.column + _TEXT_WIDTH].rstrip()
        return Place(path=self._path, line=mark.line + 1, column=mark.column + 1, text=text)
