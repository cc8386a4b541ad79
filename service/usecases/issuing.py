"""Invoices of what was closed: with ids and numbers, their lines of the ledger, and their audit lines."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from policies import invoice, money
from policies.model import PlanVersion
from policies.period import Period
from policies.rating import settle, words
from policies.rating.frozen import Frozen
from policies.rating.lines import Line
from policies.rating.settle import Payable, Settled
from service.context import Context
from service.usecases import changes
from store import audit, closing, invoices, postgres
from store.crash_points import crash_point
from store.invoices import BilledTo, Entry, Issued, New

ACTOR: Final = "job:close"


def payable(context: Context, currency: str) -> Payable:
    """What the payment provider can collect in a currency; without one any amount."""
    return Payable() if context.payments is None else context.payments.payable(currency)


class Billed(msgspec.Struct, frozen=True, kw_only=True):
    """A period that is over, and what it comes to in its currency or currencies."""

    account: closing.Account
    """As it is once the period is closed."""
    span: Period
    """Without length: what came after the last one."""
    plan: PlanVersion
    lines: Mapping[str, Sequence[Line]]
    """By currency."""
    uses: Frozen
    """The overage behind them."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice before it has a number."""

    billed: Billed
    currency: str
    settled: Settled


def drafts(
    context: Context, billed: Iterable[Billed], balances: Mapping[tuple[str, str], int]
) -> list[Draft]:
    """The invoices of these periods, in their order; what one leaves in the ledger is on the next."""
    ledger = dict(balances)
    found = []
    for one in billed:
        tenant_id = one.account.tenant_id
        waiting = [currency for tenant, currency in ledger if tenant == tenant_id]
        for currency in dict.fromkeys([*one.lines, *waiting]):
            key = (tenant_id, currency)
            settled = settle.settled(
                one.lines.get(currency, ()),
                currency,
                one.span,
                balance=ledger.get(key, 0),
                payable=payable(context, currency),
            )
            if settled is not None:
                ledger[key] = settled.handed_on
                found.append(Draft(billed=one, currency=currency, settled=settled))
    return found


async def issue(
    connection: postgres.Connection,
    made: Sequence[Draft],
    payers: Mapping[str, closing.Payer],
    now: datetime,
) -> list[Issued]:
    """Writes them, with their lines of the ledger and of the audit; takes their numbers last."""
    if not made:
        return []
    first = await invoices.take_numbers(connection, "invoice", len(made))
    crash_point("close-numbered")
    new = [_new(one, payers, number, now) for number, one in enumerate(made, start=first)]
    await invoices.issue(connection, new)
    pairs = zip(new, made, strict=True)
    entries = [entry for one, draft in pairs for entry in _entries(one.invoice, draft.settled)]
    await invoices.enter(connection, entries)
    await audit.append_all(connection, [_line(one) for one in new])
    return [one.invoice for one in new]


def _new(draft: Draft, payers: Mapping[str, closing.Payer], number: int, now: datetime) -> New:
    billed, settled = draft.billed, draft.settled
    account, payer = billed.account, payers[billed.account.tenant_id]
    assert billed.span.end is not None, "billing periods end"
    issued = Issued(
        tenant_id=account.tenant_id,
        invoice_id=changes.new_id("inv", now),
        number=number,
        subscription_id=account.subscription_id,
        period_no=account.period_no,
        start_at=billed.span.start,
        end_at=billed.span.end,
        plan_id=billed.plan.plan_id,
        plan_version=billed.plan.version,
        currency=draft.currency,
        total=settled.total,
        issued_at=now,
        due_at=_due(billed.plan, now),
        billed_to=BilledTo(name=payer.name, email=payer.email),
    )
    return New(
        invoice=issued,
        lines=[(line, words.described(line)) for line in settled.lines],
        state="open" if settled.total else "paid",
        reason="" if settled.total else "There is nothing to pay.",
    )


def _due(plan: PlanVersion, now: datetime) -> datetime | None:
    return None if plan.due_days is None else now + timedelta(days=plan.due_days)


def _entries(issued: Issued, settled: Settled) -> list[Entry]:
    amounts: tuple[tuple[invoices.EntryKind, int], ...] = (
        ("carried-in", -settled.taken_in),
        ("carried-over", settled.handed_on),
    )
    return [
        Entry(
            tenant_id=issued.tenant_id,
            currency=issued.currency,
            at=issued.issued_at,
            amount=amount,
            kind=kind,
            subject=issued.invoice_id,
        )
        for kind, amount in amounts
        if amount
    ]


def _line(new: New) -> audit.Line:
    issued = new.invoice
    return audit.Line(
        at=issued.issued_at,
        actor=ACTOR,
        action="invoice.issue",
        tenant_id=issued.tenant_id,
        subject=issued.invoice_id,
        before=None,
        after={
            "number": invoice.number("invoice", issued.number),
            "subscriptionId": issued.subscription_id,
            "start": issued.start_at,
            "end": issued.end_at,
            "total": money.written(issued.total, issued.currency),
            "currency": issued.currency,
            "lines": len(new.lines),
            "state": new.state,
        },
    )
