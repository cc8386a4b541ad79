"""What scripts know of a feature of a tenant: its buckets in one window, and the caps that an act moves."""

import msgspec

from policies.meter import Meter
from policies.rollover import Late


class GrantBucket(msgspec.Struct, frozen=True, array_like=True):
    """A grant as the journal names it: its window and id say its counter. `ends` is its expiry, 0: never."""

    window: str
    grant_id: str
    ends: int


class BucketRoom(msgspec.Struct, frozen=True, array_like=True):
    """A finite bucket: its counter, its scaled size, until when (unix seconds) the counter is kept."""

    window: str
    field: str
    size: int
    life: int
    grant: GrantBucket | None = None
    generation: int = 0
    """Of what earlier periods carried: which. Without it and without a grant it is what the plan includes."""


class Link(msgspec.Struct, frozen=True, array_like=True):
    """A period of which something goes on into the next one (policies.rollover.Link)."""

    window: str
    included: int
    max: int
    lasts: int


class Carrying(msgspec.Struct, frozen=True, array_like=True):
    """What earlier periods carried into the account's, and what the next one may have of it."""

    links: tuple[Link, ...]
    """Newest first; the size of each generation follows from their counters."""
    ends: int
    """When the account's own period ends, in microseconds since 1970; 0: never."""
    late: Late = 0
    after: Link | None = None
    """The account's own period, with the window of the next one, once that has begun."""


class Account(msgspec.Struct, frozen=True, cache_hash=True, array_like=True):
    """A feature of a tenant in one time window, and how far each of its buckets may be drawn.

    `window` empty: it moves no counter, and has no buckets. `overage` None: without end. `ends` in unix
    seconds, 0: never.
    """

    tenant_id: str
    snapshot_version: int
    feature_id: str
    window: str
    overage: int | None
    ends: int
    finite: tuple[BucketRoom, ...]
    """In the order in which they are drawn."""
    meter: Meter = "sum"
    """How what is drawn is worked out; all but a sum have no finite bucket beside the included one."""
    carrying: Carrying | None = None


class CapMove(msgspec.Struct, frozen=True, array_like=True):
    """A counter of a cap that an event adds to."""

    window: str
    field: str
    ends: int
