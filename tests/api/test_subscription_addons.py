"""Add-ons of a subscription over HTTP: at its start, beside another plan, more of them, none."""

from datetime import timedelta

import pytest

from store import postgres, snapshot_source
from tests.api.answers import problem_of
from tests.conftest import NOW

SUBSCRIPTION = "/v1/tenants/acme/subscription"
DAY = timedelta(days=1)
PACKS = [{"addonId": "token-pack", "quantity": 2}]


@pytest.fixture
async def acme(api, catalog):
    assert (await api.put("/v1/tenants/acme", json={"name": "Acme"})).status_code == 201
    return api


async def subscribed(api, **body):
    response = await api.post(SUBSCRIPTION, json={"planId": "pro", "addons": PACKS} | body)
    assert response.status_code == 201, response.text
    return response.json()


async def changed(api, status=200, **body):
    response = await api.post(f"{SUBSCRIPTION}/change", json={"when": "now"} | body)
    assert response.status_code == status, response.text
    return response.json()


def held(view):
    return [
        (phase["planId"], [(one["addonId"], one["quantity"]) for one in phase["addons"]])
        for phase in view["phases"]
    ]


async def test_a_subscription_starts_with_its_add_ons_pinned(acme, catalog, context):
    view = await subscribed(acme)
    version = catalog.addons["token-pack"].version
    assert view["addons"] == [{"addonId": "token-pack", "addonVersion": version, "quantity": 2}]
    assert view["phases"][0]["addons"] == view["addons"]
    assert (await acme.get(SUBSCRIPTION)).json() == view
    async with postgres.transaction(context.pool) as connection:
        (stored,) = (await snapshot_source.read(connection, "acme", now=NOW)).subscriptions
    assert [(one.addon_version, one.quantity) for one in stored.phases[0].addons] == [(version, 2)]


async def test_without_add_ons_there_are_none(acme):
    assert (await subscribed(acme, addons=[]))["addons"] == []


async def test_other_add_ons_are_a_new_phase_on_the_same_plan_version(acme, clock, example_files, publish):
    first = await subscribed(acme)
    dearer = example_files["plans/pro.yaml"].replace('price: "49.00"', 'price: "59.00"')
    await publish(example_files | {"plans/pro.yaml": dearer})
    clock.at += DAY
    view = await changed(acme, addons=[{"addonId": "token-pack", "quantity": 5}])
    assert held(view) == [("pro", [("token-pack", 2)]), ("pro", [("token-pack", 5)])]
    assert view["planVersion"] == first["planVersion"]
    assert (view["anchoredAt"], view["currentPeriod"]) == (first["anchoredAt"], first["currentPeriod"])
    clock.at += DAY
    assert held(await changed(acme, addons=[]))[-1] == ("pro", [])


async def test_add_ons_that_are_named_come_in_their_newest_version(acme, clock, example_files, publish):
    first = await subscribed(acme)
    dearer = example_files["addons/token-pack.yaml"].replace('price: "9.00"', 'price: "10.00"')
    newer = (await publish(example_files | {"addons/token-pack.yaml": dearer})).addons["token-pack"].version
    clock.at += DAY
    assert (await acme.get(SUBSCRIPTION)).json()["addons"] == first["addons"], "pinned"
    assert (await changed(acme))["addons"] == first["addons"], "a newer plan leaves them pinned"
    assert (await changed(acme, addons=PACKS))["addons"][0]["addonVersion"] == newer != first["addons"][0]


async def test_a_change_of_plan_keeps_the_add_ons_that_it_is_sold_with(acme, clock):
    await subscribed(acme)
    clock.at += DAY
    view = await changed(acme, planId="starter", when="renewal")
    assert held(view) == [("pro", [("token-pack", 2)]), ("starter", [("token-pack", 2)])]
    problem = await changed(acme, 409, planId="free")
    assert '"token-pack"' in problem["detail"]
    assert "addons" in problem["detail"]
    assert held((await acme.get(SUBSCRIPTION)).json()) == held(view), "nothing changed"
    assert held(await changed(acme, planId="free", addons=[]))[-1] == ("free", [])


async def test_add_ons_at_renewal_take_effect_at_their_instant_without_a_write(acme, clock):
    await subscribed(acme)
    view = await changed(acme, addons=[], when="renewal")
    assert (view["addons"][0]["quantity"], held(view)[-1]) == (2, ("pro", []))
    clock.at = NOW.replace(month=12)
    assert (await acme.get(SUBSCRIPTION)).json()["addons"] == []


async def test_naming_what_is_held_takes_a_scheduled_change_back(acme):
    first = await subscribed(acme)
    await changed(acme, addons=[], when="renewal")
    assert (await changed(acme, addons=PACKS, when="renewal"))["phases"] == first["phases"]


async def test_an_add_on_version_that_is_no_longer_sold_stays_with_who_has_it(
    acme, clock, context, example_files, publish
):
    first = await subscribed(acme)
    await publish({path: text for path, text in example_files.items() if not path.startswith("addons/")})
    context.catalogs._forget()
    clock.at += DAY
    assert held(await changed(acme, planId="starter"))[-1] == ("starter", [("token-pack", 2)])
    problem_of(
        await acme.post(f"{SUBSCRIPTION}/change", json={"when": "now", "addons": PACKS}), 422,
        "/addons/0/addonId",
    )  # fmt: skip
    assert (await acme.get(SUBSCRIPTION)).json()["addons"] == first["addons"]


async def test_add_ons_that_cannot_be_held_are_named_and_nothing_is_stored(acme):
    cases = [
        ({"addons": [{"addonId": "token-pak"}]}, "/addons/0/addonId"),
        ({"addons": [{"addonId": "token-pack", "quantity": 0}]}, "/addons/0/quantity"),
        ({"addons": [{"addonId": "token-pack", "quantity": 100_001}]}, "/addons/0/quantity"),
        ({"addons": [{"addonId": "token-pack", "quantity": 1.5}]}, "/addons/0/quantity"),
        ({"addons": PACKS * 2}, "/addons/0/addonId"),
        ({"addons": [{"addonId": f"a{number}"} for number in range(51)]}, "/addons"),
        ({"addons": PACKS, "planId": "free"}, "/addons/0/addonId"),
        ({"addons": "token-pack"}, "/addons"),
        ({"addons": ["token-pack"]}, "/addons/0"),
    ]
    for body, pointer in cases:
        problem_of(await acme.post(SUBSCRIPTION, json={"planId": "pro"} | body), 422, pointer)
    assert (await acme.get(SUBSCRIPTION)).status_code == 404
    told = await acme.post(SUBSCRIPTION, json={"planId": "pro", "addons": [{"addonId": "token-pak"}]})
    assert 'Did you mean "token-pack"?' in told.json()["detail"]
