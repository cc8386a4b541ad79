"""Revisions through the script, the journal and the flush: each once, whatever comes twice, late or never."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies import balance, errors, limits
from policies.balance import Draw, Levels
from policies.grant import Grant
from service import wiring
from service.context import Context
from service.usecases import booking, check, past, record, revise, subscribe, tenants
from service.usecases.check import Check
from service.usecases.events import EventName
from store import certify, corrections, journal, keyspace, postgres, revising
from store.journal import JournalEvent
from store.reading import Want
from store.revising import Revising
from tests.conftest import NOW
from tests.store import giving, ledger
from tests.store.ledger import ORDER, TOKENS, event, flush_all, levels, statuses, stored
from tests.store.test_draws import (
    GRANTS,
    WINDOW,
    Numbers,
    account,
    amounts,
    capacities,
    recording,
    turns,
    with_grants,
)


async def amend(context: Context, number: int, quantity: int | None, tenant_id: str = "acme", **wish) -> dict:
    name = EventName(tenant_id, "tests", f"e{number}")
    wish = revise.Wish(quantity=quantity, reason="wrong", **wish)
    return msgspec.json.decode((await revise.revise(context, ORDER, name, wish)).body)


async def sums(context: Context, *windows: str, tenant_id: str = "acme") -> dict[str, int]:
    """The counters that Postgres keeps of these windows, without those that stand at nothing."""
    query = (
        b"select field, used from usage_counters where tenant_id = %(tenant_id)s and used <> 0 "
        b"and time_window = any(%(windows)s)"
    )
    async with postgres.transaction(context.pool) as connection:
        cursor = await connection.execute(query, {"tenant_id": tenant_id, "windows": list(windows)})
        return dict(await cursor.fetchall())


async def revisions(context: Context) -> list[tuple]:
    query = (
        b"select revision, kind, quantity, measured, drawn_included, drawn_overage, drawn_excess, "
        b"time_window from usage_revisions order by event_at, revision"
    )
    async with postgres.transaction(context.pool) as connection:
        return await (await connection.execute(query)).fetchall()


async def count(context: Context, table: str) -> int:
    async with postgres.transaction(context.pool) as connection:
        return (await postgres.scalars(connection, f"select count(*) from {table}".encode(), {}))[0]


async def restart(context: Context) -> None:
    await context.counters.link.send([("FLUSHALL",)])
    await certify.certify(context.pool, context.counters.link, now=context.clock.now())


# --- the script beside the rule -------------------------------------------------------------------------


def revision(tenant_id: str, room, held, own: Draw, change: int) -> Revising:
    """A change of an event that has drawn these."""
    number = Numbers.next()
    digest = number.to_bytes(12) + bytes(4)
    line = JournalEvent(
        kind="amend",
        tenant_id=tenant_id,
        service_id="s",
        event_id=str(number),
        feature_id="f",
        entity_id="",
        plan_id="",
        quantity=0,
        measured=change,
        event_at=0,
        accepted_at=0,
        window=WINDOW,
        ends=0,
        caps=(),
        digest=digest,
        fingerprint=1,
        properties=None,
    )
    grants = iter(own.grants)
    finite = [own.included if bucket.kind == "included" else next(grants, 0) for bucket in room.finite]
    counted = own.overage + own.excess + sum(finite)
    return Revising(
        account=account(tenant_id, room, held),
        digest=digest,
        fingerprint=1,
        payload=journal.encode(line),
        back=min(max(0, -change), max(0, counted)),
        own=tuple(finite),
        more=max(0, change),
        change=change,
    )


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    history=st.lists(
        st.tuples(capacities, turns, st.integers(0, 5), st.one_of(amounts, st.integers(-60, 60))),
        min_size=1,
        max_size=10,
    ),
    sizes=st.lists(amounts, min_size=GRANTS, max_size=GRANTS),
)
async def test_script_and_rule_give_back_alike(counting: Context, history, sizes):
    """Events are recorded and changed by turns; grants come, go and change places meanwhile."""
    tenant_id = f"revised-{Numbers.next()}"
    expected, used, events = Levels(), [0] * GRANTS, []
    for room, turn, pick, change in history:
        full, held = with_grants(room, turn, sizes)
        at = msgspec.structs.replace(expected, grants=tuple(used[grant] for grant in held))
        if change >= 0 and pick >= len(events):
            taken = balance.draw(full, at, change)
            sent = recording(Numbers.next(), tenant_id, full, change, held=held)
            assert await counting.counters.record([sent], now=NOW) == ["accepted"]
            drawn = {}
            events.append(drawn)
        else:
            drawn = events[pick % len(events)] if events else {}
            own = Draw(
                included=drawn.get("i", 0),
                overage=drawn.get("o", 0),
                excess=drawn.get("x", 0),
                grants=tuple(drawn.get(grant, 0) for grant in held),
            )
            sent = revision(tenant_id, full, held, own, change)
            taken = (
                balance.draw(full, at, change) if change > 0 else balance.give_back(full, at, own, sent.back)
            )
            assert await revising.revise(counting.counters.link, sent, now=NOW) == "kept"
        parts = {"i": taken.included, "o": taken.overage, "x": taken.excess}
        for bucket, amount in (parts | dict(zip(held, taken.grants, strict=True))).items():
            drawn[bucket] = drawn.get(bucket, 0) + amount
        expected = Levels(
            included=expected.included + taken.included,
            overage=expected.overage + taken.overage,
            excess=expected.excess + taken.excess,
        )
        for grant, amount in zip(held, taken.grants, strict=True):
            used[grant] += amount
    fields = [(WINDOW, f"f:{bucket}") for bucket in "iox"]
    fields += [(f"g.{grant // 2}", keyspace.grant_field("f", f"grt{grant}")) for grant in range(GRANTS)]
    (found,) = await counting.counters.read([Want(tenant_id, tuple(fields))])
    assert found.values == (expected.included, expected.overage, expected.excess, *used)


# --- each once ------------------------------------------------------------------------------------------


async def sent(context: Context, quantity: int, reason: str) -> str:
    """A second revision of `e1` by somebody who saw it as it was reported."""
    name = EventName("acme", "tests", "e1")
    wish = revise.Wish(quantity=quantity, reason=reason)
    asked = revise._Asked(name, wish, ORDER, "")
    async with postgres.transaction(context.pool) as connection:
        found = await revise.events.find(connection, name, now=NOW)
    first = msgspec.structs.replace(found, quantity=100, measured=100, revision=1, revisions=[])
    countable = revise._countable(context, first)
    revising_ = await revise._revising(context, asked, first, countable, revise._change(countable, wish))
    return await revising.revise(context.counters.link, revising_, now=NOW)


async def forget_marks(context: Context) -> None:
    keys = (await context.counters.link.send([("KEYS", "d:*")])).values[0]
    await context.counters.link.send([("DEL", *keys)])


@pytest.mark.parametrize("together", [True, False])
async def test_of_two_second_revisions_the_flush_keeps_one_and_takes_the_other_back(counting, together):
    """Their marks were lost between them. Amounts that came back are taken again."""
    await statuses(counting, event(1, 100), event(2, 7))
    await flush_all(counting)
    assert await sent(counting, 30, "first") == "kept"
    if not together:
        await flush_all(counting)
    await forget_marks(counting)
    assert await sent(counting, 250, "second") == "kept"
    await flush_all(counting)
    assert await levels(counting) == (187, 0, 0)  # 100 + 7 - 70 + 150
    await corrections.apply_corrections(counting.pool, counting.counters)
    assert await levels(counting) == (37, 0, 0)
    assert await stored(counting) == (2, 37)
    assert await revisions(counting) == [(2, "amend", 30, -70, -70, 0, 0, ledger.month())]
    async with postgres.transaction(counting.pool) as connection:
        query = b"select reason from audit where action = 'usage.amend'"
        lines = await postgres.scalars(connection, query, {})
    assert lines == ["first"]
    assert await count(counting, "usage_rejected") == 0


async def test_what_came_back_by_a_duplicate_is_taken_again(counting):
    await statuses(counting, event(1, 100))
    await flush_all(counting)
    await sent(counting, 120, "first")
    await forget_marks(counting)
    await sent(counting, 10, "second")
    await flush_all(counting)
    assert await levels(counting) == (30, 0, 0)
    await corrections.apply_corrections(counting.pool, counting.counters)
    assert await levels(counting) == (120, 0, 0)


async def test_the_script_knows_a_number_that_is_given(counting):
    await statuses(counting, event(1, 100))
    await flush_all(counting)
    assert await sent(counting, 30, "first") == "kept"
    assert await sent(counting, 30, "first") == "repeated"
    assert await sent(counting, 31, "first") == "taken"
    assert await levels(counting) == (30, 0, 0)


async def test_who_is_beaten_to_it_is_told(counting, monkeypatch):
    """Somebody else's revision comes between the look and the script."""
    await statuses(counting, event(1, 100))
    original = revise._send

    async def late(context, asked, found, countable, change):
        await sent(context, 30, "first")
        await original(context, asked, found, countable, change)

    monkeypatch.setattr(revise, "_send", late)
    with pytest.raises(errors.ConflictError, match="at revision 2 by now"):
        await amend(counting, 1, 60)
    assert await levels(counting) == (30, 0, 0)


