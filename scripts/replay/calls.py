"""What does a trace file say? All of it is read and checked before anything is sent."""

import csv
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

COLUMNS: Final = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]
ROWS_MAX: Final = 1_000_000
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_INSTANT: Final = re.compile(
    r"(?P<second>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(\.(?P<fraction>\d{1,9}))?(Z|\+00:00)?", re.ASCII
)


class Call(msgspec.Struct, frozen=True):
    """One call to a language model. `row` counts the calls of the file from 1; `at` is in UTC."""

    row: int
    at: datetime
    tokens: int
    """Prompt and generated ones together."""


class TraceError(Exception):
    """The file is no trace; the text is a sentence that names the line."""


def read(path: Path) -> list[Call]:
    """The calls of a file, in its order; at least one.

    Instants without a zone are UTC. They are kept to the microsecond: further decimals are cut off.
    Errors: TraceError for the first line that is wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            calls = list(_calls(path, file))
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{path} is not a CSV file in UTF-8: {error}.") from error
    if not calls:
        raise TraceError(f"{path} has no calls in it.")
    return calls


def shifted(calls: Sequence[Call], end: datetime) -> list[Call]:
    """The same calls at other times: the latest is at `end`, and all distances stay."""
    by = end - max(call.at for call in calls)
    return [msgspec.structs.replace(call, at=call.at + by) for call in calls]


def total(calls: Sequence[Call]) -> int:
    """The tokens of these calls."""
    return sum(call.tokens for call in calls)


def _calls(path: Path, file: Iterator[str]) -> Iterator[Call]:
    rows = csv.reader(file, strict=True)
    header = next(rows, [])
    if header != COLUMNS:
        found = ",".join(header)[:100] or "nothing"
        raise TraceError(f"{path}, line 1: the columns must be {','.join(COLUMNS)}, not {found}.")
    for row, fields in enumerate((fields for fields in rows if fields), start=1):
        where = f"{path}, line {rows.line_num}"
        if row > ROWS_MAX:
            raise TraceError(f"{where}: a trace has at most {ROWS_MAX:,} calls.")
        if len(fields) != len(COLUMNS):
            raise TraceError(f"{where}: there must be {len(COLUMNS)} fields, not {len(fields)}.")
        at, *numbers = fields
        tokens = sum(
            _number(f"{where}: {name}", text) for name, text in zip(COLUMNS[1:], numbers, strict=True)
        )
        yield Call(row, _instant(f"{where}: {COLUMNS[0]}", at), tokens)


def _number(where: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise TraceError(f'{where} is "{text[:40]}", not a whole number of tokens.')
    return int(text)


def _instant(where: str, text: str) -> datetime:
    found = _INSTANT.fullmatch(text)
    try:
        at = datetime.fromisoformat(found["second"] if found else "").replace(tzinfo=UTC)
    except ValueError as error:
        raise TraceError(f'{where} is "{text[:40]}", not a time like 2023-11-16 18:17:03.9799600.') from error
    fraction = (found and found["fraction"]) or ""
    return at + timedelta(microseconds=int(f"{fraction:0<6.6}"))
