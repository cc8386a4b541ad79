"""What the doctor says of one thing that it looked at: fine, worth knowing, or wrong and how to mend it."""

from datetime import datetime
from typing import Final, Literal

import msgspec

SKEW_S: Final = 2.0
"""How far a server's clock may be from ours before it is worth a word: a request takes far less."""
PATIENCE_S: Final = 5
"""How long the doctor waits for a server; the service itself waits less, but need not say why it failed."""


class Diagnosis(msgspec.Struct, frozen=True):
    """One line."""

    part: str
    status: Literal["ok", "warning", "wrong"]
    detail: str
    """Plain sentences; of what is wrong also what to do."""


def ok(part: str, detail: str) -> Diagnosis:
    """Fine as it is."""
    return Diagnosis(part, "ok", detail)


def warning(part: str, detail: str) -> Diagnosis:
    """It works, but somebody should know."""
    return Diagnosis(part, "warning", detail)


def wrong(part: str, detail: str) -> Diagnosis:
    """The service cannot do its work, or may lose some."""
    return Diagnosis(part, "wrong", detail)


def clock(part: str, *, theirs: datetime, ours: datetime) -> Diagnosis:
    """Whether a server's clock agrees with this machine's."""
    apart = (theirs - ours).total_seconds()
    if abs(apart) <= SKEW_S:
        return ok(part, "Its clock agrees with this machine's.")
    way = "ahead of" if apart > 0 else "behind"
    return warning(
        part,
        f"Its clock is {abs(apart):,.1f} s {way} this machine's. Let both keep time with NTP: events carry "
        "the time of the machine that took them.",
    )
