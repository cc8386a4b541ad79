"""Simulated months of a tenant's payments, decided at each edge: what fails, and what comes of it."""

from datetime import UTC, datetime, timedelta

import pytest

from policies.payment.fact import PaymentFact, Rule
from service import wiring
from service.usecases import check, payment_facts
from service.usecases.check import Check
from store import certify, postgres
from tests.conftest import PATIENT
from tests.scenarios.billing import Tenant
from tests.store import ledger

ACME = "/v1/tenants/acme"
SECOND = timedelta(seconds=1)
RULE = Rule(grace_days=7, restricted_days=14)
VERSION = b"select snapshot_version from tenants where tenant_id = 'acme'"


def day(month: int, number: int, year: int = 2027) -> datetime:
    return datetime(year, month, number, 9, tzinfo=UTC)


class Story:
    """The tenant's doings, and what the provider shows of its payments."""

    def __init__(self, api, context, clock) -> None:
        self.api, self.context, self.clock = api, context, clock

    async def shows(self, kind: str, subject: str, state: str, **rest) -> None:
        """The provider shows this now."""
        now = self.clock.at
        look = PaymentFact(kind=kind, subject=subject, state=state, seen_at=now, since=now, rule=RULE, **rest)
        await payment_facts.note(self.context, ledger.ORDER, "acme", [look])

    async def allowed(self, feature_id: str, quantity: int = 1) -> bool:
        body = {"tenantId": "acme", "featureId": feature_id, "quantity": quantity}
        return (await self.api.post("/v1/check", json=body)).json()["allowed"]

    async def decides(self) -> str:
        """Each letter is a right that there is: included, overage, static, and what is always on."""
        asked = {
            "i": ("ai-tokens", 1), "o": ("api-calls", 1), "s": ("max-projects", 1), "a": ("data-region", 1)
        }  # fmt: skip
        return "".join([letter for letter, one in asked.items() if await self.allowed(*one)])

    async def at_edges(self, *edges: datetime) -> list[tuple[str, str]]:
        """What is decided just before and at each instant."""
        told = []
        for edge in edges:
            self.clock.at = edge - SECOND
            before = await self.decides()
            self.clock.at = edge
            told.append((before, await self.decides()))
        return told

    async def version(self) -> int:
        async with postgres.transaction(self.context.pool) as connection:
            (version,) = await postgres.scalars(connection, VERSION, {})
        return version


@pytest.fixture
async def story(api, context, clock, catalog):
    clock.at = day(1, 1)
    await certify.certify(context.pool, context.counters.link, now=clock.at)
    assert (await api.put(ACME, json={"name": "Acme"})).status_code == 201
    assert (await api.post(f"{ACME}/subscription", json={"planId": "pro"})).status_code == 201
    bought = {"included": 0, "reason": "every call is bought as it is made"}
    assert (await api.put(f"{ACME}/overrides/api-calls", json=bought)).is_success
    return Story(api, context, clock)


async def test_a_payment_fails_runs_its_course_and_is_made_good(story):
    assert await story.decides() == "iosa"
    story.clock.at = day(2, 12)
    await story.shows("invoice", "INV-1", "failed", reason="card declined")
    version = await story.version()
    assert await story.decides() == "iosa"
    assert await story.at_edges(day(2, 14), day(2, 19), day(3, 5)) == [
        ("iosa", "iosa"),
        ("iosa", "isa"),  # restricted: no overage
        ("isa", "a"),  # suspended: what is always on
    ]
    assert await story.version() == version, "edges in time are not written"
    await story.shows("invoice", "INV-1", "paid")
    assert await story.decides() == "iosa"
    assert (await story.at_edges(day(6, 1))) == [("iosa", "iosa")]


async def test_attempts_that_fail_again_extend_nothing(story):
    story.clock.at = day(2, 12)
    await story.shows("invoice", "INV-1", "failed", attempts=1)
    for attempt, at in enumerate((day(2, 14), day(2, 18)), start=2):
        story.clock.at = at
        await story.shows("invoice", "INV-1", "failed", attempts=attempt)
    assert await story.at_edges(day(2, 19), day(3, 5)) == [("iosa", "isa"), ("isa", "a")]


