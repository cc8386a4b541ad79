"""What would a tenant owe for its present billing period if it ended now, line by line?

From the facts in Postgres and the counters as they stand: usage up to now, and prices for the whole period by
what is known of it, scheduled changes included. Nothing is stored, and nothing is charged by it.
"""

from datetime import datetime

import msgspec

from policies import entitlement, errors, money, quantity
from policies.entitlement import Right, Snapshot
from policies.model import Offer, Versions
from policies.rating import bill, words
from policies.rating.bill import Account
from policies.rating.lines import Kind, Line
from policies.rating.overage import Use
from policies.rating.periods import Rated, Resolve
from policies.subscription import Subscription
from service.context import Context
from service.usecases import carrying, check, levels, subscribe, tenants
from service.usecases.subscription_view import PeriodView
from store import keyspace
from store.certify import COUNTER_LIFE
from store.link import RedisAwayError
from store.reading import FenceClosedError, Want

Number = int | str


class LineView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One amount, with all that it was worked out from; it is rounded once, half to even.

    A price (`plan`, `addon`) is unitAmount * quantity * days / ofDays. `overage` is unitAmount * quantity, or
    unitAmount * packages, and flatAmount * flats. `minimum` is what its feature periods lacked of it in all.
    """

    kind: Kind
    description: str
    """For people."""
    version: str
    """The plan or add-on version that says the price."""
    source: str
    """The line of the plan files that says it."""
    feature_id: str | None
    """None of a price."""
    period: PeriodView
    """The billing period of a price; of overage from the first of its feature periods to the last."""
    periods: int
    """Feature periods that are added up here, each with its own tiers."""
    quantity: Number
    """Times that a price is held; overage in the feature's unit."""
    days: int | None
    """Of the period that the price was held."""
    of_days: int | None
    packages: int | None
    """How many were begun, where overage is sold in packages."""
    package_size: Number | None
    tier: int | None
    """By number, from 1; None where there are no tiers."""
    tier_above: Number | None
    """The tier begins above so many units."""
    tier_up_to: Number | None
    """It ends with this one; None is without end."""
    unit_amount: str
    """The price as the plan says it, a decimal number of major units."""
    flat_amount: str
    """Charged once for each feature period that reached the tier."""
    flats: int
    """How many times that was."""
    amount: int
    """In minor units of the currency."""


