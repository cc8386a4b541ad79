"""What earlier periods carry, as counters know it: what is read of them, and what the scripts are told."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from policies import rollover
from policies.entitlement import Right
from policies.model import Interval, MeteredTerms
from policies.period import Period
from policies.rollover import Counted
from store import accounts, journal, keyspace
from store.accounts import Carrying

OF_PERIOD = ("i", "o", "l")


def fields(right: Right) -> Iterator[tuple[str, str]]:
    """The counters behind what is carried: the right's generations, then its links, newest first."""
    assert isinstance(right.terms, MeteredTerms), "only metered features have counters"
    count = len(right.rollover)
    if not count:
        return
    window = _window(right.terms.interval, right.period)
    for number in range(1, count + 1):
        yield window, keyspace.generation_field(right.feature_id, number)
    for place, link in enumerate(right.rollover, start=1):
        window = _window(link.interval, link.window)
        for bucket in OF_PERIOD:
            yield window, keyspace.bucket_field(right.feature_id, bucket)
        for number in range(1, count - place + 1):
            field = keyspace.generation_field(right.feature_id, number)
            yield window, field
            yield window, keyspace.late_field(field)


def read(right: Right, values: Iterator[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The values of `fields`, in their order, as what was drawn from each generation and what each got."""
    count = len(right.rollover)
    drawn = tuple(next(values) for _ in range(count))
    counted = []
    for place in range(1, count + 1):
        included, overage, late = next(values), next(values), next(values)
        generations = tuple(next(values) - next(values) for _ in range(count - place))
        counted.append(Counted(drawn=included + overage - late, generations=generations))
    return drawn, rollover.sizes(right.rollover, counted)


def turns(right: Right) -> list[tuple[str, int]]:
    """The finite buckets in the order in which they are drawn: kind, and place among its kind from 0."""
    found = [("grant", place) for place in range(len(right.grants))]
    found.insert(right.grants_before, ("included", 0))
    for place, link in enumerate(right.rollover):
        found.insert(link.before, ("rollover", place))
    return found


def concerns(right: Right) -> bool:
    """Does anything roll over into the right's period, or out of it?"""
    return bool(right.rollover) or right.lasts > 0


def lateness(right: Right, now: datetime) -> rollover.Late:
    """How late is an act of now for the period of the right?"""
    return rollover.lateness(right.period, now) if right.lasts and right.period is not None else 0


def following(right: Right, now: datetime) -> datetime:
    """An instant of the period that follows the right's, if that has begun; else now.

    Of the next one, however long ago it began and whatever has followed since: it has what was carried.
    """
    end = right.period.end if right.period is not None else None
    return end if end is not None and end <= now else now


def of(right: Right, after: Right, now: datetime) -> Carrying | None:
    """What the scripts are told of a right whose period acts of now move.

    `after` holds in the next period, if that has begun; else it is any. Nothing is carried yet into a period
    that is still to begin.
    """
    if not concerns(right):
        return None
    assert right.period is not None, "a metered right has a period"
    late, begun = lateness(right, now), right.period.start <= now
    ends = journal.microseconds(right.period.end) if right.period.end is not None else 0
    links = tuple(_link(link, link.window, begun=begun) for link in right.rollover)
    into = None
    if late and after.rollover and after.rollover[0].window == right.period:
        assert isinstance(after.terms, MeteredTerms), "what is carried is carried into a period"
        own = msgspec.structs.replace(after.rollover[0], lasts=len(after.rollover))
        into = msgspec.structs.replace(
            _link(own, own.window), window=_window(after.terms.interval, after.period)
        )
    return Carrying(links, ends, late, into)


def _link(link: rollover.Link, span: Period, *, begun: bool = True) -> accounts.Link:
    most = link.max if begun else 0
    return accounts.Link(_window(link.interval, span), link.included, most, link.lasts)


def _window(interval: Interval, span: Period | None) -> str:
    assert span is not None, "a metered right has a period"
    return keyspace.window(interval, span)
