"""What may become of an event that was counted: another quantity, or none at all.

Limits are not asked: what an amendment says has happened. An event that was voided stays so; to count after
all it comes again under another id.
"""

from typing import Literal

import msgspec

from policies import errors, limits, quantity

Kind = Literal["amend", "void"]


class Countable(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it stands, and what its feature's numbers mean; quantities are scaled."""

    feature_id: str
    aggregation: str
    decimals: int
    quantity: int
    measured: int
    revision: int
    voided: bool


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The event as it is to stand."""

    kind: Kind
    quantity: int
    measured: int
    """What the meter makes of it."""


def expect(event: Countable, revision: int | None) -> None:
    """Holds the event against the revision that the caller has seen, if any is named.

    Errors: ConflictError, which names the present one.
    """
    if revision is not None and revision != event.revision:
        raise errors.ConflictError(
            f"The event is at revision {event.revision}, not at {revision}: somebody else has changed it."
        )


def amended(event: Countable, said: int | str) -> Change | None:
    """The event with another quantity, as it came in; None if that is the one it has.

    Errors: ConflictError for one that was voided; InvalidError for a quantity that the feature cannot have,
    and where none says how much is counted.
    """
    _changeable(event)
    if event.aggregation in ("count", "unique"):
        counted = "events" if event.aggregation == "count" else "values"
        detail = f"{event.feature_id} counts {counted}, each as one: its quantity changes nothing."
        raise errors.invalid("/quantity", f"{detail} Void it instead.")
    try:
        scaled = quantity.parse(said, event.decimals)
    except ValueError as error:
        raise errors.invalid("/quantity", str(error)) from error
    return None if scaled == event.quantity else Change(kind="amend", quantity=scaled, measured=scaled)


def voided(event: Countable) -> Change:
    """The event as if it had not happened.

    Errors: ConflictError for one that was voided already.
    """
    _changeable(event)
    return Change(kind="void", quantity=0, measured=0)


def moves(event: Countable, change: Change, drawn: int) -> tuple[int, int]:
    """How many units come back to buckets, and how many are drawn more.

    `drawn` is what the event has drawn by now of buckets whose counters are kept: no more comes back.
    """
    growth = change.measured - event.measured
    return min(max(0, -growth), max(0, drawn)), max(0, growth)


def _changeable(event: Countable) -> None:
    if event.revision >= limits.REVISIONS:
        raise errors.ConflictError(f"The event has {limits.REVISIONS:,} revisions; it takes no more.")
    if event.voided:
        raise errors.ConflictError(
            f"The event was voided with revision {event.revision}; it counts nothing any more."
        )
