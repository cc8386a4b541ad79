"""What every use case is given: the open connections and the caches of this process, made in wiring."""

from dataclasses import dataclass

import msgspec

from integrations.payments import Payments
from policies.engine import Engine
from service.clock import Clock
from service.config import Config
from service.decision_log import DecisionLog
from service.following import Follower
from service.last_known import LastKnown
from service.rights import Rights
from store.api_keys import KeyRing
from store.backlog import Backlog
from store.catalogs import Catalogs
from store.committing import Committer
from store.consuming import Consumer
from store.counters import Counters
from store.holds import Holds
from store.postgres import Pool
from store.pressure import Pressure
from store.recording import Recorder
from store.snapshots import Snapshots


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """One per process, open as long as it runs."""

    config: Config
    clock: Clock
    pool: Pool
    keys: KeyRing
    counters: Counters
    consumer: Consumer
    recorder: Recorder
    holds: Holds
    pressure: Pressure
    backlog: Backlog
    committer: Committer | None
    """Under `strict`: what an acknowledgement waits for."""
    catalogs: Catalogs
    follower: Follower
    snapshots: Snapshots
    engine: Engine
    rights: Rights
    last_known: LastKnown
    decisions: DecisionLog
    payments: Payments | None = None
    """Who moves money; None: billing stops at our own invoices."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: a key with its scopes, or the command line."""

    actor: str
    """As audit lines name it: `key:<id>`, `cli:<user>`, `job:<name>`."""
    key_id: str
    scopes: frozenset[str]
    tenant_id: str | None
    """The one tenant that the key is bound to, or None for all."""
    request_id: str
