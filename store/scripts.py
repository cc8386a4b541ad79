"""The Lua scripts: package data, each named by its file, called by the digest of its text."""

import hashlib
from importlib import resources

import msgspec


class Script(msgspec.Struct, frozen=True):
    """One script: its text and the digest that EVALSHA takes."""

    name: str
    text: str
    sha: str


def load(name: str) -> Script:
    """The script in store/lua/<name>.lua."""
    text = resources.files("store").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


RECORD = load("record")
CORRECT = load("correct")
RAISE_VERSION = load("raise_version")
ALL = (RECORD, CORRECT, RAISE_VERSION)
