"""Collecting, hearing of payments and putting right are killed between any two steps, and begun anew.

The provider is a folder: what it has outlives everybody, and is counted at the end.
"""

import dataclasses
import json
from datetime import timedelta

from integrations.file_billing.gateway import FilePayments
from policies.charging.orders import AddLine, Draft
from policies.reconcile.looks import APART
from service.usecases import closing, reconcile
from store import payment_facts, postgres
from store.crash_points import BILLING
from tests.crash.mortal import Order
from tests.store.billed import WHEN, issued, tenants

MINUTES = timedelta(minutes=7)
"""Nobody holds a tenant any more, and it is time to ask the provider again."""
OF_PUSH = ("planned", "sending", "answered", "kept", "bound", "paying", "paid")


class Story:
    """Time that passes from one life of a worker to the next."""

    def __init__(self, mortals, folder) -> None:
        self.mortals, self.folder, self.at = mortals, folder, WHEN
        self.died: set[str] = set()

    def order(self, job, point="", plan="") -> Order:
        self.at += MINUTES
        return Order(job, self.at, point, plan, str(self.folder))

    async def dies(self, job, point, passes=1, plan="") -> None:
        await self.mortals.dies(self.order(job, f"{point}:{passes}", plan))
        self.died.add(point)

    async def lives(self, job) -> None:
        await self.mortals.lives(self.order(job))


async def test_whoever_is_killed_there_is_one_invoice_with_its_total_and_one_payment(
    context, clock, publish, mortals, tmp_path
):
    names = await tenants(context, publish, clock, 3)
    story = Story(mortals, tmp_path)
    payments = FilePayments(tmp_path, now=lambda: story.at)
    charging = dataclasses.replace(context, payments=payments)
    await story.lives("push")  # from now on invoices are collected
    clock.at = story.at
    assert (await closing.close_due(charging, story.at)).invoices == len(names)

    for place, step in enumerate(OF_PUSH):
        await story.dies("push", f"push-{step}", passes=1 + place % 2)
    for _ in range(2):
        await story.lives("push")
    ours = await issued(context)
    kept = [json.loads(path.read_text()) for path in (tmp_path / "invoices").glob("*.json")]
    assert sorted((one["number"], sum(line["amount"] for line in one["lines"])) for one in kept) == [
        (f"INV-{one.number:06}", one.total) for one in ours
    ]
    assert {one["status"] for one in kept} == {"open"}
    assert len([*(tmp_path / "customers").glob("*.json")]) == len(names)

    (tmp_path / "receipts").mkdir()
    for one in ours:
        receipt = {"amount": one.total, "reference": "wire"}
        (tmp_path / "receipts" / f"INV-{one.number:06}.json").write_text(json.dumps(receipt))
    await _heard(story)
    await story.lives("notices")
    await story.lives("look")
    assert {(one.state, one.paid == one.total) for one in await issued(context)} == {("paid", True)}
    async with postgres.transaction(context.pool) as connection:
        facts = [await payment_facts.of_tenant(connection, name) for name in names]
    assert [[one.state for one in each] for each in facts] == [["paid"]] * len(names)

    await _put_right(story, charging, payments, ours[0])
    assert story.died == {point for point in BILLING if not point.startswith("close-")}


async def _heard(story) -> None:
    """Word of the payments comes, and whoever hears it dies, again and again."""
    for job, point in (
        ("notices", "notices-asked"), ("notices", "notices-kept"), ("look", "look-claimed"),
        ("look", "look-fetched"), ("look", "look-kept"),
    ):  # fmt: skip
        await story.dies(job, point)


async def _put_right(story, charging, payments, first) -> None:
    """A second draft and a status that nothing gives are found, and put right by who dies each time."""
    (customer,) = (await payments.find_customers(first.tenant_id, since=WHEN)).value
    for number in range(2):
        order = Draft(
            tenant_id=first.tenant_id, invoice_id=first.invoice_id, customer_ref=customer.ref, currency="usd"
        )
        draft = (await payments.draft(order, f"second {number}")).value
        line = AddLine(
            line_id="1", invoice_ref=draft.ref, customer_ref=customer.ref, amount=1, currency="usd",
            description="x",
        )  # fmt: skip
        await payments.add_line(line, f"line {number}")
    story.at += timedelta(hours=1)
    charging.clock.at = story.at
    await story.dies("reconcile", "reconcile-made", passes=2)
    story.at += APART
    charging.clock.at = story.at
    made = await reconcile.make(charging, "full", story.at)
    assert [one.finding.kind for one in made.actions] == ["invoice_duplicate_draft"] * 2
    await story.dies("apply", "reconcile-acted", plan=made.plan_id)
    await story.dies("apply", "reconcile-noted", plan=made.plan_id)
    await story.dies("apply", "reconcile-done", plan=made.plan_id)
    await story.mortals.lives(story.order("apply", plan=made.plan_id))
    view = await reconcile.get(charging, made.plan_id)
    assert {one.state for one in view.done} <= {"done", "past"}, "past: it was deleted by who died"
    assert len(view.done) == len(made.actions)
    charging.clock.at = story.at
    assert (await reconcile.make(charging, "full", story.at)).is_clean
