"""What a catalog file says, as a tree in which every key and value knows its place."""

import msgspec

from policies.compiler.findings import Place, quoted


class Scalar(msgspec.Struct, frozen=True, kw_only=True):
    """One value as it is written; what it means is for the field that holds it to say."""

    at: Place
    text: str
    plain: bool
    """Written without quotes, so that `true` and `12` are not texts."""

    @property
    def empty(self) -> bool:
        """Nothing is written, or one of YAML's words for nothing."""
        return self.plain and self.text in {"", "~", "null", "Null", "NULL"}

    def __str__(self) -> str:
        return "nothing" if self.empty else quoted(self.text)


class Sequence(msgspec.Struct, frozen=True, kw_only=True):
    """A list."""

    at: Place
    items: tuple["Node", ...]

    def __str__(self) -> str:
        return "a list"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A key and its value."""

    name: str
    at: Place
    """Of the key."""
    value: "Node"


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """A group of fields; names are unique, in the order of the file."""

    at: Place
    entries: tuple[Entry, ...]

    def __str__(self) -> str:
        return "a group of fields"


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """What was refused when the file was read; its finding is written already."""

    at: Place

    def __str__(self) -> str:
        return "something that cannot be read"


Node = Scalar | Sequence | Mapping | Unreadable
