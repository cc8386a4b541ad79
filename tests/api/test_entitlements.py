"""The entitlements of a tenant: every feature of the catalog, whatever it is decided by."""

import pytest

from tests.conftest import open_counters
from tests.store import ledger

URL = "/v1/tenants/acme/entitlements"


@pytest.fixture
async def acme(api, context, publish, example_files):
    """On free, in a catalog whose calls are decided by entity."""
    features = example_files["features.yaml"]
    assert "    aggregation: count" in features
    by_entity = features.replace("    aggregation: count", "    entity: required\n    aggregation: count", 1)
    await open_counters(context)
    catalog = await publish({**example_files, "features.yaml": by_entity})
    assert catalog.features["api-calls"].entity == "required"
    await ledger.subscribed(context, "acme", "free")
    return api


async def calls(api, **query):
    listed = (await api.get(URL, params=query)).json()["entitlements"]
    assert len(listed) == 5
    (found,) = [one for one in listed if one["featureId"] == "api-calls"]
    return found


async def test_what_is_decided_by_entity_is_listed_as_for_one_that_has_used_nothing(acme):
    nobody, somebody = await calls(acme), await calls(acme, entityId="u1")
    assert (nobody["allowed"], nobody["entityId"], somebody["entityId"]) == (True, None, "u1")
    assert nobody["limit"] == somebody["limit"]


async def test_a_feature_that_takes_no_entity_on_an_older_version_is_listed_too(acme, publish, example_files):
    """The catalog changes how it is decided; tenants on the version before must be answered all the same."""
    await publish(example_files)
    assert (await calls(acme, entityId="u1"))["allowed"] is True
    assert (await calls(acme))["allowed"] is True
