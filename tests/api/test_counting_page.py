"""The stories of docs/counting.md are run as they stand there: each row over HTTP, at its instant."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import open_counters

PAGE = Path(__file__).parents[2] / "docs" / "counting.md"
TEXT = PAGE.read_text(encoding="utf-8")
FEATURE = "credits"


def catalog_files() -> dict[str, str]:
    """The plan files that the page shows, by the path in their first line."""
    blocks = re.findall(r"```yaml\n# (\S+)\n(.*?)```", TEXT, re.DOTALL)
    return dict(blocks)


def stories() -> list[tuple[str, list[dict[str, str]]]]:
    """The tables whose rows have a time, by the heading above them."""
    found = []
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE):
        lines = [line for line in section.splitlines() if line.startswith("|")]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        if rows and rows[0][0] == "when":
            found.append(
                (section.splitlines()[0], [dict(zip(rows[0], row, strict=True)) for row in rows[2:]])
            )
    return found


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def number(text: str) -> int:
    return int(text.replace(",", ""))


class Story:
    """One tenant, and what the page calls its things."""

    def __init__(self, api, clock, tenant_id: str) -> None:
        self._api, self._clock, self._tenant_id = api, clock, tenant_id
        self._names: dict[str, str] = {}

    async def run(self, row: dict[str, str]) -> None:
        self._clock.at = instant(row["when"])
        assert await self._act(row["what happens"]) == row["answer"], row
        buckets = await self._balances()
        for name, cell in row.items():
            if name in ("when", "what happens", "answer"):
                continue
            assert self._shown(buckets.get(self._names.get(name, name))) == cell, (row, name)

    async def _act(self, text: str) -> str:
        for pattern, act in ACTS.items():
            if (found := re.fullmatch(pattern, text)) is not None:
                return await act(self, *found.groups())
        raise AssertionError(f"the page says what no act is: {text}")

    async def subscribe(self, plan: str) -> str:
        await self._good("PUT", "", {"name": self._tenant_id})
        await self._good("POST", "/subscription", {"planId": plan})
        return ""

    async def ask(self, quantity: str, feature_id: str | None = None) -> str:
        decision = await self._post("/v1/check", self._body(quantity, feature_id))
        return f"{'allowed' if decision['allowed'] else 'refused'}: {decision['reason']}"

    async def use(self, quantity: str, feature_id: str | None = None) -> str:
        return await self._consumed(self._body(quantity, feature_id))

    async def report(self, quantity: str, feature_id: str | None = None, of: str | None = None) -> str:
        event = self._body(quantity, feature_id)
        if of is not None:
            event["timestamp"] = instant(of).isoformat()
        return await self._reported(event)

    async def meet(self, how: str, name: str) -> str:
        body = self._body("1", "users") | {"properties": {"user": name}}
        return await (self._consumed(body) if how == "is" else self._reported(body))

    async def report_as(self, quantity: str, name: str) -> str:
        event = self._body(quantity) | {"serviceId": "page", "id": name}
        assert (await self._post("/v1/usage", event))["accepted"] == 1
        return "accepted"

    async def amend(self, name: str, quantity: str) -> str:
        body = {"tenantId": self._tenant_id, "quantity": number(quantity), "reason": "it was wrong"}
        await self._post(f"/v1/usage/page/{name}/amend", body)
        return "amended"

    async def void_event(self, name: str) -> str:
        body = {"tenantId": self._tenant_id, "reason": "it never happened"}
        await self._post(f"/v1/usage/page/{name}/void", body)
        return "voided"

    async def hold(self, quantity: str, name: str) -> str:
        given = await self._post("/v1/reservations", self._body(quantity) | {"serviceId": "page"})
        self._names[name] = given.get("reservationId", "")
        return f"{'held' if given['allowed'] else 'refused'}: {given['reason']}"

    async def settle(self, name: str, quantity: str) -> str:
        body = {"quantity": number(quantity)}
        await self._post(f"/v1/reservations/{self._names[name]}/settle", body)
        return "settled"

    async def release(self, name: str) -> str:
        await self._post(f"/v1/reservations/{self._names[name]}/release", {})
        return "released"

    async def give(self, quantity: str, until: str, name: str) -> str:
        body = {
            "featureId": FEATURE,
            "quantity": number(quantity),
            "expiresAt": instant(until).isoformat(),
            "reason": name,
        }
        self._names[name] = (await self._good("POST", "/grants", body))["grantId"]
        return ""

    async def void(self, name: str) -> str:
        await self._good("POST", f"/grants/{self._names[name]}/void", {"reason": "over"})
        return ""

    async def move(self, plan: str, when: str) -> str:
        words = {"now": "now", "at renewal": "renewal"}
        await self._good("POST", "/subscription/change", {"planId": plan, "when": words[when]})
        return ""

    async def wait(self) -> str:
        return ""

    def _body(self, quantity: str, feature_id: str | None = None) -> dict:
        feature_id = feature_id or FEATURE
        return {"tenantId": self._tenant_id, "featureId": feature_id, "quantity": number(quantity)}

    async def _consumed(self, body: dict) -> str:
        given = await self._post("/v1/consume", body | {"serviceId": "page"})
        return f"{'counted' if given['consumed'] else 'refused'}: {given['reason']}"

    async def _reported(self, body: dict) -> str:
        told = await self._post("/v1/usage", body | {"serviceId": "page"})
        assert told["accepted"] == 1
        return "accepted"

    async def _post(self, path: str, body: dict) -> dict:
        response = await self._api.post(path, json=body)
        assert response.is_success, response.text
        return response.json()

    async def _good(self, method: str, path: str, body: dict) -> dict:
        url = f"/v1/tenants/{self._tenant_id}{path}"
        response = await self._api.request(method, url, json=body)
        assert response.is_success, response.text
        return response.json()

    async def _balances(self) -> dict[str, dict]:
        response = await self._api.get(f"/v1/tenants/{self._tenant_id}/balances")
        assert response.is_success, response.text
        (feature,) = response.json()["balances"]
        for one in feature["buckets"]:
            parts = [one[part] for part in ("used", "reserved", "expired", "carried", "remaining")]
            assert one["granted"] == sum(parts), one
        return {one["bucket"]: one for one in feature["buckets"]}

    @staticmethod
    def _shown(bucket: dict | None) -> str:
        if bucket is None:
            return ""
        if bucket["bucket"] in ("overage", "excess"):
            return f"{bucket['used']:,}"
        held = f" + {bucket['reserved']:,} held" if bucket["reserved"] else ""
        return f"{bucket['used']:,}{held} of {bucket['granted']:,}"


QUANTITY = r"([\d,]+)"
INSTANT = r"(\d{4}-\d\d-\d\d(?: \d\d:\d\d)?)"
ACTS = {
    r"subscribes to (\w+)": Story.subscribe,
    rf"asks for {QUANTITY}(?: (seats))?": Story.ask,
    rf"uses {QUANTITY}(?: (seats))?": Story.use,
    rf"reports {QUANTITY}(?: (seats))?(?: of {INSTANT})?": Story.report,
    r"(is|was) used by (\w+)": Story.meet,
    rf"is given {QUANTITY} until {INSTANT} as (\w+)": Story.give,
    r"(\w+) is voided": Story.void,
    rf"reports {QUANTITY} as (\w+)": Story.report_as,
    rf"amends (\w+) to {QUANTITY}": Story.amend,
    r"voids (\w+)": Story.void_event,
    rf"holds {QUANTITY} as (\w+)": Story.hold,
    rf"settles (\w+) with {QUANTITY}": Story.settle,
    r"releases (\w+)": Story.release,
    r"moves to (\w+) (now|at renewal)": Story.move,
    r"time passes": Story.wait,
}


@pytest.fixture
async def shop(api, context, clock, publish):
    """The page's plans are on sale, and every shard is open."""
    clock.at = instant(stories()[0][1][0]["when"])
    await publish(catalog_files())
    await open_counters(context)
    return api


@pytest.mark.parametrize(("title", "rows"), stories(), ids=[title for title, _ in stories()])
async def test_a_story_of_the_page_goes_as_it_says(shop, clock, title, rows):
    story = Story(shop, clock, re.sub(r"\W+", "-", title.lower()))
    for row in rows:
        await story.run(row)


def test_the_page_has_its_stories():
    assert len(stories()) >= 6
    assert set(catalog_files()) >= {"features.yaml", "plans/solo.yaml", "plans/team.yaml"}
