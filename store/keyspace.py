"""The names of everything in Redis. All keys of a tenant share one slot: its shard stands in braces."""

import base64
import hashlib
from datetime import datetime
from functools import lru_cache
from typing import Final

from policies import limits
from policies.model import CapScope, Interval
from policies.period import Period

# m:{s042}                          fence: run_id of the server that the shard was certified on
# l:{s042}                          journal: a stream, one entry per accepted batch
# v:{s042}                          snapshot versions: hash, tenant -> version, `#` -> last entry's number
# c:{s042}:<tenant>:<time window>   counters: hash, field -> scaled integer
# c:{s042}:<tenant>:<time window>.<feature>   values of a property: hash, digest -> number of events
# d:{s042}:<day>:<bucket>           marks of event ids: hash, digest -> fingerprint of the body
# h:{s042}                          holds: hash, reservation (16 bytes) -> the journal's line of its reserve
# q:{s042}:<tenant>                 a tenant's open reservations: sorted set by expiry (microseconds)
# e:{s042}                          tenants that have some: sorted set by the earliest expiry among them
# t:{s042}                          the shard's clock: the latest instant that a reservation was told
# k:{s042}                          corrections that were applied: set of their ids
# s:{s042}:<tenant>                 a tenant's snapshot at a version, so that a cold read spares Postgres
# p:{pay}                           turns at the payment provider that are held: sorted set by their end (ms)
# p:{pay}:<lane>                    up to when turns in a lane were given (ms)
# a:{s042}                          hash of the active catalog; each shard has it, so each node of a cluster
# w:{s042}                          of a server's first shard: in which run its file was rewritten last
# z:{s042}                          of a server's first shard: written before replicas are waited for

SHARDS = 256
NUMBER = "#"
"""Beside the snapshot versions, where no tenant's id can be: the number of the last entry in the journal."""
TURNS_HELD = "p:{pay}"
MARK_BUCKETS = 4096
"""Per shard and day. At 100,000,000 events a day about 95 marks a bucket: a small listpack."""
DAY_S = 86_400

_INTERVAL_LETTERS: dict[Interval, str] = {
    "hour": "h",
    "day": "d",
    "week": "w",
    "month": "m",
    "year": "y",
    "never": "n",
}

_INTERVALS: dict[str, Interval] = {short: interval for interval, short in _INTERVAL_LETTERS.items()}


@lru_cache(maxsize=65_536)
def shard_of(tenant_id: str) -> int:
    """The shard of a tenant, fixed for life: the first two bytes of sha256, modulo 256."""
    return int.from_bytes(hashlib.sha256(tenant_id.encode()).digest()[:2]) % SHARDS


_TAGS: Final = tuple(f"{{s{shard:03d}}}" for shard in range(SHARDS))


def tag(shard: int) -> str:
    """What hashes to the slot."""
    return _TAGS[shard]


def tags() -> list[str]:
    """What stands in braces in any key of ours."""
    return [*_TAGS, tag_of(TURNS_HELD)]


def tag_of(key: str) -> str:
    """What in a key's name says which slot it is in."""
    return key[key.index("{") : key.index("}") + 1]


def shard_of_key(key: str) -> int:
    """The shard that a key's name carries."""
    return int(key.partition("{s")[2].partition("}")[0])


def fence(shard: int) -> str:
    """Says on which server's run the shard may be written."""
    return f"m:{tag(shard)}"


def journal(shard: int) -> str:
    """The stream of accepted batches."""
    return f"l:{tag(shard)}"


def catalog(shard: int) -> str:
    """Names the active catalog."""
    return f"a:{tag(shard)}"


def rewritten(shard: int) -> str:
    """Says, of the first shard of a server, in which of its runs the append-only file was rewritten last."""
    return f"w:{tag(shard)}"


def awaited(shard: int) -> str:
    """Is written, in a server's first shard, before replicas are waited for."""
    return f"z:{tag(shard)}"


def versions(shard: int) -> str:
    """The hash of snapshot versions."""
    return f"v:{tag(shard)}"


def counters(shard: int, tenant_id: str, window: str) -> str:
    """The hash of a tenant's counters in one time window."""
    return f"c:{tag(shard)}:{tenant_id}:{window}"


def parse_counters(key: str) -> tuple[str, str]:
    """A key's tenant and time window. A tenant may have colons in its name, a window has none."""
    tenant_id, _, name = key.split(":", 2)[2].rpartition(":")
    return tenant_id, name


