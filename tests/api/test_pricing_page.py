"""The stories of docs/pricing.md are run as they stand there: each row over HTTP, at its instant."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from policies import money
from tests.conftest import open_counters

PAGE = Path(__file__).parents[2] / "docs" / "pricing.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROW = ("when", "what happens", "the bill", "total")


def catalog_files() -> dict[str, str]:
    """The plan files that the page shows, by the path in their first line."""
    return dict(re.findall(r"```yaml\n# (\S+)\n(.*?)```", TEXT, re.DOTALL))


def stories() -> list[tuple[str, list[list[str]]]]:
    """Every table with a bill, and a name for its tenant."""
    tables = re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE)
    rows = [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        for table in tables
    ]
    return [(f"tenant-{number}-{table[2][1].split()[2]}", table[2:]) for number, table in enumerate(rows)
            if tuple(table[0]) == ROW]  # fmt: skip


class Story:
    """One tenant."""

    def __init__(self, api, clock, tenant_id: str) -> None:
        self._api, self._clock, self._tenant_id = api, clock, tenant_id

    async def run(self, when: str, what: str) -> None:
        self._clock.at = datetime.fromisoformat(when).replace(tzinfo=UTC)
        for pattern, act in ACTS.items():
            if (found := re.fullmatch(pattern, what)) is not None:
                await act(self, **found.groupdict())
                return
        raise AssertionError(f"the page says what no act is: {what}")

    async def bill(self) -> tuple[str, str]:
        """As the page writes it: each line with its amount, and the total."""
        response = await self._api.get(f"/v1/tenants/{self._tenant_id}/invoices/preview")
        assert response.is_success, response.text
        found = response.json()
        lines = [
            f"{line['description']}: {money.written(line['amount'], found['currency'])}"
            for line in found["lines"]
        ]
        return "; ".join(lines), money.human(found["total"], found["currency"])

    async def subscribe(self, plan: str, seats: str | None, trial: str | None) -> None:
        await self._good("PUT", "", {"name": self._tenant_id})
        addons = [] if seats is None else [{"addonId": "seat", "quantity": int(seats)}]
        await self._good(
            "POST", "/subscription", {"planId": plan, "trial": trial is not None, "addons": addons}
        )

    async def report(self, quantity: str, feature: str) -> None:
        event = {
            "tenantId": self._tenant_id, "serviceId": "page", "featureId": feature,
            "quantity": quantity.replace(",", ""),
        }  # fmt: skip
        response = await self._api.post("/v1/usage", json=event)
        assert response.json()["accepted"] == 1, response.text

    async def move(self, plan: str) -> None:
        await self._good("POST", "/subscription/change", {"planId": plan, "when": "now"})

    async def hold(self, seats: str) -> None:
        addons = [{"addonId": "seat", "quantity": int(seats)}]
        await self._good("POST", "/subscription/change", {"addons": addons, "when": "now"})

    async def cancel(self) -> None:
        await self._good("POST", "/subscription/cancel", {"when": "now"})

    async def wait(self) -> None:
        """Nothing happens."""

    async def _good(self, method: str, path: str, body: dict) -> None:
        response = await self._api.request(method, f"/v1/tenants/{self._tenant_id}{path}", json=body)
        assert response.is_success, response.text


ACTS = {
    r"subscribes to (?P<plan>\w+)(?: with (?P<seats>\d+) seats)?(?P<trial> on trial)?": Story.subscribe,
    r"reports (?P<quantity>[\d,.]+) (?P<feature>\w+)": Story.report,
    r"moves to (?P<plan>\w+)": Story.move,
    r"holds (?P<seats>\d+) seats": Story.hold,
    r"cancels": Story.cancel,
    r"time passes": Story.wait,
}


@pytest.fixture
async def shop(api, context, clock, publish):
    """The page's plans are on sale, and every shard is open."""
    clock.at = datetime.fromisoformat(stories()[0][1][0][0]).replace(tzinfo=UTC)
    await publish(catalog_files())
    await open_counters(context)
    return api


@pytest.mark.parametrize(("tenant_id", "rows"), stories(), ids=[name for name, _ in stories()])
async def test_a_story_of_the_page_owes_what_it_says(shop, clock, tenant_id, rows):
    story = Story(shop, clock, tenant_id)
    for when, what, lines, total in rows:
        await story.run(when, what)
        assert await story.bill() == (lines, total), (when, what)


def test_the_page_has_its_stories():
    assert len(stories()) == 11
    assert {path.split("/")[0] for path in catalog_files()} == {"features.yaml", "plans", "addons"}
