"""The Lua scripts: package data, each named by its file, called by the digest of its text.

What several share stands in `store/lua/parts`; a line `--@include name` puts a part into a script.
"""

import hashlib
import re
from importlib import resources
from typing import Final

import msgspec

_INCLUDE: Final = re.compile(r"^--@include (\w+)$", re.MULTILINE)


class Script(msgspec.Struct, frozen=True):
    """One script: its text and the digest that EVALSHA takes."""

    name: str
    text: str
    sha: str


def load(name: str) -> Script:
    """The script in store/lua/<name>.lua, with the parts that it includes."""
    return of(name, _INCLUDE.sub(lambda found: _read("parts", f"{found[1]}.lua"), _read(f"{name}.lua")))


def of(name: str, text: str) -> Script:
    """The script of a text."""
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(*path: str) -> str:
    return resources.files("store").joinpath("lua", *path).read_text(encoding="utf-8")


RECORD = load("record")
CONSUME = load("consume")
REVISE = load("revise")
RELEVEL = load("relevel")
RESERVE = load("reserve")
SETTLE = load("settle")
CORRECT = load("correct")
RAISE_VERSION = load("raise_version")
TAKE_TURN = load("take_turn")
LOOK = load("look")
GUARDED = load("guarded")
ALL = (RECORD, CONSUME, REVISE, RELEVEL, RESERVE, SETTLE, CORRECT, RAISE_VERSION, TAKE_TURN, LOOK, GUARDED)
