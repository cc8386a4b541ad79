"""Closes billing periods that are over, and issues their invoices.

A period is closed once everything that was acknowledged until its grace was over is in Postgres, while nobody
flushes the tenant's shard (R35): what is there is on the invoice, and all that comes later is noted by the
flush and adjusted by the next one. One transaction closes one period of up to limits.CLOSE_BATCH tenants;
killed anywhere, it has closed them or it has not.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from policies import errors, limits, subscription
from policies.model import Offer
from policies.period import Period
from policies.rating import bill, frozen
from policies.snapshot import Snapshot
from policies.subscription import Subscription
from service.context import Context
from service.usecases import check, issuing, weighing
from service.usecases.issuing import Billed, Draft
from service.usecases.rated import Known
from service.usecases.weighing import Work
from store import audit, closing, invoices, postgres, snapshot_source
from store.closing import Due, Moved, Payer
from store.crash_points import crash_point

log = logging.getLogger("metergate.closing")

LATE: Final = timedelta(days=limits.EVENT_AGE_DAYS)
"""How long after the end of a subscription events may come for it: then its last invoice is made."""


class Closed(msgspec.Struct, frozen=True):
    """What was done."""

    periods: int = 0
    invoices: int = 0
    waiting: int = 0
    """Tenants whose period is over, but whose usage is not all in Postgres yet."""
    failed: int = 0
    """Tenants whose period could not be closed; it is tried again after limits.CLOSE_AGAIN_S."""

    def plus(self, other: "Closed") -> "Closed":
        """What both did."""
        return Closed(
            periods=self.periods + other.periods,
            invoices=self.invoices + other.invoices,
            waiting=self.waiting + other.waiting,
            failed=self.failed + other.failed,
        )


async def close_due(context: Context, now: datetime, *, only: str | None = None) -> Closed:
    """Closes every period that is over and has had its grace; with `only`, of that tenant alone.

    Errors: UnavailableError; it is right to run it again.
    """
    await context.catalogs.refresh()
    offer = check.active_offer(context)
    async with postgres.transaction(context.pool) as connection:
        await closing.adopt(connection, now)
    total, left = Closed(), set[str]()
    while True:
        async with postgres.transaction(context.pool) as connection:
            due = await closing.due(connection, now, limit=limits.CLOSE_DUE)
        todo = [one for one in due if one.tenant_id not in left and only in (None, one.tenant_id)]
        if not todo:
            return msgspec.structs.replace(total, waiting=len(left))
        for start in range(0, len(todo), limits.CLOSE_BATCH):
            batch = _Batch(context, offer, now)
            total = total.plus(await batch.close(todo[start : start + limits.CLOSE_BATCH]))
            crash_point("close-committed")
            left |= batch.left


class _Batch:
    """One transaction."""

    def __init__(self, context: Context, offer: Offer, now: datetime) -> None:
        self._context, self._offer, self._now = context, offer, now
        self._grace = timedelta(minutes=context.config.invoice_grace_minutes)
        self._moved: list[Moved] = []
        self._failed = 0
        self.left: set[str] = set()
        """Tenants that are still due afterwards."""

    async def close(self, due: Sequence[Due]) -> Closed:
        """Closes one period of each subscription of these tenants whose period is over."""
        shards = {one.tenant_id: one.shard for one in due}
        async with postgres.transaction(self._context.pool) as connection:
            drained = await closing.lock_shards(connection, {*shards.values()})
            payers = await closing.lock_tenants(connection, [*shards])
            accounts = await closing.lock_accounts(connection, [*shards], self._now)
            crash_point("close-locked")
            self.left = set(shards) - {one.tenant_id for one in accounts}
            looked = await self._look(connection, accounts)
            works = [one for one in looked if self._is_over(one, drained.get(shards[one.account.tenant_id]))]
            works = await self._weighed(connection, works)
            crash_point("close-weighed")
            return await self._write(connection, works, payers)

    async def _look(self, connection: postgres.Connection, accounts: Sequence[closing.Account]) -> list[Work]:
        """The subscriptions, with all that is known of their tenants."""
        tenant_ids = sorted({one.tenant_id for one in accounts})
        texts = await snapshot_source.read_texts(
            connection, tenant_ids, now=self._now, phases=limits.PHASES_BILLED
        )
        by_tenant = {
            one.tenant_id: one for one in (msgspec.json.decode(text, type=Snapshot) for text in texts)
        }
        named = [snapshot.named(self._offer) for snapshot in by_tenant.values()]
        versions = await self._context.catalogs.need(
            {version for plans, _ in named for version in plans},
            {version for _, addons in named for version in addons},
        )
        works = []
        for account in accounts:
            snapshot = by_tenant[account.tenant_id]
            for held in snapshot.subscriptions:
                if held.id == account.subscription_id:
                    known = Known(snapshot, self._offer, versions)
                    works.append(Work(account=account, known=known, held=held))
        return works

    def _is_over(self, work: Work, drained: datetime | None) -> bool:
        """Sets its next period if that has ended and had its grace; else when to look again."""
        span, since = _next(work.held, work.known, work.account.closed_until)
        ripe = None if since is None else since + self._grace
        if ripe is None or ripe > self._now:
            self._moved.append(Moved(work.account, ripe))
            return False
        if drained is None or ripe > drained:
            self.left.add(work.account.tenant_id)
            return False
        work.span = span
        return True

    async def _weighed(self, connection: postgres.Connection, works: Sequence[Work]) -> list[Work]:
        """Those that could be rated, each with what it comes to; one that cannot be holds no other."""
        rated = []
        for work in works:
            try:
                weighing.prepare(work, self._now)
            except (errors.ProblemError, ArithmeticError, AssertionError, LookupError) as error:
                self._fail(work, error)
            else:
                rated.append(work)
        await weighing.read(connection, rated, self._now)
        weighed = []
        for work in rated:
            try:
                work.lines = weighing.lines(work)
            except (errors.ProblemError, ArithmeticError, AssertionError, LookupError) as error:
                self._fail(work, error)
            else:
                weighed.append(work)
        return weighed

    def _fail(self, work: Work, error: Exception) -> None:
        log.error("close: %s of %s cannot be billed: %r", work.held.id, work.account.tenant_id, error)
        again = self._now + timedelta(seconds=limits.CLOSE_AGAIN_S)
        self._moved.append(Moved(work.account, again))
        self._failed += 1

    async def _write(
        self, connection: postgres.Connection, works: Sequence[Work], payers: Mapping[str, Payer]
    ) -> Closed:
        names = [work.name for work in works]
        for work in works:
            for period in work.adjusted.periods:
                await closing.adjust(connection, work.name, period)
        billed = [self._billed(work) for work in works]
        await closing.keep_periods(connection, [_period(one, self._now) for one in billed])
        await closing.forget_late(connection, names)
        await closing.move(connection, self._moved)
        crash_point("close-moved")
        balances = await invoices.balances(connection, sorted({name[0] for name in names}))
        drafts = issuing.drafts(self._context, billed, balances)
        await audit.append_all(connection, _without_invoice(billed, drafts, self._now))
        issued = await issuing.issue(connection, drafts, payers, self._now)
        crash_point("close-issued")
        return Closed(periods=len(works), invoices=len(issued), failed=self._failed)

    def _billed(self, work: Work) -> Billed:
        """The period once it is closed; its account is moved on behind it."""
        assert work.span is not None
        assert work.span.end is not None, "billing periods end"
        after = msgspec.structs.replace(
            work.account, closed_until=work.span.end, period_no=work.account.period_no + 1
        )
        settled = work.span.start == work.span.end
        _, since = (None, None) if settled else _next(work.held, work.known, work.span.end)
        self._moved.append(Moved(after, None if since is None else since + self._grace))
        return Billed(
            account=after,
            span=work.span,
            plan=work.plan,
            lines=frozen.by_currency(work.lines),
            uses=frozen.of(work.uses),
        )


def _next(held: Subscription, known: Known, closed_until: datetime) -> tuple[Period | None, datetime | None]:
    """What is closed next and when that is over; of one that ended, what came after its last period."""
    span = bill.to_close(held, known.versions, closed_until)
    if span is not None:
        return span, span.end
    ended_at = subscription.ends_at(held)
    if ended_at is None:
        return None, None  # it was cancelled before it began
    return Period(ended_at, ended_at), ended_at + LATE


def _period(billed: Billed, now: datetime) -> closing.Period:
    assert billed.span.end is not None, "billing periods end"
    return closing.Period(
        tenant_id=billed.account.tenant_id,
        subscription_id=billed.account.subscription_id,
        period_no=billed.account.period_no,
        start_at=billed.span.start,
        end_at=billed.span.end,
        closed_at=now,
        uses=billed.uses,
    )


def _without_invoice(billed: Sequence[Billed], drafts: Sequence[Draft], now: datetime) -> list[audit.Line]:
    """The audit lines of periods that nothing is owed for; those of the others are their invoices'."""
    with_one = {draft.billed.account.name for draft in drafts}
    return [
        audit.Line(
            at=now,
            actor=issuing.ACTOR,
            action="period.close",
            tenant_id=one.account.tenant_id,
            subject=one.account.subscription_id,
            before=None,
            after={"period": one.account.period_no, "start": one.span.start, "end": one.span.end},
        )
        for one in billed
        if one.account.name not in with_one
    ]
