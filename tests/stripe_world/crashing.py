"""A worker that dies at a numbered step: before a request is sent, or after it was carried out unheard."""

import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from integrations.payments import Payments
from service.context import Context
from store import postgres
from tests.stripe_world.account import Account
from tests.stripe_world.charging import Books, books, charge_of, issue, pushed, state_of, subscribed

VERBS = ("add_customer", "draft", "add_line", "drop_line", "finalize", "pay", "find_customers")
VERBS += ("find_invoices", "lines", "payments", "fetch", "credit", "browse")
LINES = [4900, 1234, 250]
PAID = Books(
    customers=1, invoices=1, status="paid", subtotal=6384, lines={"1": 4900, "2": 1234, "3": 250},
    payments=1, paid=6384,
)  # fmt: skip
STEPS = 20
"""Twice the requests that an invoice of three lines takes: each has a before and an after."""


class DiedError(Exception):
    """The process is gone."""


async def die() -> None:
    """The process is gone."""
    raise DiedError


class Stepped:
    """A provider to whose caller something happens at a step: odd ones are before a request, even after."""

    def __init__(self, payments: Payments, at: int, happens: Callable[[], Awaitable[None]] = die) -> None:
        self._payments = payments
        self._left = at
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._payments, name)
        if name not in VERBS:
            return found

        async def verb(*args: Any, **named: Any) -> Any:
            await self._step()
            answer = await found(*args, **named)
            await self._step()
            return answer

        return verb

    async def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            await self._happens()


async def trial(
    billing: Context, account: Account, tenant_id: str, crashes: list[int], *, keys_expire: bool
) -> None:
    """An invoice of a new tenant whose worker dies at these steps, each counted from where the last one died.

    Between two lives there is a minute, in which nobody holds the tenant any more, or a day, in which the
    provider forgets its keys. In the end all must be as if nobody had died.
    """
    assert billing.payments is not None
    await subscribed(billing, tenant_id)
    invoice_id = await issue(billing, tenant_id, LINES)
    for step in crashes:
        dying: Any = Stepped(billing.payments, step)
        with contextlib.suppress(DiedError):
            await pushed(replace(billing, payments=dying))
        await _with_a_card(billing, account, tenant_id)
        await _pass(billing, account, keys_expire=keys_expire)
    for _ in range(6):
        await _with_a_card(billing, account, tenant_id)
        await pushed(billing)
        if await state_of(billing, invoice_id) == "paid":
            break
        await _pass(billing, account, keys_expire=False, minutes=60 * 24 * 5)
    found = await books(billing.payments, tenant_id, invoice_id)
    assert found == PAID, (tenant_id, crashes, keys_expire, found)
    charge, _ = await charge_of(billing, invoice_id)
    assert charge.state == "paid", (tenant_id, crashes, keys_expire)


def random_crashes(rng: random.Random) -> list[int]:
    """Up to six deaths, somewhere."""
    return [rng.randint(1, STEPS) for _ in range(rng.randint(1, 6))]


async def _pass(billing: Context, account: Account, *, keys_expire: bool, minutes: int = 2) -> None:
    if keys_expire:
        await account.forget_keys()
        minutes = 60 * 25
    clock: Any = billing.clock
    clock.at += timedelta(minutes=minutes)
    await account.clock(clock.at)


async def _with_a_card(billing: Context, account: Account, tenant_id: str) -> None:
    """The customer gives a card as soon as there is a customer."""
    async with postgres.transaction(billing.pool) as connection:
        refs = await postgres.scalars(
            connection,
            b"select customer_ref from payers where tenant_id = %(tenant_id)s and customer_ref is not null",
            {"tenant_id": tenant_id},
        )
    for ref in refs:
        await account.card(ref)
