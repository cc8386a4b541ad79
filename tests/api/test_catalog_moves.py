"""A publish and those already subscribed: kept unless it is said, previewed, moved in batches, carried on."""

import psycopg
import pytest

from policies import limits
from service.usecases import activation, publish
from service.usecases.activation import Wish
from store import postgres
from tests.conftest import ROOT, open_counters

PUBLISH = "/v1/catalogs/publish"
START = "2026-11-01T00:00:00Z"


def edited(files: dict[str, str], *edits: tuple[str, str, str]) -> dict[str, str]:
    files = dict(files)
    for path, old, new in edits:
        assert old in files[path], (path, old)
        files[path] = files[path].replace(old, new)
    return files


LESS = (("plans/pro.yaml", "1_000_000\n", "800_000\n"), ("plans/pro.yaml", "premium-voice-model: true", ""))


@pytest.fixture
async def three(api, context, catalog):
    """Three tenants on pro since the beginning of the month; one of them has used 900,000 tokens."""
    await open_counters(context)
    for tenant_id in ("acme", "globex", "initech"):
        await api.put(f"/v1/tenants/{tenant_id}", json={"name": tenant_id.title()})
        body = {"planId": "pro", "startAt": START, "addons": [{"addonId": "token-pack", "quantity": 2}]}
        assert (await api.post(f"/v1/tenants/{tenant_id}/subscription", json=body)).status_code == 201
    await used(context, "acme", "m.1793491200", "ai-tokens:i", 900_000)
    return api


async def used(context, tenant_id, window, field, quantity, *, ends="2026-12-02"):
    async with postgres.transaction(context.pool) as connection:
        await connection.execute(
            "insert into usage_counters values (%s, %s, %s, %s, %s)",
            (tenant_id, window, field, quantity, ends),
        )


async def published(api, files, **said):
    answer = await api.post(PUBLISH, json={"files": files, "message": "why", **said})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def on(api, tenant_id="acme"):
    told = (await api.get(f"/v1/tenants/{tenant_id}/subscription")).json()
    return [(phase["planVersion"], phase["start"], phase["end"]) for phase in told["phases"]]


async def limit_of(api, tenant_id="acme"):
    body = {"tenantId": tenant_id, "featureId": "ai-tokens"}
    return (await api.post("/v1/check", json=body)).json()["granted"]


async def test_those_subscribed_keep_what_they_have_unless_it_is_said(three, example_files):
    before = await on(three)
    done = await published(three, edited(example_files, *LESS))
    assert (done["activated"], done["moves"]) == (True, None)
    assert await on(three) == before


async def test_moved_now_a_tenant_has_the_new_limit_at_once_and_its_period_stays(three, example_files):
    before = (await three.get("/v1/tenants/acme/subscription")).json()
    done = await published(three, edited(example_files, *LESS), moves={"pro": "now"})
    assert done["moves"] == {"moved": 3, "already": 0, "left": 0, "reasons": [], "done": True}
    after = (await three.get("/v1/tenants/acme/subscription")).json()
    assert await limit_of(three) == 800_000 + 2 * 500_000
    for kept in ("anchoredAt", "currentPeriod", "subscriptionId", "addons", "createdAt"):
        assert after[kept] == before[kept]
    assert [phase["end"] for phase in after["phases"]] == ["2026-11-22T10:00:00Z", None]


async def test_moved_at_renewal_a_tenant_keeps_its_right_until_then(three, example_files, clock):
    await published(three, edited(example_files, *LESS), moves={"pro": "renewal"})
    assert [end for _, _, end in await on(three)] == ["2026-12-01T00:00:00Z", None]
    assert await limit_of(three) == 2_000_000


async def test_the_same_again_moves_nobody_twice(three, example_files):
    files = edited(example_files, *LESS)
    for when in ("renewal", "now"):
        await published(three, files, moves={"pro": when})
        there = await on(three)
        again = await published(three, files, moves={"pro": when})
        assert (again["activated"], again["moves"]["moved"], await on(three)) == (False, 0, there)


