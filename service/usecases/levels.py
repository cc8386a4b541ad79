"""Which counters does a right look at, and what do their values say?"""

from collections.abc import Sequence
from functools import lru_cache

from policies import balance, limits
from policies.balance import Levels
from policies.entitlement import Right
from policies.grant import Grant
from policies.model import Cap, MeteredTerms
from policies.period import Period
from service.usecases import carrying
from store import keyspace
from store.reading import Fields, Want

Values = tuple[int, ...]
BUCKETS = ("i", "o", "x", "r")


def want(right: Right, entity_id: str | None) -> Want:
    """The counters of a right: those of its period, its grants, the caps that apply, what is carried.

    A cap per entity applies only where the request names one.
    """
    assert isinstance(right.terms, MeteredTerms), "only metered features have counters"
    fields = of_period(right)
    if right.grants:
        fields += [of_grant(grant) for grant in right.grants]
    if right.terms.caps:
        fields += _of_caps(right.feature_id, right.terms.caps, right.cap_windows, entity_id)
    if right.rollover:
        fields += carrying.fields(right)
    return Want(right.tenant_id, tuple(fields))


@lru_cache(maxsize=limits.NAMES_ALIVE)
def _of_caps(
    feature_id: str, caps: tuple[Cap, ...], windows: tuple[Period, ...], entity_id: str | None
) -> Fields:
    """The counters of the caps that apply; windows of the calendar are all tenants'."""
    found = []
    for cap, span in zip(caps, windows, strict=True):
        if cap.per == "tenant" or entity_id is not None:
            field = keyspace.cap_field(feature_id, cap.per, entity_id)
            found.append((keyspace.window(cap.interval, span), field))
    return tuple(found)


def of_period(right: Right) -> list[tuple[str, str]]:
    """The counters of its period: included, overage, excess, and what is reserved."""
    assert isinstance(right.terms, MeteredTerms), "only metered features have counters"
    assert right.period is not None, "a metered right has a period"
    window = keyspace.window(right.terms.interval, right.period)
    return [(window, name) for name in _names(right.feature_id)]


@lru_cache(maxsize=limits.FEATURES)
def _names(feature_id: str) -> tuple[str, ...]:
    return tuple([keyspace.bucket_field(feature_id, bucket) for bucket in BUCKETS])


def of_grant(grant: Grant) -> tuple[str, str]:
    """The counter of a grant."""
    return keyspace.grant_window(grant.expires_at), keyspace.grant_field(grant.feature_id, grant.id)


def by_entity(right: Right) -> bool:
    """Whether a request that names an entity wants other counters than one that does not."""
    assert isinstance(right.terms, MeteredTerms), "only metered features have counters"
    return any(cap.per == "entity" for cap in right.terms.caps)


def read(right: Right, entity_id: str | None, values: tuple[int, ...]) -> Levels:
    """The values of `want`, in its order, as the levels of the right."""
    assert isinstance(right.terms, MeteredTerms), "only metered features have counters"
    included, overage, excess, reserved, *rest = values
    count = len(right.grants)
    used = iter(rest[count:])
    caps = tuple(
        next(used) if cap.per == "tenant" or entity_id is not None else 0 for cap in right.terms.caps
    )
    drawn, got = carrying.read(right, used) if right.rollover else ((), ())
    return Levels(
        included=included,
        overage=overage,
        excess=excess,
        reserved=reserved,
        caps=caps,
        grants=tuple(rest[:count]),
        rollover=drawn,
        carried=got,
    )


def after(right: Right, entity_id: str | None, before: Levels, measured: int, *, held: bool) -> Values | None:
    """The values of `want` after a use of so much, or a hold; None where more than these levels tells.

    That is where something rolls over, and of a meter with a level, which may not have grown.
    """
    feature, terms = right.feature, right.terms
    if feature is None or feature.is_level() or right.rollover or not isinstance(terms, MeteredTerms):
        return None
    room = balance.capacity(terms, overage=right.has_overage, grants=right.grants, before=right.grants_before)
    drawn = balance.draw(room, before, measured)
    caps = [
        level + measured
        for cap, level in zip(terms.caps, before.caps, strict=True)
        if cap.per == "tenant" or entity_id is not None
    ]
    return (
        before.included + drawn.included,
        before.overage + drawn.overage,
        before.excess + drawn.excess,
        before.reserved + (measured if held else 0),
        *map(sum, zip(before.grants, drawn.grants, strict=True)),
        *caps,
    )


def of_use(right: Right, entity_id: str | None, found: Sequence[int]) -> Levels:
    """The levels that a use found (`store.consuming.Found`), as those of the right."""
    assert isinstance(right.terms, MeteredTerms), "only metered features have counters"
    overage, excess, reserved, *rest = found
    place, count = right.grants_before, len(right.grants)
    used = iter(rest[count + len(right.rollover) + 1 :])
    caps = tuple(
        next(used) if cap.per == "tenant" or entity_id is not None else 0 for cap in right.terms.caps
    )
    if carrying.concerns(right):
        return _of_carried(right, found, caps, tuple(used))
    return Levels(
        included=rest[place],
        overage=overage,
        excess=excess,
        reserved=reserved,
        caps=caps,
        grants=tuple(rest[:place] + rest[place + 1 : count + 1]),
        seen=next(used, 0),  # a unique meter alone has one more
    )


def _of_carried(
    right: Right, found: Sequence[int], caps: tuple[int, ...], carried: tuple[int, ...]
) -> Levels:
    """The same where something rolls over: with the sizes of generations, and what the next period has."""
    overage, excess, reserved, *finite = found
    by_kind: dict[str, list[int]] = {"included": [], "grant": [], "rollover": []}
    for (kind, _), amount in zip(carrying.turns(right), finite, strict=False):
        by_kind[kind].append(amount)
    count = len(right.rollover)
    return Levels(
        included=by_kind["included"][0],
        overage=overage,
        excess=excess,
        reserved=reserved,
        caps=caps,
        grants=tuple(by_kind["grant"]),
        rollover=tuple(reversed(by_kind["rollover"])),
        carried=carried[:count],
        kept=carried[count] if len(carried) > count else 0,
    )
