"""The laws of docs/laws.md, each with edits that break it: tests/data/laws.yaml."""

from pathlib import Path
from typing import Final

import msgspec
from ruamel.yaml import YAML

LAWS: Final = "tests/data/laws.yaml"


class WrongEditError(Exception):
    """The edit cannot be made: what it replaces does not stand once in its file."""


class Edit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text that is replaced in one file, so that a law does not hold any more."""

    breaks: str
    """What is wrong then."""
    file: str
    old: str = msgspec.field(name="from")
    new: str = msgspec.field(name="to")
    noticed_by: tuple[str, ...] = msgspec.field(name="noticed by")
    """Files of tests, or tests in them, of which one at least must fail."""

    def made(self, root: Path) -> str:
        """The text of the file with the edit in it.

        Errors: WrongEditError.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise WrongEditError(f"{self.file} has not once, but {text.count(self.old)} times: {self.old}")
        return text.replace(self.old, self.new)


class Law(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A law by its heading in docs/laws.md."""

    law: str
    edits: tuple[Edit, ...]


def read(root: Path) -> list[Law]:
    """All laws, in their order.

    Errors: msgspec.ValidationError.
    """
    return msgspec.convert(YAML(typ="safe", pure=True).load(root / LAWS), list[Law])
