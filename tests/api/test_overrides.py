"""Overrides over HTTP: the named is replaced, what is left out stays, null lifts, the past can be read."""

import asyncio
from datetime import timedelta

import pytest

from policies import limits
from store import postgres, snapshot_source
from tests.api.answers import instant, problem_of
from tests.conftest import NOW

ALL = "/v1/tenants/acme/overrides"
TOKENS = f"{ALL}/ai-tokens"
DAY = timedelta(days=1)

pytestmark = pytest.mark.usefixtures("catalog")


@pytest.fixture
async def acme(api):
    assert (await api.put("/v1/tenants/acme", json={"name": "Acme"})).status_code == 201
    assert (await api.post("/v1/tenants/acme/subscription", json={"planId": "pro"})).status_code == 201
    return api


async def put(api, path=TOKENS, status=200, **body):
    response = await api.put(path, json={"reason": "agreed"} | body)
    assert response.status_code == status, response.text
    return response.json()


async def held(context):
    async with postgres.transaction(context.pool) as connection:
        return await snapshot_source.read(connection, "acme", now=NOW)


def terms(view):
    return view["included"], view["upTo"], view["value"], view["endsAt"]


async def test_an_override_is_shown_as_it_was_made_and_decides_from_then_on(acme, context):
    before = await held(context)
    response = await acme.put(TOKENS, json={"included": 2_000_000, "reason": "agreed"})
    view = response.json()
    assert (response.status_code, view) == (201, {
        "overrideId": view["overrideId"], "tenantId": "acme", "featureId": "ai-tokens",
        "included": 2_000_000, "upTo": None, "value": None, "reason": "agreed",
        "startsAt": instant(NOW), "endsAt": None,
    })  # fmt: skip
    shown = await acme.get(TOKENS)
    assert (shown.json(), shown.headers["etag"]) == (view, response.headers["etag"])
    after = await held(context)
    assert [(one.id, one.included) for one in after.overrides] == [(view["overrideId"], 2_000_000)]
    assert after.version == before.version + 1


async def test_what_is_left_out_is_never_reset(acme, clock):
    """Not the other terms, and not the end."""
    end = instant(NOW + 9 * DAY)
    await put(acme, status=201, included=5, endsAt=end)
    clock.at += DAY
    assert terms(await put(acme, upTo="unlimited")) == (5, "unlimited", None, end)
    assert terms(await put(acme, included="unlimited")) == ("unlimited", "unlimited", None, end)
    assert terms(await put(acme, reason="longer", endsAt=instant(NOW + 20 * DAY)))[:2] == ("unlimited",) * 2
    assert terms(await put(acme, endsAt=None)) == ("unlimited", "unlimited", None, None)


async def test_null_lifts_one_field_and_the_last_one_lifts_all(acme, clock, context):
    await put(acme, status=201, included=5, upTo=7)
    clock.at += DAY
    assert terms(await put(acme, included=None)) == (None, 7, None, None)
    clock.at += DAY
    ended = await put(acme, upTo=None)
    assert terms(ended) == (None, 7, None, instant(clock.at))
    problem_of(await acme.get(TOKENS), 404)
    assert [one.ends_at for one in (await held(context)).overrides] == [NOW + DAY, NOW + 2 * DAY]


async def test_after_its_end_an_override_is_not_what_a_later_one_keeps_to(acme, clock):
    await put(acme, status=201, included=5, endsAt=instant(NOW + DAY))
    clock.at += DAY
    problem_of(await acme.get(TOKENS), 404)
    problem_of(await acme.delete(TOKENS), 404)
    assert terms(await put(acme, status=201, upTo=7)) == (None, 7, None, None)


async def test_deleting_lifts_it_whole(acme, clock, context):
    made = await put(acme, status=201, included=5, upTo=7)
    version = (await held(context)).version
    clock.at += DAY
    lifted = await acme.delete(TOKENS)
    assert (lifted.status_code, lifted.json()) == (200, made | {"endsAt": instant(clock.at)})
    problem_of(await acme.get(TOKENS), 404)
    problem_of(await acme.delete(TOKENS), 404)
    assert (await held(context)).version == version + 1


