"""Levels: of a highest quantity, and of different values, only the growth is drawn."""

import asyncio
from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies import errors, limits, meter
from policies.balance import Capacity, Levels
from policies.usage import Usage
from service.context import Context
from service.usecases import check, consume, past, record
from service.usecases.check import Check
from service.usecases.consume import Consumed
from service.usecases.fitting import Wanted
from store import certify, corrections, keyspace, postgres, script_call
from store.accounts import Account, BucketRoom
from store.consuming import Ceilings, Use
from store.counters import Recording
from store.journal import JournalEvent, Rise, encode
from store.reading import Want
from tests.conftest import NOW, open_counters
from tests.store import ledger
from tests.store.test_draws import WINDOW, Numbers, alone, amounts
from tests.store.test_record import _forget_marks

SEATS, USERS = "seats", "users"
FEATURES = """
  seats: {type: metered, name: Seats, unit: seat, aggregation: max, decimals: 1}
  lines: {type: metered, name: Lines, unit: line, aggregation: max}
  users: {type: metered, name: Users, unit: user, aggregation: unique, property: user_id}

# What a tenant falls back"""
TERMS = {
    "free": "\n  seats: {included: 10}\n  users: {included: 3}\n  lines: {included: 5, interval: day}\n",
    "pro": """
  seats: {included: 20, overage: {upTo: 5, model: perUnit, unitAmount: "1.00"}}
  users: {included: 100}
""",
}


def leveled(files: dict[str, str]) -> dict[str, str]:
    """The example's files with two levels: seats (10 on free) and users (3)."""
    plans = {f"plans/{name}.yaml": files[f"plans/{name}.yaml"] + terms for name, terms in TERMS.items()}
    text = files["features.yaml"].replace("\n# What a tenant falls back", FEATURES)
    dropped = ("invariants.yaml", "plans/starter.yaml", "plans/enterprise.yaml", "addons/token-pack.yaml")
    rest = {path: text for path, text in files.items() if path not in dropped}
    text = text.replace("[free, starter, pro, enterprise]", "[free, pro]")
    return rest | plans | {"features.yaml": text}


@pytest.fixture
async def acme(context: Context, publish, example_files) -> Context:
    """The tenant `acme` on free; every shard is open."""
    await publish(leveled(example_files))
    await open_counters(context)
    await ledger.subscribed(context, "acme", "free")
    return context


def seats(number: int, quantity: int | str, **fields) -> Usage:
    return Usage(
        tenant_id="acme",
        service_id="tests",
        event_id=f"s{number}",
        feature_id=SEATS,
        quantity=quantity,
        **fields,
    )


def user(number: int, name: str, **fields) -> Usage:
    return Usage(
        tenant_id="acme",
        service_id="tests",
        event_id=f"v{number}",
        feature_id=USERS,
        quantity=1,
        properties={"user_id": name},
        **fields,
    )


async def counted(context: Context, feature_id: str, *, at=NOW) -> tuple[int, ...]:
    """Included, overage and excess in Redis."""
    fields = tuple((ledger.month(at), keyspace.bucket_field(feature_id, bucket)) for bucket in "iox")
    (found,) = await context.counters.read([Want("acme", fields)])
    return found.values


async def events_of(context: Context, name: str) -> int:
    """How many events have a value, as Redis counts them."""
    window = keyspace.values_window(ledger.month(), USERS)
    (found,) = await context.counters.read([Want("acme", ((window, keyspace.value_field(name)),))])
    return found.values[0]


async def hours(context: Context, feature_id: str) -> dict[int, int]:
    """What the rollups have of a feature, by hour."""
    query = b"select extract(hour from hour_at)::int as hour, sum(quantity)::int as used from usage_hourly "
    query += b"where feature_id = %(feature_id)s group by 1"
    async with postgres.transaction(context.pool) as connection:
        cursor = await connection.execute(query, {"feature_id": feature_id})
        return dict(await cursor.fetchall())


async def use(context: Context, number: int, **fields) -> Consumed:
    wanted = {"event_id": f"u{number}", "tenant_id": "acme", "service_id": "tests", "quantity": 1}
    return await consume.consume(context, Wanted(**wanted | fields))


def meeting(number: int, name: str):
    return {"event_id": f"u{number}", "feature_id": USERS, "properties": {"user_id": name}}


