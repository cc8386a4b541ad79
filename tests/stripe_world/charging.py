"""Tenants with open invoices, a worker that collects them, and what Stripe has of them in the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from integrations.payments import Done, Payments
from jobs import push
from policies import invoice
from policies.charging import seen
from policies.period import Period
from policies.rating.lines import Line
from service.context import Context
from store import charges, invoices, postgres
from store.charges import Attempt, ChargeRow
from store.invoices import BilledTo, Issued, New
from tests.conftest import NOW
from tests.store import ledger
from tests.stripe_world.account import Account

MONTH = Period(NOW - timedelta(days=30), NOW)


async def subscribed(context: Context, tenant_id: str, plan_id: str = "pro") -> None:
    await ledger.subscribed(context, tenant_id, plan_id)


async def issue(context: Context, tenant_id: str, amounts: Sequence[int], *, currency: str = "usd") -> str:
    """An open invoice of these lines; its id."""
    async with postgres.transaction(context.pool) as connection:
        (period_no,) = await postgres.scalars(
            connection,
            b"update billing_accounts set period_no = period_no + 1 where tenant_id = %(tenant_id)s"
            b" returning period_no",
            {"tenant_id": tenant_id},
        )
        (whose,) = await postgres.scalars(
            connection,
            b"insert into billing_periods select tenant_id, subscription_id, period_no, %(start)s, %(end)s,"
            b" %(end)s, '{}' from billing_accounts where tenant_id = %(tenant_id)s returning subscription_id",
            {"tenant_id": tenant_id, "start": MONTH.start, "end": MONTH.end},
        )
        number = await invoices.take_numbers(connection, "invoice", 1)
        (plan_version,) = await postgres.scalars(
            connection,
            b"select plan_version from subscription_phases where tenant_id = %(tenant_id)s",
            {"tenant_id": tenant_id},
        )
        issued = Issued(
            tenant_id=tenant_id, invoice_id=f"inv_{tenant_id}_{period_no}", number=number,
            subscription_id=whose, period_no=period_no, start_at=MONTH.start, end_at=MONTH.end,
            plan_id="pro", plan_version=plan_version, currency=currency, total=sum(amounts),
            issued_at=context.clock.now(), due_at=None, billed_to=BilledTo(name=tenant_id),
        )  # fmt: skip
        lines = [
            (line_of(amount, number, currency, plan_version), f"Line {number}")
            for number, amount in enumerate(amounts, start=1)
        ]
        await invoices.issue(connection, [New(invoice=issued, lines=lines)])
    return issued.invoice_id


def line_of(amount: int, number: int, currency: str, version: str) -> Line:
    return Line(
        kind="plan", version=version, name="Pro", source="plans/pro.yaml:1", period=MONTH,
        quantity=number, unit_amount="1", currency=currency, amount=amount,
    )  # fmt: skip


async def by_hand(context: Context, invoice_id: str, act: invoice.Act) -> None:
    """Somebody says what became of an invoice."""
    async with postgres.transaction(context.pool) as connection:
        found = await invoices.lock(connection, invoice_id)
        assert found is not None
        standing = invoice.moved(found.standing, act, "operator")
        await invoices.write_standing(connection, found, standing, at=context.clock.now(), reason="by hand")


async def charge_of(context: Context, invoice_id: str) -> tuple[ChargeRow, list[Attempt]]:
    async with postgres.transaction(context.pool) as connection:
        (tenant_id,) = await postgres.scalars(
            connection,
            b"select tenant_id from invoices where invoice_id = %(invoice_id)s",
            {"invoice_id": invoice_id},
        )
        found = await charges.find(connection, tenant_id, invoice_id)
        assert found is not None
        return found, await charges.attempts(connection, found)


async def state_of(context: Context, invoice_id: str) -> str:
    """Of our own invoice."""
    async with postgres.transaction(context.pool) as connection:
        found = await invoices.find(connection, invoice_id)
    assert found is not None
    return found.state


async def pushed(context: Context) -> str:
    """One run of the job, at the present instant."""
    return await push.run(ledger.worker(context), context.clock.now())


@dataclass(frozen=True)
class Books:
    """What Stripe has of one invoice of ours."""

    customers: int
    invoices: int
    status: str
    subtotal: int
    lines: dict[str | None, int]
    payments: int
    paid: int


async def books(payments: Payments, tenant_id: str, invoice_id: str) -> Books:
    """Everything that carries our ids, counted in the account itself."""
    since, until = NOW - timedelta(days=1), NOW + timedelta(days=400)
    customers = _all(await payments.browse("customer", since=since, until=until))
    found = _all(await payments.browse("invoice", since=since, until=until))
    ours = [one for one in found if isinstance(one, seen.Invoice) and one.invoice_id == invoice_id]
    whole = [one for one in ours if one.status != "void"]
    lines = _all(await payments.lines(whole[0].ref)) if whole else ()
    paid = [
        one for each in ours for one in _all(await payments.payments(each.ref)) if one.status == "succeeded"
    ]
    return Books(
        customers=len([one for one in customers if one.tenant_id == tenant_id]),
        invoices=len(ours),
        status=whole[0].status if whole else "",
        subtotal=whole[0].subtotal if whole else 0,
        lines={line.line_id: line.amount for line in lines},
        payments=len(paid),
        paid=sum(one.amount for one in paid),
    )


async def strays(account: Account) -> int:
    """Items that hang around in the account and would ride on somebody's next invoice."""
    found = await account.stripe.invoice_items.list_async({"pending": True, "limit": 100})
    return len(found.data)


def _all(outcome):
    assert isinstance(outcome, Done), outcome
    return outcome.value
