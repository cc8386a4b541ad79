"""Does recorded usage reach the counters, the journal and Postgres exactly once?"""

import asyncio
from datetime import timedelta

import msgspec

from service.context import Context
from store import certify, corrections, journal, keyspace, postgres
from tests.conftest import NOW
from tests.store import ledger
from tests.store.ledger import event, flush_all, levels, statuses, stored
from tests.store.test_draws import alone, recording


async def test_an_event_moves_its_counter_at_once_and_postgres_after_a_flush(counting: Context):
    assert await statuses(counting, event(1, 700)) == ["accepted"]
    assert await levels(counting) == (700, 0, 0)
    assert await stored(counting) == (0, 0)
    flushed = await flush_all(counting)
    assert (flushed.events, flushed.duplicates) == (1, 0)
    assert await stored(counting) == (1, 700)


async def test_the_same_event_again_is_a_duplicate_and_changes_nothing(counting: Context):
    await statuses(counting, event(1))
    assert await statuses(counting, event(1), event(2), event(2)) == ["duplicate", "accepted", "duplicate"]
    await flush_all(counting)
    assert await statuses(counting, event(1)) == ["duplicate"]
    assert await levels(counting) == (20, 0, 0)
    assert (await flush_all(counting)).entries == 0
    assert await stored(counting) == (2, 20)


async def test_the_same_id_with_another_body_is_rejected(counting: Context):
    await statuses(counting, event(1, 10))
    assert await statuses(counting, event(1, 11)) == ["rejected"]
    assert await levels(counting) == (10, 0, 0)


async def test_usage_past_a_hard_limit_still_counts_as_excess(counting: Context):
    assert await statuses(counting, event(1, 9_999), event(2, 5)) == ["accepted", "accepted"]
    assert await levels(counting) == (10_000, 0, 4)


async def test_a_flush_that_is_repeated_keeps_every_event_once(counting: Context):
    """The cursor is put back, as if the commit had never been seen: ids decide, not the cursor."""
    await statuses(counting, *(event(number) for number in range(30)))
    await flush_all(counting)
    async with postgres.transaction(counting.pool) as connection:
        await connection.execute(b"update flush_cursors set last_id = '0-0'")
    again = await flush_all(counting)
    assert (again.events, again.duplicates) == (0, 30)
    assert await stored(counting) == (30, 300)


async def test_a_duplicate_that_only_the_flush_finds_is_taken_back_from_the_counter_once(counting: Context):
    await statuses(counting, event(1, 10))
    await flush_all(counting)
    await _forget_marks(counting)
    assert await statuses(counting, event(1, 10)) == ["accepted"]
    assert await levels(counting) == (20, 0, 0)
    assert (await flush_all(counting)).duplicates == 1
    for _ in range(2):
        await corrections.apply_corrections(counting.pool, counting.counters)
        assert await levels(counting) == (10, 0, 0)
    assert await stored(counting) == (1, 10)


async def test_a_correction_whose_commit_was_lost_is_not_applied_twice(counting: Context):
    await statuses(counting, event(1, 10))
    await flush_all(counting)
    await _forget_marks(counting)
    await statuses(counting, event(1, 10))
    await flush_all(counting)
    async with postgres.transaction(counting.pool) as connection:
        waiting = await postgres.rows(
            connection, b"select * from counter_corrections", {}, corrections.Correction
        )
    shard = keyspace.shard_of("acme")
    for _ in range(2):
        await counting.counters.correct(shard, waiting)
    assert await levels(counting) == (10, 0, 0)


async def test_a_rebuild_makes_a_waiting_correction_needless(counting: Context):
    """The sums that it puts back never held the duplicate; taking it back again would lose units."""
    await statuses(counting, event(1, 10))
    await flush_all(counting)
    await _forget_marks(counting)
    await statuses(counting, event(1, 10))
    await flush_all(counting)
    await counting.counters.link.send([("FLUSHALL",)])
    await certify.certify(counting.pool, counting.counters.link, now=NOW)
    assert await levels(counting) == (10, 0, 0)
    assert await corrections.apply_corrections(counting.pool, counting.counters) == 0
    assert await levels(counting) == (10, 0, 0)