async def test_every_move_has_its_line_and_its_snapshot_version(three, context, example_files, config):
    snapshots = [await context.snapshots.get(one) for one in ("acme", "globex", "initech")]
    await published(three, edited(example_files, *LESS), moves={"pro": "now"})
    with psycopg.connect(config.database_url) as connection:
        lines = connection.execute(
            "select tenant_id, reason, before -> 'phases' <> after -> 'phases' from audit "
            "where action = 'subscription.move' order by tenant_id"
        ).fetchall()
        (moves,) = connection.execute(
            "select after -> 'moves' from audit where action = 'catalog.publish' order by seq desc limit 1"
        ).fetchone()
    assert lines == [(one, "why", True) for one in ("acme", "globex", "initech")]
    assert moves == {"pro": "now"}
    for before in snapshots:
        after = await context.snapshots.get(before.tenant_id)
        assert after.version == before.version + 1


async def test_who_cannot_be_moved_is_left_and_named_with_the_reason(three, example_files):
    await three.post("/v1/tenants/globex/subscription/cancel", json={"when": "periodEnd"})
    done = await published(three, edited(example_files, *LESS), moves={"pro": "renewal"})
    assert (done["moves"]["moved"], done["moves"]["left"]) == (2, 1)
    (left,) = done["moves"]["reasons"]
    assert (left["tenantId"], "before its renewal" in left["reason"]) == ("globex", True)
    assert len(await on(three, "globex")) == 1


async def test_who_would_have_a_bill_in_two_currencies_is_left_until_renewal(three, example_files):
    euros = ("plans/pro.yaml", "currency: usd", "currency: eur")
    files = edited(example_files, euros, ("addons/token-pack.yaml", "[starter, pro]", "[starter]"))
    answer = await published(three, files, moves={"pro": "now"})
    assert (answer["moves"]["moved"], answer["moves"]["left"]) == (0, 3)
    assert "a bill has one currency" in answer["moves"]["reasons"][0]["reason"]


async def test_an_add_on_moves_by_its_id(three, example_files):
    files = edited(example_files, ("addons/token-pack.yaml", "500_000", "400_000"))
    done = await published(three, files, moves={"token-pack": "now"})
    assert done["moves"]["moved"] == 3
    assert await limit_of(three) == 1_000_000 + 2 * 400_000


async def test_what_moves_in_batches_is_carried_on_by_the_same_request(
    three, context, example_files, monkeypatch
):
    monkeypatch.setattr(limits, "MOVE_BATCH", 1)
    files = edited(example_files, *LESS)
    wish = Wish(message="why", moves={"pro": "now"}, most=2)
    first = await publish.publish(context, ROOT, files, wish)
    assert first.moves is not None
    assert (first.moves.moved, first.moves.done) == (2, False)
    rest = await publish.publish(context, ROOT, files, wish)
    assert rest.moves is not None
    assert (rest.moves.moved, rest.moves.done) == (1, True)


async def test_a_batch_that_fails_changes_nobody_of_it_and_the_others_stand(
    three, context, example_files, monkeypatch
):
    monkeypatch.setattr(limits, "MOVE_BATCH", 2)
    files = edited(example_files, *LESS)
    calls = []

    def fails(looked_at, total):
        calls.append((looked_at, total))
        raise ConnectionError("the terminal went away")

    with pytest.raises(ConnectionError):
        await publish.publish(
            context, ROOT, files, Wish(message="x", moves={"pro": "now"}), on_progress=fails
        )
    assert calls == [(2, 3)]
    again = await published(three, files, moves={"pro": "now"})
    assert again["moves"]["moved"] == 1


