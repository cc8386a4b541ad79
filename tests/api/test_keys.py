"""Keys over HTTP: the secret is shown once and never kept; rights are never more than those of the giver."""

from datetime import timedelta

import msgspec
import pytest

from policies import limits
from service.usecases import keys
from store import postgres
from store.api_keys import KeyRing

KEYS = "/v1/keys"
DAY = timedelta(days=1)


def problem_of(response, status, pointer=None):
    assert response.status_code == status, response.text
    problem = response.json()
    if pointer is not None:
        assert problem["errors"][0]["pointer"] == pointer
    return problem


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


async def made(api, *scopes, **body):
    response = await api.post(KEYS, json={"name": "service", "scopes": scopes or ["check"]} | body)
    assert response.status_code == 201, response.text
    return response.json()


async def works(api, secret):
    """Whether a key with the scope manage opens a door."""
    response = await api.get(KEYS, headers=bearer(secret))
    assert response.status_code in (200, 401)
    return response.status_code == 200


async def test_a_key_shows_its_secret_once(api, clock):
    key = await made(api, "report", "check")
    assert key.pop("secret").startswith("mg_")
    assert key == {
        "keyId": key["keyId"], "name": "service", "scopes": ["check", "report"], "tenantId": None,
        "createdAt": "2026-11-22T10:00:00Z", "expiresAt": None, "revokedAt": None,
    }  # fmt: skip
    listed = (await api.get(KEYS)).json()
    assert key in listed["items"]
    assert "secret" not in str(listed)


async def test_only_a_digest_of_the_secret_is_stored(api, context):
    key = await made(api)
    async with postgres.transaction(context.pool) as connection:
        stored = await postgres.scalars(
            connection,
            b"select to_jsonb(k)::text from api_keys k union all select to_jsonb(a)::text from audit a "
            b"union all select convert_from(body, 'UTF8') from idempotency_keys",
            {},
        )
    assert stored
    assert not any(key["secret"] in text for text in stored)


async def test_a_repeated_request_makes_no_second_key_and_does_not_show_the_secret(api, context):
    body, headers = {"name": "service", "scopes": ["check"]}, {"idempotency-key": "k"}
    first = await api.post(KEYS, json=body, headers=headers)
    again = await api.post(KEYS, json=body, headers=headers)
    assert again.status_code == 201
    shown = first.json()
    del shown["secret"]
    assert again.json() == shown
    assert len((await api.get(KEYS)).json()["items"]) == 2  # with the caller's own


async def test_a_key_opens_what_its_scopes_say(api):
    manager = await made(api, "manage")
    assert await works(api, manager["secret"])
    checker = await made(api, "check")
    lacking = await api.get(KEYS, headers=bearer(checker["secret"]))
    assert "manage" in problem_of(lacking, 403)["detail"]


async def test_a_key_gives_no_scope_that_it_does_not_have(api):
    manager = bearer((await made(api, "manage", "check"))["secret"])
    allowed = await api.post(KEYS, json={"name": "x", "scopes": ["check"]}, headers=manager)
    assert allowed.status_code == 201
    refused = await api.post(KEYS, json={"name": "x", "scopes": ["check", "operate"]}, headers=manager)
    assert "operate" in problem_of(refused, 403)["detail"]


async def test_a_rotation_gives_no_scope_that_the_caller_does_not_have(api):
    """The new secret would be a way to rights that the caller was not given."""
    operator = await made(api, "operate")
    manager = bearer((await made(api, "manage"))["secret"])
    problem_of(await api.post(f"{KEYS}/{operator['keyId']}/rotate", headers=manager), 403)