# The scripts and the rule ----------------------------------------------------------------------------

turns = st.lists(
    st.tuples(
        st.builds(alone, st.none() | amounts, st.none() | amounts),
        amounts,
        st.sampled_from("abcd"),
        st.none() | amounts,
    ),
    min_size=1,
    max_size=8,
)
"""What may be drawn, how much is told, of whom; a ceiling where it is consumed."""


def account(tenant_id: str, kind: str, room: Capacity) -> Account:
    (included,) = room.finite
    size = limits.COUNTER_MAX if included.size is None else included.size
    return Account(
        tenant_id=tenant_id,
        snapshot_version=0,
        feature_id="f",
        window=WINDOW,
        overage=room.up_to,
        ends=0,
        finite=(BucketRoom(WINDOW, "f:i", size, 0),),
        meter=kind,
    )


def told(number: int, held: Account, quantity: int, value: str) -> dict:
    digest = number.to_bytes(12) + bytes(4)
    line = JournalEvent(
        kind="record",
        tenant_id=held.tenant_id,
        service_id="s",
        event_id=str(number),
        feature_id="f",
        entity_id="",
        plan_id="",
        quantity=quantity,
        measured=quantity,
        event_at=0,
        accepted_at=0,
        window=WINDOW,
        ends=0,
        caps=(),
        digest=digest,
        fingerprint=1,
        properties=None,
        rise=Rise(value),
    )
    return {
        "account": held,
        "measured": quantity,
        "digest": digest,
        "fingerprint": 1,
        "payload": encode(line),
        "value": value,
    }


@pytest.mark.parametrize("kind", ["max", "unique"])
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=turns)
async def test_scripts_and_rule_draw_alike(counting: Context, kind, history):
    tenant_id = f"level-{Numbers.next()}"
    levels, names = Levels(), {}
    for room, quantity, name, ceiling in history:
        measured = quantity if kind == "max" else 1
        before = Levels(
            included=levels.included,
            overage=levels.overage,
            excess=levels.excess,
            seen=names.get(name, 0) if kind == "unique" else 0,
        )
        taken = meter.draw(kind, room, before, measured)
        asked = meter.asked(kind, before, measured)
        event = told(Numbers.next(), account(tenant_id, kind, room), measured, name)
        if ceiling is None:
            assert await counting.counters.record([Recording(**event)], now=NOW) == ["accepted"]
        else:
            found = await counting.consumer.consume(
                Use(**event, ceilings=Ceilings(None, ceiling, ())), now=NOW
            )
            fits = before.included + before.overage + asked <= ceiling
            assert found.outcome == ("counted" if fits else "refused")
            seen = (names.get(name, 0),) if kind == "unique" else ()
            assert found.levels == (before.overage, before.excess, 0, before.included, *seen)
            if not fits:
                continue
        names[name] = names.get(name, 0) + 1
        levels = Levels(
            included=before.included + taken.included,
            overage=before.overage + taken.overage,
            excess=before.excess + taken.excess,
        )
    fields = tuple((WINDOW, f"f:{bucket}") for bucket in "iox")
    (read,) = await counting.counters.read([Want(tenant_id, fields)])
    assert read.values == (levels.included, levels.overage, levels.excess)


# What is reported ------------------------------------------------------------------------------------


async def test_of_seats_the_highest_number_counts_and_its_growth_lands_in_the_hour(acme: Context):
    at = [NOW - timedelta(hours=age) for age in (3, 2, 1)]
    events = [seats(1, 4, timestamp=at[0]), seats(2, "7.5", timestamp=at[1]), seats(3, 6, timestamp=at[2])]
    assert await ledger.statuses(acme, *events) == ["accepted"] * 3
    assert await counted(acme, SEATS) == (75, 0, 0)
    await ledger.flush_all(acme)
    assert await hours(acme, SEATS) == {7: 40, 8: 35, 9: 0}
    assert await ledger.stored(acme) == (3, 75)