async def test_a_move_of_what_the_new_catalog_has_not_is_refused(three, catalog, example_files):
    body = {"files": edited(example_files, *LESS), "message": "x", "moves": {"prox": "now"}}
    refused = await three.post(PUBLISH, json=body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/moves/prox")
    assert (await three.get("/v1/catalog")).json()["hash"] == catalog.hash
    unknown = await three.post(PUBLISH, json=body | {"moves": {"pro": "soon"}})
    assert unknown.status_code == 422


async def test_a_preview_counts_names_and_changes_nothing(three, catalog, example_files):
    there = await on(three)
    said = {"moves": {"pro": "now"}, "dryRun": True}
    told = await published(three, edited(example_files, *LESS), **said)
    assert (told["dryRun"], told["activated"]) == (True, False)
    seen = told["preview"]
    assert seen["basedOn"] == catalog.hash
    (pro,) = seen["subscribed"]
    assert (pro["id"], pro["tenants"], pro["move"]) == ("pro", 3, "now")
    assert pro["above"] == [
        {"featureId": "ai-tokens", "measure": "period", "interval": "month", "number": 800_000, "tenants": 1}
    ]
    assert pro["loses"] == [{"featureId": "premium-voice-model", "tenants": 3}]
    assert [(one["name"], one["above"]) for one in pro["first"]] == [
        ("Acme", ["ai-tokens"]), ("Globex", []), ("Initech", []),
    ]  # fmt: skip
    assert await on(three) == there
    assert (await three.get("/v1/catalog")).json()["hash"] == catalog.hash


async def test_usage_of_the_period_before_is_not_that_of_today(three, context, example_files):
    """Its window's name outlives it: a month may have 31 days."""
    await used(context, "globex", "m.1790812800", "ai-tokens:i", 950_000, ends="2026-11-23")
    answer = await three.post("/v1/catalogs/diff", json={"files": edited(example_files, LESS[0])})
    (change,) = answer.json()["changes"]
    assert change["above"] == 1


async def test_a_cap_of_an_entity_is_held_against_each(three, context, example_files):
    for tenant_id, entity, quantity in (
        ("globex", "a", 6_000),
        ("globex", "b", 9_000),
        ("acme", "a", 12_000),
    ):
        await used(context, tenant_id, "d.1795305600", f"ai-tokens:e:{entity}", quantity, ends="2026-11-23")
    files = edited(example_files, ("plans/pro.yaml", "limit: 20_000", "limit: 10_000"))
    (change,) = (await three.post("/v1/catalogs/diff", json={"files": files})).json()["changes"]
    assert (change["above"], change["tenants"]) == (1, 3)


async def test_a_diff_says_it_in_words_and_for_whom(three, example_files):
    files = edited(example_files, *LESS, ("plans/starter.yaml", 'price: "', 'price: "1'))
    told = (await three.post("/v1/catalogs/diff", json={"files": files})).json()
    assert {(one["sentence"], one["effect"], one["tenants"]) for one in told["changes"][:2]} == {
        ("Pro: ai-tokens included 1,000,000 → 800,000; 1 tenant is above the new number today", "worse", 3),
        ("Pro: premium-voice-model (on) is gone", "worse", 3),
    }
    assert told["worse"] is True
    assert told["tenants"] == {"enterprise": 0, "free": 0, "pro": 3, "starter": 0}


async def test_what_is_worse_for_nobody_is_not_worse(three, example_files):
    files = edited(example_files, ("plans/starter.yaml", 'price: "', 'price: "1'))
    told = (await three.post("/v1/catalogs/diff", json={"files": files})).json()
    assert ([one["effect"] for one in told["changes"]], told["worse"]) == (["worse"], False)


async def test_a_diff_may_be_against_an_earlier_catalog(three, catalog, example_files):
    files = edited(example_files, *LESS)
    await published(three, files)
    same = (await three.post("/v1/catalogs/diff", json={"files": files})).json()
    assert (same["changes"], same["worse"]) == ([], False)
    before = (await three.post("/v1/catalogs/diff", json={"files": files, "against": catalog.hash})).json()
    assert (before["before"], len(before["changes"])) == (catalog.hash, 2)
    nowhere = await three.post("/v1/catalogs/diff", json={"files": files, "against": "sha256:" + "0" * 64})
    assert nowhere.status_code == 404


async def test_of_two_publishers_the_one_who_has_not_seen_the_other_is_told(three, catalog, example_files):
    first = edited(example_files, ("plans/pro.yaml", "49.00", "59.00"))
    second = edited(example_files, ("plans/pro.yaml", "49.00", "39.00"))
    won = await published(three, first, basedOn=catalog.hash)
    lost = await three.post(
        PUBLISH, json={"files": second, "message": "x", "basedOn": catalog.hash, "moves": {"pro": "now"}}
    )
    assert lost.status_code == 409
    detail = lost.json()["detail"]
    assert "by key:" in detail
    assert '"why"' in detail
    assert "2026-11-22 at 10:00:00 UTC" in detail
    assert (await three.get("/v1/catalog")).json()["hash"] == won["hash"]
    assert len(await on(three)) == 1
    assert (await published(three, first, basedOn=catalog.hash))["activated"] is False  # a repetition
    assert (await published(three, second, basedOn=won["hash"]))["activated"] is True


async def test_a_first_publish_can_be_based_on_nothing(api, context, example_files):
    await open_counters(context)
    assert (await published(api, example_files, basedOn=""))["activated"] is True
    other = edited(example_files, ("plans/pro.yaml", "49.00", "59.00"))
    late = await api.post(PUBLISH, json={"files": other, "message": "x", "basedOn": ""})
    assert late.status_code == 409


async def test_a_plan_that_is_taken_away_is_told_with_the_tenants_who_keep_it(three, example_files):
    """So are not plans that nobody is on, here Starter."""
    files = edited(
        example_files,
        ("features.yaml", "free, starter, pro, enterprise", "free, enterprise"),
        ("addons/token-pack.yaml", "[starter, pro]", "[free]"),
    )
    del files["plans/pro.yaml"], files["plans/starter.yaml"]
    there = await on(three)
    told = await published(three, files)
    (finding,) = [one for one in told["findings"] if one["slug"] == "removed"]
    assert (finding["path"], finding["severity"]) == ("plans/pro.yaml", "warning")
    assert finding["message"] == 'the plan "pro" is taken away, and 3 tenants have it'
    assert (await on(three), await limit_of(three)) == (there, 2_000_000)
    back = await published(three, example_files)
    assert back["findings"] == []


async def test_the_way_back_is_an_activation_of_its_own(three, catalog, example_files):
    body = {"hash": catalog.hash, "message": "It was a mistake"}
    await published(three, edited(example_files, *LESS), moves={"pro": "now"})
    answer = await three.post("/v1/catalogs/activate", json=body | {"moves": {"pro": "now"}})
    assert (answer.status_code, answer.json()["activated"]) == (200, True)
    assert answer.json()["moves"]["moved"] == 3
    assert await limit_of(three) == 2_000_000
    items = (await three.get("/v1/catalogs")).json()["items"]
    assert [(one["hash"] == catalog.hash, one["message"], one["moves"]) for one in items] == [
        (True, "It was a mistake", {"pro": "now"}), (False, "why", {"pro": "now"}), (True, "", {}),
    ]  # fmt: skip
    again = await three.post("/v1/catalogs/activate", json=body)
    assert again.json()["activated"] is False
    assert len((await three.get("/v1/catalogs")).json()["items"]) == 3


async def test_the_history_can_be_read_page_by_page(three, catalog, example_files):
    for price in ("51.00", "52.00"):
        await published(three, edited(example_files, ("plans/pro.yaml", "49.00", price)))
    first = (await three.get("/v1/catalogs?limit=2")).json()
    rest = (await three.get(f"/v1/catalogs?limit=2&cursor={first['nextCursor']}")).json()
    assert len({one["hash"] for one in first["items"] + rest["items"]}) == 3
    assert (rest["items"][0]["hash"], rest["nextCursor"]) == (catalog.hash, None)


async def test_an_activation_can_be_previewed_and_needs_a_catalog_that_there_is(three, catalog):
    preview = await three.post(
        "/v1/catalogs/activate", json={"hash": catalog.hash, "message": "x", "dryRun": True}
    )
    assert preview.json()["preview"]["comparison"]["changes"] == []
    unknown = await three.post("/v1/catalogs/activate", json={"hash": "sha256:" + "0" * 64, "message": "x"})
    assert unknown.status_code == 404


@pytest.mark.parametrize("path", ["diff", "publish", "activate"])
async def test_a_key_of_a_tenant_has_no_word_in_plans(three, make_key, path, catalog, example_files):
    bound = {"authorization": f"Bearer {await make_key('manage', tenant_id='acme')}"}
    body: dict[str, object] = {"files": example_files}
    if path == "activate":
        body = {"hash": catalog.hash}
    if path != "diff":
        body["message"] = "mine"
    assert (await three.post(f"/v1/catalogs/{path}", json=body, headers=bound)).status_code == 403


async def test_the_beginning_of_a_hash_names_a_catalog(context, catalog):
    found = [await activation.find(context, catalog.hash[:end]) for end in (15, 71)]
    assert {*found, await activation.find(context, catalog.hash[7:19])} == {catalog.hash}
