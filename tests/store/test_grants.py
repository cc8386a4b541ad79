"""A grant is a bucket of its own: counted over its whole life, kept in Postgres, put back by a rebuild."""

import hashlib
from datetime import timedelta

from policies import limits
from service.context import Context
from store import certify, corrections, journal, keyspace, postgres
from store.journal import Draw
from store.reading import Want
from tests.conftest import NOW
from tests.store import ledger
from tests.store.giving import give, grant, void
from tests.store.ledger import TOKENS, event, flush_all, levels, statuses, stored

DAY = timedelta(days=1)


async def counted(context: Context, *held, tenant_id: str = "acme") -> tuple[int, ...]:
    """What Redis says was drawn from these grants."""
    fields = tuple(
        (keyspace.grant_window(one.expires_at), keyspace.grant_field(TOKENS, one.id)) for one in held
    )
    (found,) = await context.counters.read([Want(tenant_id, fields)])
    return found.values


async def summed(context: Context, *held, tenant_id: str = "acme") -> tuple[int, ...]:
    """What the events in Postgres say, and the counters kept there, which must agree."""
    by_events = (
        b"select d.key as id, sum(d.value::bigint)::bigint as used "
        b"from usage_events e, jsonb_each_text(e.drawn_grants) d where e.tenant_id = %(tenant_id)s group by 1"
    )
    by_counters = (
        b"select split_part(field, ':g:', 2) as id, used from usage_counters "
        b"where tenant_id = %(tenant_id)s and field like '%%:g:%%'"
    )
    found = []
    async with postgres.transaction(context.pool) as connection:
        for query in (by_events, by_counters):
            cursor = await connection.execute(query, {"tenant_id": tenant_id})
            found.append(dict(await cursor.fetchall()))
    assert found[0] == found[1]
    return tuple(found[0].get(one.id, 0) for one in held)


async def restart(context: Context) -> None:
    """As if the server had come back empty."""
    await context.counters.link.send([("FLUSHALL",)])
    assert len(await certify.certify(context.pool, context.counters.link, now=NOW)) == keyspace.SHARDS


async def test_grants_are_drawn_by_their_order_around_what_the_plan_includes(counting: Context):
    first = grant(1, 100, starts=NOW - DAY, ends=NOW + DAY)  # expires before the period ends
    last = grant(2, 50, starts=NOW - DAY)
    preferred = grant(3, 30, starts=NOW - DAY, priority=10)
    await give(counting, first, last, preferred)
    held = (preferred, first, last)
    assert await statuses(counting, event(1, 40)) == ["accepted"]
    assert await counted(counting, *held) == (30, 10, 0)
    assert await levels(counting) == (0, 0, 0)
    await statuses(counting, event(2, 95), event(3, 10_000))
    assert await counted(counting, *held) == (30, 100, 5)
    assert await levels(counting) == (10_000, 0, 0)
    await statuses(counting, event(4, 50))
    assert await counted(counting, *held) == (30, 100, 50)
    assert await levels(counting) == (10_000, 0, 5)
    await flush_all(counting)
    assert await stored(counting) == (4, 10_185)
    assert await summed(counting, *held) == (30, 100, 50)


async def test_an_event_that_takes_nothing_from_a_grant_is_kept_without_a_word_of_them(counting: Context):
    await give(counting, grant(1, 100, starts=NOW - DAY))
    await statuses(counting, event(1, 10))
    await flush_all(counting)
    async with postgres.transaction(counting.pool) as connection:
        assert await postgres.scalars(connection, b"select drawn_grants from usage_events", {}) == [None]


async def test_a_rebuild_puts_back_what_was_drawn_from_grants(counting: Context):
    gone = grant(1, 100, starts=NOW - 9 * DAY, ends=NOW - DAY)  # late events may still draw from it
    held = grant(2, 100, starts=NOW - DAY, priority=1)
    await give(counting, gone, held)
    assert await statuses(counting, event(1, 30, timestamp=NOW - 2 * DAY), event(2, 70)) == ["accepted"] * 2
    assert await counted(counting, gone, held) == (30, 70)
    await flush_all(counting)
    await restart(counting)
    assert await counted(counting, gone, held) == (30, 70) == await summed(counting, gone, held)
    assert await statuses(counting, event(3, 80, timestamp=NOW - 2 * DAY), event(4, 40)) == ["accepted"] * 2
    assert await counted(counting, gone, held) == (100, 100)
    assert await levels(counting) == (20, 0, 0)


async def test_a_late_event_draws_from_the_grants_of_its_own_instant(counting: Context):
    over = grant(1, 100, starts=NOW - 9 * DAY, ends=NOW - 5 * DAY)
    later = grant(2, 100, starts=NOW - 2 * DAY, priority=1)
    await give(counting, over, later)
    await statuses(counting, event(1, 60, timestamp=NOW - 6 * DAY))
    assert await counted(counting, over, later) == (60, 0)
    await statuses(counting, event(2, 7, timestamp=NOW - 4 * DAY))  # neither of them held
    assert await counted(counting, over, later) == (60, 0)
    assert await levels(counting) == (7, 0, 0)