async def test_past_the_limit_it_is_excess_until_there_is_room_and_it_is_told_again(acme: Context):
    await ledger.statuses(acme, seats(1, 15))
    assert await counted(acme, SEATS) == (100, 0, 50)
    move = ledger.subscribe.Move(plan_id="pro", when="now")
    await ledger.subscribe.change(acme, ledger.ORDER, "acme", move)
    await ledger.statuses(acme, seats(2, 15))
    assert await counted(acme, SEATS) == (150, 0, 0)
    await ledger.statuses(acme, seats(3, 30))
    assert await counted(acme, SEATS) == (200, 50, 50)
    await ledger.flush_all(acme)
    assert await ledger.stored(acme) == (3, 300)


async def test_a_user_counts_once_a_period_however_often_it_is_met(acme: Context):
    names = ["ada", "ada", "bob", "ada"]
    events = [user(number, name) for number, name in enumerate(names)]
    assert await ledger.statuses(acme, *events) == ["accepted"] * 4
    assert await ledger.statuses(acme, user(9, "cyd")) == ["accepted"]
    assert await counted(acme, USERS) == (3, 0, 0)
    assert [await events_of(acme, name) for name in ("ada", "bob", "eve")] == [3, 1, 0]
    await ledger.flush_all(acme)
    assert await ledger.stored(acme) == (5, 3)
    assert await hours(acme, USERS) == {10: 3}


async def test_late_news_raises_the_level_of_its_own_period_however_old_it_is(acme: Context):
    """By the day: what came thirty days late moves neither this period nor the one before."""
    old, lines = NOW - timedelta(days=30), {"feature_id": "lines"}
    for number, quantity in enumerate((4, 9, 6)):
        told = msgspec.structs.replace(seats(number, quantity, timestamp=old), **lines)
        assert await ledger.statuses(acme, told) == ["accepted"]
    await ledger.statuses(acme, msgspec.structs.replace(seats(9, 5), **lines))
    await ledger.flush_all(acme)
    assert await ledger.stored(acme) == (4, 9 + 5)


async def test_an_event_without_its_value_is_rejected(acme: Context):
    nameless = user(1, "")
    (result,), _ = await record.record(acme, [nameless])
    assert (result.status, result.refusal.pointer) == ("rejected", "/properties/user_id")
    assert await counted(acme, USERS) == (0, 0, 0)


async def test_a_period_counts_so_many_values_and_no_more(acme: Context, monkeypatch):
    monkeypatch.setattr(limits, "UNIQUE_VALUES", 2)
    script_call._said.cache_clear()  # accounts are told with their bound, once
    told = [user(1, "ada"), user(2, "bob"), user(3, "cyd"), user(4, "ada")]
    results, _ = await record.record(acme, told)
    assert [one.status for one in results] == ["accepted", "accepted", "rejected", "accepted"]
    assert results[2].refusal.pointer == "/properties/user_id"
    with pytest.raises(errors.InvalidError) as refused:
        await use(acme, 5, **meeting(5, "dan"))
    assert refused.value.errors[0].pointer == "/properties/user_id"
    assert await counted(acme, USERS) == (2, 0, 0)
    script_call._said.cache_clear()


# What is lost and found ------------------------------------------------------------------------------


async def test_levels_and_values_come_back_after_a_wipe(acme: Context):
    await ledger.statuses(acme, seats(1, 15), user(1, "ada"), user(2, "ada"), user(3, "bob"))
    await ledger.flush_all(acme)
    await acme.counters.link.send([("FLUSHALL",)])
    await certify.certify(acme.pool, acme.counters.link, now=NOW)
    assert await counted(acme, SEATS) == (100, 0, 50)
    assert [await events_of(acme, name) for name in ("ada", "bob")] == [2, 1]
    await ledger.statuses(acme, seats(2, 16), user(4, "bob"), user(5, "cyd"))
    assert await counted(acme, SEATS) == (100, 0, 60)
    assert await counted(acme, USERS) == (3, 0, 0)


async def test_a_duplicate_that_only_the_flush_finds_leaves_level_and_values_as_they_were(acme: Context):
    told = [seats(1, 8), user(1, "ada")]
    await ledger.statuses(acme, *told)
    await ledger.flush_all(acme)
    await _forget_marks(acme)
    assert await ledger.statuses(acme, *told) == ["accepted"] * 2
    assert await events_of(acme, "ada") == 2
    assert (await ledger.flush_all(acme)).duplicates == 2
    await corrections.apply_corrections(acme.pool, acme.counters)
    assert (await counted(acme, SEATS), await counted(acme, USERS)) == ((80, 0, 0), (1, 0, 0))
    assert await events_of(acme, "ada") == 1
    assert await ledger.stored(acme) == (2, 81)