async def test_keys_of_a_bound_key_are_bound_like_it(api):
    for tenant in ("acme", "beta"):
        await api.put(f"/v1/tenants/{tenant}", json={})
    other = await made(api, "manage", tenantId="beta")
    own = bearer((await made(api, "manage", tenantId="acme"))["secret"])
    child = await api.post(KEYS, json={"name": "x", "scopes": ["manage"]}, headers=own)
    assert child.json()["tenantId"] == "acme"
    body = {"name": "x", "scopes": ["manage"], "tenantId": "beta"}
    problem_of(await api.post(KEYS, json=body, headers=own), 403)
    listed = (await api.get(KEYS, headers=own)).json()["items"]
    assert {item["tenantId"] for item in listed} == {"acme"}
    for name in ("rotate", "revoke"):
        problem_of(await api.post(f"{KEYS}/{other['keyId']}/{name}", headers=own), 404)


async def test_an_expired_key_opens_nothing(api, clock):
    key = await made(api, "manage", expiresAt="2026-11-22T11:00:00Z")
    assert await works(api, key["secret"])
    clock.at += timedelta(hours=1)
    assert not await works(api, key["secret"])


async def test_a_revoked_key_opens_nothing_at_once_in_this_process(api):
    key = await made(api, "manage")
    assert await works(api, key["secret"])
    revoked = await api.post(f"{KEYS}/{key['keyId']}/revoke")
    assert revoked.json()["revokedAt"] == "2026-11-22T10:00:00Z"
    assert not await works(api, key["secret"])
    again = await api.post(f"{KEYS}/{key['keyId']}/revoke")
    assert again.json() == revoked.json()


async def test_a_key_that_was_revoked_elsewhere_opens_nothing_after_a_while(api, context, clock):
    key = await made(api, "manage")
    assert await works(api, key["secret"])
    async with postgres.transaction(context.pool) as connection:
        await connection.execute("update api_keys set revoked_at = now() where key_id = %s", [key["keyId"]])
    assert await works(api, key["secret"])
    clock.at += timedelta(seconds=limits.KEY_SECONDS)
    assert not await works(api, key["secret"])


async def test_a_rotated_key_works_beside_its_successor_for_the_overlap(api, clock):
    old = await made(api, "manage", expiresAt=(clock.at + 90 * DAY).isoformat())
    clock.at += 30 * DAY
    response = await api.post(f"{KEYS}/{old['keyId']}/rotate", json={"overlapHours": 2})
    assert response.status_code == 201
    new = response.json()
    assert (new["name"], new["scopes"], new["tenantId"]) == (old["name"], old["scopes"], old["tenantId"])
    assert new["expiresAt"] == (clock.at + 90 * DAY).isoformat().replace("+00:00", "Z")
    assert await works(api, old["secret"])
    clock.at += timedelta(hours=2)
    assert not await works(api, old["secret"])
    assert await works(api, new["secret"])


async def test_a_rotation_never_prolongs_the_old_key(api, clock):
    old = await made(api, "manage", expiresAt="2026-11-22T11:00:00Z")
    await api.post(f"{KEYS}/{old['keyId']}/rotate", json={"overlapHours": 24})
    clock.at += timedelta(hours=1)
    assert not await works(api, old["secret"])


async def test_a_rotation_without_overlap_ends_the_old_key_at_once(api):
    old = await made(api, "manage")
    await api.post(f"{KEYS}/{old['keyId']}/rotate", json={"overlapHours": 0})
    assert not await works(api, old["secret"])


async def test_a_dead_key_cannot_be_rotated(api, clock):
    key = await made(api, expiresAt="2026-11-22T11:00:00Z")
    clock.at += timedelta(hours=1)
    assert "expired" in problem_of(await api.post(f"{KEYS}/{key['keyId']}/rotate"), 409)["detail"]
    await api.post(f"{KEYS}/{key['keyId']}/revoke")
    assert "revoked" in problem_of(await api.post(f"{KEYS}/{key['keyId']}/rotate"), 409)["detail"]


async def test_keys_are_listed_in_pages_oldest_first(api, clock):
    ids = [(await api.get(KEYS)).json()["items"][0]["keyId"]]
    for _ in range(4):
        clock.at += timedelta(seconds=1)
        ids.append((await made(api))["keyId"])
    first = (await api.get(KEYS, params={"limit": 3})).json()
    rest = (await api.get(KEYS, params={"limit": 3, "cursor": first["nextCursor"]})).json()
    assert [item["keyId"] for item in first["items"] + rest["items"]] == ids
    assert rest["nextCursor"] is None


