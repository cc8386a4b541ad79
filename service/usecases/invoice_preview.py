"""What would a tenant owe for its present billing period if it ended now, line by line?

From the facts in Postgres and the counters as they stand: usage up to now, and prices for the whole period by
what is known of it, scheduled changes included. Nothing is stored, and nothing is charged by it.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from policies import errors, limits, money
from policies.rating import bill, days, frozen, settle
from policies.rating.bill import Account
from policies.rating.days import Billed
from policies.rating.lines import Line
from policies.rating.overage import Use
from policies.rating.periods import Rated
from policies.rating.settle import Payable
from policies.snapshot import Snapshot
from policies.subscription import Subscription
from service.context import Context
from service.usecases import adjusting, check, issuing, line_view, rated, subscribe, tenants, weighing
from service.usecases.line_view import LineView
from service.usecases.rated import Known
from service.usecases.subscription_view import PeriodView
from store import closing, invoices, postgres, snapshot_source
from store.certify import COUNTER_LIFE
from store.link import RedisAwayError
from store.reading import FenceClosedError


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
    async with postgres.transaction(context.pool) as connection:
        snapshot = await snapshot_source.read(connection, tenant_id, now=now, phases=limits.PHASES_BILLED)
    if not snapshot.known:
        raise tenants.unknown(tenant_id)
    known = Known(snapshot, offer, await context.catalogs.need(*snapshot.named(offer)))
    held = _held(snapshot, now)
    async with postgres.transaction(context.pool) as connection:
        far = await closing.account(connection, tenant_id, held.id)
        account = bill.account(
            held,
            known.versions,
            now,
            closed_until=far.closed_until if far else None,
            billed_from=far.billed_from if far else None,
        )
        _refuse_forgotten(account, now)
        rated_periods = rated.of_account(account, known, now)
        earlier = await _earlier(connection, account, known, rated_periods, now)
    uses = await _uses(context, known, rated_periods, earlier.late)
    payable = issuing.payable(context, account.plan.currency)
    return _preview(tenant_id, account, _lines(account, uses, earlier, payable), now)


class _Earlier(msgspec.Struct, frozen=True):
    """What Postgres knows that bears on the bill: of earlier ones, and of what came late."""

    charged: Billed
    late: rated.Late
    adjusted: adjusting.Adjusted
    balance: int


async def _earlier(
    connection: postgres.Connection,
    account: Account,
    known: Known,
    rated_periods: Sequence[Rated],
    now: datetime,
) -> _Earlier:
    name = (known.snapshot.tenant_id, account.subscription.id)
    since = {name: account.usage_period.start} if weighing.goes_on(account) else {}
    charged = await closing.charged_prices(connection, since)
    late = rated.Late(await weighing.uncounted(connection, rated_periods, now))
    noted = await closing.late(connection, [name])
    adjusted = await adjusting.adjusted(connection, known, account.holdings, noted, now)
    balances = await invoices.balances(connection, [name[0]])
    balance = balances.get((name[0], account.plan.currency), 0)
    return _Earlier(days.billed(charged.get(name, ())), late, adjusted, balance)


def _lines(account: Account, uses: Sequence[Use], earlier: _Earlier, payable: Payable) -> tuple[Line, ...]:
    """As they would stand on an invoice: with what came late for earlier ones, and what they carried over."""
    lines = account.lines(uses, earlier.charged)
    currency, span = account.plan.currency, account.usage_period
    adjusted = frozen.by_currency(earlier.adjusted.lines).get(currency, ())
    settled = settle.settled((*lines, *adjusted), currency, span, balance=earlier.balance, payable=payable)
    return lines if settled is None else settled.lines


def _held(snapshot: Snapshot, now: datetime) -> Subscription:
    held = snapshot.stood_on(now) or next(reversed(snapshot.subscriptions), None)
    if held is None:
        raise subscribe.none(snapshot.tenant_id)
    return held


def _refuse_forgotten(account: Account, now: datetime) -> None:
    """Counters that are gone read as zero, and would make a bill that is too low.

    Those of the present usage period are there, and those of feature periods that ended in it.
    """
    span = account.usage_period
    if now >= span.start + COUNTER_LIFE and span.start != span.end:
        raise errors.ConflictError(
            f"The last usage of this subscription is on a bill until {span.end:%Y-%m-%d}; "
            "its counters are not kept any more."
        )


async def _uses(
    context: Context, known: Known, rated_periods: Sequence[Rated], late: rated.Late
) -> list[Use]:
    """What the counters make of each period."""
    try:
        found = await context.counters.read([rated.want(one) for one in rated_periods])
    except (RedisAwayError, FenceClosedError) as error:
        raise errors.UnavailableError("The counters cannot be read now.", retry_after_s=2) from error
    return [
        rated.use(one, read.values, late.of(one, known.resolve(one.right.feature_id)))
        for one, read in zip(rated_periods, found, strict=True)
    ]


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
        lines=[line_view.of(line) for line in lines],
        total=bill.total(lines),
        as_of=now,
    )
