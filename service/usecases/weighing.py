"""What do closed periods come to? Their feature periods, counters, late events and earlier bills as lines."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from policies.model import PlanVersion
from policies.period import Period
from policies.rating import bill, days
from policies.rating import holdings as holding
from policies.rating.bill import Account
from policies.rating.days import Billed
from policies.rating.lines import Line
from policies.rating.overage import Use
from policies.rating.periods import Rated
from policies.subscription import Subscription
from service.usecases import adjusting, rated
from service.usecases.adjusting import Adjusted
from service.usecases.rated import Known
from store import closing, postgres
from store.closing import Name


class Work(msgspec.Struct, kw_only=True):
    """A subscription whose period is to be closed, and what is found out about it step by step."""

    account: closing.Account
    known: Known
    held: Subscription
    span: Period | None = None
    """What is closed; without length: what came after the last period."""
    bill: Account | None = None
    """None for a span without length."""
    rated: list[Rated] = []
    uses: list[Use] = []
    adjusted: Adjusted = Adjusted()
    charged: Billed = {}
    """What earlier invoices charged for prices that go on."""
    lines: tuple[Line, ...] = ()

    @property
    def name(self) -> Name:
        """Of the subscription."""
        return self.account.name

    @property
    def plan(self) -> PlanVersion:
        """The one that held last in the period."""
        if self.bill is not None:
            return self.bill.plan
        return self.known.versions.plans[self.held.phases[-1].plan_version]


def prepare(work: Work, now: datetime) -> None:
    """Which feature periods are on the bill.

    Errors: KeyError if a version is missing.
    """
    assert work.span is not None
    if work.span.start != work.span.end:
        work.bill = bill.closing(work.held, work.known.versions, work.span, work.account.billed_from)
        work.rated = rated.of_account(work.bill, work.known, now)


async def read(connection: postgres.Connection, works: Sequence[Work], now: datetime) -> None:
    """What Postgres knows of the usage of all of them, and of what was charged before."""
    every = [one for work in works for one in work.rated]
    values = iter(await closing.counters(connection, [rated.want(one) for one in every]))
    late = rated.Late(await uncounted(connection, every, now))
    for work in works:
        work.uses = list(_used(work, values, late))
    await _adjust(connection, works, now)
    since = {
        work.name: work.span.start
        for work in works
        if work.span is not None and work.bill is not None and goes_on(work.bill)
    }
    charged = await closing.charged_prices(connection, since)
    for work in works:
        work.charged = days.billed(charged.get(work.name, ()))


def _used(work: Work, values: Iterator[Sequence[int]], late: rated.Late) -> Iterator[Use]:
    """The feature periods in which anything was used: of those of an hour there are few."""
    for one in work.rated:
        counted = next(values)
        uncounted = late.of(one, work.known.resolve(one.right.feature_id))
        if uncounted or any(counted):
            yield rated.use(one, counted, uncounted)


def lines(work: Work) -> tuple[Line, ...]:
    """All lines of a period: prices, overage, and what came late for earlier ones.

    Errors: ConflictError where its prices have different currencies.
    """
    own = () if work.bill is None else work.bill.lines(work.uses, work.charged)
    return (*own, *work.adjusted.lines)


def goes_on(account: Account) -> bool:
    """May a price of the bill have been charged before, for days of the same billing period of its own?"""
    sold = [one.plan.interval for one in account.holdings]
    sold += [held.addon.interval for one in account.holdings for held in one.addons]
    return "year" in sold or len(set(sold)) > 1 or account.usage_period.start != account.period.start


async def uncounted(
    connection: postgres.Connection, every: Sequence[Rated], now: datetime
) -> list[closing.Uncounted]:
    """What came too late to move a counter of these feature periods."""
    windows = [one.right.period for one in every if one.right.period is not None]
    if not windows:
        return []
    start, end = min(one.start for one in windows), max(one.end or now for one in windows)
    tenants = sorted({one.right.tenant_id for one in every})
    return await closing.uncounted(connection, tenants, start, end)


async def _adjust(connection: postgres.Connection, works: Sequence[Work], now: datetime) -> None:
    by_name: dict[Name, list[closing.Late]] = {}
    for one in await closing.late(connection, [work.name for work in works]):
        by_name.setdefault((one.tenant_id, one.subscription_id), []).append(one)
    for work in works:
        if work.name in by_name:
            held = holding.of(work.held, work.known.versions)
            work.adjusted = await adjusting.adjusted(connection, work.known, held, by_name[work.name], now)