async def test_bad_fields_are_named_and_nothing_is_stored(api):
    good = {"name": "service", "scopes": ["check"]}
    cases = [
        ({"scopes": ["check"]}, "/name"),
        (good | {"name": ""}, "/name"),
        (good | {"scopes": []}, "/scopes"),
        (good | {"scopes": "check"}, "/scopes"),
        (good | {"scopes": ["check", "admin"]}, "/scopes/1"),
        (good | {"scopes": ["check"] * 6}, "/scopes"),
        (good | {"tenantId": "nobody"}, "/tenantId"),
        (good | {"tenantId": "a b"}, "/tenantId"),
        (good | {"expiresAt": "2026-11-22T10:00:00Z"}, "/expiresAt"),
        (good | {"expiresAt": "tomorrow"}, "/expiresAt"),
        (good | {"secret": "mg_mine"}, "/secret"),
    ]
    for body, pointer in cases:
        problem_of(await api.post(KEYS, json=body), 422, pointer)
    assert len((await api.get(KEYS)).json()["items"]) == 1
    key = await made(api)
    for hours in (-1, limits.KEY_OVERLAP_HOURS + 1, "1", 1.5):
        answer = await api.post(f"{KEYS}/{key['keyId']}/rotate", json={"overlapHours": hours})
        problem_of(answer, 422, "/overlapHours")


async def test_unknown_keys_are_404(api):
    for name in ("rotate", "revoke"):
        problem_of(await api.post(f"{KEYS}/key_none/{name}"), 404)


async def test_what_is_no_key_is_401(api):
    key = await made(api, "manage")
    wrong = key["secret"][:-1] + ("0" if key["secret"][-1] != "0" else "1")
    for secret in (wrong, keys.new_secret(), "mg_", "mg_" + "0" * 49, "bearer", key["keyId"]):
        assert not await works(api, secret)


@pytest.mark.parametrize("number", range(3))
def test_a_secret_checks_itself(number):
    secret = keys.new_secret()
    assert len(secret) == 52
    assert keys.well_formed(secret)
    swapped = secret[:10] + secret[11] + secret[10] + secret[12:]
    assert swapped == secret or not keys.well_formed(swapped)
    for other in ("", secret[:-1], secret + "0", secret.replace("mg_", "mx_"), secret[:-1] + "٣"):
        assert not keys.well_formed(other)


async def test_a_process_remembers_a_bounded_number_of_keys(api, context):
    ring = KeyRing(context.pool, alive=2)
    secrets = [(await made(api))["secret"] for _ in range(3)]
    found = [await ring.find(keys.digest_of(secret), now=context.clock.now()) for secret in secrets]
    assert all(found)
    assert len(ring._known) == 2


async def test_while_postgres_is_away_known_keys_stay_known(config, clock, context):
    """A decision does not fail because the list of keys is away; who is not known cannot pass."""
    caller = keys.Caller(
        actor="cli:tests", key_id="", scopes=frozenset(keys.SCOPES), tenant_id=None, request_id=""
    )
    order = keys.Order(caller=caller)
    reply = await keys.create(context, order, keys.Wish(name="x", scopes=["check"]))
    secret = msgspec.json.decode(reply.body)["secret"]
    assert (await keys.authenticate(context, secret, request_id="r")).scopes == {"check"}
    await context.pool.close()
    clock.at += timedelta(hours=limits.LAST_KNOWN_HOURS)
    assert (await keys.authenticate(context, secret, request_id="r")).scopes == {"check"}
    clock.at += timedelta(seconds=1)
    with pytest.raises(keys.errors.UnavailableError):
        await keys.authenticate(context, secret, request_id="r")
    with pytest.raises(keys.errors.UnavailableError):
        await keys.authenticate(context, keys.new_secret(), request_id="r")
