"""Rights that this process has resolved, kept until something that they were made of changes."""

from collections import OrderedDict
from datetime import datetime

import msgspec

from policies import decide, limits, quantity
from policies.allowance import Allowance
from policies.balance import Levels
from policies.decide import Request
from policies.decision import Decision
from policies.engine import Engine
from policies.entitlement import Right
from policies.kept import Door
from policies.model import Offer
from policies.snapshot import Snapshot
from store.accounts import Account, CapMove
from store.reading import Fields, Want


class Given(msgspec.Struct, gc=False):
    """A decision, and all that it depends on beside the right: its instant and its id are none of it."""

    counted: tuple[int, ...]
    request: Request
    levels: Levels | None
    """What was counted, as it was read for the right."""
    decision: Decision
    reach: tuple[int, int] | None = None
    """Of an allow the least and the most quantity with the same answer, once somebody asked for another."""

    def again(
        self, engine: Engine, right: Right, request: Request, *, now: datetime, decision_id: str
    ) -> Decision | None:
        """The decision as the answer to a request of now on the same counters, if it is one."""
        if request == self.request:
            return msgspec.structs.replace(self.decision, as_of=now, decision_id=decision_id)
        if not self.decision.allowed or self.decision.requested is None:
            return None
        if (request.entity_id, request.context) != (self.request.entity_id, self.request.context):
            return None
        if self.reach is None:
            self.reach = decide.reach(engine, right, self.request, self.levels)
        least, most = self.reach
        if not least <= request.quantity <= most:
            return None
        decimals = right.feature.decimals if right.feature else 0
        requested = quantity.render(request.quantity, decimals)
        return msgspec.structs.replace(self.decision, requested=requested, as_of=now, decision_id=decision_id)


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where the uses of a right are counted: its buckets as the scripts know them, and the tenant's caps."""

    account: Account
    ends: int
    """The end of the account's window, in unix seconds; 0: never."""
    caps: tuple[CapMove, ...]
    kept_caps: tuple[CapMove, ...]
    """The same with the end of their counters' life."""


class Standing(msgspec.Struct, gc=False):
    """What a tenant's right to a feature is, what it was made of, and which counters bear on it."""

    snapshot: Snapshot
    offer: Offer
    since: datetime
    """When it was resolved: what it says of an instant before is not known."""
    right: Right
    want: Want
    """For a request without an entity; without fields where no counter bears on the right."""
    by_entity: bool
    """A request that names an entity wants other counters."""
    remembered: bool
    """The counters are kept for `lastKnown`."""
    place: Place | None = None
    """Where uses of it are counted, once there was one."""
    granted_at: Levels | None = None
    """Levels at which something else is granted than at none, once a script found them."""
    allowed: Allowance | None = None
    """How far the counters may go at those, whatever the context of a request."""
    decided: bool = False
    """Somebody asked already: most rights are asked for once, and keep nothing of that."""
    given: Given | None = None
    """The last decision, not the first: while nothing is used it answers others that Cedar answers alike."""

    def holds(self, at: datetime) -> bool:
        """Whether it is known to be the right of this instant."""
        ends = self.right.valid_until
        return self.since <= at and (ends is None or at < ends)

    def reach_back(self, earlier: Right, at: datetime) -> bool:
        """Whether it held already at the instant of an earlier right; from now on it is known to have.

        It did if the earlier one had no edge in between (R6).
        """
        if at >= self.since or (earlier.valid_until is not None and earlier.valid_until <= self.since):
            return False
        self.since = at
        return True


class Rights:
    """Standings by tenant and feature, bounded; the one that was not asked for longest goes first."""

    def __init__(self, *, alive: int = limits.RIGHTS_ALIVE) -> None:
        self._alive = alive
        self._kept: OrderedDict[tuple[str, str], Standing] = OrderedDict()
        self._door = Door(alive)
        self._usual: dict[str, tuple[Fields, bool]] = {}
        """Of each feature what the last tenant's right wanted, and whether the one before wanted the same."""

    def get(self, snapshot: Snapshot, offer: Offer, feature_id: str, now: datetime) -> Standing | None:
        """The standing on this very snapshot and offer at this instant, if it is kept."""
        key = (snapshot.tenant_id, feature_id)
        found = self._kept.get(key)
        if found is None or found.snapshot is not snapshot or found.offer is not offer:
            return None
        if not found.holds(now):
            return None
        self._kept.move_to_end(key)
        return found

    def keep(self, standing: Standing) -> None:
        """Remembers one, in the place of an older one; when no place is left, if it was brought before."""
        key = (standing.right.tenant_id, standing.right.feature_id)
        if key not in self._kept and len(self._kept) >= self._alive:
            if not self._door.opens(key):
                return
            if self._kept:
                self._kept.popitem(last=False)
        self._kept[key] = standing
        self._kept.move_to_end(key)

    def usual(self, feature_id: str) -> Fields:
        """The counters that the rights of other tenants to a feature want, if they agree; else none."""
        fields, alike = self._usual.get(feature_id, ((), False))
        return fields if alike else ()

    def note(self, feature_id: str, fields: Fields) -> None:
        """What a tenant's right that was resolved just now wants."""
        last, _ = self._usual.get(feature_id, ((), False))
        self._usual[feature_id] = (fields, fields == last)
