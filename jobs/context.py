"""What a job is given besides the instant: the open connections of its process."""

from dataclasses import dataclass

from service.clock import Clock
from service.config import Config
from service.context import Context
from store.counters import Counters
from store.link import Link
from store.postgres import Pool
from store.snapshots import Snapshots


@dataclass(frozen=True, kw_only=True, slots=True)
class JobContext:
    """One per worker process."""

    config: Config
    clock: Clock
    pool: Pool
    link: Link
    counters: Counters
    snapshots: Snapshots
    uses: Context
    """What use cases are given."""
