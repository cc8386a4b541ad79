"""A whole life of a tenant, from its trial to its last invoice: its money at Stripe, its rights here."""

import dataclasses
from datetime import timedelta

import pytest

from jobs import announce, look, push
from service.usecases import reconcile
from store import certify
from tests.scenarios.billing import Tenant, told
from tests.scenarios.test_billed_lives import FILES, START
from tests.stripe_world.account import DECLINED
from tests.stripe_world.charging import books


class Life(Tenant):
    """With a card, and with a worker that also collects."""

    def __init__(self, api, context, clock, account) -> None:
        super().__init__(api, context, clock)
        self.account = account

    async def at(self, *instant: int) -> str:
        await super().at(*instant)
        return await self.collects()

    async def collects(self) -> str:
        """Whatever is due is collected, what comes of it is looked at, and decisions hear of it."""
        await self.account.clock(self.clock.now())
        said = await push.run(self.worker, self.clock.now())
        await look.run(self.worker, self.clock.now())
        await announce.run(self.worker, self.clock.now())
        return said

    async def later(self, **time) -> None:
        self.clock.at += timedelta(**time)
        await self.collects()

    async def pays_with(self, card: str = "4242424242424242") -> None:
        (customer,) = (await self.account.stripe.customers.list_async({})).data
        await self.account.card(customer.id, card)

    async def status(self) -> str:
        return (await self.does("GET", "/billing-status"))["status"]

    async def may(self, quantity: int) -> bool:
        body = {"tenantId": self.tenant_id, "featureId": "credits", "quantity": quantity}
        return (await self.api.post("/v1/check", json=body)).json()["allowed"]


@pytest.fixture
async def acme(api, context, clock, publish, account, payments):  # noqa: PLR0917 - fixtures
    clock.at = START
    days = "grace: {days: 7}\nrestricted: {days: 14}\n"
    await publish(FILES | {"plans/solo.yaml": FILES["plans/solo.yaml"].replace("trial:", f"{days}trial:")})
    await certify.certify(context.pool, context.counters.link, now=START)
    return Life(api, dataclasses.replace(context, payments=payments), clock, account)


async def test_trial_paid_upgrade_failure_grace_restricted_paid_downgrade_cancelled(acme, payments):
    await acme.subscribes("solo", trial=True)
    await acme.collects()
    assert not await acme.may(101), "no overage in a trial"
    await acme.at(2026, 11, 20)
    await acme.reports("credits", 140)
    await acme.at(2026, 12, 1, 1)
    assert await acme.status() == "grace", "there is no card yet"
    await acme.pays_with()
    await acme.later(days=2)
    assert await acme.status() == "good"

    await acme.at(2026, 12, 10, 12)
    await acme.moves("team")
    await acme.pays_with(DECLINED)
    await acme.at(2027, 1, 1, 1)
    statuses = []
    for days in (0, 2, 4.9, 0.2, 6):
        await acme.later(days=days)
        statuses.append((await acme.status(), await acme.may(200), await acme.may(201)))
    assert statuses == [
        ("grace", True, True), ("grace", True, True), ("grace", True, True),
        ("restricted", True, False), ("restricted", True, False),
    ]  # fmt: skip
    await acme.pays_with()
    await acme.later(days=1)
    assert (await acme.status(), await acme.may(201)) == ("good", True)

    await acme.at(2027, 1, 20)
    await acme.moves("solo", when="renewal")
    await acme.at(2027, 2, 1, 1)
    await acme.at(2027, 2, 10, 6)
    await acme.does("POST", "/subscription/cancel", when="now")
    await acme.at(2027, 2, 10, 7)
    assert (await acme.status(), await acme.may(1)) == ("ended", False)

    issued = await acme.invoices()
    assert [told(one) for one in issued] == [
        [("Solo, 16 of 30 days", 800), ("Credits, past what is included", 60)],
        [("Solo, 9 of 31 days", 435), ("Team, 22 of 31 days", 2_129)],
        [("Team", 3_000)],
        [("Solo, 10 of 28 days", 536)],
    ]
    for one in issued:
        found = await books(payments, "acme", one["invoiceId"])
        assert (found.invoices, found.payments, found.paid) == (1, 1, one["total"])
        assert one["state"] == "paid"
    await acme.later(hours=1)
    made = await reconcile.make(acme.context, "full", acme.clock.now())
    assert (made.totals, made.unread) == ((), ())