async def test_a_restored_postgres_takes_an_event_and_its_revisions_together(counting):
    """The journal outlives a commit by a quarter of an hour, and brings all of it again in one batch."""
    await statuses(counting, event(1, 100))
    await amend(counting, 1, 30)
    await amend(counting, 1, 60)
    await amend(counting, 1, None)
    before = await revisions(counting)
    async with postgres.transaction(counting.pool) as connection:
        await connection.execute("set local session_replication_role = replica")  # else it is refused
        await connection.execute(b"update flush_cursors set last_id = '0-0'")
        await connection.execute(
            b"truncate usage_events, usage_keys, usage_hourly, usage_daily, usage_counters, usage_revisions, "
            b"audit"
        )
    await flush_all(counting)
    assert await revisions(counting) == before
    async with postgres.transaction(counting.pool) as connection:
        rows = await (
            await connection.execute(b"select quantity, measured, revision, voided from usage_events")
        ).fetchall()
        hours = await (await connection.execute(b"select quantity, events from usage_hourly")).fetchall()
        days = await (await connection.execute(b"select quantity, events from usage_daily")).fetchall()
    assert (rows, hours, days) == ([(0, 0, 4, True)], [(0, 0)], [(0, 0)])
    assert await count(counting, "audit") == 3
    assert await sums(counting, ledger.month()) == {}


