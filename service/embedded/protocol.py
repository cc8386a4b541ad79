"""What the supervisor tells the process that started it: one JSON line each on its output."""

import msgspec


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """One server: where it listens and what it is."""

    pid: int
    version: str
    socket: str


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="ready"):
    """Both servers answer."""

    supervisor: int
    postgres: Started
    valkey: Started
    sockets: str
    """The folder of both sockets."""
    user: str | None
    """As whom they run, if not as their starter."""
    capability: str | None
    """What that user keeps so that it reaches its files."""
    initdb_s: float
    """0 when the cluster was there already."""
    total_s: float


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="failed"):
    """It could not start, or a server died; the supervisor stops the rest and ends with status 1."""

    reason: str
    """One sentence."""


Message = Ready | Failed