async def test_a_year_in_which_every_third_payment_fails_and_is_made_good_late(story):
    told = []
    for month in range(2, 13):
        story.clock.at = day(month, 1)
        await story.shows("invoice", f"INV-{month}", "failed" if month % 3 == 0 else "paid")
        story.clock.at = day(month, 9)
        told.append(await story.decides())
        await story.shows("invoice", f"INV-{month}", "paid")
        assert await story.decides() == "iosa"
    assert told == ["isa" if month % 3 == 0 else "iosa" for month in range(2, 13)]


async def test_a_dispute_keeps_access_until_it_is_lost_and_settled(story):
    story.clock.at = day(2, 1)
    await story.shows("dispute", "D", "needs_response")
    assert await story.decides() == "isa"
    story.clock.at = day(3, 1)
    await story.shows("dispute", "D", "lost")
    assert await story.decides() == "a"
    await story.shows("dispute", "D", "settled")
    assert await story.decides() == "iosa"


async def test_a_pause_an_end_that_comes_and_a_state_that_nobody_knows(story):
    await story.shows("subscription", "S", "paused:pause_requested")
    assert await story.decides() == "a"
    story.clock.at = day(2, 1)
    await story.shows("subscription", "S", "active", ends_at=day(3, 1))
    assert await story.at_edges(day(3, 1)) == [("iosa", "isa")], "the fallback plan has no overage"
    story.clock.at = day(3, 2)
    await story.shows("subscription", "S", "hibernating")
    assert await story.decides() == "isa"
    view = (await story.api.get(f"{ACME}/billing-status")).json()
    assert view["unknown"] == ["subscription S: hibernating"]


async def test_another_process_decides_by_it_in_its_next_check(story, config, clock):
    async with wiring.open_context(config, clock, PATIENT) as other:
        await other.catalogs.refresh()

        async def decides() -> bool:
            asked = [Check(tenant_id="acme", feature_id="api-calls", quantity=1)]
            (decision,) = await check.check(other, asked)
            return decision.allowed

        assert await decides()
        story.clock.at = day(2, 12)
        await story.shows("invoice", "INV-1", "uncollectible")
        assert not await decides()
        await story.shows("invoice", "INV-1", "paid")
        assert await decides()


async def test_without_a_provider_an_invoice_that_is_not_paid_in_time_runs_its_course(
    api, context, clock, publish, example_files
):
    """The plan says 10 days. A job knows of it a day before, so the status turns at the very instant."""
    pro = example_files["plans/pro.yaml"].replace("grace: {days: 7}", "due: {days: 10}\ngrace: {days: 7}")
    await publish(example_files | {"plans/pro.yaml": pro})
    clock.at = day(1, 1)
    await certify.certify(context.pool, context.counters.link, now=clock.at)
    acme = Tenant(api, context, clock)
    await acme.subscribes("pro")
    await acme.at(2027, 2, 1, 11)
    (issued,) = await acme.invoices()
    due = clock.at + timedelta(days=10)

    async def status() -> tuple[str, str]:
        view = (await api.get(f"{ACME}/billing-status")).json()
        return view["status"], view["message"]

    later = "overage ends on 2027-02-18 11:00 UTC, access ends on 2027-03-04 11:00 UTC"
    clock.at = due - timedelta(hours=3)
    await acme.jobs()
    assert await status() == ("good", f"good, grace begins on 2027-02-11 11:00 UTC, {later}")
    clock.at = due
    assert await status() == ("grace", f"an invoice is overdue (INV-000001) on 2027-02-11 11:00 UTC, {later}")
    await acme.jobs()
    told = (await api.get(f"{ACME}/billing-status/history")).json()["items"]
    assert [(one["kind"], one["state"], one["subject"]) for one in told] == [
        ("invoice", "open", issued["invoiceId"])
    ]
    clock.at = due + timedelta(days=8)
    assert (await status())[0] == "restricted"
    paid = await api.post(f"/v1/invoices/{issued['invoiceId']}/mark-paid", json={"reason": "by wire"})
    assert paid.is_success, paid.text
    assert await status() == ("good", "good")
    clock.at = due + timedelta(days=40)
    assert (await status())[0] == "good"
