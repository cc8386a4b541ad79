"""The append-only file, taken apart: which commands stand in it, and what it were had it ended earlier."""

from pathlib import Path
from typing import Final

import msgspec

JOURNAL: Final = b"l:{s"
_END: Final = b"\r\n"


class Written(msgspec.Struct, frozen=True):
    """A command in the file, from its first byte to the one after its last."""

    words: list[bytes]
    begin: int
    end: int

    @property
    def name(self) -> bytes:
        """Its first word, in capitals."""
        return self.words[0].upper()


def present(folder: Path) -> Path:
    """The file that a server in this folder appends to, as its manifest says."""
    (manifest,) = folder.rglob("*.manifest")
    lines = manifest.read_text(encoding="ascii").splitlines()
    names = [line.split()[1] for line in lines if " type i" in line]
    return manifest.parent / names[-1]


def commands(data: bytes) -> list[Written]:
    """All that stand in it whole."""
    found: list[Written] = []
    at = 0
    while (one := _command(data, at)) is not None:
        found.append(one)
        at = one.end
    return found


def _command(data: bytes, begin: int) -> Written | None:
    """The one that begins there; notes of the time, which the server may write between them, are skipped."""
    while data[begin : begin + 1] == b"#":
        begin = data.index(_END, begin) + 2
    head = data.find(_END, begin)
    if head < 0:
        return None
    words, at = [], head + 2
    for _ in range(int(data[begin + 1 : head])):
        head = data.find(_END, at)
        if head < 0:
            return None
        length = int(data[at + 1 : head])
        at = head + 2 + length + 2
        if at > len(data):
            return None
        words.append(data[head + 2 : at - 2])
    return Written(words, begin, at)


class Block(msgspec.Struct, frozen=True):
    """What the last script wrote that wrote to a journal: MULTI, its commands, EXEC."""

    path: Path
    multi: Written
    commands: list[Written]

    def tear(self, kept: int) -> None:
        """Leaves so many of the commands, as if each had been written by itself; nothing after them."""
        data = self.path.read_bytes()
        end = self.commands[kept - 1].end if kept else self.commands[0].begin
        self.path.write_bytes(data[: self.multi.begin] + data[self.commands[0].begin : end])

    def cut(self, kept: int) -> None:
        """Ends the file within the block: MULTI, so many of the commands, and a part of the next."""
        rest = [*self.commands, self.commands[-1]][kept]
        data = self.path.read_bytes()
        self.path.write_bytes(data[: (rest.begin + rest.end) // 2])


def last_script(path: Path) -> Block:
    """The block of it."""
    found = commands(path.read_bytes())
    entry = max(
        place for place, one in enumerate(found) if one.name == b"XADD" and one.words[1].startswith(JOURNAL)
    )
    begin = max(place for place in range(entry) if found[place].name == b"MULTI")
    end = next(place for place in range(entry, len(found)) if found[place].name == b"EXEC")
    return Block(path, found[begin], found[begin + 1 : end])