async def test_an_event_of_a_period_too_old_moves_no_grant_either(counting: Context, publish, example_files):
    """R20: with a day as the interval, three days ago is neither this period nor the one before."""
    text = example_files["plans/free.yaml"].replace("interval: month", "interval: day")
    text = text.replace("interval: day\n\nfeatures", "interval: month\n\nfeatures")
    await publish(example_files | {"plans/free.yaml": text})
    await ledger.subscribed(counting, "daily", "free")
    held = grant(1, 100, starts=NOW - 9 * DAY, priority=1)
    await give(counting, held, tenant_id="daily")
    for days in (3, 1):
        one = event(days, 5, tenant_id="daily", timestamp=NOW - timedelta(days=days))
        assert await statuses(counting, one) == ["accepted"]
    assert await counted(counting, held, tenant_id="daily") == (5,)


async def test_a_voided_grant_keeps_its_counter_and_gives_nothing_more(counting: Context):
    held = grant(1, 100, starts=NOW - DAY, ends=NOW + 90 * DAY, priority=1)
    await give(counting, held)
    await statuses(counting, event(1, 60))
    await void(counting, held, NOW)
    await statuses(counting, event(2, 10), event(3, 5, timestamp=NOW - timedelta(hours=1)))
    assert await counted(counting, held) == (65,)  # the late event is of a time when it held
    assert await levels(counting) == (10, 0, 0)


async def test_a_duplicate_that_only_the_flush_finds_gives_its_grant_back(counting: Context):
    held = grant(1, 100, starts=NOW - DAY, priority=1)
    await give(counting, held)
    await statuses(counting, event(1, 40))
    await flush_all(counting)
    keys = (await counting.counters.link.send([("KEYS", "d:*")])).values[0]
    await counting.counters.link.send([("DEL", *keys)])
    await statuses(counting, event(1, 40))
    assert await counted(counting, held) == (80,)
    await flush_all(counting)
    assert await corrections.apply_corrections(counting.pool, counting.counters) == 1
    assert await counted(counting, held) == (40,) == await summed(counting, held)


async def test_the_counters_of_a_grant_end_with_late_events_and_not_before(counting: Context):
    """Its expiry and the days in which late events may draw from it; without an expiry never."""
    ends, never = (
        grant(1, 5, starts=NOW - DAY, ends=NOW + DAY, priority=1),
        grant(2, 5, starts=NOW - DAY, priority=1),
    )
    await give(counting, ends, never)
    await statuses(counting, event(1, 10))
    names = [
        keyspace.counters(keyspace.shard_of("acme"), "acme", keyspace.grant_window(one.expires_at))
        for one in (ends, never)
    ]
    replies = await counting.counters.link.send([("EXPIRETIME", name) for name in names])
    assert replies.values == [int((NOW + DAY + certify.COUNTER_LIFE).timestamp()), -1]


async def test_no_more_grants_are_drawn_from_than_are_allowed(counting: Context):
    many = [grant(n, 1, starts=NOW - DAY, priority=1) for n in range(limits.GRANTS_OF_FEATURE + 1)]
    await give(counting, *many)
    await statuses(counting, event(1, len(many)))
    assert sum(await counted(counting, *many)) == limits.GRANTS_OF_FEATURE
    assert await levels(counting) == (1, 0, 0)


BEFORE_GRANTS = bytes.fromhex(
    "dd0000000292dc0011a67265636f7264a461636d65a57465737473a26531a961692d746f6b656e73a0a466726565cd27"
    "06cd2706cf000660da8a518800cf000660da8a518800ac6d2e31373934373434303030ce6b227d4090c410cb65854f9b"
    "490b66024409abcc69b2d2ce5b780949c093cd2706000092dc0011a67265636f7264a461636d65a57465737473a26532"
    "a961692d746f6b656e73a0a4667265651e1ecf000660da8a518800cf000660da8a518800ac6d2e313739343734343030"
    "30ce6b227d4090c410c90905efa7fb6bb3b913d2566d705fa0ce1347f8a1c0930a0014"
)
"""An entry of two events as it was written before draws knew of grants: 9,990 and 30 of 10,000 included."""


async def test_an_entry_from_before_grants_is_still_brought_over(counting: Context):
    """What a server of before has accepted waits in the journal while it is updated."""
    digest = hashlib.sha1(BEFORE_GRANTS, usedforsecurity=False).hexdigest()
    key = keyspace.journal(keyspace.shard_of("acme"))
    written = await counting.counters.link.send([("XADD", key, "*", "n", 2, "b", BEFORE_GRANTS, "x", digest)])
    entry = journal.decode(written.values[0], [b"n", b"2", b"b", BEFORE_GRANTS, b"x", digest.encode()])
    assert [line.draw for line in entry.events] == [Draw(9_990, 0, 0), Draw(10, 0, 20)]
    flushed = await flush_all(counting)
    assert (flushed.events, flushed.quarantined) == (2, 0)
    assert await stored(counting) == (2, 10_020)
    await restart(counting)
    assert await levels(counting) == (10_000, 0, 20)


async def test_an_entry_without_draws_from_grants_is_written_as_before(counting: Context):
    """So that a worker of before can bring it over, too."""
    await statuses(counting, event(1, 9_990), event(2, 30))
    key = keyspace.journal(keyspace.shard_of("acme"))
    ((_, fields),) = (await counting.counters.link.send([("XRANGE", key, "-", "+")])).values[0]
    assert fields[fields.index(b"b") + 1] == BEFORE_GRANTS
