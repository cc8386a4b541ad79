"""The books of every bucket, by the model (R14)."""

from datetime import datetime
from typing import NamedTuple

from tests.model.account import Account
from tests.model.carried import PRIORITY, generation
from tests.model.facts import FOREVER, INCLUDED, INCLUDED_PRIORITY, LATE, Grant
from tests.model.ledger import Bucket


class Books(NamedTuple):
    """One bucket as it is shown."""

    bucket: str
    granted: int | None
    used: int
    reserved: int
    expired: int
    carried: int
    remaining: int | None


def of(account: Account, feature: str, now: datetime) -> list[Books]:
    """Every bucket of a feature, in the order in which they are drawn; none where nothing is given."""
    if account.terms(feature, now) is None:
        return []
    span, window = account.period(feature, now), account.window(feature, now)
    own = (INCLUDED_PRIORITY, span.end or FOREVER, span.start, INCLUDED)
    places = [(one.place, _of_grant(account, one, now)) for one in _shown(account, feature, now)]
    included, overage = _of_plan(account, feature, now)
    places.append((own, included))
    links = account.links(feature, now)
    for number, (link, size) in enumerate(zip(links, account.sizes(feature, links), strict=True), start=1):
        bucket = generation(feature, number, window)
        taken, held = account.level(bucket), account.held(bucket)
        granted = max(size, taken)
        left = Books(bucket.kind, granted, taken - held, held, 0, 0, granted - taken)
        places.append(((PRIORITY, link.until, span.start, bucket.kind), left))
    excess, held = (count(Bucket(feature, "excess", window)) for count in (account.level, account.held))
    last = Books("excess", excess, excess - held, held, 0, 0, 0)
    return [*(books for _, books in sorted(places, key=lambda one: one[0])), overage, last]


def _of_plan(account: Account, feature: str, now: datetime) -> tuple[Books, Books]:
    """Included and overage; overage of before the plan grew is used (held) of what it includes now (R15)."""
    terms, window = account.terms(feature, now), account.window(feature, now)
    assert terms is not None
    buckets = [Bucket(feature, kind, window) for kind in (INCLUDED, "overage")]
    (included, held), (overage, held_over) = [(account.level(one), account.held(one)) for one in buckets]
    granted = None if terms.included is None else max(terms.included, included)
    taken = included + overage if granted is None else min(granted, included + overage)
    past = included + overage - taken
    over = min(past, held_over)
    held += held_over - over
    remaining = None if granted is None else granted - taken
    return (
        Books(INCLUDED, granted, taken - held, held, 0, 0, remaining),
        Books("overage", past, past - over, over, 0, 0, 0),
    )


def _of_grant(account: Account, one: Grant, now: datetime) -> Books:
    """Of an ended one what was left has expired; a voided one gave what was drawn from it (R15)."""
    bucket = Bucket(one.feature, one.id)
    held, taken = account.held(bucket), account.level(bucket)
    left, over = one.quantity - taken, one.ends is not None and one.ends <= now
    if over and one.voided == one.ends:
        return Books(one.id, taken, taken - held, held, 0, 0, 0)
    return Books(one.id, one.quantity, taken - held, held, left if over else 0, 0, 0 if over else left)


def _shown(account: Account, feature: str, now: datetime) -> list[Grant]:
    """Those that have begun, and once ended as long as late events may come."""
    return [
        one
        for one in account.grants.values()
        if one.feature == feature
        and one.starts <= now
        and (one.ends is None or (one.ends > now - LATE and one.ends > one.starts))
    ]
