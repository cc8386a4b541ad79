"""The cases of burn-order.yaml over HTTP: what the journal and the balances tell of each."""

from collections.abc import Iterable
from datetime import datetime

import httpx
import msgspec
import pytest

from service.clock import FixedClock
from service.context import Context
from tests.conftest import open_counters
from tests.model.real import Real
from tests.pure.burn_order import BEGINNING, Case, Gift, Plan, Step, cases, day, moment

CASES = cases()


def plan_id(plan: Plan) -> str:
    carries = f"-{plan.rollover.max}-{plan.rollover.intervals}" if plan.rollover else ""
    return f"of-{plan.included}-{plan.overage}{carries}"


def files(plans: Iterable[Plan]) -> dict[str, str]:
    """A catalog that sells each of these plans, by the calendar's month."""
    said = {
        "features.yaml": "features:\n"
        "  tokens: {type: metered, name: Tokens, unit: token, entity: optional, whenUnavailable: deny}\n"
    }
    for plan in plans:
        bound = "" if plan.overage == "unlimited" else f"upTo: {plan.overage}, "
        sold = f', overage: {{{bound}model: perUnit, unitAmount: "0.01"}}' if plan.overage else ""
        carried = plan.rollover
        if carried:
            sold += f", rollover: {{max: {carried.max}, intervals: {carried.intervals}}}"
        said[f"plans/{plan_id(plan)}.yaml"] = (
            f"plan: {plan_id(plan)}\nname: Plan\ncurrency: usd\nprice: '1'\ninterval: month\nfeatures:\n"
            f"  tokens: {{included: {plan.included}, interval: month, anchor: calendar{sold}}}\n"
        )
    return said


class Story:
    """One tenant over HTTP, and what its journal says."""

    def __init__(self, api: httpx.AsyncClient, context: Context, clock: FixedClock, tenant_id: str) -> None:
        self.api, self.real, self.url = api, Real(context, clock, tenant_id), f"/v1/tenants/{tenant_id}"
        self.ids: dict[str, str] = {}
        """Of the grants, by the names of the story."""

    async def does(self, path: str, **body: object) -> dict:
        response = await self.api.post(f"{self.url}/{path}", json=body)
        assert response.is_success, response.text
        return response.json()

    async def happens(self, step: Step) -> None:
        if step.use is not None:
            await self._uses(step.use, day(step.of) if step.of else None)
            drawn = [self._named(draws) for key, draws in await self.real.journaled()]
            assert drawn == [step.draws], f"{step} drew {drawn}"
        elif step.give is not None:
            self.ids[step.give.id] = (await self.does("grants", **_wish(step.give)))["grantId"]
        elif step.void is not None:
            await self.does(f"grants/{self.ids[step.void]}/void", reason="test")
        elif step.plan is not None:
            await self.does("subscription/change", planId=plan_id(step.plan), when="now")
        shown = await self._balances()
        for bucket, numbers in step.shows.items():
            said = {
                name: number for name, number in msgspec.to_builtins(numbers).items() if number is not None
            }
            assert said.items() <= shown[bucket].items(), f"{step} shows {shown[bucket]}"

    async def _uses(self, quantity: int, at: datetime | None) -> None:
        event = {
            "tenantId": self.real.tenant_id,
            "serviceId": "s",
            "featureId": "tokens",
            "quantity": quantity,
        }
        told = event if at is None else event | {"timestamp": at.isoformat()}
        response = await self.api.post("/v1/usage", json=told)
        assert response.status_code == 202, response.text

    def _named(self, draws: dict[str, int]) -> dict[str, int]:
        names = {grant_id: name for name, grant_id in self.ids.items()}
        return {names.get(bucket, bucket): amount for bucket, amount in draws.items()}

    async def _balances(self) -> dict[str, dict[str, int | None]]:
        books = (await self.real.books())["tokens"]  # which close, it looks
        names = {grant_id: name for name, grant_id in self.ids.items()}
        return {
            names.get(one.bucket, one.bucket): {
                "granted": one.granted, "used": one.used, "expired": one.expired, "left": one.remaining,
            }
            for one in books
        }  # fmt: skip


def _wish(gift: Gift) -> dict[str, object]:
    wish = {"featureId": "tokens", "quantity": gift.quantity, "priority": gift.priority, "reason": "test"}
    if gift.since:
        wish["effectiveAt"] = day(gift.since).isoformat()
    if gift.until:
        wish["expiresAt"] = day(gift.until).isoformat()
    return wish


async def told(story: Story, case: Case, clock: FixedClock) -> None:
    clock.at = BEGINNING
    assert (await story.api.put(story.url, json={"name": case.name[:200]})).is_success
    await story.does("subscription", planId=plan_id(case.plan))
    for place, step in enumerate(case.story):
        clock.at = moment(step, place)
        await story.happens(step)


@pytest.fixture
async def sold(context, publish) -> Context:
    steps = [step.plan for case in CASES for step in case.story if step.plan]
    plans = dict.fromkeys([*(case.plan for case in CASES), *steps])
    await publish(files(plans))
    await open_counters(context)
    return context


async def test_as_the_script_draws_and_the_balances_show(api, sold, clock):
    """One tenant for each case; all that differ are told."""
    wrong = {}
    for number, case in enumerate(CASES):
        try:
            await told(Story(api, sold, clock, f"case-{number}"), case, clock)
        except AssertionError as error:
            wrong[case.name] = str(error)
    assert wrong == {}
