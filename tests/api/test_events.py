"""Events can be listed one by one, and what did not count stays visible with its reason."""

import pytest

from store import flush
from tests.conftest import NOW, open_counters

EVENT = {"tenantId": "acme", "serviceId": "s", "featureId": "ai-tokens", "quantity": 1}


@pytest.fixture
async def acme(api, context, catalog):
    await open_counters(context)
    await api.put("/v1/tenants/acme", json={"name": "Acme"})
    await api.post("/v1/tenants/acme/subscription", json={"planId": "pro", "startAt": "2026-11-01T00:00:00Z"})
    return api


async def pages(api, path, limit):
    """All items, page by page, and how many pages there were."""
    items, cursor, count = [], "", 0
    while cursor is not None:
        query = f"&cursor={cursor}" if cursor else ""
        answer = await api.get(f"{path}&limit={limit}{query}")
        assert answer.status_code == 200, answer.text
        items += answer.json()["items"]
        cursor = answer.json()["nextCursor"]
        count += 1
    return items, count


async def test_events_are_listed_newest_first_page_by_page(acme, context):
    events = [
        EVENT | {"id": f"e{n}", "quantity": n, "timestamp": f"2026-11-22T0{n % 5}:00:00Z"} for n in range(7)
    ]
    events[0] |= {"properties": {"model": "small"}, "entityId": "u1"}
    assert (await acme.post("/v1/usage", json={"events": events})).json()["accepted"] == 7
    await flush.flush_once(context.pool, context.counters.link, now=NOW)
    items, count = await pages(acme, "/v1/usage/events?tenantId=acme", 3)
    assert count == 3
    assert sorted(item["id"] for item in items) == [f"e{n}" for n in range(7)]
    assert [item["timestamp"] for item in items] == sorted(
        (item["timestamp"] for item in items), reverse=True
    )
    first = next(item for item in items if item["id"] == "e0")
    assert (first["properties"], first["entityId"], first["planId"]) == ({"model": "small"}, "u1", "pro")
    assert (await acme.get("/v1/usage/events?tenantId=acme&featureId=api-calls")).json()["items"] == []


async def test_rejected_events_stay_visible_with_their_reason(acme):
    bad = [EVENT | {"id": f"b{n}", "featureId": "data-region"} for n in range(3)]
    answer = await acme.post("/v1/usage", json={"events": [*bad, EVENT | {"id": "good"}]})
    assert answer.json()["rejected"] == 3
    items, _ = await pages(acme, "/v1/usage/rejected?tenantId=acme", 2)
    assert [item["event"]["id"] for item in items] == ["b2", "b1", "b0"]
    assert items[0]["type"] == "invalid"
    assert "static feature" in items[0]["detail"]


@pytest.mark.parametrize("cursor", ["x", "AAAA", "MTIz", "2026", "%00", "a" * 600])
async def test_a_cursor_that_no_page_gave_is_refused(acme, cursor):
    for path in ("/v1/usage/events?tenantId=acme", "/v1/usage/rejected?tenantId=acme"):
        answer = await acme.get(f"{path}&cursor={cursor}")
        assert answer.status_code == 422 or (path.endswith("rejected?tenantId=acme") and cursor == "MTIz")
