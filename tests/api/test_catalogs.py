"""Publishing over HTTP: whole or not at all, every finding told, subscriptions left where they are."""

import pytest

from tests.conftest import open_counters

ACME = "/v1/tenants/acme"


@pytest.fixture
async def acme(api, context, catalog):
    """A tenant on free."""
    await open_counters(context)
    await api.put(ACME, json={"name": "Acme"})
    await api.post(f"{ACME}/subscription", json={"planId": "free", "startAt": "2026-11-01T00:00:00Z"})
    return api


async def limit_of(api, tenant_id="acme"):
    body = {"tenantId": tenant_id, "featureId": "ai-tokens"}
    answer = (await api.post("/v1/check", json=body)).json()
    return answer["limit"], answer["catalog"], answer["reasons"][0]["source"]


def edited(files: dict[str, str], path: str, old: str, new: str) -> dict[str, str]:
    assert old in files[path]
    return files | {path: files[path].replace(old, new)}


async def test_a_publish_is_for_new_subscriptions_and_leaves_the_others(acme, catalog, example_files):
    files = edited(example_files, "plans/free.yaml", "10_000", "20_000")
    answer = await acme.post("/v1/catalogs/publish", json={"files": files, "message": "twice as much"})
    assert (answer.status_code, answer.json()["new"], answer.json()["activated"]) == (200, True, True)
    limit, active, _ = await limit_of(acme)
    assert (limit, active) == (10_000, answer.json()["hash"])
    await acme.put("/v1/tenants/new", json={"name": "New"})
    await acme.post("/v1/tenants/new/subscription", json={"planId": "free"})
    assert (await limit_of(acme, "new"))[0] == 20_000
    history = (await acme.get("/v1/catalogs")).json()["items"]
    assert {one["hash"] for one in history} == {catalog.hash, active}


async def test_the_same_files_again_change_nothing(acme, context, example_files):
    body = {"files": example_files, "message": "again"}
    answer = (await acme.post("/v1/catalogs/publish", json=body)).json()
    assert (answer["new"], answer["activated"]) == (False, False)


async def test_a_comment_moves_the_lines_that_decisions_name_and_nothing_else(acme, example_files):
    before = await limit_of(acme)
    files = edited(example_files, "plans/free.yaml", "features:", "# what it gives\nfeatures:")
    await acme.post("/v1/catalogs/publish", json={"files": files, "message": "a remark"})
    after = await limit_of(acme)
    assert after[0] == before[0]
    assert int(after[2].rpartition(":")[2]) == int(before[2].rpartition(":")[2]) + 1


async def test_a_broken_catalog_tells_all_and_the_active_one_stays(acme, catalog, example_files):
    files = edited(example_files, "plans/free.yaml", "included:", "inclded:")
    files = edited(files, "features.yaml", "type: static", "type: statik")
    refused = await acme.post("/v1/catalogs/publish", json={"files": files, "message": "oops"})
    assert refused.status_code == 422
    problem = refused.json()
    assert problem["type"].endswith("/catalog")
    places = [error["pointer"].split(":")[0] for error in problem["errors"]]
    assert {"plans/free.yaml", "features.yaml"} <= set(places)
    assert 'did you mean "included"' in refused.text.replace("\\", "")
    assert (await limit_of(acme))[1] == catalog.hash
    checked = (await acme.post("/v1/catalogs/check", json={"files": files})).json()
    assert (checked["publishable"], checked["hash"]) == (False, None)
    assert len(checked["findings"]) == len(problem["errors"])


async def test_what_stored_numbers_mean_is_for_life(acme, catalog, example_files):
    """A feature's decimals are the scale of every quantity that was ever kept."""
    files = edited(example_files, "features.yaml", "decimals: 0 ", "decimals: 2 ")
    refused = await acme.post("/v1/catalogs/publish", json={"files": files, "message": "finer"})
    assert refused.status_code == 409
    assert (await limit_of(acme))[1] == catalog.hash


async def test_so_is_what_stored_values_mean(acme, catalog, example_files):
    """An override of a text would be read as an object, and break every answer."""
    files = edited(example_files, "features.yaml", "valueType: integer", "valueType: decimal")
    refused = await acme.post("/v1/catalogs/publish", json={"files": files, "message": "finer"})
    assert (refused.status_code, "max-projects has valueType integer" in refused.text) == (409, True)
    assert (await limit_of(acme))[1] == catalog.hash


async def test_not_even_by_way_of_a_catalog_without_the_feature(acme, catalog, example_files):
    lines = example_files["features.yaml"].splitlines(keepends=True)
    start = next(n for n, line in enumerate(lines) if line.startswith("  api-calls:"))
    end = next(n for n, line in enumerate(lines) if n > start and not line.startswith("    "))
    features = "".join(lines[:start] + lines[end:])
    files = {path: text.partition("  api-calls:")[0] for path, text in example_files.items()}
    files |= {"features.yaml": features}
    gone = await acme.post("/v1/catalogs/publish", json={"files": files, "message": "no calls"})
    assert gone.status_code == 200, gone.text
    back = edited(example_files, "features.yaml", "aggregation: count", "aggregation: sum")
    assert (await acme.post("/v1/catalogs/publish", json={"files": back, "message": "x"})).status_code == 409


async def test_a_key_of_a_tenant_publishes_nothing(acme, make_key, example_files):
    bound = {"authorization": f"Bearer {await make_key('manage', tenant_id='acme')}"}
    body = {"files": example_files, "message": "mine"}
    assert (await acme.post("/v1/catalogs/publish", json=body, headers=bound)).status_code == 403


async def test_the_active_catalog_can_be_read(acme, catalog):
    shown = (await acme.get("/v1/catalog")).json()
    assert shown["hash"] == catalog.hash
    assert set(shown["plans"]) == {"free", "starter", "pro", "enterprise"}
