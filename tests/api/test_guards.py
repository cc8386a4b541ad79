"""Guards over HTTP: what no plan can loosen is refused by name, and publishing refuses what is no guard."""

import pytest

from service.usecases import examine

FREEZE = """@id("freeze")
@reason("AI tokens pause for maintenance until 06:00 UTC.")
forbid (principal, action, resource == Feature::"ai-tokens");
"""


@pytest.fixture
async def acme(api, context, catalog):
    """A tenant on pro, under the bundled guards."""
    await tenant(api)
    body = {"planId": "pro", "startAt": "2026-11-01T00:00:00Z"}
    assert (await api.post("/v1/tenants/acme/subscription", json=body)).status_code == 201
    return api


async def tenant(api, **metadata):
    response = await api.put("/v1/tenants/acme", json={"name": "Acme", "metadata": metadata})
    assert response.status_code in (200, 201), response.text


async def ask(api, feature_id="premium-voice-model", **context):
    body = {"tenantId": "acme", "featureId": feature_id}
    response = await api.post("/v1/check", json=body | ({"context": context} if context else {}))
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_region_is_refused_by_name_and_line_and_only_for_what_is_made_with_ai(acme):
    assert (await ask(acme))["allowed"] is True
    assert (await ask(acme, region="eu"))["allowed"] is True
    refused = await ask(acme, region="kp")
    assert (refused["allowed"], refused["outcome"], refused["reason"]) == (False, "denied", "guard")
    assert refused["message"] == "AI features are not offered in this region."
    (reason,) = refused["reasons"]
    assert reason["policyId"] == "region"
    assert reason["source"].startswith("guards/region.cedar:")
    assert (await ask(acme, "data-region"))["allowed"] is True


async def test_metadata_decides_from_the_moment_that_it_is_stored(acme):
    await tenant(acme, **{"ai-agreement": "sent"})
    refused = await ask(acme)
    assert (refused["allowed"], refused["reason"]) == (False, "guard")
    assert refused["reasons"][0]["policyId"] == "ai-agreement"
    assert (await ask(acme, "data-region"))["allowed"] is True
    await tenant(acme, **{"ai-agreement": "signed"})
    assert (await ask(acme))["allowed"] is True


async def test_a_freeze_holds_from_publish_to_publish(acme, example_files):
    async def publish(files):
        response = await acme.post("/v1/catalogs/publish", json={"files": files, "message": "m"})
        assert response.status_code == 200, response.text

    await publish(example_files | {"guards/freeze.cedar": FREEZE})
    frozen = await ask(acme, "ai-tokens")
    assert (frozen["allowed"], frozen["reason"]) == (False, "guard")
    assert frozen["reasons"][0]["source"] == "guards/freeze.cedar:1"
    assert (await ask(acme))["allowed"] is True
    await publish(example_files)
    assert (await ask(acme, "ai-tokens"))["reason"] != "guard"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (FREEZE.replace("forbid", "permit"), "guards/freeze.cedar:3:1"),
        (FREEZE.replace(");", ") when { context.drawn > 5 };"), "guards/freeze.cedar:3:77"),
        (FREEZE.replace(");", f") when {{ {'(' * 10_000} }};"), "guards/freeze.cedar:3:"),
    ],
)
async def test_what_is_no_guard_is_refused_at_its_place_and_the_active_catalog_stays(
    acme, example_files, text, place
):
    before = (await acme.get("/v1/catalog")).json()["hash"]
    body = {"files": example_files | {"guards/freeze.cedar": text}, "message": "m"}
    response = await acme.post("/v1/catalogs/publish", json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"].startswith(place)
    assert (await acme.get("/v1/catalog")).json()["hash"] == before


async def test_a_check_that_dies_is_told_and_the_server_lives(acme, example_files, monkeypatch):
    """The bounds make this unreachable, so the child is made to die of what they keep out."""
    nested = "'permit (principal, action, resource) when {' + '(' * 10**5 + 'true' + ')' * 10**5 + '};'"
    program = f"import cedarpy; cedarpy.policies_to_json_str({nested})"
    monkeypatch.setattr(examine, "CHILD", (examine.CHILD[0], "-c", program))
    response = await acme.post("/v1/catalogs/check", json={"files": example_files})
    assert "killed by SIG" in response.text
    assert (await ask(acme))["allowed"] is True
