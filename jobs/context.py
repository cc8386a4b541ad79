"""What a job is given besides the instant: the open connections of its process."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobs.lanes import Lanes
from service.clock import Clock
from service.config import Config
from service.context import Context
from store.counters import Counters
from store.nodes import Servers
from store.postgres import Pool
from store.snapshots import Snapshots

if TYPE_CHECKING:
    from jobs.flush import Done


@dataclass(frozen=True, kw_only=True, slots=True)
class JobContext:
    """One per worker process."""

    config: Config
    clock: Clock
    pool: Pool
    link: Servers
    counters: Counters
    snapshots: Snapshots
    uses: Context
    """What use cases are given."""
    lanes: "Lanes[Done]" = field(default_factory=Lanes)
    """In which the flush of each server is under way."""
