"""What a tenant has left, bucket by bucket, of every metered feature that it has a right to."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import msgspec

from policies import buckets, decide, entitlement, errors, quantity, rollover
from policies.balance import Levels
from policies.buckets import Bucket
from policies.entitlement import Right
from policies.grant import Grant
from policies.snapshot import Snapshot
from service.context import Context
from service.usecases import carrying, check, levels, tenants
from store import keyspace
from store.link import RedisAwayError
from store.reading import FenceClosedError, Want

Number = int | str
PERIOD: Final = len(levels.BUCKETS)


class BucketView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One bucket. granted = used + reserved + expired + carried + remaining, in the feature's unit."""

    bucket: str
    """`included`, `overage`, `excess`, `rollover` (and `rollover-2` ...), or the id of a grant."""
    priority: int | None
    """Lower draws first; None for overage and excess, which come last."""
    granted: Number | None
    """None is without end."""
    used: Number
    reserved: Number
    expired: Number
    carried: Number
    remaining: Number | None
    """None is without end."""
    effective_at: datetime
    expires_at: datetime | None
    """Where it stops to be drawn from; None is never."""


class FeatureBalance(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The buckets of one feature, in the order in which they are drawn."""

    feature_id: str
    buckets: list[BucketView]
    previous: list[BucketView]
    """The buckets of the period before, if something of it may be carried into this one."""


class Balances(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a tenant has, feature by feature."""

    tenant_id: str
    balances: list[FeatureBalance]
    as_of: datetime


class Account(msgspec.Struct, frozen=True):
    """One feature's right, its grants, and the counters of both."""

    right: Right
    grants: tuple[Grant, ...]
    want: Want
    before: Right | None
    """What held at the end of the period before, if something of it is carried."""
    want_before: Want

    @property
    def wants(self) -> tuple[Want, Want]:
        """All counters that its books are made of."""
        return self.want, self.want_before


async def of_tenant(context: Context, tenant_id: str) -> Balances:
    """The balances as the counters stand now, on the facts that Postgres has now.

    Errors: NotFoundError; UnavailableError, also when the counters cannot be believed.
    """
    await context.catalogs.refresh()
    now = context.clock.now()
    snapshot = await context.snapshots.load(tenant_id)
    if not snapshot.known:
        raise tenants.unknown(tenant_id)
    accounts = await accounts_of(context, snapshot, now)
    try:
        found = iter(await context.counters.read([want for one in accounts for want in one.wants]))
    except (RedisAwayError, FenceClosedError) as error:
        raise errors.UnavailableError("The counters cannot be read now.", retry_after_s=2) from error
    balances = [_balance(account, next(found).values, next(found).values, now) for account in accounts]
    return Balances(tenant_id=tenant_id, balances=balances, as_of=now)


async def accounts_of(context: Context, snapshot: Snapshot, now: datetime) -> list[Account]:
    """Every metered feature that a tenant has a right to, with the counters that its books are made of."""
    offer = check.active_offer(context)
    versions = await context.catalogs.need(*snapshot.named(offer))
    accounts = []
    for feature_id in snapshot.featured(offer, versions):
        held = partial(entitlement.resolve, snapshot, offer=offer, versions=versions, feature_id=feature_id)
        right = held(at=now)
        if decide.needs_levels(right):
            before = held(at=_last_instant(right)) if right.rollover else None
            accounts.append(_account(right, buckets.grants_of(snapshot, feature_id, now), before))
    return accounts


def _last_instant(right: Right) -> datetime:
    """Of the period before the right's.

    That period's own end may be later: where no plan had the feature for a while, it ends with that gap, in
    which nothing is counted.
    """
    assert right.period is not None, "what something is carried into is a period"
    return right.period.start - timedelta(microseconds=1)


def _account(right: Right, grants: tuple[Grant, ...], before: Right | None) -> Account:
    fields = (*levels.of_period(right), *(levels.of_grant(one) for one in grants), *carrying.fields(right))
    ended = (*levels.of_period(before), *carrying.fields(before)) if before else ()
    return Account(
        right=right,
        grants=grants,
        want=Want(right.tenant_id, (*fields, *_held_fields(right, grants).values())),
        before=before,
        want_before=Want(right.tenant_id, (*ended, *(_held_fields(before).values() if before else ()))),
    )


def _held_fields(right: Right, grants: Sequence[Grant] = ()) -> dict[str, tuple[str, str]]:
    """The counters of what open reservations hold, by the names of the buckets."""
    included, overage, *_ = levels.of_period(right)
    window, _ = included
    counted = {"included": included, "overage": overage} | {one.id: levels.of_grant(one) for one in grants}
    for number in range(1, len(right.rollover) + 1):
        counted[rollover.name(number)] = window, keyspace.generation_field(right.feature_id, number)
    return {name: (place, keyspace.reserved_field(field)) for name, (place, field) in counted.items()}


def _balance(
    account: Account, values: tuple[int, ...], ended: tuple[int, ...], now: datetime
) -> FeatureBalance:
    books, previous = books_of(account, values, ended, now)
    decimals = account.right.feature.decimals if account.right.feature else 0
    return FeatureBalance(
        feature_id=account.right.feature_id,
        buckets=[_view(one, decimals) for one in books],
        previous=[_view(one, decimals) for one in previous],
    )


def books_of(
    account: Account, values: tuple[int, ...], ended: tuple[int, ...], now: datetime
) -> tuple[Sequence[Bucket], Sequence[Bucket]]:
    """The books of a feature by the values of both its wants: those of its period, and of the one before."""
    grants, count = account.grants, len(account.grants)
    values, held = _apart(values, _held_fields(account.right, grants))
    used = {one.id: value for one, value in zip(grants, values[PERIOD:], strict=False)}
    counted = _levels(account.right, (*values[:PERIOD], *values[PERIOD + count :]))
    books = buckets.with_reserved(buckets.of(account.right, counted, grants, used, now), held)
    return books, _previous(account, counted, ended)


def _apart(
    values: tuple[int, ...], held: dict[str, tuple[str, str]]
) -> tuple[tuple[int, ...], dict[str, int]]:
    """The levels, and behind them what is held of each bucket."""
    count = len(values) - len(held)
    return values[:count], dict(zip(held, values[count:], strict=True))


def _previous(account: Account, counted: Levels, ended: tuple[int, ...]) -> Sequence[Bucket]:
    before = account.before
    if before is None:
        return ()
    values, held = _apart(ended, _held_fields(before))
    got = [max(amounts) for amounts in zip(counted.carried, counted.rollover, strict=True)]
    books = buckets.of_ended(before, _levels(before, values), account.right.rollover[0], got)
    return buckets.with_reserved(books, held)


def _levels(right: Right, values: tuple[int, ...]) -> Levels:
    """Those of a period and of what was carried into it."""
    included, overage, excess, reserved, *rest = values
    drawn, got = carrying.read(right, iter(rest))
    return Levels(
        included=included, overage=overage, excess=excess, reserved=reserved, rollover=drawn, carried=got
    )


def _view(bucket: Bucket, decimals: int) -> BucketView:
    def number(scaled: int) -> Number:
        return quantity.render(scaled, decimals)

    return BucketView(
        bucket=bucket.bucket,
        priority=bucket.priority,
        granted=None if bucket.granted is None else number(bucket.granted),
        used=number(bucket.used),
        reserved=number(bucket.reserved),
        expired=number(bucket.expired),
        carried=number(bucket.carried),
        remaining=None if bucket.remaining is None else number(bucket.remaining),
        effective_at=bucket.effective_at,
        expires_at=bucket.expires_at,
    )
