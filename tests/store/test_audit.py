"""No change without its line, no line without its change (law 11), whatever goes wrong in between."""

from datetime import timedelta
from itertools import pairwise

import msgspec
import psycopg
import pytest

from policies import override
from policies.errors import ProblemError
from service import wiring
from service.context import Caller
from service.usecases import billing, grants, keys, offers, overrides, subscribe, tenants
from service.usecases.changes import Order
from store import postgres

BOB = Caller(
    actor="key:key_bob", key_id="key_bob", scopes=frozenset(keys.SCOPES), tenant_id=None, request_id="req_7"
)
ORDER = Order(caller=BOB)
DAY = timedelta(days=1)

pytestmark = pytest.mark.usefixtures("catalog")

STATE = (
    b"select to_jsonb(t) - 'snapshot_version' as row from tenants t order by 1",
    b"select to_jsonb(s) from subscriptions s order by 1",
    b"select to_jsonb(p) from subscription_phases p order by 1",
    b"select to_jsonb(b) from billing_statuses b order by 1",
    b"select to_jsonb(g) from grants g order by 1",
    b"select to_jsonb(o) from overrides o order by 1",
    b"select to_jsonb(k) from api_keys k order by 1",
)
VERSIONS = b"select tenant_id || ' ' || snapshot_version from tenants order by 1"
LINES = b"select to_jsonb(a) from audit a order by seq"
BUMPS = b"select tenant_id || ' ' || snapshot_version from snapshot_bumps order by 1"
KEPT = b"select idempotency_key from idempotency_keys"


async def read(context, *queries):
    async with postgres.transaction(context.pool) as connection:
        return [await postgres.scalars(connection, query, {}) for query in queries]


async def lines(context):
    return (await read(context, LINES))[0]


def named(name):
    return tenants.Wish(name=name)


def billed(status):
    return billing.Wish(status=status, reason="said so", schedule=True)


def granted(quantity):
    return grants.Wish(feature_id="ai-tokens", quantity=quantity, reason="sorry")


def overridden(included):
    return override.Wish(included=included, reason="agreed")


async def void_the_grant(context):
    (held,) = (await grants.page(context, "acme", feature_id=None, after="", limit=9)).items
    return await grants.void(context, ORDER, "acme", held.grant_id, reason="by mistake")


def packs(number):
    return subscribe.Move(addons=[offers.AddonWish(addon_id="token-pack", quantity=number)], when="now")


