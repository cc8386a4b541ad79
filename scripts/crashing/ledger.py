"""The clients' own account of a run: what each has sent, and what it was told of it."""

from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["report", "consume", "reserve"]
End = Literal["", "settle", "release"]


class Sent(msgspec.Struct, array_like=True, gc=False):
    """One id that was sent, however often, and always with the same body."""

    kind: Kind
    tenant_id: str
    event_id: str
    quantity: int
    acknowledged: bool = False
    """An answer said that it is counted, or held; `duplicate` is such an answer."""
    denied: bool = False
    """A consume or reserve was refused; nothing was counted then, unless another answer says so."""
    repeated: int = 0
    """How often it was sent again after it was acknowledged."""
    reservation_id: str = ""
    brief: bool = False
    """A reservation that is left to expire."""
    end: End = ""
    """How a reservation was ended, or was tried to."""
    settled: int = 0
    end_acknowledged: bool = False
    revised: int | None = None
    """What an event was amended to, or was tried to; 0 is a void."""
    revision_acknowledged: bool = False


class Ledger(msgspec.Struct):
    """Of one run. `surprises` are answers that no fault explains, each with an example."""

    entries: dict[str, Sent] = {}
    """By event id, which no two tenants share."""
    surprises: dict[str, str] = {}
    answers: dict[str, int] = {}
    """How often each kind of answer came."""
    acknowledgements: int = 0
    """Acts that were acknowledged, each once: events, uses, reservations, their ends, revisions."""

    def note(self, kind: Kind, tenant_id: str, event_id: str, quantity: int) -> Sent:
        """What is about to be sent for the first time."""
        entry = self.entries[event_id] = Sent(kind, tenant_id, event_id, quantity)
        return entry

    def count(self, answer: str) -> None:
        """One answer more of its kind."""
        self.answers[answer] = self.answers.get(answer, 0) + 1

    def wonder(self, what: str, example: str) -> None:
        """An answer that should not have come."""
        self.surprises.setdefault(what, example)
        self.count(f"surprise: {what}")

    def acknowledge(self, entry: Sent) -> None:
        """An answer said that it is counted, or held."""
        self.acknowledgements += not entry.acknowledged
        entry.acknowledged = True

    def acknowledge_end(self, entry: Sent) -> None:
        """An answer said that the reservation has ended as it was asked to."""
        self.acknowledgements += not entry.end_acknowledged
        entry.end_acknowledged = True

    def acknowledge_revision(self, entry: Sent) -> None:
        """An answer said that the event has its new quantity."""
        self.acknowledgements += not entry.revision_acknowledged
        entry.revision_acknowledged = True

    def by_kind(self) -> dict[str, int]:
        """How many were acknowledged of each kind."""
        found = Counter(entry.kind for entry in self.entries.values() if entry.acknowledged)
        return {str(kind): count for kind, count in found.items()}

    def write(self, path: Path) -> None:
        """Keeps it for whoever judges."""
        path.write_bytes(msgspec.msgpack.encode(self))


def read(path: Path) -> Ledger:
    """What `write` kept."""
    return msgspec.msgpack.decode(path.read_bytes(), type=Ledger)
