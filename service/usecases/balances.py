"""What a tenant has left, bucket by bucket, of every metered feature that it has a right to."""

from datetime import datetime

import msgspec

from policies import buckets, decide, entitlement, errors, quantity
from policies.balance import Levels
from policies.buckets import Bucket
from policies.entitlement import Right
from policies.grant import Grant
from service.context import Context
from service.usecases import check, levels, tenants
from store.link import RedisAwayError
from store.reading import FenceClosedError, Want

Number = int | str


class BucketView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One bucket. granted = used + reserved + expired + carried + remaining, in the feature's unit."""

    bucket: str
    """`included`, `overage`, `excess`, or the id of a grant."""
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


class Balances(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a tenant has, feature by feature."""

    tenant_id: str
    balances: list[FeatureBalance]
    as_of: datetime


class _Account(msgspec.Struct, frozen=True):
    """One feature's right, its grants, and the counters of both."""

    right: Right
    grants: tuple[Grant, ...]
    want: Want


async def of_tenant(context: Context, tenant_id: str) -> Balances:
    """The balances as the counters stand now, on the facts that Postgres has now.

    Errors: NotFoundError; UnavailableError, also when the counters cannot be believed.
    """
    await context.catalogs.refresh()
    offer, now = check.active_offer(context), context.clock.now()
    snapshot = await context.snapshots.load(tenant_id)
    if not snapshot.known:
        raise tenants.unknown(tenant_id)
    versions = await context.catalogs.need(*entitlement.named(snapshot, offer))
    accounts = []
    for feature_id in entitlement.featured(snapshot, offer, versions):
        right = entitlement.resolve(snapshot, offer=offer, versions=versions, feature_id=feature_id, at=now)
        if decide.needs_levels(right):
            accounts.append(_account(right, buckets.grants_of(snapshot, feature_id, now)))
    try:
        found = await context.counters.read([account.want for account in accounts])
    except (RedisAwayError, FenceClosedError) as error:
        raise errors.UnavailableError("The counters cannot be read now.", retry_after_s=2) from error
    balances = [_balance(account, read.values, now) for account, read in zip(accounts, found, strict=True)]
    return Balances(tenant_id=tenant_id, balances=balances, as_of=now)


def _account(right: Right, grants: tuple[Grant, ...]) -> _Account:
    fields = (*levels.of_period(right), *(levels.of_grant(one) for one in grants))
    return _Account(right, grants, Want(right.tenant_id, fields))


def _balance(account: _Account, values: tuple[int, ...], now: datetime) -> FeatureBalance:
    included, overage, excess, reserved, *rest = values
    used = {one.id: value for one, value in zip(account.grants, rest, strict=True)}
    held = Levels(included=included, overage=overage, excess=excess, reserved=reserved)
    decimals = account.right.feature.decimals if account.right.feature else 0
    return FeatureBalance(
        feature_id=account.right.feature_id,
        buckets=[_view(one, decimals) for one in buckets.of(account.right, held, account.grants, used, now)],
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
