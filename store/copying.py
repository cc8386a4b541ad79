"""Rows as COPY takes them: lines of text, made in one go while the server is busy with something else."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Final

from store import postgres

NOTHING: Final = "\\N"
"""What stands for null: of what goes in beside `line`, which takes texts only."""

_CHUNK: Final = 500
_SPECIAL: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def line(fields: Sequence[str]) -> str:
    """The texts as the columns of a row; hardly any has a sign in it that COPY would take for its own."""
    joined = "\t".join(fields)
    if joined.count("\t") != len(fields) - 1 or "\\" in joined or "\n" in joined or "\r" in joined:
        return "\t".join(map(escaped, fields))
    return joined


def escaped(text: str) -> str:
    """A text as it stands in a row."""
    return text.translate(_SPECIAL)


def instant(microseconds: int) -> str:
    """An instant, given in microseconds since 1970, as Postgres reads it."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{rest:06d}+00"


@lru_cache(maxsize=4_096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


async def copy(connection: postgres.Connection, query: bytes, lines: Iterable[str]) -> None:
    """Sends the rows to a COPY from stdin; the server takes in some while the next are made."""
    rest = iter(lines)
    if chunk := list(islice(rest, _CHUNK)):
        async with connection.cursor().copy(query) as stream:
            while chunk:
                await stream.write("\n".join(chunk) + "\n")
                chunk = list(islice(rest, _CHUNK))