# --- where it is counted ----------------------------------------------------------------------------------


async def test_a_period_whose_counters_are_gone_changes_in_reports_only(counting: Context, clock):
    """Its window ended on the 15th of December, and is kept for 40 days."""
    await statuses(counting, event(1, 100), event(2, 11_000))
    await flush_all(counting)
    clock.at = NOW + timedelta(days=65)
    await amend(counting, 1, 300)
    await amend(counting, 2, None)
    assert sorted(row[2:] for row in await revisions(counting)) == [
        (0, -11_000, 0, 0, 0, ""),
        (300, 200, 0, 0, 0, ""),
    ]
    assert await sums(counting, ledger.month()) == {f"{TOKENS}:i": 10_000, f"{TOKENS}:x": 1_100}


async def test_a_period_that_is_over_changes_as_long_as_its_counters_are_kept(counting: Context, clock):
    await statuses(counting, event(1, 100), event(2, 11_000))
    await flush_all(counting)
    clock.at = NOW + timedelta(days=50)
    await amend(counting, 2, 10_500)
    assert await levels(counting) == (10_000, 0, 600)
    await restart(counting)
    assert await levels(counting) == (10_000, 0, 600)
    await amend(counting, 2, None)
    assert await levels(counting) == (100, 0, 0)
    assert await sums(counting, ledger.month()) == {f"{TOKENS}:i": 100}


async def test_a_grant_that_was_voided_takes_back_what_it_gave(counting: Context, clock):
    """It is so long over that no snapshot carries it any more; its counter, which never expires, stands."""
    pack = giving.grant(1, 100, starts=NOW - timedelta(days=1), priority=10)
    await giving.give(counting, pack)
    await statuses(counting, event(1, 60), event(2, 70))
    await flush_all(counting)
    await giving.void(counting, pack, NOW + timedelta(days=1))
    clock.at = NOW + timedelta(days=45)
    assert (await counting.snapshots.get("acme")).grants == ()
    await amend(counting, 2, 20)
    assert (await drawn_of(counting, pack), await levels(counting)) == (80, (0, 0, 0))
    await amend(counting, 1, None)
    await restart(counting)
    assert (await drawn_of(counting, pack), await levels(counting)) == (20, (0, 0, 0))


async def test_what_a_grant_gave_that_is_long_gone_comes_back_to_no_other_bucket(counting: Context, clock):
    """Its counter is gone, that of the period is not: units of others stay where they are."""
    pack = giving.grant(1, 100, starts=NOW - timedelta(days=1), ends=NOW + timedelta(days=1))
    await giving.give(counting, pack)
    await statuses(counting, event(1, 60), event(2, 70))
    await flush_all(counting)
    clock.at = NOW + timedelta(days=45)
    assert (await counting.snapshots.load("acme")).grants == ()
    await amend(counting, 1, None)
    assert await levels(counting) == (30, 0, 0)
    await amend(counting, 2, None)
    assert await levels(counting) == (0, 0, 0)


async def drawn_of(context: Context, held: Grant) -> int:
    place = (keyspace.grant_window(held.expires_at), keyspace.grant_field(TOKENS, held.id))
    (found,) = await context.counters.read([Want("acme", (place,))])
    return found.values[0]


