"""Groups of fields, lists and maps: a record is one Struct whose annotations are the field table."""

import re
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec

from policies.compiler.findings import Findings, Place, quoted
from policies.compiler.kinds import Kind, Schema, mismatch
from policies.compiler.nodes import Entry, Mapping, Node, Scalar, Sequence, Unreadable

T = TypeVar("T")
R = TypeVar("R", bound="Record")
_NAMED: Final = 6
"""So many field names still make a sentence."""


class Field(msgspec.Struct, frozen=True):
    """What the reader, the checks and the JSON Schema know of a field."""

    kind: Kind[Any]
    doc: str
    required: bool = False
    only: tuple[str, ...] = ()
    """Feature types, or price models, that have this field; empty: all."""
    needed: tuple[str, ...] = ()
    """Feature types, or price models, that must have it."""
    name: str = ""
    """The name in the file, where the attribute cannot have it: `for`."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A group of fields as a file says it. What could not be read keeps its default and is in `broken`."""

    at: Place
    """Of the name that leads to the group, or of the group itself in a list."""
    keys: dict[str, Place]
    """Where each field's name stands, by attribute; what is missing was not said."""
    values: dict[str, Place]
    broken: frozenset[str]

    def sound(self, *names: str) -> bool:
        """Whether none of these was said in a way that could not be read."""
        return self.broken.isdisjoint(names)

    def key(self, name: str) -> Place:
        """Where the field's name stands; where the record does if the field is missing."""
        return self.keys.get(name, self.at)

    def value(self, name: str) -> Place:
        """Where the field's value begins; where the record does if the field is missing."""
        return self.values.get(name, self.at)


def table(struct: type[Record]) -> dict[str, tuple[str, Field]]:
    """The fields of a record: name in the file → (attribute, field)."""
    fields = {}
    for attribute, hint in typing.get_type_hints(struct, include_extras=True).items():
        if typing.get_origin(hint) is Annotated:
            field = typing.get_args(hint)[1]
            fields[field.name or camel(attribute)] = (attribute, field)
    return fields


