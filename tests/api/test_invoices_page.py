"""The stories of docs/invoices.md are run as they stand there: each row over HTTP, at its instant."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from policies import money
from store import certify
from tests.scenarios.billing import Tenant

PAGE = Path(__file__).parents[2] / "docs" / "invoices.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROW = ("when", "what happens", "the latest invoice", "total")


def stories() -> list[list[list[str]]]:
    """Every table with invoices."""
    tables = re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE)
    rows = [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        for table in tables
    ]
    return [table[2:] for table in rows if tuple(table[0]) == ROW]


class Story(Tenant):
    """One tenant, in the words of the page."""

    async def run(self, when: str, what: str) -> None:
        self.clock.at = datetime.fromisoformat(when).replace(tzinfo=UTC)
        await self.jobs()
        for pattern, act in ACTS.items():
            if (found := re.fullmatch(pattern, what)) is not None:
                await act(self, **found.groupdict())
                return
        raise AssertionError(f"the page says what no act is: {what}")

    async def latest(self) -> tuple[str, str]:
        found = await self.invoices()
        if not found:
            return "none", ""
        last = found[-1]
        lines = "; ".join(
            f"{line['description']}: {money.written(line['amount'], last['currency'])}"
            for line in last["lines"]
        )
        total = money.human(last["total"], last["currency"])
        return f"{last['number']}, {last['state']}. {lines}", total

    async def report(self, quantity: str, day: str | None) -> None:
        at = None if day is None else datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(hours=12)
        await self.reports("credits", int(quantity), at=at)

    async def void(self, number: str) -> None:
        await self.revises(f"e{number}", "void")

    async def cancel(self) -> None:
        await self.does("POST", "/subscription/cancel", when="now")

    async def pay(self) -> None:
        await self._settled("mark-paid")

    async def credit(self, amount: str) -> None:
        await self._settled("credit", amount=round(float(amount) * 100))

    async def wait(self) -> None:
        """Nothing happens."""

    async def _settled(self, act: str, **body) -> None:
        await self.settles((await self.invoices())[-1]["invoiceId"], act, **body)


ACTS = {
    r"subscribes to (?P<plan_id>\w+)": Story.subscribes,
    r"reports (?P<quantity>\d+) credits(?: of (?P<day>[\d-]+))?": Story.report,
    r"voids its report number (?P<number>\d)": Story.void,
    r"moves to (?P<plan_id>\w+)": Story.moves,
    r"cancels": Story.cancel,
    r"pays it": Story.pay,
    r"is credited (?P<amount>[\d.]+)": Story.credit,
    r"time passes": Story.wait,
}


@pytest.mark.parametrize("rows", stories(), ids=lambda rows: rows[0][1].replace(" ", "-"))
async def test_a_story_of_the_page_is_invoiced_as_it_says(api, context, clock, publish, rows):
    clock.at = datetime.fromisoformat(rows[0][0]).replace(tzinfo=UTC)
    await publish(dict(re.findall(r"```yaml\n# (\S+)\n(.*?)```", TEXT, re.DOTALL)))
    await certify.certify(context.pool, context.counters.link, now=clock.at)
    story = Story(api, context, clock)
    for when, what, invoice, total in rows:
        await story.run(when, what)
        assert await story.latest() == (invoice, total), (when, what)


def test_the_page_has_its_stories():
    assert len(stories()) == 6
