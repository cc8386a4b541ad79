"""What became of the units in each bucket of a feature, one by one?

The books of a bucket close at every instant (R14): granted = used + reserved + expired + carried + remaining.
Overage and excess are never granted beforehand: what was used of them is what they gave. All numbers are
scaled integers.

Overage that came before the plan gave more counts against what it includes now, so it is shown as used there
(R15); overage that came before a grant stays overage, since its events could not draw from that grant.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Final

import msgspec

from policies import grant, limits, rollover
from policies.balance import Levels
from policies.entitlement import Right
from policies.grant import INCLUDED_PRIORITY, Grant
from policies.model import MeteredTerms
from policies.period import Period
from policies.rollover import Link
from policies.snapshot import Snapshot

_SHOWN_AFTER_END: Final = timedelta(days=limits.EVENT_AGE_DAYS)


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """One bucket and its books."""

    bucket: str
    """`included`, `overage`, `excess`, `rollover` (and `rollover-2` ...), or the id of a grant."""
    priority: int | None
    """Lower draws first; None for overage and excess, which come last."""
    granted: int | None
    """None is without end."""
    used: int
    reserved: int = 0
    expired: int = 0
    """What was left of a grant when it expired."""
    carried: int = 0
    remaining: int | None
    """None is without end."""
    effective_at: datetime
    expires_at: datetime | None
    """Where it stops to be drawn from; of a grant that was voided that instant."""


def grants_of(snapshot: Snapshot, feature_id: str, at: datetime) -> tuple[Grant, ...]:
    """The grants of a feature that have begun, in draw order; once ended, while late events may come."""
    since = at - _SHOWN_AFTER_END
    return grant.in_draw_order(
        one
        for one in snapshot.grants
        if one.feature_id == feature_id
        and one.effective_at <= at
        and ((end := grant.ends_at(one)) is None or (end > since and end > one.effective_at))
    )


def of(
    right: Right, levels: Levels, grants: Sequence[Grant], used: Mapping[str, int], at: datetime
) -> tuple[Bucket, ...]:
    """The buckets of a metered right in the order in which they are drawn.

    `grants` are in draw order, `used` says what was drawn from each over its life.
    """
    assert right.period is not None, "a metered right has a period"
    included, overage, excess = _of_period(right, levels, right.period)
    before = grant.before_included(grants, right.period)
    found = [_of_grant(one, used[one.id], at) for one in grants]
    found.insert(before, included)
    for number, (link, amounts) in enumerate(_generations(right, levels), start=1):
        lives = Period(right.period.start, link.expires_at)
        ahead = grant.before(grants, rollover.PRIORITY, lives, rollover.name(number))
        found.insert(ahead, _carried(rollover.name(number), lives, *amounts))
    return (*found, overage, excess)


def of_ended(right: Right, levels: Levels, link: Link, handed_on: Sequence[int]) -> tuple[Bucket, ...]:
    """The books of a period that ended, of what later periods may have something of.

    `right` held in it, `link` is what it said at its end, and `handed_on` what the next period got or used of
    its included quantity, then of each of its generations. The rest has expired.
    """
    assert right.period is not None, "a metered right has a period"
    carried = handed_on[0] if handed_on else 0
    used = min(levels.included + levels.overage, max(link.included, levels.included) - carried)
    expired = max(link.included, levels.included) - carried - used
    included = Bucket(
        bucket="included",
        priority=INCLUDED_PRIORITY,
        granted=used + carried + expired,
        used=used,
        expired=expired,
        carried=carried,
        remaining=0,
        effective_at=right.period.start,
        expires_at=right.period.end,
    )
    found = [included]
    for number, (_, (got, drawn)) in enumerate(_generations(right, levels), start=1):
        on = handed_on[number] if number < len(handed_on) else 0
        one = _carried(rollover.name(number), right.period, got, drawn)
        expired = max(got, drawn) - drawn - on
        found.insert(0, msgspec.structs.replace(one, carried=on, expired=expired, remaining=0))
    return (
        *found,
        _given_as_used("overage", levels.included + levels.overage - used, right.period),
        _given_as_used("excess", levels.excess, right.period),
    )


def _generations(right: Right, levels: Levels) -> Iterator[tuple[Link, tuple[int, int]]]:
    """What each earlier period carried, and what was drawn of it."""
    amounts = zip_longest(levels.carried, levels.rollover, fillvalue=0)
    return zip(right.rollover, amounts, strict=False)


def _carried(bucket: str, lives: Period, got: int, drawn: int) -> Bucket:
    granted = max(got, drawn)
    return Bucket(
        bucket=bucket,
        priority=rollover.PRIORITY,
        granted=granted,
        used=drawn,
        remaining=granted - drawn,
        effective_at=lives.start,
        expires_at=lives.end,
    )


def with_reserved(books: Sequence[Bucket], held: Mapping[str, int]) -> tuple[Bucket, ...]:
    """The same books, with what open reservations hold of each bucket told apart from what is used of it.

    Overage that counts against what the plan includes now is held there, as it would be used there.
    """
    over = sum(held.get(one.bucket, 0) - one.used for one in books if one.bucket == "overage")
    moved = max(0, over)
    shift = {"included": moved, "overage": -moved}
    return tuple([_split(one, held.get(one.bucket, 0) + shift.get(one.bucket, 0)) for one in books])


def _split(book: Bucket, reserved: int) -> Bucket:
    return msgspec.structs.replace(book, used=book.used - reserved, reserved=reserved) if reserved else book


def _of_period(right: Right, levels: Levels, span: Period) -> tuple[Bucket, Bucket, Bucket]:
    assert isinstance(right.terms, MeteredTerms), "only metered features have buckets"
    drawn, size = levels.included + levels.overage, right.terms.included
    granted = None if size is None else max(size, levels.included)
    used = drawn if granted is None else min(drawn, granted)
    included = Bucket(
        bucket="included",
        priority=INCLUDED_PRIORITY,
        granted=granted,
        used=used,
        remaining=None if granted is None else granted - used,
        effective_at=span.start,
        expires_at=span.end,
    )
    return (
        included,
        _given_as_used("overage", drawn - used, span),
        _given_as_used("excess", levels.excess, span),
    )


def _given_as_used(bucket: str, used: int, span: Period) -> Bucket:
    return Bucket(
        bucket=bucket,
        priority=None,
        granted=used,
        used=used,
        remaining=0,
        effective_at=span.start,
        expires_at=span.end,
    )


def _of_grant(held: Grant, used: int, at: datetime) -> Bucket:
    end = grant.ends_at(held)
    left = held.quantity - used
    ended = end is not None and end <= at
    expired = left if ended and end == held.expires_at else 0
    remaining = 0 if ended else left
    return Bucket(
        bucket=held.id,
        priority=held.priority,
        granted=used + expired + remaining,  # of a voided one what was drawn: the bucket closed (R15)
        used=used,
        expired=expired,
        remaining=remaining,
        effective_at=held.effective_at,
        expires_at=end,
    )