async def test_what_held_at_an_instant_in_the_past_is_answered(acme, clock):
    for number in range(3):
        await put(acme, status=200 if number else 201, included=number)
        clock.at += DAY
    await acme.delete(TOKENS)
    await put(acme, f"{ALL}/max-projects", status=201, value=70)
    at = {day: await acme.get(TOKENS, params={"at": instant(NOW + day * DAY)}) for day in range(4)}
    assert [at[day].json()["included"] for day in range(3)] == [0, 1, 2]
    assert at[3].status_code == 404
    early = (await acme.get(ALL, params={"at": "2026-11-23T12:00:00+01:00"})).json()["items"]
    assert [(one["featureId"], one["included"]) for one in early] == [("ai-tokens", 1)]
    present = (await acme.get(ALL)).json()
    assert [(one["featureId"], one["value"]) for one in present["items"]] == [("max-projects", 70)]
    assert present["nextCursor"] is None


async def test_each_type_of_feature_has_its_own_terms(acme):
    assert (await put(acme, f"{ALL}/premium-voice-model", status=201, value=False))["value"] is False
    assert (await put(acme, f"{ALL}/max-projects", status=201, value="7"))["value"] == 7
    assert (await put(acme, f"{ALL}/data-region", status=201, value="eu"))["value"] == "eu"


OBJECT = {
    "features.yaml": "features:\n"
    "  settings: {type: static, valueType: object, name: Settings}\n"
    "  share: {type: static, valueType: decimal, decimals: 2, name: Share}\n",
    "plans/solo.yaml": 'plan: solo\nname: Solo\ncurrency: usd\nprice: "1.00"\ninterval: month\n'
    'features:\n  settings: {a: {b: 1}}\n  share: "0.5"\n',
}


async def test_objects_and_decimals_come_back_as_they_were_sent(api, publish):
    await publish(OBJECT)
    await api.put("/v1/tenants/acme", json={})
    value = {"b": [1, "x", None, True], "a": {}}
    assert (await put(api, f"{ALL}/settings", status=201, value=value))["value"] == value
    assert (await api.get(f"{ALL}/settings")).json()["value"] == value
    assert (await put(api, f"{ALL}/share", status=201, value="0.25"))["value"] == "0.25"
    problem_of(await api.put(f"{ALL}/share", json={"reason": "r", "value": "0.255"}), 422, "/value")


async def test_the_same_said_twice_is_written_once(acme, clock, context):
    first = await put(acme, status=201, included=5)
    version = (await held(context)).version
    clock.at += DAY
    assert await put(acme, included=5) == first
    assert (await held(context)).version == version
    assert (await put(acme, included=5, reason="another")) != first


async def test_who_saw_an_older_one_is_told(acme):
    await put(acme, status=201, included=5)
    stale = (await acme.get(TOKENS)).headers["etag"]
    await put(acme, included=6)
    body = {"included": 7, "reason": "r"}
    problem_of(await acme.put(TOKENS, json=body, headers={"if-match": stale}), 412)
    problem_of(await acme.delete(TOKENS, headers={"if-match": stale}), 412)
    fresh = (await acme.get(TOKENS)).headers["etag"]
    assert (await acme.put(TOKENS, json=body, headers={"if-match": fresh})).status_code == 200


async def test_of_many_at_once_each_stands_on_the_one_before(acme):
    fields = ({"included": 5}, {"upTo": 6}, {"endsAt": instant(NOW + DAY), "included": 5})
    answers = await asyncio.gather(*(acme.put(TOKENS, json=one | {"reason": "r"}) for one in fields * 2))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert terms((await acme.get(TOKENS)).json()) == (5, 6, None, instant(NOW + DAY))