def camel(attribute: str) -> str:
    """`up_to` → `upTo`."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), attribute)


class RecordOf(Generic[R]):
    """A group of known fields; unknown ones are refused.

    `elsewhere` are fields that a like group has: to miss them here is no slip of the pen. `where` says which.
    """

    def __init__(self, struct: type[R], *, elsewhere: Iterable[str] = (), where: str = "") -> None:
        self.struct = struct
        self._elsewhere, self._where = frozenset(elsewhere), where
        self.fields: Final = table(struct)
        names = list(self.fields) if len(self.fields) <= _NAMED else self._required()
        self.says = f"a group of fields ({', '.join(names)}{'' if len(names) == len(self.fields) else ', …'})"
        self.schema: Final = self._schema()

    def read(self, node: Node, name: str, at: Place, findings: Findings) -> R | None:
        """As `Kind` says; a record with broken fields is still a record."""
        if not isinstance(node, Mapping):
            if not isinstance(node, Unreadable):
                alone = isinstance(node, Scalar) and not node.empty and len(self.fields) == 1
                hint = f"write {{{next(iter(self.fields))}: {node.at.text}}}" if alone else ""
                findings.error(node.at, "wrong-type", mismatch(name, self.says, node), hint)
            return None
        keys, values, read, broken = {}, {}, {}, set()
        for entry in node.entries:
            if entry.name not in self.fields:
                self._unknown(entry, name, findings)
                continue
            attribute, field = self.fields[entry.name]
            keys[attribute], values[attribute] = entry.at, entry.value.at
            value = field.kind.read(entry.value, entry.name, entry.at, findings)
            if value is None:
                broken.add(attribute)
            else:
                read[attribute] = value
        for missing in [each for each in self.fields if self._lacks(each, keys)]:
            broken.add(self.fields[missing][0])
            findings.error(at, "missing-field", f'{name} lacks "{missing}"', self._form(missing))
        return self.struct(at=at, keys=keys, values=values, broken=frozenset(broken), **read)

    def check(self, record: R, which: str, noun: str, findings: Findings) -> None:
        """Finds the fields that a feature type, or a price model, does not have, or must have.

        `which` is the type, `noun` what it is a type of: `metered`, `features`.
        """
        for name, (attribute, field) in self.fields.items():
            said = attribute in record.keys
            if said and field.only and which not in field.only:
                owners = " and ".join(field.only)
                message = f'field "{name}" belongs to {owners} {noun}, and this is {which}'
                findings.error(record.keys[attribute], "misplaced-field", message)
            if not said and which in field.needed:
                message = f'{which} {noun} must have "{name}"'
                findings.error(record.at, "missing-field", message, self._form(name))

    def _schema(self) -> Schema:
        defaults = {field.name: field.default for field in msgspec.structs.fields(self.struct)}
        properties = {name: described(field, defaults[attr]) for name, (attr, field) in self.fields.items()}
        required = self._required()
        record: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**record, "required": required} if required else record

    def _required(self) -> list[str]:
        return [name for name, (_, field) in self.fields.items() if field.required]

    def _lacks(self, name: str, keys: dict[str, Place]) -> bool:
        attribute, field = self.fields[name]
        return field.required and attribute not in keys

    def _form(self, name: str) -> str:
        return f"{name} is {self.fields[name][1].kind.says}"

    def _unknown(self, entry: Entry, name: str, findings: Findings) -> None:
        if entry.name in self._elsewhere:
            message = f"field {quoted(entry.name)} belongs to {self._where}"
            findings.error(entry.at, "misplaced-field", message, f"{name} has {', '.join(self.fields)}")
            return
        near = findings.suggest(entry.name, self.fields) or f"{name} has {', '.join(self.fields)}"
        findings.error(entry.at, "unknown-field", f"unknown field {quoted(entry.name)}", near)


class ListOf(Generic[T]):
    """A list of one kind, each item named `a cap` or `a tier` in sentences."""

    def __init__(self, kind: Kind[T], item: str, *, most: int, least: int = 0) -> None:
        self.kind, self.item, self.least, self.most = kind, item, least, most
        self.says = "a list"
        self.schema: Final[Schema] = {
            "type": "array",
            "items": kind.schema,
            "minItems": least,
            "maxItems": most,
        }

    def read(self, node: Node, name: str, at: Place, findings: Findings) -> tuple[T, ...] | None:
        """As `Kind` says; None if an item is unreadable: rules over a list with holes would mislead."""
        if not isinstance(node, Sequence):
            if not isinstance(node, Unreadable):
                hint = 'put it in brackets, or begin it with "- "'
                if isinstance(node, Scalar):
                    hint = "" if node.empty else f"put it in brackets: [{node.at.text}]"
                findings.error(node.at, "wrong-type", mismatch(name, self.says, node), hint)
            return None
        if not self.least <= len(node.items) <= self.most:
            few = len(node.items) < self.least
            bound = f"it has at least {self.least}" if few else f"it has at most {self.most}"
            findings.error(at, "out-of-bounds", f"{name} is a list of {len(node.items)} here", bound)
            return None
        items = [self.kind.read(item, self.item, item.at, findings) for item in node.items]
        sound = tuple(item for item in items if item is not None)
        return sound if len(sound) == len(items) else None


class Placed(msgspec.Struct, Generic[T], frozen=True):
    """An item of a list, with its place."""

    value: T
    at: Place


class PlacedOf(Generic[T]):
    """Keeps the place of a value that has no record of its own."""

    def __init__(self, kind: Kind[T]) -> None:
        self.kind = kind
        self.says, self.schema = kind.says, kind.schema

    def read(self, node: Node, name: str, at: Place, findings: Findings) -> Placed[T] | None:
        """As `Kind` says."""
        value = self.kind.read(node, name, at, findings)
        return None if value is None else Placed(value, node.at)


class Keyed(msgspec.Struct, Generic[T], frozen=True):
    """A value of a group, with its place and that of its name."""

    value: T
    at: Place
    """Of the name."""
    value_at: Place


class KeyedOf(Generic[T]):
    """Keeps the place of a name that other rules look at."""

    def __init__(self, kind: Kind[T]) -> None:
        self.kind = kind
        self.says, self.schema = kind.says, kind.schema

    def read(self, node: Node, name: str, at: Place, findings: Findings) -> Keyed[T] | None:
        """As `Kind` says."""
        value = self.kind.read(node, name, at, findings)
        return None if value is None else Keyed(value, at, node.at)


class MapOf(Generic[T]):
    """Things by their id. What could not be read keeps its id, so that nothing else calls it unknown."""

    def __init__(self, kind: Kind[T], thing: str, *, ids: Kind[str] | None, most: int, by: str = "") -> None:
        self.kind, self.ids, self.most = kind, ids, most
        self.things = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
        self.says = f"a group of {self.things} by {by or 'their ids'}"
        self._id = f"the {by or 'name'} of {'an' if thing[0] in 'aeiou' else 'a'} {thing}"
        names = {"propertyNames": ids.schema} if ids else {}
        self.schema: Final[Schema] = {"type": "object", "additionalProperties": kind.schema, **names}

    def read(self, node: Node, name: str, at: Place, findings: Findings) -> dict[str, T | None] | None:
        """As `Kind` says; an id whose thing could not be read leads to None."""
        if not isinstance(node, Mapping):
            if not isinstance(node, Unreadable):
                findings.error(node.at, "wrong-type", mismatch(name, self.says, node))
            return None
        if len(node.entries) > self.most:
            findings.error(at, "out-of-bounds", f"{name} has at most {self.most:,} {self.things}")
            return None
        return {entry.name: self._entry(entry, findings) for entry in node.entries}

    def _entry(self, entry: Entry, findings: Findings) -> T | None:
        if self.ids is not None:
            key = Scalar(at=entry.at, text=entry.name, plain=False)
            self.ids.read(key, self._id, entry.at, findings)
        return self.kind.read(entry.value, quoted(entry.name), entry.at, findings)


def described(field: Field, default: object) -> Schema:
    """JSON Schema of a field with what an editor shows about it."""
    only = f" Only for: {', '.join(field.only)}." if field.only else ""
    schema: Schema = {**field.kind.schema, "description": field.doc + only}
    return {**schema, "default": default} if isinstance(default, str | int) and default != "" else schema
