"""What scripts know of a feature of a tenant: its buckets in one window, and the caps that an act moves."""

import msgspec

from policies.meter import Meter


class GrantBucket(msgspec.Struct, frozen=True, array_like=True):
    """A grant as the journal names it: its window and id say its counter. `ends` is its expiry, 0: never."""

    window: str
    grant_id: str
    ends: int


class BucketRoom(msgspec.Struct, frozen=True):
    """A finite bucket: its counter, its scaled size, until when (unix seconds) the counter is kept."""

    window: str
    field: str
    size: int
    life: int
    grant: GrantBucket | None = None
    """None: what the plan includes."""


class Account(msgspec.Struct, frozen=True, cache_hash=True):
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


class CapMove(msgspec.Struct, frozen=True, array_like=True):
    """A counter of a cap that an event adds to."""

    window: str
    field: str
    ends: int
