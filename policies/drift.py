"""Where two records of the same thing differ: the classes of that, and what may be done about each.

That of a counter is told by three witnesses: itself, the sum that Postgres keeps of it (with what the journal
has beyond that), and where it can be had the sum of the draws of all events. Nothing here repairs anything.
"""

from typing import Final, Literal, TypeAlias

import msgspec

from policies.buckets import Bucket

Class = Literal[
    "counter_altered",
    "counter_missing",
    "counter_foreign",
    "entry_missing",
    "rollup_altered",
    "hold_missing",
    "hold_foreign",
    "day_altered",
    "hour_altered",
    "books_open",
]
State = Literal["suspected", "open", "gone"]
Detail: TypeAlias = int | str | list[str] | None


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What a class of drift means, and what may be done."""

    means: str
    action: str
    """What would end it, as a person is to decide it."""
    why_safe: str
    """Why that harms nobody; empty where somebody has to look first."""


KINDS: Final[dict[Class, Kind]] = {
    "counter_altered": Kind(
        means="A counter in Redis is not what was counted.",
        action="put the counter back to what is expected",
        why_safe="A counter is derived: the journal and the sums in Postgres have all that was counted.",
    ),
    "counter_missing": Kind(
        means="A counter is not in Redis.",
        action="put the counter back to what is expected",
        why_safe="A counter is derived: the journal and the sums in Postgres have all that was counted.",
    ),
    "counter_foreign": Kind(
        means="Redis has a counter that nothing was counted in.",
        action="remove the counter",
        why_safe="Neither the journal nor Postgres knows of anything that moved it.",
    ),
    "entry_missing": Kind(
        means="A counter says more than the journal: an entry was lost or damaged before Postgres had it.",
        action="find what was acknowledged, and report it again under the same ids",
        why_safe="",
    ),
    "rollup_altered": Kind(
        means="The sum of a counter in Postgres is not that of its events' draws.",
        action="sum the draws again",
        why_safe="Events and their draws are the truth, and the counter agrees with them.",
    ),
    "hold_missing": Kind(
        means="A reservation is open in Postgres and not in Redis: its units are held and nobody can end it.",
        action="open it again in Redis from its line in Postgres",
        why_safe="The line says all of it, and its units are counted already.",
    ),
    "hold_foreign": Kind(
        means="A reservation is open in Redis that Postgres does not have, or has as ended.",
        action="look how it ended; it goes by itself once it expires",
        why_safe="",
    ),
    "day_altered": Kind(
        means="The sum of a day is not that of its hours.",
        action="sum the hours of the day again",
        why_safe="Only reports read it; invoices and limits do not.",
    ),
    "hour_altered": Kind(
        means="The sum of an hour is not that of its events.",
        action="sum the events of the hour again",
        why_safe="Only reports read it; invoices and limits do not.",
    ),
    "books_open": Kind(
        means="The books of a bucket do not close, or something in them is below nothing.",
        action="look at the counters of the bucket, and at its events",
        why_safe="",
    ),
}


COUNTERS: Final[frozenset[Class]] = frozenset(
    {"counter_altered", "counter_missing", "counter_foreign", "entry_missing", "rollup_altered"}
)
"""Those of a counter: their subject is its time window and its name."""
ROLLUPS: Final[frozenset[Class]] = frozenset({"day_altered", "hour_altered"})
"""Those of a sum by hour or day: their subject begins with it."""
PARTS: Final = ("used", "reserved", "expired", "carried", "remaining")
"""What is granted of a bucket is one of these (R14)."""


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """One difference, as one look has found it. Amounts are scaled; a reservation is `open` or nothing."""

    kind: Class
    tenant_id: str
    feature_id: str
    subject: str
    """What differs, by name: a time window and a counter in it, an hour, a day, a reservation, a bucket."""
    expected: Detail
    actual: Detail
    evidence: dict[str, Detail] = {}
    """How each side came to what it says."""

    @property
    def amount(self) -> object:
        """What stays the same from look to look if it is drift, while both sides move on."""
        if isinstance(self.expected, int) and isinstance(self.actual, int):
            return self.actual - self.expected
        return (self.expected, self.actual)


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """One counter, by all who know of it at one instant; scaled."""

    tenant_id: str
    window: str
    field: str
    rollup: int | None
    """In Postgres, up to a place of the journal; None: it has no such row."""
    journal: int = 0
    """What the journal has beyond that place."""
    owed: int = 0
    """What corrections will take back from it."""
    counter: int | None
    """In Redis; None: it has no such field."""
    entries: tuple[str, ...] = ()
    """Of the journal, that moved it beyond that place."""

    @property
    def expected(self) -> int:
        """What the counter must be."""
        return (self.rollup or 0) + self.journal + self.owed

    @property
    def differs(self) -> bool:
        """Is it something else? What is nothing need not be there."""
        return self.expected != (self.counter or 0)


def classify(count: Count, *, drawn: int | None, entry_lost: bool) -> Class:
    """Which of the witnesses is wrong.

    `drawn` is the sum of the draws of all events up to the same place of the journal, None where a counter is
    no sum of draws. `entry_lost`: the journal lacks an entry that Postgres has not, or has a damaged one.
    """
    counted = (count.counter or 0) - count.journal - count.owed
    if drawn is not None and drawn != (count.rollup or 0) and drawn == counted:
        return "rollup_altered"
    if count.counter is None:
        return "counter_missing"
    if entry_lost:
        return "entry_missing"
    if count.rollup is None and not count.entries and not count.owed:
        return "counter_foreign"
    return "counter_altered"


def parts_of(bucket: Bucket) -> int:
    """All that became of what a bucket was given."""
    return sum(getattr(bucket, part) or 0 for part in PARTS)


def closes(bucket: Bucket) -> bool:
    """Do the books of a bucket close (R14), with nothing in them below nothing?"""
    if any((getattr(bucket, part) or 0) < 0 for part in PARTS):
        return False
    return bucket.granted is None or bucket.granted == parts_of(bucket)


def feature_of(window: str, field: str) -> str:
    """The feature that a counter belongs to; that of a value stands in its window's name."""
    parts = window.split(".", 2)
    return parts[2] if len(parts) > 2 else field.partition(":")[0]  # noqa: PLR2004 - letter, start, feature