def snapshot(shard: int, tenant_id: str) -> str:
    """A tenant's snapshot as Postgres had it at the version that stands in it."""
    return f"s:{tag(shard)}:{tenant_id}"


def marks(shard: int, day: int, bucket: int) -> str:
    """The hash of marks of event ids that came on one day (days since 1970)."""
    return f"d:{tag(shard)}:{day}:{bucket}"


def holds(shard: int) -> str:
    """The hash of open reservations."""
    return f"h:{tag(shard)}"


def expiries(shard: int, tenant_id: str) -> str:
    """A tenant's open reservations in the order in which they expire."""
    return f"q:{tag(shard)}:{tenant_id}"


def due(shard: int) -> str:
    """The tenants that have open reservations, by the expiry that comes first."""
    return f"e:{tag(shard)}"


def clock(shard: int) -> str:
    """The instant that reservations go by: it never runs back, whatever the clocks of those who write say."""
    return f"t:{tag(shard)}"


def turns(lane: str) -> str:
    """Up to when turns in a lane at the payment provider were given."""
    return f"{TURNS_HELD}:{lane}"


def corrected(shard: int) -> str:
    """The set of correction ids that were applied."""
    return f"k:{tag(shard)}"


@lru_cache(maxsize=limits.NAMES_ALIVE)
def window(interval: Interval, period: Period) -> str:
    """The name of a time window: its interval's letter and its start in seconds, `m.1764547200`."""
    return f"{letter(interval)}.{int(period.start.timestamp())}"


def parse_window(name: str) -> tuple[Interval, int]:
    """What a window's name says: its interval, and its start in seconds."""
    first, _, start = name.partition(".")
    return _INTERVALS[first], int(start)


def letter(interval: Interval) -> str:
    """What the names of an interval's windows begin with."""
    return _INTERVAL_LETTERS[interval]


@lru_cache(maxsize=limits.NAMES_ALIVE)
def bucket_field(feature_id: str, bucket: str) -> str:
    """The field of a bucket's drawn quantity; bucket is `i` (included), `o` (overage) or `x` (excess).

    `r` is what open reservations hold in the buckets of a period, all together; `l` what came too late to
    change what the period carries (policies.rollover); `n` from how many acts a highest quantity was found.
    """
    return f"{feature_id}:{bucket}"


def generation_field(feature_id: str, number: int) -> str:
    """The field of what was drawn from a generation of what earlier periods carried into a window."""
    return f"{feature_id}:v{number}"


def late_field(field: str) -> str:
    """The field of what of a generation was drawn after the seal of its period."""
    return f"{field}:l"


def reserved_field(field: str) -> str:
    """The field of what open reservations hold of a bucket, by the field of the bucket."""
    return f"{field}:r"


def grant_window(expires_at: datetime | None) -> str:
    """Where the counters of grants that expire at one instant stand, `g.1764547200`; `g.0` if they never do.

    By the expiry that a grant was issued with: voiding it leaves its counter where it is.
    """
    return f"g.{0 if expires_at is None else int(expires_at.timestamp())}"


def grant_field(feature_id: str, grant_id: str) -> str:
    """The field of what was drawn from a grant over its whole life."""
    return f"{feature_id}:g:{grant_id}"


def cap_field(feature_id: str, per: CapScope, entity_id: str | None) -> str:
    """The field of what was used in a cap's window, by the tenant or by one entity."""
    return f"{feature_id}:e:{entity_id}" if per == "entity" else f"{feature_id}:c"


def values_window(window: str, feature_id: str) -> str:
    """Where the values of a unique meter are counted in a period: its name begins as the period's."""
    return f"{window}.{feature_id}"


def value_field(value: str) -> str:
    """The field of a value: 8 bytes of its sha256, as 11 letters and digits."""
    return base64.urlsafe_b64encode(hashlib.sha256(value.encode()).digest()[:8])[:11].decode()


def mark_bucket(digest: bytes) -> int:
    """Which bucket a digest's mark is in."""
    return int.from_bytes(digest[:2]) % MARK_BUCKETS


def day_of(at: datetime) -> int:
    """Days since 1970."""
    return int(at.timestamp()) // DAY_S


def entry_parts(entry_id: str) -> tuple[int, int]:
    """A journal entry's id as numbers that sort: milliseconds and sequence."""
    time_ms, _, sequence = entry_id.partition("-")
    return int(time_ms), int(sequence)
