"""The audit lines: who changed what, from what, to what, and why (law 11)."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from store import postgres
from store.queries import Queries

_SQL = Queries("audit")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `before` and `after` are the thing itself; None where it did not exist. Never a secret."""

    at: datetime
    actor: str
    """`key:<id>`, `cli:<user>` or `job:<name>`."""
    action: str
    """`subscription.change`: the noun and what was done to it."""
    subject: str
    """The id of what was changed."""
    before: object
    after: object
    tenant_id: str | None = None
    reason: str = ""
    request_id: str = ""


async def append(connection: postgres.Connection, line: Line) -> None:
    """Writes the line in the caller's transaction: both stand, or neither."""
    await postgres.execute(connection, _SQL.append, _fields(line))


async def append_all(connection: postgres.Connection, lines: Sequence[Line]) -> None:
    """The same for many changes that are made together."""
    await postgres.execute_each(connection, _SQL.append, [_fields(line) for line in lines])


def _fields(line: Line) -> dict[str, object]:
    fields = msgspec.structs.asdict(line)
    for field in ("before", "after"):
        if fields[field] is not None:
            fields[field] = msgspec.json.encode(fields[field]).decode()
    return fields