class Preview(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What would be owed. Amounts are whole minor units: `total` 4900 with `digits` 2 is 49.00."""

    tenant_id: str
    subscription_id: str
    plan_id: str
    """The plan that holds; of a subscription that is over the last, of one to come the first."""
    plan_version: str
    period: PeriodView
    """The billing period."""
    usage_period: PeriodView
    """Feature periods that end in it are on the bill: the billing period, of a year its present month."""
    currency: str
    digits: int
    """Digits after the point of the currency's major unit."""
    lines: list[LineView]
    total: int
    """What the lines add up to."""
    as_of: datetime
    """Usage up to this instant; a preview later may tell more."""


async def of_tenant(context: Context, tenant_id: str) -> Preview:
    """The preview of the billing period of now; of an ended subscription its last, of a pending its first.

    Errors: NotFoundError without tenant or subscription; ConflictError where no bill can be made, or not any
    more; UnavailableError, also when the counters cannot be believed.
    """
    await context.catalogs.refresh()
    offer, now = check.active_offer(context), context.clock.now()
    snapshot = await context.snapshots.load(tenant_id)
    if not snapshot.known:
        raise tenants.unknown(tenant_id)
    versions = await context.catalogs.need(*entitlement.named(snapshot, offer))
    account = bill.account(_held(snapshot, now), versions, now)
    _refuse_forgotten(account, now)
    rated = _rated(account, snapshot, offer, versions, now)
    lines = account.lines(await _uses(context, tenant_id, rated))
    return _preview(tenant_id, account, lines, now)


def _held(snapshot: Snapshot, now: datetime) -> Subscription:
    held = entitlement.stood_on(snapshot, now) or next(reversed(snapshot.subscriptions), None)
    if held is None:
        raise subscribe.none(snapshot.tenant_id)
    return held


def _refuse_forgotten(account: Account, now: datetime) -> None:
    """Counters that are gone read as zero, and would make a bill that is too low.

    Those of the present usage period are there, and those of feature periods that ended in it.
    """
    if now >= account.usage_period.start + COUNTER_LIFE:
        raise errors.ConflictError(
            f"The last usage of this subscription is on a bill until {account.usage_period.end:%Y-%m-%d}; "
            "its counters are not kept any more."
        )


def _rated(
    account: Account, snapshot: Snapshot, offer: Offer, versions: Versions, now: datetime
) -> list[Rated]:
    """The feature periods on the bill, feature by feature."""
    found: list[Rated] = []
    for feature_id in entitlement.featured(snapshot, offer, versions):
        found += account.rated(_resolve(snapshot, offer, versions, feature_id), now)
    return found


def _resolve(snapshot: Snapshot, offer: Offer, versions: Versions, feature_id: str) -> Resolve:
    def right(at: datetime) -> Right:
        return entitlement.resolve(snapshot, offer=offer, versions=versions, feature_id=feature_id, at=at)

    return right


async def _uses(context: Context, tenant_id: str, rated: list[Rated]) -> list[Use]:
    """What the counters make of each period."""
    try:
        found = await context.counters.read([Want(tenant_id, _fields(one)) for one in rated])
    except (RedisAwayError, FenceClosedError) as error:
        raise errors.UnavailableError("The counters cannot be read now.", retry_after_s=2) from error
    return [_use(one, read.values) for one, read in zip(rated, found, strict=True)]


def _fields(one: Rated) -> tuple[tuple[str, str], ...]:
    """Included, overage, what is held of it, and what went on into the next period."""
    included, overage, *_ = levels.of_period(one.right)
    window, field = overage
    held = (window, keyspace.reserved_field(field))
    return (included, overage, held, *(carrying.fields(one.after) if one.after else ()))


def _use(one: Rated, values: tuple[int, ...]) -> Use:
    included, overage, reserved, *rest = values
    if one.after is None:
        return one.use(included, overage, reserved)
    amounts = zip(*carrying.read(one.after, iter(rest)), strict=True)
    return one.use(included, overage, reserved, [max(drawn, got) for drawn, got in amounts])


def _preview(tenant_id: str, account: Account, lines: tuple[Line, ...], now: datetime) -> Preview:
    plan, period, usage = account.plan, account.period, account.usage_period
    return Preview(
        tenant_id=tenant_id,
        subscription_id=account.subscription.id,
        plan_id=plan.plan_id,
        plan_version=plan.version,
        period=PeriodView(start=period.start, end=period.end),
        usage_period=PeriodView(start=usage.start, end=usage.end),
        currency=plan.currency,
        digits=money.DIGITS[plan.currency],
        lines=[_line(line) for line in lines],
        total=bill.total(lines),
        as_of=now,
    )


def _line(line: Line) -> LineView:
    def number(scaled: int | None) -> Number | None:
        return None if scaled is None else quantity.render(scaled, line.decimals)

    return LineView(
        kind=line.kind,
        description=words.described(line),
        version=line.version,
        source=line.source,
        feature_id=line.feature_id,
        period=PeriodView(start=line.period.start, end=line.period.end),
        periods=line.periods,
        quantity=quantity.render(line.quantity, line.decimals),
        days=line.days,
        of_days=line.of_days,
        packages=line.packages,
        package_size=number(line.size),
        tier=line.tier,
        tier_above=number(line.above),
        tier_up_to=number(line.up_to),
        unit_amount=line.unit_amount,
        flat_amount=line.flat_amount,
        flats=line.flats,
        amount=line.amount,
    )