async def test_an_event_older_than_the_marks_is_recognised_by_postgres(counting: Context):
    old = event(1, timestamp=NOW - timedelta(days=20))
    assert await statuses(counting, old) == ["accepted"]
    await flush_all(counting)
    await _forget_marks(counting)
    assert await statuses(counting, old) == ["duplicate"]
    other = msgspec.structs.replace(old, quantity=11)
    assert await statuses(counting, other) == ["rejected"]


async def test_a_late_event_draws_from_the_period_of_its_own_time(counting: Context):
    late = NOW - timedelta(days=30)  # before the 15th: the previous usage month
    assert await statuses(counting, event(1, 70, timestamp=late)) == ["accepted"]
    assert await levels(counting) == (0, 0, 0)
    assert await levels(counting, at=late) == (70, 0, 0)


async def test_news_from_before_the_last_period_change_reports_and_no_counter(
    counting: Context, publish, example_files
):
    """With a day as the interval, three days ago is neither this period nor the one before."""
    text = example_files["plans/free.yaml"].replace("interval: month", "interval: day")
    text = text.replace("interval: day\n\nfeatures", "interval: month\n\nfeatures")
    await publish(example_files | {"plans/free.yaml": text})
    await ledger.subscribed(counting, "daily", "free")
    for days in range(4):
        one = event(days, 5, tenant_id="daily", timestamp=NOW - timedelta(days=days))
        assert await statuses(counting, one) == ["accepted"]
    await flush_all(counting)
    assert await stored(counting, "daily") == (4, 20)
    assert len(await _windows(counting, "daily")) == 2


async def test_a_cap_counts_what_its_window_of_now_contains_and_nothing_older(counting: Context):
    await ledger.subscribed(counting, "big", "pro")
    late = event(1, 5, tenant_id="big", timestamp=NOW - timedelta(days=1))
    assert await statuses(counting, late, event(2, 7, tenant_id="big")) == ["accepted", "accepted"]
    windows = await _windows(counting, "big")
    midnight = NOW.replace(hour=0)
    assert sorted(windows) == [f"d.{int(midnight.timestamp())}", ledger.month()]


async def test_an_event_of_a_tenant_without_that_right_still_counts_as_excess(counting: Context):
    before_start = ledger.START - timedelta(hours=1)
    counting.clock.at = ledger.START + timedelta(days=1)
    assert await statuses(counting, event(1, 70, timestamp=before_start)) == ["accepted"]
    await flush_all(counting)
    assert await stored(counting) == (1, 70)


async def test_events_of_many_tenants_go_to_their_own_counters(counting: Context):
    for number in range(20):
        await ledger.subscribed(counting, f"t{number}", "free")
    events = [event(number, number + 1, tenant_id=f"t{number % 20}") for number in range(200)]
    assert set(await statuses(counting, *events)) == {"accepted"}
    while (await flush_all(counting)).more:
        pass
    for number in range(20):
        expected = sum(n + 1 for n in range(number, 200, 20))
        assert await levels(counting, f"t{number}") == (expected, 0, 0)
        assert await stored(counting, f"t{number}") == (10, expected)


async def test_a_stale_snapshot_is_read_again_before_its_usage_is_booked(counting: Context):
    """Another worker upgraded the tenant; the limit that this one remembers must not decide the bucket."""
    await statuses(counting, event(1, 1))
    stale = counting.snapshots.cached("acme")
    move = ledger.subscribe.Move(plan_id="pro", when="now")
    await ledger.subscribe.change(counting, ledger.ORDER, "acme", move)
    counting.snapshots._by_tenant["acme"] = stale
    assert await statuses(counting, event(2, 50_000)) == ["accepted"]
    assert await levels(counting) == (50_001, 0, 0)


async def test_a_closed_fence_takes_nothing(counting: Context):
    await counting.counters.link.send([("DEL", keyspace.fence(keyspace.shard_of("acme")))])
    assert await statuses(counting, event(1)) == ["accepted"]  # it waits in Postgres
    assert len(await certify.certify(counting.pool, counting.counters.link, now=NOW)) == 1
    assert await levels(counting) == (0, 0, 0)
    assert await statuses(counting, event(1)) == ["accepted"]
    assert await levels(counting) == (10, 0, 0)


async def test_an_emptied_server_gets_its_counters_back_from_postgres(counting: Context):
    await statuses(counting, event(1, 9_000), event(2, 3_000))
    await flush_all(counting)
    before = await levels(counting)
    await counting.counters.link.send([("FLUSHALL",)])
    assert len(await certify.certify(counting.pool, counting.counters.link, now=NOW)) == keyspace.SHARDS
    assert await levels(counting) == before == (10_000, 0, 2_000)
    assert await statuses(counting, event(3, 1)) == ["accepted"]
    assert (await flush_all(counting)).events == 1
    assert await stored(counting) == (3, 12_001)