async def test_bad_fields_are_named_and_nothing_is_stored(acme, context):
    before = await held(context)
    voice, region = f"{ALL}/premium-voice-model", f"{ALL}/data-region"
    cases = [
        (TOKENS, {"included": 5, "reason": None}, "/reason"),
        (TOKENS, {}, ""),
        (TOKENS, {"included": None, "upTo": None}, ""),
        (TOKENS, {"value": 5}, "/value"),
        (TOKENS, {"included": -1}, "/included"),
        (TOKENS, {"included": 1.5}, "/included"),
        (TOKENS, {"included": "endless"}, "/included"),
        (TOKENS, {"included": True}, "/included"),
        (TOKENS, {"included": 5, "endsAt": instant(NOW)}, "/endsAt"),
        (TOKENS, {"included": 5, "endsAt": "2027-01-01T00:00:00"}, "/endsAt"),
        (TOKENS, {"included": 5, "until": "2027-01-01T00:00:00Z"}, "/until"),
        (f"{ALL}/api-calls", {"included": 5, "value": 5}, "/value"),
        (voice, {"value": 1}, "/value"),
        (voice, {"value": 1.5}, "/value"),
        (voice, {"value": []}, "/value"),
        (region, {"value": "x" * 4_001}, "/value"),
        (region, {"value": "a\u0000b"}, "/value"),
        (region, {"value": {"a": 1}}, "/value"),
    ]
    for path, body, pointer in cases:
        problem_of(await acme.put(path, json={"reason": "r"} | body), 422, pointer)
    assert await held(context) == before


async def test_what_is_wrong_with_a_bound_or_a_value_is_told_in_words(acme):
    bound = await acme.put(TOKENS, json={"included": 1.5, "reason": "r"})
    assert "never a float" in problem_of(bound, 422, "/included")["detail"]
    end = await acme.put(TOKENS, json={"included": 5, "endsAt": "2027-01-01T00:00:00", "reason": "r"})
    assert "no zone" in problem_of(end, 422, "/endsAt")["detail"]
    value = await acme.put(f"{ALL}/max-projects", json={"value": [5], "reason": "r"})
    assert "not a list" in problem_of(value, 422, "/value")["detail"]


async def test_a_bound_on_overage_is_replaced_only_where_overage_is_sold(acme):
    await acme.put("/v1/tenants/free", json={})
    await acme.post("/v1/tenants/free/subscription", json={"planId": "free"})
    path = "/v1/tenants/free/overrides/ai-tokens"
    told = problem_of(await acme.put(path, json={"upTo": 5, "reason": "r"}), 422, "/upTo")
    assert "sells no overage" in told["detail"]
    assert (await acme.put(path, json={"included": 5, "reason": "r"})).status_code == 201


async def test_an_unknown_feature_is_404_with_what_was_meant(acme):
    problem = problem_of(await acme.put(f"{ALL}/ai-token", json={"included": 5, "reason": "r"}), 404)
    assert 'Did you mean "ai-tokens"?' in problem["detail"]
    problem_of(await acme.get(f"{ALL}/ai-token"), 404)


async def test_there_are_so_many_overrides_and_no_more(acme, monkeypatch, clock):
    monkeypatch.setattr(limits, "OVERRIDES", 2)
    await put(acme, status=201, included=5, endsAt=instant(NOW + DAY))
    await put(acme, f"{ALL}/max-projects", status=201, value=5)
    region = {"value": "eu", "reason": "r"}
    assert "2 overrides" in problem_of(await acme.put(f"{ALL}/data-region", json=region), 409)["detail"]
    await put(acme, included=6)
    clock.at += DAY
    await put(acme, f"{ALL}/data-region", status=201, **region)


async def test_a_tenant_that_is_unknown_or_closed_is_left_alone(acme):
    body = {"included": 5, "reason": "r"}
    problem_of(await acme.put("/v1/tenants/nobody/overrides/ai-tokens", json=body), 404)
    problem_of(await acme.get("/v1/tenants/nobody/overrides"), 404)
    await put(acme, status=201, included=5)
    await acme.delete("/v1/tenants/acme")
    problem_of(await acme.put(TOKENS, json=body), 409)
    problem_of(await acme.delete(TOKENS), 409)
    assert (await acme.get(TOKENS)).json()["included"] == 5