async def test_caps_and_the_past_follow(counting: Context):
    """As a check is answered now, and as it is asked of this instant."""
    await ledger.subscribed(counting, "capped", "pro")
    await statuses(
        counting,
        event(1, 500, tenant_id="capped", entity_id="u1"),
        event(2, 40, tenant_id="capped", entity_id="u1"),
    )
    await amend(counting, 1, 300, "capped")
    await amend(counting, 2, None, "capped")
    question = Check(tenant_id="capped", feature_id=TOKENS, entity_id="u1")
    (plain,) = await check.check(counting, [question])
    then = await past.decided(counting, question, NOW)
    assert msgspec.structs.replace(then, decision_id=plain.decision_id) == plain
    assert plain.usage == 300
    assert {cap.used for cap in plain.caps} == {300}


async def test_what_came_too_late_to_move_a_counter_moves_none_when_it_is_changed(counting: Context, clock):
    clock.at = ledger.START + timedelta(days=95)
    late = clock.at - timedelta(days=34)
    await record.record(counting, [event(1, 100, timestamp=late), event(2, 5)])
    await amend(counting, 1, 40)
    await amend(counting, 1, None)
    assert await levels(counting, at=clock.at) == (5, 0, 0)
    assert await sums(counting, ledger.month(clock.at), ledger.month(late)) == {f"{TOKENS}:i": 5}


async def test_an_event_of_before_a_subscription_stays_where_it_was_booked(counting: Context):
    """The subscription is dated back over it: the event never moved its caps, and takes nothing off them."""
    await tenants.put(counting, ORDER, "late", tenants.Wish(name="late"))
    await statuses(counting, event(1, 50, tenant_id="late", entity_id="u1"))
    await subscribe.start(counting, ORDER, "late", subscribe.Wish(plan_id="pro", start_at=ledger.START))
    await statuses(counting, event(2, 9, tenant_id="late", entity_id="u1"))
    before = await capped(counting)
    assert any(before.values())
    await amend(counting, 1, 80, "late")
    await amend(counting, 1, 20, "late")
    await amend(counting, 1, None, "late")
    assert await capped(counting) == before
    assert await levels(counting, "late") == (9, 0, 0)
    calendar = keyspace.window("month", booking.Period(NOW.replace(day=1, hour=0), None))
    assert await sums(counting, calendar, tenant_id="late") == {}


async def capped(context: Context) -> dict[tuple[str, str], int]:
    """The counters of caps of the tenant `late` that Redis has."""
    (keys,) = (await context.counters.link.send([("KEYS", "c:*:late:*")])).values
    found = {}
    for key in keys:
        (fields,) = (await context.counters.link.send([("HGETALL", key)])).values
        pairs = zip(fields[::2], fields[1::2], strict=True) if isinstance(fields, list) else fields.items()
        found |= {(key, field): int(used) for field, used in pairs if b":c" in field or b":e:" in field}
    return found


# --- what cannot be done now ------------------------------------------------------------------------------


async def test_more_than_a_counter_holds_is_refused(counting: Context):
    await statuses(counting, *(event(number, limits.QUANTITY_MAX) for number in range(9)), event(9, 10_000))
    before = await levels(counting)
    with pytest.raises(errors.InvalidError, match="pass its bound"):
        await amend(counting, 9, 10_001)
    assert await levels(counting) == before
    assert (await amend(counting, 9, 9_999))["quantity"] == 9_999


async def test_newer_facts_are_read_and_it_is_sent_again(counting: Context):
    await statuses(counting, event(1, 100))
    snapshot = await counting.snapshots.get("acme")
    async with postgres.transaction(counting.pool) as connection:
        await connection.execute(b"update tenants set snapshot_version = snapshot_version + 1")
    await counting.counters.raise_versions({"acme": snapshot.version + 1})
    assert (await amend(counting, 1, 60))["revision"] == 2
    assert await levels(counting) == (60, 0, 0)


async def test_without_redis_nothing_is_changed(counting: Context, config):
    await statuses(counting, event(1, 100))
    await flush_all(counting)
    nowhere = wiring.Config(database_url=config.database_url, redis_url="redis://127.0.0.1:1")
    async with wiring.open_context(nowhere, counting.clock) as cut_off:
        with pytest.raises(errors.UnavailableError):
            await amend(cut_off, 1, 60)
    assert await revisions(counting) == []


async def test_a_closed_shard_takes_no_revision(counting: Context):
    await statuses(counting, event(1, 100))
    await flush_all(counting)
    await counting.counters.link.send([("SET", keyspace.fence(keyspace.shard_of("acme")), "another run")])
    with pytest.raises(errors.UnavailableError):
        await amend(counting, 1, 60)
    assert await revisions(counting) == []