async def test_counters_that_no_journal_line_backs_do_not_survive_a_certification(counting: Context):
    """Law 4: the journal is the truth, so what a torn script left in a counter alone goes."""
    await statuses(counting, event(1, 10))
    key = keyspace.counters(keyspace.shard_of("acme"), "acme", ledger.month())
    commands = [("HINCRBY", key, keyspace.bucket_field(ledger.TOKENS, bucket), 999) for bucket in "ix"]
    commands += [("DEL", keyspace.fence(shard)) for shard in range(keyspace.SHARDS)]
    await counting.counters.link.send(commands)
    await certify.certify(counting.pool, counting.counters.link, now=NOW)
    assert await levels(counting) == (10, 0, 0)
    assert await stored(counting) == (1, 10)


async def test_an_emptied_journal_never_gives_ids_that_the_flush_has_passed(counting: Context):
    """A server whose clock went back would; such entries would be acknowledged and never flushed."""
    async with postgres.transaction(counting.pool) as connection:
        await connection.execute(b"update flush_cursors set last_id = '99999999999999-5'")
    await counting.counters.link.send([("FLUSHALL",)])
    await certify.certify(counting.pool, counting.counters.link, now=NOW)
    assert await statuses(counting, event(1, 10)) == ["accepted"]
    assert (await flush_all(counting)).events == 1
    assert await stored(counting) == (1, 10)


async def test_every_flipped_bit_of_a_journal_entry_is_noticed(counting: Context):
    """The append-only file has no checksums: a flipped bit loads without a word, and would be money."""
    await statuses(counting, event(1, 10))
    key = keyspace.journal(keyspace.shard_of("acme"))
    ((entry_id, fields),) = (await counting.counters.link.send([("XRANGE", key, "-", "+")])).values[0]
    place = fields.index(b"b") + 1
    assert journal.decode(entry_id, fields).events[0].event.quantity == 10
    for bit in range(len(fields[place]) * 8):
        flipped = bytearray(fields[place])
        flipped[bit // 8] ^= 1 << bit % 8
        damaged = journal.decode(entry_id, [*fields[:place], bytes(flipped), *fields[place + 1 :]])
        assert damaged.damage
        assert damaged.events == ()


async def test_a_damaged_journal_entry_is_set_aside_and_the_rest_goes_on(counting: Context):
    shard = keyspace.shard_of("acme")
    await statuses(counting, event(1, 10))
    await counting.counters.link.send(
        [("XADD", keyspace.journal(shard), "*", "n", 1, "b", b"\x91", "x", "0")]
    )
    await statuses(counting, event(2, 5))
    flushed = await flush_all(counting)
    assert (flushed.events, flushed.quarantined) == (2, 1)
    assert await stored(counting) == (2, 15)


async def _windows(context: Context, tenant_id: str) -> list[str]:
    """The time windows in which a tenant has counters."""
    keys = (await context.counters.link.send([("KEYS", f"c:*:{tenant_id}:*")])).values[0]
    return [key.decode().rpartition(":")[2] for key in keys]


async def _forget_marks(context: Context) -> None:
    """As if the ids had come long ago."""
    keys = (await context.counters.link.send([("KEYS", "d:*")])).values[0]
    await context.counters.link.send([("DEL", *keys)])


async def test_a_crowd_of_large_batches_is_taken_without_a_refusal(counting: Context, monkeypatch):
    """What waits together travels in round trips that the server can do in time, not all in one."""
    most = alone(None, None)
    batches = [
        [recording(sender * 1_000 + n, f"crowd{sender}", most, 1) for n in range(1_000)]
        for sender in range(30)
    ]
    conversation, trips = counting.counters.link._conversation, []

    async def ask(packed: bytes, count: int) -> list[object]:
        trips.append(count)
        return await type(conversation).ask(conversation, packed, count)

    monkeypatch.setattr(conversation, "ask", ask)
    told = await asyncio.gather(*(counting.counters.record(batch, now=NOW) for batch in batches))
    assert {status for answers in told for status in answers} == {"accepted"}
    assert max(trips) <= 4, "a trip has room for so many of the thirty"