# What is asked and consumed --------------------------------------------------------------------------


async def test_a_check_asks_for_the_seats_there_would_be(acme: Context):
    await ledger.statuses(acme, seats(1, 7))
    asked = [Check(tenant_id="acme", feature_id=SEATS, quantity=quantity) for quantity in (10, "10.1", 3)]
    given = await check.check(acme, asked)
    assert [one.allowed for one in given] == [True, False, True]
    assert [one.requested for one in given] == ["10", "10.1", "3"]
    assert {(one.usage, one.remaining) for one in given} == {("7", "3")}
    for quantity, allowed in ((9, True), (11, False), (10, True), (12, False)):
        (one,) = await check.check(acme, [Check(tenant_id="acme", feature_id=SEATS, quantity=quantity)])
        assert (one.allowed, one.requested) == (allowed, str(quantity))


async def test_many_at_once_raise_a_level_no_higher_than_it_may_be(acme: Context):
    wanted = [7, 12, 10, 3, 11, 9, 10, 1] * 8
    calls = (use(acme, n, feature_id=SEATS, quantity=quantity) for n, quantity in enumerate(wanted))
    given = await asyncio.gather(*calls)
    assert [one.consumed for one in given] == [quantity <= 10 for quantity in wanted]
    assert await counted(acme, SEATS) == (100, 0, 0)


async def test_many_at_once_meet_as_many_users_as_may_be_and_each_as_often_as_it_likes(acme: Context):
    names = [f"user{number % 5}" for number in range(64)]
    given = await asyncio.gather(*(use(acme, n, **meeting(n, name)) for n, name in enumerate(names)))
    let_in = {name for one, name in zip(given, names, strict=True) if one.consumed}
    assert len(let_in) == 3
    assert [one.consumed for one in given] == [name in let_in for name in names]
    assert [one.decision.allowed for one in given] == [one.consumed for one in given]
    assert {one.decision.reason for one in given if not one.consumed} == {"limit_reached"}
    assert await counted(acme, USERS) == (3, 0, 0)


async def test_a_use_is_answered_again_as_it_was(acme: Context):
    await ledger.statuses(acme, user(1, "ada"), user(2, "bob"), user(3, "cyd"), seats(1, 4))
    first = [
        await use(acme, 1, **meeting(1, "ada")),
        await use(acme, 2, feature_id=SEATS, quantity=9),
    ]
    assert [one.consumed for one in first] == [True, True]
    await ledger.statuses(acme, seats(2, 10))
    again = [
        await use(acme, 1, **meeting(1, "ada")),
        await use(acme, 2, feature_id=SEATS, quantity=9),
    ]
    assert again == first


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"feature_id": USERS, "properties": {}}, "/properties/user_id"),
        ({"feature_id": USERS, "properties": {"user_id": "ada"}, "quantity": 2}, "/quantity"),
        ({"feature_id": SEATS, "quantity": 0}, "/quantity"),
        ({"feature_id": SEATS, "quantity": "1.55"}, "/quantity"),
    ],
)
async def test_what_makes_no_sense_is_refused(acme: Context, fields, pointer):
    with pytest.raises(errors.InvalidError) as refused:
        await use(acme, 1, **fields)
    assert refused.value.errors[0].pointer == pointer


async def test_the_past_is_the_level_of_the_events_up_to_then_in_whatever_order_they_came(acme: Context):
    at = [NOW + timedelta(hours=after) for after in (1, 2, 3)]
    acme.clock.at = at[2]
    await ledger.statuses(acme, seats(1, 9, timestamp=at[2]), user(1, "ada", timestamp=at[2]))
    await ledger.statuses(acme, seats(2, 5, timestamp=at[0]), user(2, "ada", timestamp=at[0]))
    for instant, level, users in ((NOW, 0, 0), (at[0], 5, 1), (at[1], 5, 1), (at[2], 9, 1)):
        for feature_id, known in ((SEATS, str(level)), (USERS, users)):
            asked = Check(tenant_id="acme", feature_id=feature_id)
            assert (await past.decided(acme, asked, instant)).usage == known
