"""Which counters does a right look at, and what do their values say?"""

from policies.balance import Levels
from policies.entitlement import Right
from policies.model import MeteredTerms
from store import keyspace
from store.reading import Want

BUCKETS = ("i", "o", "x")


def want(right: Right, entity_id: str | None) -> Want:
    """The counters of a right: included, overage and excess of its period, then one per cap that applies.

    A cap per entity applies only where the request names one.
    """
    assert isinstance(right.terms, MeteredTerms), "only metered features have counters"
    assert right.period is not None, "a metered right has a period"
    window = keyspace.window(right.terms.interval, right.period)
    fields = [(window, keyspace.bucket_field(right.feature_id, bucket)) for bucket in BUCKETS]
    for cap, span in zip(right.terms.caps, right.cap_windows, strict=True):
        if cap.per == "tenant" or entity_id is not None:
            field = keyspace.cap_field(right.feature_id, cap.per, entity_id)
            fields.append((keyspace.window(cap.interval, span), field))
    return Want(right.tenant_id, tuple(fields))


def by_entity(right: Right) -> bool:
    """Whether a request that names an entity wants other counters than one that does not."""
    assert isinstance(right.terms, MeteredTerms), "only metered features have counters"
    return any(cap.per == "entity" for cap in right.terms.caps)


def read(right: Right, entity_id: str | None, values: tuple[int, ...]) -> Levels:
    """The values of `want`, in its order, as the levels of the right."""
    assert isinstance(right.terms, MeteredTerms), "only metered features have counters"
    included, overage, excess, *rest = values
    used = iter(rest)
    caps = tuple(
        next(used) if cap.per == "tenant" or entity_id is not None else 0 for cap in right.terms.caps
    )
    return Levels(included=included, overage=overage, excess=excess, caps=caps)