LIFE = {
    "made": lambda c: tenants.put(c, ORDER, "acme", named("Acme")),
    "made again": lambda c: tenants.put(c, ORDER, "acme", named("Acme")),
    "renamed": lambda c: tenants.put(c, ORDER, "acme", named("Acme Ltd")),
    "subscribed to no plan": lambda c: subscribe.start(c, ORDER, "acme", subscribe.Wish(plan_id="none")),
    "subscribed": lambda c: subscribe.start(c, ORDER, "acme", subscribe.Wish(plan_id="pro")),
    "subscribed twice": lambda c: subscribe.start(c, ORDER, "acme", subscribe.Wish(plan_id="pro")),
    "resumed without need": lambda c: subscribe.resume(c, ORDER, "acme"),
    "changed": lambda c: subscribe.change(c, ORDER, "acme", subscribe.Move(plan_id="starter", when="now")),
    "changed to the same": lambda c: subscribe.change(
        c, ORDER, "acme", subscribe.Move(plan_id="starter", when="now")
    ),
    "with add-ons": lambda c: subscribe.change(c, ORDER, "acme", packs(2)),
    "with the same add-ons": lambda c: subscribe.change(c, ORDER, "acme", packs(2)),
    "to a plan without them": lambda c: subscribe.change(
        c, ORDER, "acme", subscribe.Move(plan_id="free", when="now")
    ),
    "in grace": lambda c: billing.put(c, ORDER, "acme", billed("grace")),
    "in grace already": lambda c: billing.put(c, ORDER, "acme", billed("grace")),
    "paid": lambda c: billing.put(c, ORDER, "acme", billed("good")),
    "given nothing": lambda c: grants.issue(c, ORDER, "acme", granted(0)),
    "given": lambda c: grants.issue(c, ORDER, "acme", granted(5)),
    "voided": void_the_grant,
    "voided again": void_the_grant,
    "overridden": lambda c: overrides.put(c, ORDER, "acme", "ai-tokens", overridden(5)),
    "overridden by the same": lambda c: overrides.put(c, ORDER, "acme", "ai-tokens", overridden(5)),
    "overridden anew": lambda c: overrides.put(c, ORDER, "acme", "ai-tokens", overridden("unlimited")),
    "lifted": lambda c: overrides.lift(c, ORDER, "acme", "ai-tokens"),
    "lifted again": lambda c: overrides.lift(c, ORDER, "acme", "ai-tokens"),
    "overridden once more": lambda c: overrides.put(c, ORDER, "acme", "ai-tokens", overridden(6)),
    "lifted field by field": lambda c: overrides.put(c, ORDER, "acme", "ai-tokens", overridden(None)),
    "without add-ons": lambda c: subscribe.change(c, ORDER, "acme", subscribe.Move(addons=[], when="now")),
    "scheduled": lambda c: subscribe.change(c, ORDER, "acme", subscribe.Move(plan_id="free", when="renewal")),
    "ending": lambda c: subscribe.cancel(c, ORDER, "acme", when="periodEnd"),
    "ending already": lambda c: subscribe.cancel(c, ORDER, "acme", when="periodEnd"),
    "resumed": lambda c: subscribe.resume(c, ORDER, "acme"),
    "stale": lambda c: tenants.put(c, Order(caller=BOB, if_match='"0"'), "acme", named("stale")),
    "closed": lambda c: tenants.close(c, ORDER, "acme"),
    "closed again": lambda c: tenants.close(c, ORDER, "acme"),
    "written when closed": lambda c: tenants.put(c, ORDER, "acme", named("late")),
}
UNCHANGED = {
    "made again", "subscribed to no plan", "subscribed twice", "resumed without need", "changed to the same",
    "ending already", "stale", "closed again", "written when closed", "with the same add-ons",
    "to a plan without them", "in grace already", "given nothing", "voided again", "overridden by the same",
    "lifted again",
}  # fmt: skip


async def live(context, clock):
    """Every act of LIFE, an hour apart; what each did to the state and to the lines."""
    for name, act in LIFE.items():
        before, told = await read(context, *STATE), await lines(context)
        try:
            await act(context)
        except ProblemError:
            assert name in UNCHANGED
        yield name, before, await read(context, *STATE), (await lines(context))[len(told) :]
        clock.at += timedelta(hours=1)


async def test_an_act_leaves_lines_if_and_only_if_it_changed_something(context, clock):
    async for name, before, after, told in live(context, clock):
        assert (after != before) == bool(told) == (name not in UNCHANGED), name


async def test_the_lines_of_a_thing_join_without_a_gap(context, clock):
    async for _ in live(context, clock):
        pass
    told = await lines(context)
    for subject in {line["subject"] for line in told}:
        own = [line for line in told if line["subject"] == subject]
        assert own[0]["before"] is None
        for earlier, later in pairwise(own):
            assert later["before"] == earlier["after"] != later["after"]


async def test_a_line_says_who_what_when_and_under_which_request(context, clock):
    async for _ in live(context, clock):
        pass
    told = await lines(context)
    assert {(line["actor"], line["request_id"], line["tenant_id"]) for line in told} == {
        ("key:key_bob", "req_7", "acme")
    }
    assert [line["action"] for line in told] == [
        "tenant.create", "tenant.update", "subscription.start", "subscription.change", "subscription.change",
        "payment.learn", "billing.set", "payment.learn", "billing.set", "grant.issue", "grant.void",
        "override.set", "override.set", "override.lift", "override.set", "override.lift",
        "subscription.change", "subscription.change",
        "subscription.cancel", "subscription.resume", "subscription.cancel", "tenant.close",
    ]  # fmt: skip
    assert told[0]["at"] == "2026-11-22T10:00:00+00:00"
    assert (told[1]["before"]["name"], told[1]["after"]["name"]) == ("Acme", "Acme Ltd")


