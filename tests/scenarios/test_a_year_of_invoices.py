"""A year of usage, in time, late, amended, voided: all invoices together are what it comes to at once."""

import os
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from policies import money, period
from store import certify, invoices, postgres
from tests.scenarios.billing import Tenant
from tests.scenarios.test_billed_lives import DAY, FILES, START

END = datetime(2027, 11, 1, tzinfo=UTC)


class Year(Tenant):
    """A tenant that keeps books of its own: what each of its events says by now."""

    def __init__(self, *parts, seed: int) -> None:
        super().__init__(*parts)
        self.chance = random.Random(seed)
        self.events: dict[str, tuple[str, datetime, int]] = {}

    async def uses(self) -> None:
        feature = self.chance.choice(["credits", "calls"])
        now = self.clock.now()
        late = self.chance.choice([0, 0, 0, 0, self.chance.uniform(0, 34)])
        at = max(now - timedelta(days=late), START)
        quantity = self.chance.randint(1, 900) if feature == "credits" else 1
        for event_id in await self.reports_all(feature, quantity, at, 1 if feature == "credits" else 8):
            self.events[event_id] = (feature, at, quantity)

    async def thinks_again(self) -> None:
        if not self.events:
            return
        event_id = self.chance.choice([*self.events])
        feature, at, _ = self.events[event_id]
        if feature == "calls" or self.chance.random() < 0.5:
            await self.revises(event_id, "void")
            del self.events[event_id]
        else:
            quantity = self.chance.randint(1, 400)
            await self.revises(event_id, "amend", quantity=quantity)
            self.events[event_id] = (feature, at, quantity)

    def owed(self) -> int:
        """The slow rule: every month, and every day of calls, from the events alone."""
        used = Counter[tuple[str, datetime]]()
        for feature, at, quantity in self.events.values():
            interval = "month" if feature == "credits" else "day"
            used[feature, _period(at, interval).start] += quantity
        total, calls = 12 * 3_000, Counter[datetime]()
        for (feature, start), quantity in used.items():
            if feature == "calls":
                calls[_period(start, "month").start] += max(0, quantity - 10)
            else:
                over = max(0, quantity - 200)
                total += 10 * min(over, 1_000)
                total += 8 * (over - 1_000) + 500 if over > 1_000 else 0
        return total + sum(money.rounded(Fraction(2) * units) for units in calls.values())


def _period(at, interval):
    return period.containing(at, interval=interval, anchor="subscription", anchored_at=START)


SEEDS = range(1, 30) if os.environ.get("METERGATE_HYPOTHESIS") == "nightly" else (1,)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_year_of_invoices_adds_up_to_the_events(api, context, clock, publish, seed):
    clock.at = START
    await publish(FILES)
    await certify.certify(context.pool, context.counters.link, now=START)
    acme = Year(api, context, clock, "acme", seed=seed)
    await acme.subscribes("team")
    clock.at += timedelta(minutes=1)
    while clock.at < END - 7 * DAY:
        await acme.uses()
        if acme.chance.random() < 0.25:
            await acme.thinks_again()
        clock.at += timedelta(days=acme.chance.uniform(1, 8))
        if acme.chance.random() < 0.5:
            await acme.jobs()
    clock.at = END - timedelta(hours=1)
    await acme.does("POST", "/subscription/cancel", when="periodEnd")
    clock.at = END + timedelta(hours=1)
    assert "invoices" in await acme.jobs()
    clock.at = END + 20 * DAY
    for _ in range(3):
        await acme.thinks_again()
    clock.at = END + 36 * DAY
    assert (await acme.jobs()).startswith("1 periods")
    issued = await acme.invoices()
    async with postgres.transaction(context.pool) as connection:
        balance = (await invoices.balances(connection, ["acme"])).get(("acme", "usd"), 0)
    assert any(line["adjustment"] for one in issued for line in one["lines"])
    assert sum(one["total"] for one in issued) + balance == acme.owed()
    assert [one["number"] for one in issued] == [f"INV-{n:06}" for n in range(1, len(issued) + 1)]
