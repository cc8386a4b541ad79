"""Which counters do the feature periods of a bill want, and what do they make of them?

The same for a preview, which reads Redis, and for an invoice, which reads what was flushed.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import msgspec

from policies import entitlement, period
from policies.entitlement import Right
from policies.model import MeteredTerms, Offer, Versions
from policies.rating.bill import Account
from policies.rating.overage import Use
from policies.rating.periods import Rated, Resolve
from policies.snapshot import Snapshot
from policies.subscription import Subscription
from service.usecases import carrying, levels
from store import keyspace
from store.closing import Uncounted
from store.reading import Want


class Known(msgspec.Struct, frozen=True):
    """What is known of a tenant: as of now, and of all instants before as far as facts are kept."""

    snapshot: Snapshot
    offer: Offer
    versions: Versions

    def resolve(self, feature_id: str) -> Resolve:
        """Its right to a feature at any instant."""

        def right(at: datetime) -> Right:
            return entitlement.resolve(
                self.snapshot, offer=self.offer, versions=self.versions, feature_id=feature_id, at=at
            )

        return right


def sold(known: Known, held: Subscription) -> Iterator[str]:
    """The features of which a subscription has ever sold overage, in the catalog's order."""
    plans = [known.versions.plans[phase.plan_version] for phase in held.phases]
    found = {
        feature_id
        for plan in plans
        for feature_id, terms in plan.terms.items()
        if isinstance(terms, MeteredTerms) and terms.overage is not None
    }
    yield from (each for each in known.offer.features if each in found)
    yield from sorted(found - set(known.offer.features))


def of_account(account: Account, known: Known, now: datetime) -> list[Rated]:
    """The feature periods on a bill, feature by feature."""
    found: list[Rated] = []
    for feature_id in sold(known, account.subscription):
        found += account.rated(known.resolve(feature_id), now)
    return found


def want(one: Rated) -> Want:
    """Included, overage, what is held of it, excess, and what went on into the next period."""
    included, overage, excess, _ = levels.of_period(one.right)
    window, field = overage
    held = (window, keyspace.reserved_field(field))
    later = carrying.fields(one.after) if one.after else ()
    return Want(one.right.tenant_id, (included, overage, held, excess, *later))


def use(one: Rated, values: Sequence[int], uncounted: int = 0) -> Use:
    """What the counters of a period make of it."""
    included, overage, reserved, excess, *rest = values
    carried: Sequence[int] = ()
    if one.after is not None:
        amounts = zip(*carrying.read(one.after, iter(rest)), strict=True)
        carried = [max(drawn, got) for drawn, got in amounts]
    return one.use(included, overage, reserved, carried, uncounted=uncounted, excess=excess)


class Late:
    """What moved no counter, of many tenants."""

    def __init__(self, found: Iterable[Uncounted]) -> None:
        self._by_feature: dict[tuple[str, str], list[Uncounted]] = {}
        for each in found:
            self._by_feature.setdefault((each.tenant_id, each.feature_id), []).append(each)

    def of(self, one: Rated, resolve: Resolve) -> int:
        """What of it is of a feature period, where it may be overage: in a trial it was excess."""
        window = one.right.period
        assert window is not None, "what is rated has a period"
        return sum(
            each.amount
            for each in self._by_feature.get((one.right.tenant_id, one.right.feature_id), ())
            if period.contains(window, each.event_at) and resolve(each.event_at).has_overage
        )