async def test_the_last_line_of_a_subscription_is_its_stored_state(context, clock):
    async for _ in live(context, clock):
        pass
    told = [line for line in await lines(context) if line["action"].startswith("subscription.")]
    view, _ = await subscribe.get(context, "acme")
    told_phases = [(phase["planId"], phase["start"], phase["end"]) for phase in told[-1]["after"]["phases"]]
    stored = [(phase.plan_id, phase.start, phase.end) for phase in view.phases]
    assert told_phases == [
        (plan, *(at.isoformat().replace("+00:00", "Z") for at in edges)) for plan, *edges in stored
    ]


@pytest.mark.parametrize("table", ["audit", "snapshot_bumps", "idempotency_keys"])
async def test_when_a_part_of_the_transaction_fails_nothing_of_it_stands(context, clock, table):
    """Whichever row cannot be written: the line, the word to Redis, or the answer for a repetition."""
    await tenants.put(context, ORDER, "acme", named("Acme"))
    await subscribe.start(context, ORDER, "acme", subscribe.Wish(plan_id="pro"))
    everything = (*STATE, VERSIONS, LINES, BUMPS, KEPT)
    before = await read(context, *everything)
    async with postgres.transaction(context.pool) as connection:
        await connection.execute(
            "create function refuse() returns trigger language plpgsql as "
            "$$ begin raise exception 'refused' using errcode = 'integrity_constraint_violation'; end $$"
        )
        await connection.execute(
            f"create trigger refuse before insert on {table} for each row execute function refuse()"
        )
    clock.at += DAY
    order = Order(caller=BOB, idempotency_key="k")
    acts = (
        lambda: subscribe.change(context, order, "acme", subscribe.Move(plan_id="free", when="now")),
        lambda: subscribe.cancel(context, order, "acme", when="now"),
        lambda: tenants.close(context, order, "acme"),
    )
    for act in acts:
        with pytest.raises(psycopg.IntegrityError):
            await act()
        assert await read(context, *everything) == before


async def test_a_change_that_postgres_refuses_leaves_no_line(context):
    await tenants.put(context, ORDER, "acme", named("Acme"))
    await subscribe.start(context, ORDER, "acme", subscribe.Wish(plan_id="pro"))
    async with postgres.transaction(context.pool) as connection:
        await connection.execute("alter table subscription_phases add check (plan_id <> 'free')")
    before = await read(context, *STATE, LINES, BUMPS)
    with pytest.raises(psycopg.IntegrityError):
        await subscribe.change(context, ORDER, "acme", subscribe.Move(plan_id="free", when="renewal"))
    assert await read(context, *STATE, LINES, BUMPS) == before


async def test_with_redis_away_the_change_stands_and_the_word_to_redis_is_kept(config, clock, catalog):
    away = msgspec.structs.replace(config, redis_url="unix:///nowhere/valkey.sock")
    async with wiring.open_context(away, clock) as context:
        await context.catalogs.refresh()
        await tenants.put(context, ORDER, "acme", named("Acme"))
        await subscribe.start(context, ORDER, "acme", subscribe.Wish(plan_id="pro"))
        assert (await subscribe.get(context, "acme"))[0].state == "active"
        assert await read(context, BUMPS, VERSIONS) == [["acme 2"], ["acme 2"]]


async def test_a_repetition_leaves_no_second_line(context):
    order = Order(caller=BOB, idempotency_key="k")
    first = await tenants.put(context, order, "acme", named("Acme"))
    told = await lines(context)
    assert await tenants.put(context, order, "acme", named("Acme")) == first
    assert await lines(context) == told


async def test_lines_of_keys_have_no_secret(context, clock):
    wish = keys.Wish(name="service", scopes=["check"], expires_at=clock.at + DAY)
    made = msgspec.json.decode((await keys.create(context, ORDER, wish)).body)
    clock.at += timedelta(hours=1)
    rotated = msgspec.json.decode((await keys.rotate(context, ORDER, made["keyId"], overlap_hours=1)).body)
    await keys.revoke(context, ORDER, rotated["keyId"])
    told = await lines(context)
    assert [line["action"] for line in told] == ["key.create", "key.create", "key.rotate", "key.revoke"]
    text = msgspec.json.encode(told).decode()
    for secret in (made["secret"], rotated["secret"]):
        assert secret not in text
        assert keys.digest_of(secret).hex() not in text
