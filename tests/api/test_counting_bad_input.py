"""What cannot be counted, given, held or corrected is refused with its field, and changes nothing."""

import pytest

from service.usecases import balances
from store import keyspace
from tests.api.answers import problem_of
from tests.conftest import open_counters
from tests.store import ledger

FEATURES = """\
features:
  tokens: {type: metered, name: Tokens, unit: token, entity: optional, whenUnavailable: deny}
  minutes: {type: metered, name: Minutes, unit: minute, decimals: 1, entity: none, whenUnavailable: deny}
  scans: {type: metered, name: Scans, unit: scan, entity: required, whenUnavailable: deny}
"""
PLAN = """\
plan: basic
name: Basic
currency: usd
price: "1"
interval: month
features:
  tokens: {included: 100}
  minutes: {included: "50.5"}
  scans: {included: 100}
"""
USAGE, CONSUME, HOLD = "/v1/usage", "/v1/consume", "/v1/reservations"
GRANTS, EVENT = "/v1/tenants/acme/grants", "/v1/usage/s/e1"
USE = {"id": "u", "tenantId": "acme", "serviceId": "s", "featureId": "tokens", "quantity": 1}
GRANT = {"featureId": "tokens", "quantity": 5, "reason": "sorry"}
AMEND = {"tenantId": "acme", "reason": "wrong", "quantity": 3}
MOST = 10**15


@pytest.fixture
async def acme(api, context, publish):
    """With an event of 7, one that is void, and nothing held."""
    await open_counters(context)
    await publish({"features.yaml": FEATURES, "plans/basic.yaml": PLAN})
    for tenant_id in ("acme", "umbrella"):
        await ledger.subscribed(context, tenant_id, "basic")
    for name, quantity in (("e1", 7), ("e2", 2)):
        assert (await api.post(USAGE, json=USE | {"id": name, "quantity": quantity})).is_success
    body = {"tenantId": "acme", "reason": "twice"}
    assert (await api.post("/v1/usage/s/e2/void", json=body)).is_success
    return api


async def everything(api, context) -> tuple[object, ...]:
    """The books of every bucket, the grants, and how many lines the journal has."""
    shard = keyspace.shard_of("acme")
    length = (await context.counters.link.send([("XLEN", keyspace.journal(shard))])).values[0]
    books = (await balances.of_tenant(context, "acme")).balances
    return books, (await api.get(GRANTS)).json(), (await api.get(f"{EVENT}?tenantId=acme")).json(), length


QUANTITIES = [
    (MOST + 1, "tokens"), (-1, "tokens"), ("0.5", "tokens"), (1e3, "tokens"), ("1e3", "tokens"),
    ("\u0661", "tokens"),  # a digit of another script
    ("0.05", "minutes"), (MOST // 10 + 1, "minutes"), ("-0.1", "minutes"),
]  # fmt: skip
"""Beyond the bounds, with more decimals than the feature has, or written otherwise than numbers are."""
USES = [
    *[({"quantity": wrong, "featureId": feature}, "/quantity") for wrong, feature in QUANTITIES],
    ({"featureId": "scans"}, "/entityId"),
    ({"featureId": "minutes", "entityId": "one"}, "/entityId"),
]
LATER = "2026-12-20T00:00:00Z"
GIFTS = [
    ({"quantity": MOST + 1}, "/quantity"),
    ({"quantity": "0.05", "featureId": "minutes"}, "/quantity"),
    ({"featureId": "token"}, "/featureId"),
    ({"effectiveAt": "2026-01-01T00:00:00Z"}, "/effectiveAt"),
    ({"effectiveAt": "2026-11-20T00:00:00Z", "expiresAt": "2026-11-21T00:00:00Z"}, "/expiresAt"),
    ({"effectiveAt": LATER, "expiresAt": "2026-12-19T00:00:00Z"}, "/expiresAt"),
    ({"effectiveAt": LATER, "expiresAt": LATER}, "/expiresAt"),
]
CALLS = [
    *[(path, USE | wrong, 422, pointer) for path in (CONSUME, HOLD) for wrong, pointer in USES],
    *[(GRANTS, GRANT | wrong, 422, pointer) for wrong, pointer in GIFTS],
    *[(f"{EVENT}/amend", AMEND | {"quantity": wrong}, 422, "/quantity") for wrong in (MOST + 1, "7.5", -1)],
    (HOLD, USE | {"ttlSeconds": 86_401}, 422, "/ttlSeconds"),
    ("/v1/check", {"tenantId": "acme", "featureId": "scans"}, 422, "/entityId"),
    (f"{GRANTS}/grt_00000000000000000000000000/void", {"reason": "no such bucket"}, 404, None),
    (f"{GRANTS}/included/void", {"reason": "none of the grants"}, 404, None),
    ("/v1/usage/s/e2/void", {"tenantId": "acme", "reason": "again"}, 409, None),
    ("/v1/usage/s/e2/amend", AMEND, 409, None),
]


async def test_each_is_named_and_changes_nothing(acme, context):
    before = await everything(acme, context)
    for path, body, status, pointer in CALLS:
        assert problem_of(await acme.post(path, json=body), status, pointer)["detail"], (path, body)
    assert await everything(acme, context) == before


async def test_of_a_batch_each_is_named_and_none_is_counted(acme, context):
    before = await everything(acme, context)
    events = [USE | wrong | {"id": f"u{number}"} for number, (wrong, _) in enumerate(USES)]
    told = (await acme.post(USAGE, json={"events": events})).json()
    assert [(one["status"], one["type"]) for one in told["results"]] == [("rejected", "invalid")] * len(USES)
    assert all(one["detail"] for one in told["results"])
    assert await everything(acme, context) == before


async def test_another_tenants_reservation_is_settled_by_nobody_else(acme, context, make_key):
    held = await acme.post(HOLD, json=USE | {"id": "other", "tenantId": "umbrella", "ttlSeconds": 60})
    theirs = f"{HOLD}/{held.json()['reservationId']}"
    key = {"Authorization": f"Bearer {await make_key('check', 'report', tenant_id='acme')}"}
    before = await everything(acme, context)
    problem_of(await acme.post(f"{theirs}/settle", json={"quantity": 1}, headers=key), 404)
    assert (await acme.get(theirs)).json()["state"] == "open"
    assert await everything(acme, context) == before
